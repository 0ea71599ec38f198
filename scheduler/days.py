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
CHANCE = 0.05
"""Days count as alike unless chance would make them differ so much in fewer than one history of twenty."""


class Observation(NamedTuple):
    """Whether a sign shows, in what came of whom and on which day (UTC)."""

    shows: bool
    person: str
    day: date


@dataclass(frozen=True)
class Days:
    """How alike observations of one day are, a correlation in [0, 1), and of how many the day of the mean one is."""

    correlation: float = 0.0
    size: float = 1.0

    @classmethod
    def of(cls, rows: Sequence[Observation]) -> "Days":
        """From what was seen before."""
        found = defaultdict[date, dict[str, list[bool]]](lambda: defaultdict(list))
        for one in rows:
            found[one.day][one.person].append(one.shows)
        days = [[(len(shown), sum(shown)) for shown in people.values()] for people in found.values()]
        sizes = np.array([sum(of for of, _ in people) for people in days], float)
        return cls(_correlation(days), float((sizes**2).sum() / sizes.sum())) if len(days) > 1 else ALIKE

    def inflation(self) -> float:
        """By how much the variance of a share over such days is larger than that of as many independent ones."""
        return 1 + (self.size - 1) * self.correlation


ALIKE = Days()


def _correlation(days: Sequence[Sequence[tuple[int, int]]]) -> float:
    """From each day's people: how many observations each gave, and how many show it.

    0 where chance explains the scatter of days (analysis of variance with people as units, as one person's observations
    are alike too), else what they differ by beyond it, by moments.
    """
    of, yes = np.array([np.sum(people, axis=0) for people in days], float).T
    units, share, total = sum(map(len, days)), float(yes.sum() / of.sum()), float(of.sum())
    within = sum((y - n * m) ** 2 for people, m in zip(days, yes / of, strict=True) for n, y in people)
    if not within or units <= len(days):
        return 0.0
    chance, freedom = float(within) / total * units / (units - len(days)), len(days) - 1
    scatter = float(((yes - of * share) ** 2 / of).sum())
    if stats.f.sf(scatter / freedom / chance, freedom, units - len(days)) > CHANCE:
        return 0.0
    between = (scatter - freedom * chance) / (total - float((of**2).sum()) / total)
    return min(max(0.0, between), MOST_APART**2) / (share * (1 - share))


def begins(rows: Sequence[Observation]) -> list[int]:
    """For each observation, in the order of time, the place of the first one of its day."""
    places: list[int] = []
    for place, one in enumerate(rows):
        same = place > 0 and rows[place - 1].day == one.day
        places.append(places[-1] if same else place)
    return places
