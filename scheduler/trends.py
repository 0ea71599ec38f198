"""How what people ask changes: task counts and satisfaction per week, and drift against the last cycle (pure)."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from scipy.stats import chi2

STABLE, STRONG = 0.1, 0.25
"""Population stability index below which a distribution is stable, and above which its shift is strong (Siddiqi 2006,
Credit Risk Scorecards)."""
CHANCE = 0.95
"""An index under this quantile of what chance gives is no evidence of a shift."""
SPREAD = 0.5
"""Added to every count, so that a task that was never asked for has no share of zero."""
MOVED = 0.02
"""The change of a share from which a task has grown or shrunk."""


class Dated(NamedTuple):
    """An exchange's time, task label and rating ("up", "down" or None)."""

    at: datetime
    label: str
    rating: str | None


@dataclass(frozen=True)
class WeekTask:
    """A task in one week; `satisfaction` is thumbs up among its ratings, None when nobody rated."""

    count: int
    share: float
    satisfaction: float | None


@dataclass(frozen=True)
class Week:
    """Seven days from a Monday (`start`, an ISO date, UTC), with every task that was asked for in them."""

    start: str
    exchanges: int
    satisfaction: float | None
    tasks: dict[str, WeekTask] = field(default_factory=dict)


@dataclass(frozen=True)
class Drift:
    """Task shares before (`before` exchanges) and since (`after`) the last cycle.

    `psi` is the population stability index; `chance` what it stays under in 95 % of samples of these sizes when
    nothing has changed. `reading` is stable, moderate, strong, or "within chance". `grew` and `shrank` hold the change
    of each task's share, largest first.
    """

    since: str
    before: int
    after: int
    psi: float
    chance: float
    reading: str
    grew: dict[str, float] = field(default_factory=dict)
    shrank: dict[str, float] = field(default_factory=dict)


def weeks(rows: Iterable[Dated]) -> tuple[Week, ...]:
    """The weeks from the first to the last exchange, oldest first; a week without one is there with zeros."""
    found: dict[datetime, list[Dated]] = {}
    for row in rows:
        found.setdefault(monday(row.at), []).append(row)
    if not found:
        return ()
    last, start, made = max(found), min(found), []
    while start <= last:
        made.append(_week(start, found.get(start, [])))
        start += timedelta(days=7)
    return tuple(made)


def monday(at: datetime) -> datetime:
    """The midnight, UTC, at which the week of a time begins."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def _week(start: datetime, rows: Sequence[Dated]) -> Week:
    by_task: dict[str, list[Dated]] = {}
    for row in rows:
        by_task.setdefault(row.label, []).append(row)
    tasks = {
        name: WeekTask(len(mine), len(mine) / len(rows), satisfaction(mine)) for name, mine in sorted(by_task.items())
    }
    return Week(start.date().isoformat(), len(rows), satisfaction(rows), tasks)


def satisfaction(rows: Iterable[Dated]) -> float | None:
    """Thumbs up among all ratings in [0, 1], or None when nobody rated."""
    ratings = Counter(row.rating for row in rows)
    rated = ratings["up"] + ratings["down"]
    return ratings["up"] / rated if rated else None


def drift(rows: Sequence[Dated], since: datetime | None) -> Drift | None:
    """How the task shares moved since the last cycle; None without a cycle or with nothing on one side of it."""
    if since is None:
        return None
    before = Counter(row.label for row in rows if row.at < since)
    after = Counter(row.label for row in rows if row.at >= since)
    if not before or not after:
        return None
    names = sorted({*before, *after})
    index, chance = stability(before, after), chance_index(len(names), before.total(), after.total())
    moved = {name: after[name] / after.total() - before[name] / before.total() for name in names}
    grew = {n: round(m, 4) for n, m in sorted(moved.items(), key=lambda one: -one[1]) if m >= MOVED}
    shrank = {n: round(m, 4) for n, m in sorted(moved.items(), key=lambda one: one[1]) if m <= -MOVED}
    return Drift(
        since=since.isoformat(),
        before=before.total(),
        after=after.total(),
        psi=round(index, 4),
        chance=round(chance, 4),
        reading=reading(index, chance),
        grew=grew,
        shrank=shrank,
    )


def stability(before: Counter[str], after: Counter[str]) -> float:
    """The population stability index, the sum of (q - p) ln(q / p) over all tasks' shares p before and q after."""
    names = {*before, *after}
    p_all, q_all = before.total() + SPREAD * len(names), after.total() + SPREAD * len(names)
    shares = [((before[name] + SPREAD) / p_all, (after[name] + SPREAD) / q_all) for name in names]
    return sum((q - p) * math.log(q / p) for p, q in shares)


def chance_index(tasks: int, before: int, after: int) -> float:
    """The index that samples of these sizes stay under in 95 % of cases when nothing has changed.

    Divided by 1/before + 1/after it is about chi-squared with one degree of freedom less than there are tasks
    (Yurdakul and Naranjo 2020).
    """
    return float(chi2.ppf(CHANCE, tasks - 1)) * (1 / before + 1 / after) if tasks > 1 else 0.0


def reading(index: float, chance: float) -> str:
    """What an index says: stable, moderate or strong; "within chance" where so few exchanges shift that far anyway."""
    if index < STABLE:
        return "stable"
    if index < chance:
        return "within chance"
    return "moderate" if index <= STRONG else "strong"
