"""Did a share rise? Tests that may be looked at after every observation, as often as one likes (pure).

Both are e-processes: products whose expectation is at most 1 as long as the share did not rise, so that the chance that
one *ever* reaches 1 / alpha is at most alpha (Ville's inequality; Ramdas et al., "Game-theoretic statistics and safe
anytime-valid inference", 2023). The alternative is a mixture over the rises of RISES.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from scheduler.days import ALIKE, Days

RISES = np.array([0.03, 0.06, 0.12, 0.24])
"""Each twice the one before: a rise in between is found nearly as soon by a neighbour as by itself."""
LOG_WEIGHTS = np.log([0.10, 0.25, 0.45, 0.20])
"""Most on a rise of about ten points, which is to be found soon; larger ones hardly need any."""
SMALLEST = 0.01
"""No share is taken to be nearer to 0 or 1 than this: one failure after none is no proof."""
BEFORE_POWER = 0.6
"""How much of what speaks against a level before is added to what speaks for a rise since: 1 would be Fisher's product,
which costs most where the level is well known; 0 would take the level as it was seen."""
CELLS = 60
"""Into so many cells the levels are cut that the observations before allow, evenly by the logarithm of how likely."""
LEAST_LIKELY = 12.0
"""Levels that the observations before make less likely than exp(-12) are in one cell."""
HALVINGS = 40
"""So often is an interval halved in which a root lies: what is left of it is below what a double tells apart."""
Floats = npt.NDArray[np.float64]


def _rises(level: float, *, below: float = 1 - SMALLEST / 2) -> tuple[Floats, Floats]:
    """`level` with each rise, as far as that is `below`, and the logarithms of their weights."""
    shares = level + RISES
    kept = shares < below
    weights = LOG_WEIGHTS[kept]
    return shares[kept], weights - np.logaddexp.reduce(weights)


def _log_mean(logs: Floats, weights: Floats) -> Floats:
    """The logarithm of the weighted mean over the last axis."""
    top = logs.max(axis=-1, keepdims=True)
    return np.asarray(top[..., 0] + np.log(np.exp(logs - top + weights).sum(axis=-1)))


def paths_of_level(
    seen: Floats, level: float, *, correlation: float = 0.0, begins: Sequence[int] | None = None
) -> Floats:
    """The log evidence after each observation that a stream's share is above `level`, however far below it is.

    `seen` is in the order of time, shape (n,), or several streams at once, shape (streams, n); so is the result. With a
    `correlation` of observations of one day, days whose first places are `begins`, each observation is predicted from
    those of its day before it (beta-binomial), so that a bad day counts for less than as many observations.
    """
    level = min(max(level, SMALLEST), 1 - SMALLEST)
    shares, weights = _rises(level)
    if not len(shares):
        return np.zeros_like(seen)
    if correlation and begins is not None:
        return _paths_by_day(seen, level, shares, weights, 1 / correlation - 1, np.asarray(begins, int))
    yes = np.cumsum(seen, axis=-1)[..., None]
    no = np.arange(1, seen.shape[-1] + 1)[:, None] - yes
    return _log_mean(yes * np.log(shares / level) + no * np.log((1 - shares) / (1 - level)), weights)


def _paths_by_day(
    seen: Floats, level: float, shares: Floats, weights: Floats, known: float, begins: npt.NDArray[np.int_]
) -> Floats:
    """`paths_of_level` where a day's share scatters about its mean as `known` observations would tell it."""
    before = np.cumsum(seen, axis=-1) - seen
    yes = (before - before[..., begins])[..., None]
    of = known + (np.arange(seen.shape[-1]) - begins)[:, None]
    bet, null, now = (known * shares + yes) / of, (known * level + yes) / of, seen[..., None]
    logs = now * np.log(bet / null) + (1 - now) * np.log((1 - bet) / (1 - null))
    return _log_mean(np.cumsum(logs, axis=-2), weights)


def at_least(yes: int, of: int, *, confidence: float = 0.95) -> float:
    """The one-sided lower bound of a share, looked at once (Clopper and Pearson 1934)."""
    return float(stats.beta.ppf(1 - confidence, yes, of - yes + 1)) if yes else 0.0


@lru_cache(maxsize=64)
def _scale(alpha: float) -> float:
    """The c for which min(1, c / u ** BEFORE_POWER) is `alpha` in the mean of a uniform u."""
    power = BEFORE_POWER

    def mean(c: float) -> float:
        return float(c ** (1 / power) + c * (1 - c ** (1 / power - 1)) / (1 - power))

    return float(optimize.brentq(lambda c: mean(c) - alpha, 1e-12, alpha))


