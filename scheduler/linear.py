"""A linear classifier learned from few examples: a logistic regression and a shrunken discriminant (pure).

Both are calibrated by leaving examples out. Leaving whole classes out shows how sure it is of what it does not know,
which places the threshold under which nothing is named. It knows numbers only: unit vectors of texts, their hashed
words and the number of each one's class.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WORD_WEIGHTS = (0.0, 0.15, 0.3, 0.6, 1.0)
SHRINKAGES = (0.001, 0.003, 0.01, 0.03, 0.1)
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
ENOUGH_EACH = 10
"""With fewer examples per class the discriminant cannot tell how they spread, and the regression decides alone."""


@dataclass(frozen=True)
class Linear:
    """A fitted classifier: logits are `features @ weights + bias`; `near` is how close a known text is (a cosine)."""

    weights: Floats
    bias: Floats
    examples: Floats
    word_weight: float  # the words' share of a squared distance; embeddings count 1
    near: float
    threshold: float = 0.0

    def logits(self, vectors: Any, words: Any = None) -> Floats:
        """Log-chances up to a constant per row, shape (texts, tasks); `words` are dense, sparse or left out."""
        split = self.examples.shape[1]
        found = vectors @ self.weights[:split].astype(vectors.dtype) + self.bias
        if words is not None and self.word_weight:
            found = found + words @ (np.sqrt(self.word_weight) * self.weights[split:])
        return np.asarray(found, dtype=np.float64)

    def known(self, vectors: Any) -> Floats:
        """How far texts are known at all, shape (texts,): 1 near an example, falling to 0 away from all of them."""
        return _nearness((vectors @ self.examples.T.astype(vectors.dtype)).max(axis=1), self.near)


def fit(vectors: Floats, words: Floats, classes: Ints, tasks: int) -> Linear:
    """Learn from examples: unit vectors (examples, dimensions), words (examples, bins) and classes (examples,).

    The regression is averaged with the discriminant that is likeliest to label left-out examples, which also says how
    much words count.
    """
    alone = np.bincount(classes, minlength=tasks)[classes] < 2
    word_weight, basis, (weights, bias, left_out) = _likeliest(vectors, words, classes, tasks, alone)
    points = _joined(vectors, words, word_weight) @ basis
    first = 1 / _temperature(left_out[~alone], classes[~alone])[1]
    folded = _folded(points, classes, tasks)
    second = 1 / _temperature(folded[~alone], classes[~alone])[1]
    if len(classes) < ENOUGH_EACH * tasks:
        first = 0.0
    both = left_out * first + folded * second
    last = 1 / _temperature(both[~alone], classes[~alone])[1]
    logistic, offset = _logistic(points, classes, tasks)
    cosines = vectors @ vectors.T - 3 * np.eye(len(vectors))
    closest = cosines.max(axis=1)
    near = max(float(np.quantile(closest, NEAR_QUANTILE)), LEAST_NEAR)
    chances = softmax(both * last) * _nearness(closest, near)[:, None]
    unknown = np.zeros(0)
    if tasks >= ENOUGH_CLASSES:
        unknown = _unknown(points, cosines, classes, tasks, second * last, near)
    return Linear(
        weights=basis @ (weights * first + logistic * second) * last,
        bias=(bias * first + offset * second) * last,
        examples=vectors,
        word_weight=word_weight,
        near=near,
        threshold=_threshold(chances[~alone], classes[~alone], unknown),
    )


def _joined(vectors: Floats, words: Floats, weight: float) -> Floats:
    return np.hstack([vectors, np.sqrt(weight) * words])


def _likeliest(
    vectors: Floats, words: Floats, classes: Ints, tasks: int, alone: npt.NDArray[np.bool_]
) -> tuple[float, Floats, tuple[Floats, Floats, Floats]]:
    """The word weight, basis and discriminant with the best leave-one-out likelihood; ties go to the first."""
    found = []
    for weight in WORD_WEIGHTS:
        points = _joined(vectors, words, weight)
        basis: Floats = np.linalg.svd(points, full_matrices=False)[2].T
        for discriminant in _discriminants(points @ basis, classes, tasks):
            loss = _temperature(discriminant[2][~alone], classes[~alone])[0]
            found.append((loss, weight, basis, discriminant))
    _, weight, basis, discriminant = min(found, key=lambda one: one[0])
    return weight, basis, discriminant


def _discriminants(points: Floats, classes: Ints, tasks: int) -> list[tuple[Floats, Floats, Floats]]:
    """For each shrinkage of the covariance: weights, bias, left-out scores of shape (examples, tasks)."""
    counts = np.bincount(classes, minlength=tasks).astype(float)
    means = np.stack([points[classes == number].mean(axis=0) for number in range(tasks)])
    within = points - means[classes]
    values, axes = np.linalg.eigh(within.T @ within / len(points))
    scale = float((points**2).sum(axis=1).mean())
    found = []
    for shrinkage in SHRINKAGES:
        white: Floats = axes / np.sqrt(np.maximum(values, 0.0) + shrinkage * scale)
        centres: Floats = means @ white
        left_out = _left_out(points @ white, centres, classes, counts)
        found.append((white @ centres.T, -(centres**2).sum(axis=1) / 2, left_out))
    return found


def _left_out(points: Floats, means: Floats, classes: Ints, counts: Floats) -> Floats:
    """Scores of every example by the model without it: its own mean moved, Sherman-Morrison on the covariance."""
    rows = np.arange(len(points))
    size = np.maximum(counts[classes], 1.5)
    moved = points - means[classes]
    own = (moved**2).sum(axis=1)
    distances = (points**2).sum(axis=1)[:, None] + (means**2).sum(axis=1) - 2 * points @ means.T
    along = (points * moved).sum(axis=1)[:, None] - moved @ means.T
    grown = size / (size - 1)
    distances[rows, classes], along[rows, classes] = grown**2 * own, grown * own
    part = grown / len(points)
    return np.asarray(-(distances + (part / np.maximum(1 - part * own, 1e-9))[:, None] * along**2) / 2)


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


def _temperature(scores: Floats, classes: Ints) -> tuple[float, float]:
    """The least negative log-likelihood and the temperature that reaches it."""
    if not len(scores):
        return 0.0, 1.0
    rows = np.arange(len(scores))
    losses = [float(-np.log(softmax(scores / t)[rows, classes] + 1e-9).mean()) for t in TEMPERATURES]
    best = int(np.argmin(losses))
    return losses[best], float(TEMPERATURES[best])


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
