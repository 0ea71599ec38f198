"""Folds, thresholds and intervals that the judge's benchmarks share."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score

from finetune.scorecard import Scorecard

Floats = npt.NDArray[np.float64]
DRAWS = 1_000


def folds(groups: Sequence[str], count: int, *, seed: int = 0) -> npt.NDArray[np.int64]:
    """A fold for each row; rows of one group share it."""
    order = np.random.default_rng(seed).permutation(sorted(set(groups)))
    at = {name: place % count for place, name in enumerate(order.tolist())}
    return np.array([at[name] for name in groups])


def scores(card: Scorecard, values: Floats) -> Floats:
    """The log-odds of rows of signals."""
    return np.array([card.log_odds(row) for row in values])


def cut(labels: Floats, found: Floats) -> float:
    """The threshold with the best macro-F1."""
    places = np.unique(np.quantile(found, np.linspace(0.02, 0.98, 97)))
    return float(max(places, key=lambda place: f1_score(labels, found >= place, average="macro")))


def bootstrap(groups: Sequence[str], measure: Callable[[npt.NDArray[np.int64]], float]) -> tuple[float, float]:
    """The 95 % interval of a measure over rows, whole groups drawn with replacement."""
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(place == k) for k in range(len(names))]
    rng = np.random.default_rng(1)
    draws = [
        measure(np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])) for _ in range(DRAWS)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