def looks_until_above(
    yes: int,
    of: int,
    seen: Sequence[bool] | Floats,
    *,
    alpha: float,
    tolerated: float = 0.0,
    days: Days = ALIKE,
    begins: Sequence[int] | None = None,
) -> int | None:
    """How many of `seen`, in the order of time, it takes to show a rise by more than `tolerated` over `yes` of `of`.

    None where none is shown; by chance one ever is with a probability of `alpha` at most, however few came before.
    For any share before there are two independent p-values: u, how likely so few `yes` are (binomial), and one over the
    largest evidence ever that the share since is higher. The second is below min(1, c / u ** BEFORE_POWER) with a
    probability of `alpha` where c is such that this has a mean of `alpha` over a uniform u. As the share before is not
    known, that must hold for every one. Where `days` differed before, those seen before count as fewer, and so do
    those of one day since, which start at the places of `begins`.
    """
    if not of or yes >= of:
        return None
    values, most, scale = np.asarray(seen, float), 0, math.log(_scale(alpha))
    likely = np.linspace(0, LEAST_LIKELY, CELLS + 1)
    fewer = days.inflation(yes / of)
    levels = stats.beta.ppf(-np.expm1(-likely[1:]), yes / fewer + 1, (of - yes) / fewer)
    for unlikely, level in zip(likely, levels, strict=False):
        wanted = -(scale + BEFORE_POWER * unlikely)
        if wanted <= 0:
            break
        # A cell is held to the least that its levels ask for and to the highest of them: no level asks for more.
        if level + tolerated >= 1:
            return None
        at_most = level + tolerated
        paths = paths_of_level(values, at_most, correlation=days.alike(at_most), begins=begins)
        hit = paths >= wanted
        if not hit.any():
            return None
        most = max(most, int(hit.argmax()) + 1)
    return most


def against_others(others: Sequence[bool] | Floats, seen: Sequence[bool] | Floats, *, tolerated: float = 0.0) -> float:
    """The largest log evidence that `seen` has a share larger by more than `tolerated` than what ran beside it.

    Both are in the order of time.
    """
    paths = paths_of_others(np.asarray(others, float), np.asarray(seen, float), tolerated=tolerated)
    return float(max(0.0, np.max(paths, initial=0.0)))


def paths_of_others(others: Floats, seen: Floats, *, tolerated: float = 0.0) -> Floats:
    """The log evidence after each block, one observation of `seen` and as many of the others as came beside it.

    For each pair of shares the block's e-variable divides by the likeliest pair that is `tolerated` apart: the nearest
    to it of all that are no further apart (Turner, Ly, Grünwald, "Generic E-variables for exact sequential k-sample
    tests that allow for optional stopping", 2024; Turner and Grünwald, "Exact anytime-valid confidence intervals for
    contingency tables and beyond", 2023). The others' share is taken from the blocks before, so that nothing of a block
    is used to bet on it.
    """
    rises, weights = _rises(tolerated, below=1 - 2 * SMALLEST)
    blocks, size = seen.shape[-1], others.shape[-1] // max(1, seen.shape[-1])
    if size < 1:
        blocks, size = others.shape[-1], 1
    if not blocks or not len(rises):
        return np.zeros((*seen.shape[:-1], 0))
    theirs = others[..., : blocks * size].reshape(*others.shape[:-1], blocks, size).sum(axis=-1)
    mine = seen[..., :blocks]
    before = np.cumsum(theirs + mine, axis=-1) - theirs - mine
    known = np.arange(blocks) * (size + 1)
    level = np.clip((before + 1) / (known + 4), SMALLEST, 1 - rises.max() - SMALLEST)[..., None]
    low = np.clip(level - rises / (size + 1), SMALLEST, None)
    high = low + rises
    least = nearest(low, high, size, tolerated)
    most = least + tolerated
    yes, one = theirs[..., None], mine[..., None]
    logs = yes * np.log(low / least) + (size - yes) * np.log((1 - low) / (1 - least))
    logs += one * np.log(high / most) + (1 - one) * np.log((1 - high) / (1 - most))
    return _log_mean(np.cumsum(logs, axis=-2), weights)


def nearest(low: Floats, high: Floats, size: int, tolerated: float) -> Floats:
    """The share of the others in the pair that is `tolerated` apart and tells least from (`low`, `high`).

    Where nothing is tolerated that is their mean, weighted by `size` to one; else the root of the derivative of the
    relative entropy, found by halving.
    """
    if not tolerated:
        return np.asarray((size * low + high) / (size + 1))
    least, most = low, np.maximum(low, high - tolerated)
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        other = middle + tolerated
        too_low = size * (middle - low) / (middle * (1 - middle)) + (other - high) / (other * (1 - other)) < 0
        least, most = np.where(too_low, middle, least), np.where(too_low, most, middle)
    return np.asarray(most)


def enough(log_evidence: float, *, alpha: float) -> bool:
    """Whether evidence is what happens by chance, ever, with probability alpha at most."""
    return log_evidence >= math.log(1 / alpha)
