"""Do days differ by more than chance? A bad day after a swap is then no proof of a bad adapter (pure).

Two observations of one day are alike beyond what all days have in common: their correlation, with which a day's count
is beta-binomial (Skellam 1948, "A probability distribution derived from the binomial distribution by regarding the
probability of success as variable between the sets of trials").
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
from scipy import stats

MOST_APART = 0.05
"""Days are never taken to differ by more than five points (standard deviation): a large loss is to show anyway."""
MOST_ALIKE = 0.03
"""Nor are observations of one day taken to be more alike: where hardly any shows it, five points are as much as all."""
CHANCE = 0.05
"""Days count as alike unless chance would make them differ so much in fewer than one history of twenty."""


class Observation(NamedTuple):
    """Whether a sign shows, in what came of whom and on which day (UTC)."""

    shows: bool
    person: str
    day: date


@dataclass(frozen=True)
class Days:
    """By how much the shares of days scatter beyond chance, and how many observations the day of a mean one has."""

    variance: float = 0.0
    size: float = 1.0

    @classmethod
    def of(cls, *before: Sequence[Observation]) -> "Days":
        """From what was seen before, of each adapter that served: how much days differ is not its doing."""
        served = [days for rows in before if (days := _by_day(rows))]
        sizes = np.array([sum(of for of, _ in people) for days in served for people in days], float)
        if len(sizes) <= len(served):
            return ALIKE
        return cls(_variance(served), float((sizes**2).sum() / sizes.sum()))

    def alike(self, share: float) -> float:
        """The correlation of two observations of one day where that is the share of all."""
        return min(MOST_ALIKE, self.variance / (share * (1 - share))) if 0 < share < 1 else 0.0

    def inflation(self, share: float) -> float:
        """By how much the variance of a share over such days is larger than that of as many independent ones."""
        return 1 + (self.size - 1) * self.alike(share)


ALIKE = Days()
People = list[tuple[int, int]]
"""Of each person of a day how many observations, and how many of them show it."""


def _by_day(rows: Sequence[Observation]) -> list[People]:
    found = defaultdict[date, dict[str, list[bool]]](lambda: defaultdict(list))
    for one in rows:
        found[one.day][one.person].append(one.shows)
    return [[(len(shown), sum(shown)) for shown in people.values()] for people in found.values()]


def _variance(served: Sequence[Sequence[People]]) -> float:
    """Of the shares of days about their adapter's, beyond chance, by moments; 0 where chance explains it.

    Analysis of variance with people as units, as one person's observations are alike too.
    """
    scatter, within, spare, units = 0.0, 0.0, 0.0, 0
    for days in served:
        of, yes = np.array([np.sum(people, axis=0) for people in days], float).T
        scatter += float(((yes - of * yes.sum() / of.sum()) ** 2 / of).sum())
        within += float(sum((y - n * m) ** 2 for people, m in zip(days, yes / of, strict=True) for n, y in people))
        spare, units = spare + float(of.sum() - (of**2).sum() / of.sum()), units + sum(map(len, days))
    many = sum(map(len, served))
    freedom, total = many - len(served), sum(of for days in served for people in days for of, _ in people)
    if units <= many:
        return 0.0
    chance = within / total * units / (units - many)
    if scatter <= freedom * chance or (
        chance and stats.f.sf(scatter / freedom / chance, freedom, units - many) > CHANCE
    ):
        return 0.0
    return min((scatter - freedom * chance) / spare, MOST_APART**2)


def begins(rows: Sequence[Observation]) -> list[int]:
    """For each observation, in the order of time, the place of the first one of its day."""
    places: list[int] = []
    for place, one in enumerate(rows):
        same = place > 0 and rows[place - 1].day == one.day
        places.append(places[-1] if same else place)
    return places
