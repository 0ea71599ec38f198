"""Means over documents that could have been others: draws of whole clusters, and intervals of them (pure)."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
TIE = 0.02
"""Two grades so near to each other tell of no answer lost or won, however many last digits differ."""
FEW = 5
"""Fewer pairs that differ are drawn too seldom: with three of them one draw in twenty has none at all."""

LEAST_EQUAL = 8
"""Clusters of whatever sizes count as so many equal ones, if there are so many: fewer would be far too careful."""


@lru_cache(maxsize=64)
def _drawn(clusters: int, seed: int, samples: int) -> Floats:
    """How often each cluster is drawn in each resample: shape (samples, clusters); the same for the same seed."""
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=samples)
    return drawn.astype(float)


def _stretch(sizes: Floats, most: int | None = None) -> float:
    """What deviations are multiplied by, of clusters of such sizes: with few a plain bootstrap promises too much.

    Unequal ones count as fewer (Carter, Schnepel and Steigerwald, "Asymptotic behavior of a t-test robust to cluster
    heterogeneity", 2017), but as LEAST_EQUAL, as whether a large one is drawn scatters the draws already. With `most`
    they count as at most so many.
    """
    clusters = min(len(sizes), most or len(sizes))
    equal = max(float(sizes.sum() ** 2 / (sizes**2).sum()), LEAST_EQUAL)
    few = stats.t.ppf(0.975, min(clusters, equal) - 1) / stats.norm.ppf(0.975)
    return float(few) * math.sqrt(clusters / (clusters - 1))


def resampled_means(
    values: Sequence[float],
    clusters: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    labels: int | None = None,
    seed: int = 0,
    samples: int = 2000,
) -> Floats:
    """Weighted means of `samples` draws of whole clusters with replacement (cluster bootstrap, Davison & Hinkley 1997).

    Deviations from the mean are stretched by t(G-1) / z and sqrt(G / (G-1)) for G clusters, of which unequal ones count
    as fewer. One cluster alone says nothing about others: the result is then wider than any difference of two shares
    can be. Where `labels` of so many cases decide, they count as at most so many clusters.
    """
    value, weight = np.asarray(values, float), np.asarray(weights if weights is not None else [1.0] * len(values))
    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    count, mean = len(names), float(np.average(value, weights=weight))
    if min(count, count if labels is None else labels) < 2:
        return anything(mean, samples)
    sums = np.bincount(place, weights=value * weight, minlength=count)
    sizes: Floats = np.bincount(place, weights=weight, minlength=count).astype(float)
    draws = _drawn(count, seed, samples)
    result: Floats = mean + _stretch(sizes, labels) * ((draws @ sums) / (draws @ sizes) - mean)
    return result


def resampled_strata(
    values: Sequence[float],
    clusters: Sequence[str],
    strata: Sequence[bool | None],
    shares: Floats,
    *,
    labels: int | None = None,
    seed: int = 0,
) -> tuple[float, Floats]:
    """The mean and its draws where the values of True and False stand for shares of 1 - `shares` and `shares` of both.

    Values of the stratum None keep their own share. `shares` are draws, one for each of the bootstrap's; both strata
    must have values. Deviations are stretched as in `resampled_means`. Where hardly a pair of a stratum differs, they
    are at least as wide as the exact bound of what was not seen there, by the stratum's share.
    """
    value, kind = np.asarray(values, float), _kinds(strata)
    names, place = np.unique(np.asarray(clusters), return_inverse=True)
    count, own, means = len(names), float(np.mean(kind == 2)), _means(value, kind)
    mean = stratified_mean(values, strata, shares)
    if min(count, count if labels is None else labels) < 2:
        return mean, anything(mean, len(shares))
    stretch = _stretch(np.bincount(place).astype(float), labels)
    draws, found = _drawn(count, seed, len(shares)), []
    for one in range(3):
        sums = draws @ np.bincount(place, weights=value * (kind == one), minlength=count)
        sizes = draws @ np.bincount(place, weights=(kind == one).astype(float), minlength=count)
        found.append(np.where(sizes > 0, sums / np.maximum(sizes, 1e-9), means[one]))
    drawn = own * found[2] + (1 - own) * (shares * found[0] + (1 - shares) * found[1])
    draws = mean + stretch * (drawn - mean)
    share = float(np.median(shares))
    for one, part in ((0, (1 - own) * share), (1, (1 - own) * (1 - share))):
        mine = value[kind == one]
        if len(mine) and int((np.abs(mine) > TIE).sum()) < FEW:
            draws = _widened(draws, mine, mean=mean, by=stretch * part)
    return mean, draws


def anything(mean: float, samples: int) -> Floats:
    """Draws that say nothing: their central 90 % hold 0, whatever the mean, and nearly any difference of two shares."""
    return mean + np.linspace(-2.0, 2.0, samples) * max(1.0, abs(mean))


def few_differ(values: Sequence[float] | Floats, clusters: Sequence[str], draws: Floats) -> bool:
    """Whether too few pairs differ, by more than TIE, to be drawn from, or a few documents happen to agree."""
    alike = len(set(clusters)) < FEW and float(np.ptp(draws)) < 1e-9
    return alike or int((np.abs(np.asarray(values, float)) > TIE).sum()) < FEW


def as_wide_as_unseen(
    draws: Floats, values: Sequence[float] | Floats, clusters: Sequence[str], *, mean: float
) -> Floats:
    """Draws that are nowhere narrower than the exact bounds on how often a case is lost, or won, by a whole point.

    `values` are paired differences in [-1, 1]. Of n cases of which k are lost, a share of up to the upper
    Clopper-Pearson bound may be (of none about 3.7 / n at 97.5 %), stretched as in `resampled_means`.
    """
    value, sizes = np.asarray(values, float), np.unique(np.asarray(clusters), return_counts=True)[1].astype(float)
    if len(sizes) < 2:
        return draws
    return _widened(draws, value, mean=mean, by=_stretch(sizes))


def _widened(draws: Floats, value: Floats, *, mean: float, by: float) -> Floats:
    """Draws that are nowhere narrower than `by` times what was not seen among values."""
    places = (np.arange(len(draws)) + 0.5) / len(draws)
    least = mean - by * _unseen(1 - places, int((value < -TIE).sum()), len(value))
    most = mean + by * _unseen(places, int((value > TIE).sum()), len(value))
    found: Floats = np.sort(draws)
    return np.where(places < 0.5, np.minimum(found, least), np.maximum(found, most))


def _unseen(confidence: Floats, seen: int, of: int) -> Floats:
    """By how much a share may be above the one that was seen."""
    if seen >= of:
        return np.zeros_like(confidence)
    bounds: Floats = stats.beta.ppf(confidence, seen + 1, of - seen) - seen / of
    return np.maximum(bounds, 0.0)


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
