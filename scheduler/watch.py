"""After a swap: are declines, failures or thumbs-down clearly more frequent than before? (pure but for one read)

A rise counts only when it is larger than the setting and its 99 % interval is above zero.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import col, select

from store.database import Database
from store.errors import NotFound
from store.models import Adapter, AdapterState, Exchange, ExchangeState, Feedback

Z = 2.576
LEAST = 20


@dataclass(frozen=True)
class Watched:
    """`waiting`, `roll back` or `kept`, with a sentence."""

    verdict: str
    sentence: str


def rises(before: Sequence[bool], after: Sequence[bool], *, tolerated: float) -> bool:
    """Whether a share rose by more than `tolerated`, and certainly (two-sample normal interval, 99 %) rose at all."""
    if len(before) < LEAST or len(after) < LEAST:
        return False
    p, q = sum(before) / len(before), sum(after) / len(after)
    deviation = math.sqrt(p * (1 - p) / len(before) + q * (1 - q) / len(after))
    return q - p > tolerated and q - p - Z * deviation > 0


def look(database: Database, *, adapter_id: str, hours: float, max_decline_rise: float, now: datetime) -> Watched:
    """What the exchanges since the swap say of an adapter that is live; the ones before it are the comparison."""
    with database.read() as session:
        adapter = session.get(Adapter, adapter_id)
        if adapter is None:
            raise NotFound(f"no adapter {adapter_id}.")
        since = adapter.decided_at or adapter.created_at
        query = select(Exchange, Feedback).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
        rows = session.exec(query.where(col(Exchange.created_at) >= since - timedelta(days=30))).all()
    if adapter.state != AdapterState.LIVE:
        return Watched("kept", f"{adapter_id} is {adapter.state}: nothing to watch.")
    after = [(e, f) for e, f in rows if e.adapter == adapter_id and e.created_at >= since]
    before = [(e, f) for e, f in rows if e.created_at < since]
    for name, test in _SIGNS.items():
        was, is_ = [test(e, f) for e, f in before], [test(e, f) for e, f in after]
        if rises(was, is_, tolerated=max_decline_rise):
            return Watched(
                "roll back",
                f"{name} rose from {sum(was)} of {len(was)} to {sum(is_)} of {len(is_)} exchanges with {adapter_id}.",
            )
    if now - since >= timedelta(hours=hours):
        return Watched("kept", f"kept, no verdict: {len(after)} exchanges in {hours:g} h showed no clear loss.")
    return Watched("waiting", "")


_SIGNS: dict[str, Callable[[Exchange, Feedback | None], bool]] = {
    "declines": lambda exchange, feedback: bool(exchange.declined),
    "failures": lambda exchange, feedback: exchange.state == ExchangeState.FAILED,
    "thumbs-down": lambda exchange, feedback: feedback is not None and feedback.rating == "down",
}
