"""Signals -> a probability, by points read off straight lines between knots and added up: a monotone logistic model.

It knows numbers and names, not what a signal means. The file of points is what `bench/judge.py --fit` wrote; there it
is also said which human labels they were fitted on.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
WEIGHTS = Path(__file__).parent / "judge_weights.json"


class ScorecardError(ValueError):
    """Points that do not fit the signals: the message says what was found and what was expected."""


@dataclass(frozen=True)
class Signal:
    """A signal's knots, rising, and the points at each; in between they lie on straight lines, beyond they stay."""

    name: str
    knots: tuple[float, ...]
    points: tuple[float, ...]


@dataclass(frozen=True)
class Scorecard:
    """`bias` plus the points of all signals is the log-odds of a yes."""

    bias: float
    signals: tuple[Signal, ...]

    def log_odds(self, values: Sequence[float]) -> float:
        """The log-odds for one value per signal, in their order."""
        return self.bias + sum(
            float(np.interp(value, signal.knots, signal.points))
            for signal, value in zip(self.signals, values, strict=True)
        )

    def probability(self, values: Sequence[float]) -> float:
        """The probability of a yes, in (0, 1)."""
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, self.log_odds(values)))))

    def to_json(self) -> dict[str, object]:
        """Bias and points, rounded to four places."""
        rows = {
            s.name: [[round(k, 4), round(p, 4)] for k, p in zip(s.knots, s.points, strict=True)] for s in self.signals
        }
        return {"bias": round(self.bias, 4), "points": rows}


def from_json(data: Mapping[str, object], *, names: Sequence[str]) -> Scorecard:
    """The scorecard that `to_json` wrote; raises ScorecardError when it is for other signals than `names`."""
    points, bias = data.get("points"), data.get("bias")
    if not isinstance(points, dict) or not isinstance(bias, int | float) or list(points) != list(names):
        found = list(points) if isinstance(points, dict) else type(points).__name__
        raise ScorecardError(f"Found points for {found}, expected a bias and points for {list(names)}, in this order.")
    signals = [Signal(n, tuple(k for k, _ in rows), tuple(p for _, p in rows)) for n, rows in points.items()]
    return Scorecard(float(bias), tuple(signals))


@cache
def shipped(part: str, names: tuple[str, ...]) -> Scorecard:
    """A scorecard of the file beside this module, read once."""
    content = json.loads(WEIGHTS.read_text())
    if part not in content:
        raise ScorecardError(f'Found no part "{part}" in {WEIGHTS.name}, expected one of {", ".join(sorted(content))}.')
    return from_json(content[part], names=names)


def _basis(values: Floats, knots: Sequence[Floats]) -> Floats:
    """One column per piece between two knots: how far a value has come along it, 0 to 1."""
    pieces = [np.clip((values[:, j] - a) / (b - a), 0, 1) for j, row in enumerate(knots) for a, b in pairwise(row)]
    return np.array(pieces).T


def _knots(column: Floats, count: int) -> Floats:
    found = np.unique(np.round(np.quantile(column, np.linspace(0, 1, count)), 3))
    return found if len(found) > 1 else np.array([0.0, 1.0])


def fit(
    values: Floats,
    labels: Floats,
    *,
    directions: Mapping[str, int],
    weights: Floats | None = None,
    ridge: float = 0.01,
    free: Sequence[str] = (),
    knots: int = 6,
    paired: bool = False,
) -> Scorecard:
    """Fit to labels of 0 and 1 by logistic loss with a ridge, the points of each signal only rising or falling.

    `values` has a row per case and a column per signal of `directions`; 0 there lets a signal go both ways. Signals in
    `free` feel a fiftieth of the ridge. With `paired`, rows come in pairs (better, worse) and only their difference is
    fitted (Bradley and Terry 1952); the bias then puts the mean of all rows at even odds.
    """
    weights = np.ones(len(values)) if weights is None else weights
    places = [_knots(values[:, j], knots) for j in range(values.shape[1])]
    basis = _basis(values, places)
    middle = basis.mean(axis=0)
    if paired:
        basis, labels, weights = basis[0::2] - basis[1::2], np.ones(len(basis) // 2), weights[0::2]
    pieces = [(name, sign) for (name, sign), row in zip(directions.items(), places, strict=True) for _ in row[1:]]
    penalty = ridge * np.array([0.02 if name in free else 1.0 for name, _ in pieces])
    total = weights.sum()

    def loss(theta: Floats) -> tuple[float, Floats]:
        z = basis @ theta[1:] + theta[0] * (not paired)
        wrong = weights * (1 / (1 + np.exp(-z)) - labels) / total
        value = float(
            (weights * (np.logaddexp(0, z) - labels * z)).sum() / total + (penalty * theta[1:] ** 2).sum() / 2
        )
        return value, np.concatenate([[wrong.sum() * (not paired)], basis.T @ wrong + penalty * theta[1:]])

    bounds = [(None, None), *((0, None) if s > 0 else (None, 0) if s < 0 else (None, None) for _, s in pieces)]
    theta = minimize(loss, np.zeros(len(pieces) + 1), jac=True, bounds=bounds, method="L-BFGS-B").x
    if paired:
        theta[0] = -float(middle @ theta[1:])
    return _card(directions, places, theta)


def _card(directions: Mapping[str, int], places: Sequence[Floats], theta: Floats) -> Scorecard:
    signals, at = [], 1
    for name, row in zip(directions, places, strict=True):
        steps = theta[at : at + len(row) - 1]
        at += len(steps)
        signals.append(Signal(name, tuple(map(float, row)), (0.0, *map(float, np.cumsum(steps)))))
    return Scorecard(float(theta[0]), tuple(signals))
