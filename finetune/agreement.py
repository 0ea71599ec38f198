"""How far a judge agrees with people: accuracy, kappa, balanced accuracy, AUROC; which labels help most (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

ALL = "all"


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
    """Over `n` labelled answers of a task; `kappa` is Cohen's, `auroc` is None when people gave one answer only."""

    metric: str
    task: str
    n: int
    accuracy: float
    balanced: float | None
    kappa: float
    auroc: float | None


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
    chance = float(people.mean() * said.mean() + (1 - people.mean()) * (1 - said.mean()))
    kappa = (same - chance) / (1 - chance) if chance < 1 else 1.0
    if not 0 < yes < n:
        return Agreement(metric, task, n, same, None, kappa, None)
    balanced = float(said[people].mean() + (~said[~people]).mean()) / 2
    ranks = rankdata(scores)
    auroc = float((ranks[people].sum() - yes * (yes + 1) / 2) / (yes * (n - yes)))
    return Agreement(metric, task, n, same, balanced, kappa, auroc)


def most_useful(rows: Sequence[Judged], count: int) -> list[str]:
    """The answers without a label that are nearest to the judge's own line between yes and no, nearest first."""
    open_ = sorted((row for row in rows if row.value is None), key=lambda row: (abs(row.score - 0.5), row.id))
    return list(dict.fromkeys(row.id for row in open_))[:count]


def distrusted(found: Sequence[Agreement], *, least: float, labels: int) -> list[Agreement]:
    """The metrics on which, over all tasks and from so many labels, the judge's balanced accuracy is below `least`."""
    return [
        one
        for one in found
        if one.task == ALL and one.n >= labels and one.balanced is not None and one.balanced < least
    ]
