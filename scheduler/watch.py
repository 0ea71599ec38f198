"""After a swap or beside a canary: do thumbs-down, unsupported answers, failures or declines rise? (one read)

It may look as often as it likes: `scheduler/sequential.py` holds the chance of ever rolling a harmless adapter back at
ALPHA in all. A live adapter is compared with the level of the one it replaced, a canary with what serves the others
meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from sqlmodel import Session, col, select

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
BEFORE = timedelta(days=30)
"""How far back the level before a swap is looked for."""
MOST_BEFORE = 10_000
"""As many exchanges, the last before the swap, tell the level: a watch looks every few seconds."""
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


class Seen(NamedTuple):
    """What the watch knows of an exchange: no texts, of which a month is long."""

    id: str
    adapter: str
    state: str
    declined: bool
    rating: str | None


Unsupported = Callable[[str], bool | None]
"""Whether a judge finds that the passages of an exchange do not bear its answer out; None where it cannot tell."""


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
        canary = adapter.state == AdapterState.CANARY
        serving = deployments.deployment(session).adapter
        since = adapter.decided_at or adapter.created_at
        meanwhile = _seen(session, since=since)
        before: list[Seen] = []
        if not canary:
            before = _seen(session, since=since - BEFORE, until=since, last=MOST_BEFORE, model=adapter.base_model)
    if adapter.state in (AdapterState.ROLLED_BACK, AdapterState.QUARANTINED):
        return Watched("taken back", f"{adapter_id} is {adapter.state}: it was taken back.")
    if adapter.state not in (AdapterState.LIVE, AdapterState.CANARY):
        return Watched("kept", f"{adapter_id} is {adapter.state}: nothing to watch.")
    after = [one for one in meanwhile if one.adapter == adapter_id]
    if canary:
        others = [[one for one in meanwhile if one.adapter == serving]]
    else:
        others = [
            [one for one in before if one.adapter == adapter.replaced],
            [one for one in before if one.adapter != adapter_id],
        ]
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
    ratings = sum(one.rating is not None for one in after)
    if canary or ratings >= ENOUGH_RATINGS:
        seen = f"{len(after)} exchanges and {ratings} ratings in {end:g} h"
        choice = "complete the canary or roll it back" if canary else "keep it or roll it back"
        return Watched("asks", f"{seen} show neither a loss nor a gain with {adapter_id}: {choice}.")
    return Watched("kept", f"kept, no verdict: {len(after)} exchanges in {end:g} h showed no clear loss.")


def _seen(
    session: Session, *, since: datetime, until: datetime | None = None, last: int | None = None, model: str = ""
) -> list[Seen]:
    """The exchanges of a time in its order, of more than `last` the last ones; of one base model or any."""
    columns: list[Any] = [Exchange.id, Exchange.adapter, Exchange.state, Exchange.declined, Feedback.rating]
    query = select(*columns).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
    query = query.where(col(Exchange.created_at) >= since)
    if until is not None:
        query = query.where(col(Exchange.created_at) < until)
    if model:
        query = query.where(Exchange.model == model)
    rows = session.exec(query.order_by(col(Exchange.created_at).desc()).limit(last)).all()
    return [Seen(*row) for row in reversed(rows)]


Shows = Callable[[Seen], bool | None]
"""Whether an exchange shows a sign; None where it cannot tell."""


@dataclass(frozen=True)
class _Sign:
    """What may rise, and of what; its part of ALPHA."""

    name: str
    of: str
    shows: Shows
    part: float
    tolerated: float = 0.0
    most: int | None = None


def _disliked(one: Seen) -> bool | None:
    return None if one.rating is None else one.rating == "down"


def _unsupported(judge: Unsupported, one: Seen) -> bool | None:
    return judge(one.id) if one.state == ExchangeState.FINISHED and not one.declined else None


def _signs(max_decline_rise: float, unsupported: Unsupported | None) -> list[_Sign]:
    judged = []
    if unsupported is not None:
        shows = partial(_unsupported, unsupported)
        judged = [_Sign("unsupported answers", "judged answers", shows, 0.2, tolerated=JUDGE_BIAS, most=MOST_JUDGED)]
    return [
        _Sign("thumbs-down", "ratings", _disliked, RATINGS_PART),
        *judged,
        _Sign("failures", "exchanges", lambda one: one.state == ExchangeState.FAILED, 0.15),
        _Sign("declines", "exchanges", lambda one: one.declined, 0.15, max_decline_rise),
    ]


def _told(rows: Sequence[Seen], shows: Shows) -> list[bool]:
    return [told for one in rows if (told := shows(one)) is not None]


def _level(others: Sequence[Sequence[Seen]], sign: _Sign, *, beside: bool) -> list[bool]:
    """What the first of several groups tells that tells enough, else the last: an adapter is not to be worse than the
    one it replaced, whatever served before that one."""
    found: list[bool] = []
    for rows in others:
        near = rows if sign.most is None else rows[: sign.most] if beside else rows[-sign.most :]
        found = _told(near, sign.shows)
        if len(found) >= LEAST:
            break
    return found


def _gain(others: Sequence[Sequence[Seen]], after: Sequence[Seen], *, adapter_id: str, beside: bool) -> str:
    """That thumbs-down fell, as a sentence; empty when that is not shown."""
    sign = _signs(0.0, None)[0]
    was, is_ = _level(others, sign, beside=beside), _told(after, sign.shows)
    if not rises([not bad for bad in was], [not bad for bad in is_], beside=beside):
        return ""
    return f"thumbs-down fell from {sum(was)} of {len(was)} to {sum(is_)} of {len(is_)} ratings with {adapter_id}."


def _harm(
    others: Sequence[Sequence[Seen]], after: Sequence[Seen], signs: Sequence[_Sign], *, adapter_id: str, beside: bool
) -> str:
    """What rose, as a sentence; empty when nothing did."""
    for sign in signs:
        was, is_ = _level(others, sign, beside=beside), _told(after[: sign.most], sign.shows)
        if rises(was, is_, beside=beside, tolerated=sign.tolerated, alpha=ALPHA * sign.part):
            rose = f"from {sum(was)} of {len(was)} to {sum(is_)} of {len(is_)} {sign.of}"
            return f"{sign.name} rose {rose} with {adapter_id}."
    return ""
