"""What the watch sees of exchanges, and who they come from: of one person only a few count (reads, decides nothing).

One person's ratings are no independent observations, and whoever rates most would decide for all. Which of them count
is settled by time alone, never by what they say, so that a test may look at any time. What it leaves to `watch` is
what a sign means.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlmodel import Session, col, select

from scheduler.days import Observation
from store.models import Exchange, ExchangeState, Feedback, Person, Role

MOST_OF_ONE = 3
"""As many ratings, or exchanges, of a person count on a side. People differ, so that what one says is no independent
observation: with three the error holds where 15 % of the scatter is between people (`bench/watch.py`). Twenty
observations are then of seven people at least."""
JUDGE_BIAS = 0.1
"""A judge errs differently with different adapters: a rise up to this of what it calls unsupported is none."""
MOST_JUDGED = 1_000
"""As many answers of a side are judged: the first since the decision, the last before it."""
RATINGS_PART = 0.6
"""The part of the error allowed that thumbs-down have; the judge, failures and declines share the rest."""


class Seen(NamedTuple):
    """What the watch knows of an exchange: no texts, of which a month is long."""

    id: str
    at: datetime
    adapter: str
    state: str
    declined: bool
    asker: str
    rating: str | None
    rater: str
    rated_at: datetime | None


def seen(
    session: Session,
    *,
    since: datetime,
    until: datetime | None = None,
    last: int | None = None,
    model: str = "",
    new_account_days: float = 0.0,
) -> list[Seen]:
    """The exchanges of a time in its order, of more than `last` the last ones; of one base model or any.

    A rating is of who gave it, when they gave it, whoever corrects the answer later; one that was given, or changed,
    `until` then or later tells nothing of the time before. What somebody rated whose account was then younger than
    `new_account_days` counts as unrated, except a reviewer's.
    """
    exchange: list[Any] = [Exchange.id, Exchange.created_at, Exchange.adapter, Exchange.state, Exchange.declined]
    exchange.append(Exchange.person_id)
    feedback: list[Any] = [Feedback.rating, Feedback.rated_by, Feedback.rated_at, Person.created_at, Person.role]
    query = select(*exchange, *feedback).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
    query = query.join(Person, col(Person.id) == col(Feedback.rated_by), isouter=True)
    query = query.where(col(Exchange.created_at) >= since)
    if until is not None:
        query = query.where(col(Exchange.created_at) < until)
    if model:
        query = query.where(Exchange.model == model)
    rows = session.exec(query.order_by(col(Exchange.created_at).desc()).limit(last)).all()
    return [_row(*row, until=until, days=new_account_days) for row in reversed(rows)]


def _row(*row: Any, until: datetime | None, days: float) -> Seen:
    identity, at, adapter, state, declined, asker, rating, rater, rated_at, joined, role = row
    new = joined is not None and rated_at is not None and joined <= rated_at < joined + timedelta(days=days)
    unheard = (new and role == Role.CHAT) or (until is not None and rated_at is not None and rated_at >= until)
    return Seen(identity, at, adapter, state, declined, asker, None if unheard else rating, rater or "", rated_at)


Shows = Callable[[Seen], bool | None]
"""Whether an exchange shows a sign; None where it cannot tell."""
Unsupported = Callable[[str], bool | None]
"""Whether a judge finds that the passages of an exchange do not bear its answer out; None where it cannot tell."""


@dataclass(frozen=True)
class Sign:
    """What may rise, of what, and its part of the error; `rated` ones come from who rated, others from who asked.

    `anybody` may show it: it is the machine's fault, and people say nothing about it.
    """

    name: str
    of: str
    shows: Shows
    part: float
    tolerated: float = 0.0
    most: int | None = None
    rated: bool = False
    anybody: bool = False


def _disliked(one: Seen) -> bool | None:
    return None if one.rating is None else one.rating == "down"


DISLIKED = Sign("thumbs-down", "ratings", _disliked, RATINGS_PART, rated=True)


def signs(max_decline_rise: float, unsupported: Unsupported | None) -> list[Sign]:
    """What the watch looks for; without `unsupported` no judge is asked."""

    def judged(one: Seen) -> bool | None:
        finished = one.state == ExchangeState.FINISHED and not one.declined
        return unsupported(one.id) if unsupported is not None and finished else None

    by_judge = Sign("unsupported answers", "judged answers", judged, 0.2, tolerated=JUDGE_BIAS, most=MOST_JUDGED)
    return [
        DISLIKED,
        *([by_judge] if unsupported is not None else []),
        Sign("failures", "exchanges", lambda one: one.state == ExchangeState.FAILED, 0.1, anybody=True),
        Sign("declines", "exchanges", lambda one: one.declined, 0.1, max_decline_rise),
    ]


@dataclass(frozen=True)
class Told:
    """What a side tells of a sign, in the order of time."""

    rows: tuple[Observation, ...]

    @classmethod
    def of(cls, rows: Sequence[Seen], sign: Sign) -> "Told":
        """Ratings in the order in which they were given, everything else in that of the exchanges."""
        at = [(one.rated_at if sign.rated else one.at, one) for one in rows]
        known = [(when, one) for when, one in at if when is not None]
        if sign.rated:
            known.sort(key=lambda pair: pair[0])
        told = ((sign.shows(one), one.rater if sign.rated else one.asker, when.date()) for when, one in known)
        return cls(tuple(Observation(shows, person, day) for shows, person, day in told if shows is not None))

    def few(self, *, last: bool = False) -> "Told":
        """Of each person the first MOST_OF_ONE alone, or the last."""
        rows = reversed(self.rows) if last else self.rows
        kept = tuple(_at_most(rows))
        return Told(kept[::-1] if last else kept)

    def people(self) -> int:
        """How many different people show the sign."""
        return len({one.person for one in self.rows if one.shows})

    def shows(self) -> list[bool]:
        """Each observation without its person and day."""
        return [one.shows for one in self.rows]

    def opposite(self) -> "Told":
        """The same with yes and no exchanged."""
        return Told(tuple(one._replace(shows=not one.shows) for one in self.rows))


def _at_most(rows: Iterable[Observation]) -> Iterable[Observation]:
    counted = Counter[str]()
    for one in rows:
        counted[one.person] += 1
        if counted[one.person] <= MOST_OF_ONE:
            yield one
