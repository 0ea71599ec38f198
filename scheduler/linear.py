"""A linear classifier learned from few examples: a logistic regression over vectors and hashed words (pure).

It is calibrated on folds that it never saw. Leaving whole classes out shows how sure it is of what it does not know,
which places the threshold under which nothing is named. It knows numbers only: unit vectors of texts, their hashed
words and the number of each one's class.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WORD_WEIGHT = 0.3
"""The words' share of a squared distance; embeddings count 1."""
TEMPERATURES = tuple(np.geomspace(0.05, 300.0, 48).tolist())
LOGISTIC_STRENGTH = 100.0
LOGISTIC_STEPS = 250
FOLDS = 5
NEAR_QUANTILE = 0.1
LEAST_NEAR = 0.25
NEARNESS_POWER = 3
LOST_AT_MOST = 0.04
"""The share of the rightly labelled that the threshold may cost, however many unknown ones it would refuse."""
ENOUGH_CLASSES = 3
"""With fewer, leaving one out tells nothing of what is unknown."""


@dataclass(frozen=True)
class Linear:
    """A fitted classifier: logits are `features @ weights + bias`; `near` is how close a known text is (a cosine)."""

    weights: Floats
    bias: Floats
    examples: Floats
    near: float
    threshold: float = 0.0

    def logits(self, vectors: Any, words: Any = None) -> Floats:
        """Log-chances up to a constant per row, shape (texts, tasks); `words` are dense, sparse or left out."""
        split = self.examples.shape[1]
        found = vectors @ self.weights[:split].astype(vectors.dtype) + self.bias
        if words is not None:
            found = found + words @ (np.sqrt(WORD_WEIGHT) * self.weights[split:])
        return np.asarray(found, dtype=np.float64)

    def known(self, vectors: Any) -> Floats:
        """How far texts are known at all, shape (texts,): 1 near an example, falling to 0 away from all of them."""
        return _nearness((vectors @ self.examples.T.astype(vectors.dtype)).max(axis=1), self.near)


def fit(vectors: Floats, words: Floats, classes: Ints, tasks: int) -> Linear:
    """Learn from examples: unit vectors (examples, dimensions), words (examples, bins) and classes (examples,)."""
    counted = np.bincount(classes, minlength=tasks)[classes] >= 2
    joined = np.hstack([vectors, np.sqrt(WORD_WEIGHT) * words])
    basis: Floats = np.linalg.svd(joined, full_matrices=False)[2].T
    points = joined @ basis
    folded = _folded(points, classes, tasks)
    sharp = 1 / _temperature(folded[counted], classes[counted])
    weights, bias = _logistic(points, classes, tasks)
    cosines = vectors @ vectors.T - 3 * np.eye(len(vectors))
    near = max(float(np.quantile(cosines.max(axis=1), NEAR_QUANTILE)), LEAST_NEAR)
    chances = softmax(folded * sharp) * _nearness(cosines.max(axis=1), near)[:, None]
    unknown = _unknown(points, cosines, classes, tasks, sharp, near) if tasks >= ENOUGH_CLASSES else np.zeros(0)
    return Linear(
        weights=basis @ weights * sharp,
        bias=bias * sharp,
        examples=vectors,
        near=near,
        threshold=_threshold(chances[counted], classes[counted], unknown),
    )


def _logistic(points: Floats, classes: Ints, tasks: int) -> tuple[Floats, Floats]:
    """Weights and bias of a multinomial logistic regression with a ridge: Nesterov steps on centred points."""
    middle = points.mean(axis=0)
    centred = points - middle
    counts = np.bincount(classes, minlength=tasks)
    share = len(points) / max(int((counts > 0).sum()), 1) / counts[classes]
    target = np.eye(tasks)[classes]
    ridge = 1 / LOGISTIC_STRENGTH
    step = 1 / (0.5 * float(np.linalg.norm(centred, 2)) ** 2 * share.max() + ridge)
    weights = ahead = np.zeros((points.shape[1], tasks))
    for turn in range(LOGISTIC_STEPS):
        slope = centred.T @ ((softmax(centred @ ahead) - target) * share[:, None]) + ridge * ahead
        weights, before = ahead - step * slope, weights
        ahead = weights + turn / (turn + 3) * (weights - before)
    return weights, -(middle @ weights)


def _folded(points: Floats, classes: Ints, tasks: int) -> Floats:
    """Logistic scores of every example by a model that never saw its fold; folds take turns within each task."""
    turn = np.array([int((classes[:place] == number).sum()) % FOLDS for place, number in enumerate(classes)])
    found = np.zeros((len(points), tasks))
    for fold in sorted(set(turn.tolist())):
        inside = turn == fold
        if not inside.all():
            weights, bias = _logistic(points[~inside], classes[~inside], tasks)
            found[inside] = points[inside] @ weights + bias
    return found


def softmax(scores: Floats) -> Floats:
    """Scores to chances that sum to one in each row."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _nearness(closest: Floats, near: float) -> Floats:
    return np.asarray(np.clip(closest / near, 0.0, 1.0) ** NEARNESS_POWER)


def _temperature(scores: Floats, classes: Ints) -> float:
    """The temperature with the least negative log-likelihood."""
    if not len(scores):
        return 1.0
    rows = np.arange(len(scores))
    losses = [float(-np.log(softmax(scores / t)[rows, classes] + 1e-9).mean()) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


def _unknown(points: Floats, cosines: Floats, classes: Ints, tasks: int, sharp: float, near: float) -> Floats:
    """The best chance of every example from a model that knows nothing of its class: classes are left out in groups."""
    groups = min(tasks, FOLDS)
    found = np.zeros(len(points))
    for group in range(groups):
        gone = classes % groups == group
        kept = [number for number in range(tasks) if number % groups != group]
        weights, bias = _logistic(points[~gone], np.searchsorted(kept, classes[~gone]), len(kept))
        chances = softmax((points[gone] @ weights + bias) * sharp).max(axis=1)
        found[gone] = chances * _nearness(cosines[np.ix_(gone, ~gone)].max(axis=1), near)
    return found


def _threshold(chances: Floats, classes: Ints, unknown: Floats) -> float:
    """The cut that keeps most of the rightly labelled and refuses most of the unknown, each counting the same.

    It costs at most LOST_AT_MOST of the rightly labelled; without unknown ones, half of what would cost that many.
    """
    best = chances.argmax(axis=1)
    top = chances[np.arange(len(chances)), best]
    right = top[best == classes]
    if not len(right):
        return 0.25
    highest = float(np.quantile(right, LOST_AT_MOST))
    if not len(unknown):
        return highest / 2
    cuts = np.unique(np.concatenate([right, unknown]))
    kept = 1 - np.searchsorted(np.sort(right), cuts) / len(top)
    refused = np.searchsorted(np.sort(unknown), cuts) / len(unknown)
    return min(float(cuts[int(np.argmax(kept + refused))]), highest)
