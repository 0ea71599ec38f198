"""Means over documents that could have been others: draws of whole clusters, and intervals of them (pure)."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
TIE = 0.02
"""Two grades so near to each other tell of no answer lost or won, however many last digits differ."""
OWN = 5
"""Fewer values of a kind tell little of their task: there all tasks' values stand for them."""
Stratum = tuple[str, bool]
"""The task of a case, and whether people found the answer right that brought it about."""
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
    strata: Sequence[Stratum | None],
    shares: Mapping[str, Floats],
    *,
    labels: int | None = None,
    seed: int = 0,
) -> tuple[float, Floats]:
    """The mean and its draws where a task's values of False stand for a share of it, those of True for the rest.

    A task has the weight of its values, and values without a stratum keep their own. `shares` are draws by task, one
    for each of the bootstrap's. Of a kind of which a task has fewer than OWN values, all tasks' values stand for its
    own; both kinds must have values. Deviations are stretched as in `resampled_means`. Where hardly a pair of a part
    differs, they are at least as wide as the exact bounds of what was not seen there, by the part's weight.
    """
    value, (names, place) = np.asarray(values, float), np.unique(np.asarray(clusters), return_inverse=True)
    parts, count, some = _parts(strata, shares), len(names), len(next(iter(shares.values())))
    mean = sum(part.mean(value) for part in parts)
    if min(count, count if labels is None else labels) < 2:
        return mean, anything(mean, some)
    stretch = _stretch(np.bincount(place).astype(float), labels)
    draws, drawn, few = _drawn(count, seed, some), np.zeros(some), []
    for part in parts:
        mine = value[part.of]
        sums = draws @ np.bincount(place, weights=value * part.of, minlength=count)
        sizes = draws @ np.bincount(place, weights=part.of.astype(float), minlength=count)
        drawn += part.weight * np.where(sizes > 0, sums / np.maximum(sizes, 1e-9), mine.mean())
        if part.known and int((np.abs(mine) > TIE).sum()) < FEW:
            few.append((mine, stretch * float(np.median(part.weight))))
    draws = mean + stretch * (drawn - mean)
    return mean, _widened(draws, few, mean=mean) if few else draws


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
    return _widened(draws, [(value, _stretch(sizes))], mean=mean)


def _widened(draws: Floats, parts: Sequence[tuple[Floats, float]], *, mean: float) -> Floats:
    """Draws that are nowhere narrower than what was not seen among the values of each part, times its factor."""
    places = (np.arange(len(draws)) + 0.5) / len(draws)
    lost = [by * _unseen(1 - places, int((value < -TIE).sum()), len(value)) for value, by in parts]
    won = [by * _unseen(places, int((value > TIE).sum()), len(value)) for value, by in parts]
    least, most = (np.sqrt(np.sum(np.square(one), axis=0)) for one in (lost, won))
    found = np.sort(draws)
    wide: Floats = np.where(places < 0.5, np.minimum(found, mean - least), np.maximum(found, mean + most))
    return wide


def _unseen(confidence: Floats, seen: int, of: int) -> Floats:
    """By how much a share may be above the one that was seen."""
    if seen >= of:
        return np.zeros_like(confidence)
    bounds: Floats = stats.beta.ppf(confidence, seen + 1, of - seen) - seen / of
    return np.maximum(bounds, 0.0)


def stratified_mean(values: Sequence[float], strata: Sequence[Stratum | None], shares: Mapping[str, Floats]) -> float:
    """The mean of `resampled_strata` alone, at the medians of `shares`."""
    return sum(part.mean(np.asarray(values, float)) for part in _parts(strata, shares))


@dataclass(frozen=True)
class _Part:
    """Which values stand for draws of which weight; `known` is it of what kind they are."""

    of: NDArray[np.bool_]
    weight: Floats
    known: bool

    def mean(self, values: Floats) -> float:
        return float(np.median(self.weight)) * float(values[self.of].mean())


def _parts(strata: Sequence[Stratum | None], shares: Mapping[str, Floats]) -> list[_Part]:
    """By kind and task; one of all tasks where some have few values of a kind, and one for what is of no stratum."""
    tasks = np.array([None if one is None else one[0] for one in strata], object)
    kinds = {kind: np.array([one is not None and one[1] == kind for one in strata]) for kind in (False, True)}
    none = ~(kinds[False] | kinds[True])
    weights = defaultdict[tuple[bool, str | None], Floats](lambda: np.zeros(len(next(iter(shares.values())))))
    for task in sorted({one[0] for one in strata if one is not None}):
        for kind, share in ((False, shares[task]), (True, 1 - shares[task])):
            enough = (kinds[kind] & (tasks == task)).sum() >= OWN
            weights[kind, task if enough else None] += share * float(np.mean(tasks == task))
    parts = [
        _Part(kinds[kind] if task is None else kinds[kind] & (tasks == task), weight, known=True)
        for (kind, task), weight in weights.items()
    ]
    return [*parts, _Part(none, np.array([np.mean(none)]), known=False)] if none.any() else parts


def interval(draws: Floats, *, confidence: float = 0.95) -> tuple[float, float]:
    """The central interval of bootstrap draws."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
