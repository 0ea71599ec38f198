"""A few labels by people and many scores by a judge -> a mean with an interval that stays honest (pure).

PPI++: the judge's mean over all cases, corrected by how wrong it is where people labelled, weighted by how much that
helps (Angelopoulos, Duchi and Zrnic 2023, "PPI++: Efficient prediction-powered inference", equations 2 to 7).
A useless judge gets the weight 0, and what remains is the mean of the labels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Combined:
    """A mean with its interval; `weight` is how much the judge counts, `worth`: as many labels alone are as good."""

    mean: float
    low: float
    high: float
    weight: float
    labelled: int
    worth: float


def tuned_weight(labels: Floats, judged: Floats, others: Floats) -> float:
    """The weight of the judge with the smallest variance, within [0, 1]: cov(Y, F) / ((1 + n/N) var(F))."""
    n, rest = len(labels), len(others)
    if n < 2 or rest == 0:
        return 0.0
    spread = float(np.var(np.concatenate([judged, others]), ddof=1))
    if spread <= 0:
        return 0.0
    shared = float(np.cov(labels, judged, ddof=1)[0, 1])
    return min(1.0, max(0.0, shared / ((1 + n / rest) * spread)))


def ppi_mean(
    labels: Sequence[float], judged: Sequence[float], others: Sequence[float], *, confidence: float = 0.95
) -> Combined:
    """The mean of what people would say over all cases.

    `labels` are people's values, `judged` the judge's of the same cases, `others` the judge's of the cases that nobody
    labelled. Raises ValueError for fewer than two labels, or as many labels as judged values of the same cases.
    """
    if len(labels) != len(judged) or len(labels) < 2:
        raise ValueError(
            f"Found {len(labels)} labels and {len(judged)} judged values of them, expected as many, from 2."
        )
    y, f, rest = np.asarray(labels, float), np.asarray(judged, float), np.asarray(others, float)
    weight = tuned_weight(y, f, rest)
    off = y - weight * f
    mean = float(off.mean()) + (weight * float(rest.mean()) if weight else 0.0)
    variance = float(off.var(ddof=1)) / len(y)
    if weight and len(rest) > 1:
        variance += weight**2 * float(rest.var(ddof=1)) / len(rest)
    half = float(stats.t.ppf((1 + confidence) / 2, len(y) - 1)) * math.sqrt(variance)
    alone = float(y.var(ddof=1))
    worth = alone / variance if variance > 0 else float(len(y))
    return Combined(mean, mean - half, mean + half, weight, len(y), worth)


def rectified(judged: Floats, labels: Floats) -> Floats:
    """Values per case whose mean is PPI++'s: the judge's, and where people labelled, what they add to it.

    `labels` is NaN where nobody labelled. With n of N cases labelled, a labelled case's value is weight x F plus
    (Y - weight x F) N / n, another's is weight x F: a bootstrap over documents then carries the right spread.
    """
    known = ~np.isnan(labels)
    n, total = int(known.sum()), len(judged)
    if n < 2:
        return judged
    y, f = labels[known], judged[known]
    spread = float(np.var(judged, ddof=1))
    weight = 0.0 if spread <= 0 else min(1.0, max(0.0, float(np.cov(y, f, ddof=1)[0, 1]) / spread))
    result = weight * judged
    result[known] += (y - weight * f) * total / n
    return result
