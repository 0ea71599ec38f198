"""After a swap or beside a canary: are declines, failures or thumbs-down clearly more frequent? (pure but for one read)

A rise counts only when it is larger than the setting and its 99 % interval is above zero. A live adapter is compared
with what answered before it, a canary with what serves the others meanwhile.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import col, select

from store import deployments
from store.database import Database
from store.errors import NotFound
from store.models import Adapter, AdapterState, Exchange, ExchangeState, Feedback

Z = 2.576
LEAST = 20


@dataclass(frozen=True)
class Watched:
    """`waiting`, `roll back`, `complete` (a canary), `kept` or `taken back` (by somebody else), with a sentence."""

    verdict: str
    sentence: str


def rises(before: Sequence[bool], after: Sequence[bool], *, tolerated: float) -> bool:
    """Whether a share rose by more than `tolerated`, and certainly (two-sample normal interval, 99 %) rose at all."""
    if len(before) < LEAST or len(after) < LEAST:
        return False
    p, q = sum(before) / len(before), sum(after) / len(after)
    deviation = math.sqrt(p * (1 - p) / len(before) + q * (1 - q) / len(after))
    return q - p > tolerated and q - p - Z * deviation > 0


Seen = tuple[Exchange, Feedback | None]


def look(
    database: Database,
    *,
    adapter_id: str,
    hours: float,
    max_decline_rise: float,
    now: datetime,
    complete_canary_hours: float | None = None,
) -> Watched:
    """What the exchanges since the decision say of an adapter that is live or a canary.

    A canary is watched for as long as it is one; after `complete_canary_hours`, when somebody has used it, it is to go
    live.
    """
    with database.read() as session:
        adapter = session.get(Adapter, adapter_id)
        if adapter is None:
            raise NotFound(f"no adapter {adapter_id}.")
        serving = deployments.deployment(session).adapter
        since = adapter.decided_at or adapter.created_at
        query = select(Exchange, Feedback).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
        rows = session.exec(query.where(col(Exchange.created_at) >= since - timedelta(days=30))).all()
    if adapter.state in (AdapterState.ROLLED_BACK, AdapterState.QUARANTINED):
        return Watched("taken back", f"{adapter_id} is {adapter.state}: it was taken back.")
    if adapter.state not in (AdapterState.LIVE, AdapterState.CANARY):
        return Watched("kept", f"{adapter_id} is {adapter.state}: nothing to watch.")
    canary = adapter.state == AdapterState.CANARY
    after = [(e, f) for e, f in rows if e.adapter == adapter_id and e.created_at >= since]
    if canary:
        others = [(e, f) for e, f in rows if e.adapter == serving and e.created_at >= since]
    else:
        others = [(e, f) for e, f in rows if e.adapter != adapter_id and e.created_at < since]
    harm = _harm(others, after, adapter_id=adapter_id, tolerated=max_decline_rise)
    if harm:
        return Watched("roll back", harm)
    end = complete_canary_hours if canary else hours
    if end is None or now - since < timedelta(hours=end) or (canary and not after):
        return Watched("waiting", "")
    if canary:
        return Watched("complete", f"completed: {len(after)} exchanges in {end:g} h as a canary showed no clear loss.")
    return Watched("kept", f"kept, no verdict: {len(after)} exchanges in {end:g} h showed no clear loss.")


def _harm(others: Sequence[Seen], after: Sequence[Seen], *, adapter_id: str, tolerated: float) -> str:
    """What rose, as a sentence; empty when nothing did."""
    for name, test in _SIGNS.items():
        was, is_ = [test(e, f) for e, f in others], [test(e, f) for e, f in after]
        if rises(was, is_, tolerated=tolerated):
            return f"{name} rose from {sum(was)} of {len(was)} to {sum(is_)} of {len(is_)} exchanges with {adapter_id}."
    return ""


_SIGNS: dict[str, Callable[[Exchange, Feedback | None], bool]] = {
    "declines": lambda exchange, feedback: bool(exchange.declined),
    "failures": lambda exchange, feedback: exchange.state == ExchangeState.FAILED,
    "thumbs-down": lambda exchange, feedback: feedback is not None and feedback.rating == "down",
}
