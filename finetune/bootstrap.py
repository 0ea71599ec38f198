"""Means over documents that could have been others: draws of whole clusters, and intervals of them (pure)."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@lru_cache(maxsize=64)
def _drawn(clusters: int, seed: int, samples: int) -> Floats:
    """How often each cluster is drawn in each resample: shape (samples, clusters); the same for the same seed."""
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=samples)
    return drawn.astype(float)


def _stretch(clusters: int) -> float:
    """What deviations are multiplied by: with few documents a plain bootstrap promises too much."""
    few = stats.t.ppf(0.975, clusters - 1) / stats.norm.ppf(0.975)
    return float(few * math.sqrt(clusters / (clusters - 1)))


def resampled_means(
    values: Sequence[float],
    clusters: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    seed: int = 0,
    samples: int = 2000,
) -> Floats:
    """Weighted means of `samples` draws of whole clusters with replacement (cluster bootstrap, Davison & Hinkley 1997).

    Deviations from the mean are stretched by t(G-1) / z and sqrt(G / (G-1)) for G clusters: with few documents a
    plain bootstrap promises too much. One cluster alone says nothing about others: all draws are then empty of
    information and the result spans -1 to +1 around the mean.
    """
    value, weight = np.asarray(values, float), np.asarray(weights if weights is not None else [1.0] * len(values))
    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    count, mean = len(names), float(np.average(value, weights=weight))
    if count < 2:
        return mean + np.linspace(-1.0, 1.0, samples)
    sums = np.bincount(place, weights=value * weight, minlength=count)
    sizes = np.bincount(place, weights=weight, minlength=count)
    draws = _drawn(count, seed, samples)
    result: Floats = mean + _stretch(count) * ((draws @ sums) / (draws @ sizes) - mean)
    return result


def resampled_strata(
    values: Sequence[float],
    clusters: Sequence[str],
    strata: Sequence[bool | None],
    shares: Floats,
    *,
    seed: int = 0,
) -> tuple[float, Floats]:
    """The mean and its draws where the values of True and False stand for shares of 1 - `shares` and `shares` of both.

    Values of the stratum None keep their own share. `shares` are draws, one for each of the bootstrap's; both strata
    must have values. Deviations are stretched as in `resampled_means`.
    """
    value, kind = np.asarray(values, float), _kinds(strata)
    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    count, own, means = len(names), float(np.mean(kind == 2)), _means(value, kind)
    mean = stratified_mean(values, strata, shares)
    if count < 2:
        return mean, mean + np.linspace(-1.0, 1.0, len(shares))
    draws, found = _drawn(count, seed, len(shares)), []
    for one in range(3):
        sums = draws @ np.bincount(place, weights=value * (kind == one), minlength=count)
        sizes = draws @ np.bincount(place, weights=(kind == one).astype(float), minlength=count)
        found.append(np.where(sizes > 0, sums / np.maximum(sizes, 1e-9), means[one]))
    drawn = own * found[2] + (1 - own) * (shares * found[0] + (1 - shares) * found[1])
    return mean, mean + _stretch(count) * (drawn - mean)


def stratified_mean(values: Sequence[float], strata: Sequence[bool | None], shares: Floats) -> float:
    """The mean of `resampled_strata` alone, at the median of `shares`."""
    kind, share = _kinds(strata), float(np.median(shares))
    own, (wrong, right, others) = float(np.mean(kind == 2)), _means(np.asarray(values, float), kind)
    return own * others + (1 - own) * (share * wrong + (1 - share) * right)


def _kinds(strata: Sequence[bool | None]) -> NDArray[np.int_]:
    """False, True and None as 0, 1 and 2."""
    return np.array([2 if one is None else int(one) for one in strata])


def _means(values: Floats, kinds: NDArray[np.int_]) -> list[float]:
    """The mean of each kind; 0 for one without values."""
    return [float(values[kinds == kind].mean()) if (kinds == kind).any() else 0.0 for kind in range(3)]


def interval(draws: Floats, *, confidence: float = 0.95) -> tuple[float, float]:
    """The central interval of bootstrap draws."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
