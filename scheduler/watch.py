"""After a swap or beside a canary: do thumbs-down, unsupported answers, failures or declines rise? (one read)

It may look as often as it likes: `scheduler/sequential.py` holds the chance of ever rolling a harmless adapter back at
ALPHA in all. A live adapter is compared with the level before it, a canary with what serves the others meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import col, select

from scheduler import sequential
from store import deployments
from store.database import Database
from store.errors import NotFound
from store.models import Adapter, AdapterState, Exchange, ExchangeState, Feedback

ALPHA = 0.05
RATINGS_PART = 0.5
"""The part of ALPHA that thumbs-down have; the judge, failures and declines share the rest."""
JUDGE_BIAS = 0.1
"""A judge errs differently with different adapters: a rise up to this of what it calls unsupported is none."""
MOST_JUDGED = 1_000
"""As many answers of a side are judged: the first since the decision, the last before it."""
LEAST = 20
"""Neither side is judged on fewer observations."""
ENOUGH_RATINGS = 50
"""With fewer ratings in the window nobody is asked: the end is "kept, no verdict"."""
LEVEL_CONFIDENCE = 0.8
"""How sure it is that the level before was no higher than it is taken to be: a one-sided bound, not the mean."""


@dataclass(frozen=True)
class Watched:
    """A verdict with a sentence.

    `waiting`, `roll back`, `complete` (a canary), `kept`, `asks` (the window is over and an admin is to decide) or
    `taken back` (by somebody else).
    """

    verdict: str
    sentence: str


def rises(
    others: Sequence[bool], seen: Sequence[bool], *, beside: bool, tolerated: float = 0.0, alpha: float = ALPHA
) -> bool:
    """Whether a share is larger than it was, by more than `tolerated`: true by chance, ever, in `alpha` of the cases.

    Both in the order of time. `beside` says that both ran at the same time; else the others give a level before.
    """
    if len(others) < LEAST or len(seen) < LEAST:
        return False
    if beside:
        higher = sum(seen) / len(seen) - sum(others) / len(others) > tolerated
        return higher and sequential.enough(sequential.against_others(others, seen), alpha=alpha)
    level = sequential.upper_level(sum(others), len(others), confidence=LEVEL_CONFIDENCE) + tolerated
    return level < 1 and sequential.enough(sequential.against_level(seen, level), alpha=alpha)


Seen = tuple[Exchange, Feedback | None]
Unsupported = Callable[[Exchange], bool | None]
"""Whether a judge finds that an answer's passages do not bear it out; None where there is nothing to judge."""


def look(
    database: Database,
    *,
    adapter_id: str,
    hours: float,
    max_decline_rise: float,
    now: datetime,
    complete_canary_hours: float | None = None,
    unsupported: Unsupported | None = None,
) -> Watched:
    """What the exchanges since the decision say of an adapter that is live or a canary.

    A canary is watched for as long as it is one; after `complete_canary_hours`, when somebody has used it, it is to go
    live. Without `unsupported` no judge is asked.
    """
    with database.read() as session:
        adapter = session.get(Adapter, adapter_id)
        if adapter is None:
            raise NotFound(f"no adapter {adapter_id}.")
        serving = deployments.deployment(session).adapter
        since = adapter.decided_at or adapter.created_at
        query = select(Exchange, Feedback).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
        query = query.where(col(Exchange.created_at) >= since - timedelta(days=30))
        rows = session.exec(query.order_by(col(Exchange.created_at))).all()
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
    signs = _signs(max_decline_rise, unsupported)
    if harm := _harm(others, after, signs, adapter_id=adapter_id, beside=canary):
        return Watched("roll back", harm)
    if gain := _gain(others, after, adapter_id=adapter_id, beside=canary):
        return Watched("complete" if canary else "kept", gain)
    end = hours if complete_canary_hours is None or not canary else complete_canary_hours
    if now - since < timedelta(hours=end) or (canary and not after):
        return Watched("waiting", "")
    if canary and complete_canary_hours is not None:
        return Watched("complete", f"completed: {len(after)} exchanges in {end:g} h as a canary showed no clear loss.")
    ratings = sum(_disliked(exchange, feedback) is not None for exchange, feedback in after)
    if canary or ratings >= ENOUGH_RATINGS:
        seen = f"{len(after)} exchanges and {ratings} ratings in {end:g} h"
        choice = "complete the canary or roll it back" if canary else "keep it or roll it back"
        return Watched("asks", f"{seen} show neither a loss nor a gain with {adapter_id}: {choice}.")
    return Watched("kept", f"kept, no verdict: {len(after)} exchanges in {end:g} h showed no clear loss.")


@dataclass(frozen=True)
class _Sign:
    """What may rise, and of what: whether an exchange shows it, None where it cannot tell; its part of ALPHA."""

    name: str
    of: str
    shows: Callable[[Exchange, Feedback | None], bool | None]
    part: float
    tolerated: float = 0.0
    most: int | None = None


def _disliked(_: Exchange, feedback: Feedback | None) -> bool | None:
    return None if feedback is None or feedback.rating is None else feedback.rating == "down"


def _signs(max_decline_rise: float, unsupported: Unsupported | None) -> list[_Sign]:
    judged = _Sign(
        "unsupported answers",
        "judged answers",
        lambda exchange, _: unsupported and unsupported(exchange),
        0.2,
        tolerated=JUDGE_BIAS,
        most=MOST_JUDGED,
    )
    return [
        _Sign("thumbs-down", "ratings", _disliked, RATINGS_PART),
        *([judged] if unsupported is not None else []),
        _Sign("failures", "exchanges", lambda exchange, _: exchange.state == ExchangeState.FAILED, 0.15),
        _Sign("declines", "exchanges", lambda exchange, _: bool(exchange.declined), 0.15, max_decline_rise),
    ]


def _gain(others: Sequence[Seen], after: Sequence[Seen], *, adapter_id: str, beside: bool) -> str:
    """That thumbs-down fell, as a sentence; empty when that is not shown."""
    was, is_ = ([y for e, f in rows if (y := _disliked(e, f)) is not None] for rows in (others, after))
    if not rises([not bad for bad in was], [not bad for bad in is_], beside=beside):
        return ""
    return f"thumbs-down fell from {sum(was)} of {len(was)} to {sum(is_)} of {len(is_)} ratings with {adapter_id}."


def _harm(
    others: Sequence[Seen], after: Sequence[Seen], signs: Sequence[_Sign], *, adapter_id: str, beside: bool
) -> str:
    """What rose, as a sentence; empty when nothing did."""
    for sign in signs:
        near = others[: sign.most] if beside or sign.most is None else others[-sign.most :]
        sides = (near, after[: sign.most])
        was, is_ = ([y for e, f in rows if (y := sign.shows(e, f)) is not None] for rows in sides)
        if rises(was, is_, beside=beside, tolerated=sign.tolerated, alpha=ALPHA * sign.part):
            rose = f"from {sum(was)} of {len(was)} to {sum(is_)} of {len(is_)} {sign.of}"
            return f"{sign.name} rose {rose} with {adapter_id}."
    return ""
