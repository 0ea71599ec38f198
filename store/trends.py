"""How the chat has been going, day by day: satisfaction, declining, citing, and the mix of tasks (reading only).

It counts what is in the log; whether answers are grounded is the judge's matter.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from sqlmodel import Session, col, select

from store.labels import UNCLASSIFIED
from store.models import Exchange, ExchangeState, Feedback, Label

ANSWERED = (ExchangeState.FINISHED, ExchangeState.STOPPED)


class Said(NamedTuple):
    """What is counted of one exchange; `rating` is "up", "down" or None, `cites` whether its answer cites a passage."""

    at: datetime
    declined: bool
    cites: bool
    rating: str | None
    task: str | None


@dataclass
class Day:
    """One day, UTC: counts of exchanges; `tasks` by label."""

    day: str
    exchanges: int = 0
    ups: int = 0
    downs: int = 0
    declined: int = 0
    cited: int = 0
    tasks: dict[str, int] = field(default_factory=dict)


def read(session: Session, *, since: datetime) -> list[Said]:
    """The answered exchanges since a moment, oldest first."""
    columns: list[Any] = [Exchange.created_at, Exchange.declined, Exchange.citations, Feedback.rating, Label.task]
    query = (
        select(*columns).select_from(Exchange).where(Exchange.created_at >= since, col(Exchange.state).in_(ANSWERED))
    )
    query = query.join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
    query = query.join(Label, col(Label.exchange_id) == col(Exchange.id), isouter=True)
    rows = session.exec(query.order_by(col(Exchange.created_at)))
    return [Said(at, declined, bool(cites), rating, task) for at, declined, cites, rating, task in rows]


def by_day(rows: Iterable[Said], *, first: date, last: date) -> list[Day]:
    """Every day from `first` to `last`, those without an exchange too."""
    days = {first + timedelta(days=n): Day("") for n in range((last - first).days + 1)}
    for at, day in days.items():
        day.day = at.isoformat()
    for row in rows:
        if (found := days.get(row.at.date())) is not None:
            _count(found, row)
    return list(days.values())


def _count(day: Day, row: Said) -> None:
    day.exchanges += 1
    day.ups += row.rating == "up"
    day.downs += row.rating == "down"
    day.declined += row.declined
    day.cited += row.cites and not row.declined
    task = row.task or UNCLASSIFIED
    day.tasks[task] = day.tasks.get(task, 0) + 1
