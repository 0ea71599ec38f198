"""How far a judge agrees with people: accuracy, kappa, balanced accuracy, AUROC; which labels help most (pure)."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, rankdata

ALL = "all"
LEAST_OF_EACH = 5
"""Labels of the rarer answer that a balanced accuracy needs: by one of them a coin would be half right or wholly."""


@dataclass(frozen=True)
class Judged:
    """One answer on one metric: the judge's score, and what a person says; None where nobody said anything."""

    id: str
    metric: str
    task: str
    score: float
    value: bool | None


@dataclass(frozen=True)
class Agreement:
    """Over `n` labelled answers of a task, to `yes` of which people said yes; `kappa` is Cohen's.

    `balanced`, `kappa` and `auroc` are None when people gave one answer only.
    """

    metric: str
    task: str
    n: int
    accuracy: float
    balanced: float | None
    kappa: float | None
    auroc: float | None
    yes: int

    @property
    def worth(self) -> float:
        """How often the judge is right: balanced over both answers, plainly where people gave one only."""
        return self.accuracy if self.balanced is None else self.balanced

    @property
    def settled(self) -> bool:
        """Whether `worth` rests on more than a label or two of the rarer answer, where people gave both."""
        return self.balanced is None or min(self.yes, self.n - self.yes) >= LEAST_OF_EACH

    @property
    def most(self) -> float:
        """The upper end of the 95 % interval of `worth` (binomial, of as many labels as tell of the rarer answer)."""
        n = self.n if self.balanced is None else 4 * self.yes * (self.n - self.yes) / self.n
        right = self.worth * n
        return 1.0 if right >= n else float(beta.ppf(0.975, right + 1, n - right))


def agreement(rows: Sequence[Judged], *, least: float = 0.5) -> list[Agreement]:
    """Per metric and task, and over all tasks; scores from `least` on are a yes."""
    known = [row for row in rows if row.value is not None]
    found = []
    for metric in sorted({row.metric for row in known}):
        mine = [row for row in known if row.metric == metric]
        for task in [ALL, *sorted({row.task for row in mine})]:
            part = [row for row in mine if task in (ALL, row.task)]
            found.append(_measured(metric, task, part, least))
    return found


def _measured(metric: str, task: str, rows: Sequence[Judged], least: float) -> Agreement:
    people = np.array([bool(row.value) for row in rows])
    scores = np.array([row.score for row in rows])
    said = scores >= least
    same, yes, n = float((people == said).mean()), int(people.sum()), len(rows)
    if not 0 < yes < n:
        return Agreement(metric, task, n, same, None, None, None, yes)
    chance = float(people.mean() * said.mean() + (1 - people.mean()) * (1 - said.mean()))
    kappa = (same - chance) / (1 - chance)
    balanced = float(said[people].mean() + (~said[~people]).mean()) / 2
    ranks = rankdata(scores)
    auroc = float((ranks[people].sum() - yes * (yes + 1) / 2) / (yes * (n - yes)))
    return Agreement(metric, task, n, same, balanced, kappa, auroc, yes)


def most_useful(ids: Iterable[str], count: int) -> list[str]:
    """Answers without a label whose labels tell most of how far a judge is right: a random sample of them.

    The order is thrown by a digest. Those on which the judge wavers would show it worse than it is.
    """
    return sorted(set(ids), key=lambda one: hashlib.sha256(one.encode()).hexdigest())[:count]


def distrusted(found: Sequence[Agreement], *, least: float, labels: int) -> list[Agreement]:
    """Where a judge, from so many labels on, is right less often than `least`: over all tasks, or surely in one task.

    A single task is looked at among several, each with few labels, so that its 95 % interval must be below `least`; and
    so it must over all tasks where hardly a label is of the rarer answer.
    """
    enough = [one for one in found if one.n >= labels]
    return [one for one in enough if (one.worth if one.task == ALL and one.settled else one.most) < least]
