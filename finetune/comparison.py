"""Paired values of two systems, by document -> intervals, and what they say in plain sentences (pure).

It knows numbers and clusters, nothing of what was measured: `gate` compares adapters with it, `scheduler/rank.py` the
weights of retrieval. Intervals are paired bootstraps over clusters; several primaries share their error by Holm's rule.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from finetune.bootstrap import (
    Floats,
    Stratum,
    anything,
    as_wide_as_unseen,
    few_differ,
    interval,
    resampled_means,
    resampled_strata,
    stratified_mean,
)
from finetune.needed import least_documents
from finetune.rated import LEAST_CASES

SERVING = "serving"
Role = Literal["primary", "guardrail", "shown"]
LOSS = "loss"
USUAL = 0.95
"""The level of an interval where nothing else shares its error."""
LIKELY = 0.90
"""A loss beyond the hard margin counts where an interval of this level lies below 0: one error in twenty."""


@dataclass(frozen=True)
class Delta:
    """Candidate minus serving on one metric; for `loss`, how much lower it is, as a share of the serving loss.

    `passed` is None when the evidence does not settle it, and for metrics that are only shown. `few` says that so few
    pairs differ that the interval is a bound on what was not seen; `labels` of people decide, where there are any, of
    the `n` cases from so many `documents`.
    """

    metric: str
    task: str
    candidate: float
    serving: float
    difference: float
    low: float
    high: float
    n: int
    role: Role
    margin: float
    passed: bool | None
    sentence: str
    against: str = SERVING
    few: bool = False
    labels: int | None = None
    documents: int = 0


@dataclass(frozen=True)
class Verdict:
    """What the gate says; `cases_needed` more held-out cases of the task `needed_of` would probably settle it."""

    verdict: Literal["promote", "reject", "not_enough_evidence"]
    reasons: tuple[str, ...]
    deltas: tuple[Delta, ...]
    cases_needed: int | None
    needed_of: str = ""

    def to_json(self) -> str:
        """Canonical JSON: keys sorted, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Rules:
    """Margins, the fewest cases and the level that a verdict needs; `finetune.gate.decide` says what each does."""

    margin: float = 0.03
    hard_margin: float = 0.10
    loss_margin: float = 0.02
    min_cases: int = 30
    min_task_cases: int = 20
    confidence: float = USUAL
    seed: int = 0
    samples: int = 2000
    min_labels: int = 20


@dataclass(frozen=True)
class Comparison:
    """Paired means, and draws of their difference over documents; `few` as in Delta, `labels` that correct them."""

    metric: str
    task: str
    candidate: float
    serving: float
    difference: float
    draws: Floats
    n: int
    documents: int
    few: bool = False
    against: str = SERVING
    labels: int | None = None

    def width(self, confidence: float) -> float:
        """How wide the interval is."""
        low, high = interval(self.draws, confidence=confidence)
        return high - low

    def p_value(self) -> float:
        """One-sided bootstrap p-value of there being no gain, never 0."""
        return max(float(np.mean(self.draws <= 0)), 1 / len(self.draws))


def compared(
    metric: str,
    task: str,
    rows: Sequence[tuple[float, float, str]],
    rules: Rules,
    *,
    against: str = SERVING,
    strata: Sequence[Stratum | None] = (),
    wrong: Mapping[str, Floats] | None = None,
    labels: Sequence[tuple[float, str]] | None = None,
) -> Comparison | None:
    """The paired comparison over rows of (candidate's value, the other's, cluster); None where there are none.

    `strata` says of each row its task and whether people found the other's own answer right, None where that is not why
    it is there; `wrong` are draws of the share of wrong ones among its answers by task, by which such rows are weighed
    where there are LEAST_CASES of either kind (`finetune/rated.py`). Where people's labels correct the values, `labels`
    are their own differences with their clusters: what was not seen is then bounded by these few, however many rows
    there are.
    """
    if not rows:
        return None
    ours, theirs = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], float)
    clusters, kinds = [row[2] for row in rows], [one[1] for one in strata if one is not None]
    gains, told = ours - theirs, None if labels is None else len(labels)
    if metric == LOSS:
        gains = -gains / max(float(theirs.mean()), 1e-9)
    if not wrong or min(kinds.count(True), kinds.count(False)) < LEAST_CASES:
        draws = resampled_means(gains.tolist(), clusters, seed=rules.seed, samples=rules.samples, labels=told)
        candidate, serving, difference = float(ours.mean()), float(theirs.mean()), float(gains.mean())
    else:
        difference, draws = resampled_strata(gains.tolist(), clusters, strata, wrong, seed=rules.seed, labels=told)
        candidate, serving = (stratified_mean(one.tolist(), strata, wrong) for one in (ours, theirs))
    # A loss is a mean over many tokens: where it is the same to the last bit everywhere, so are the models there.
    seen, where = gains, clusters
    if labels is not None:
        seen, where = np.array([value for value, _ in labels], float), [cluster for _, cluster in labels]
        # Labels of one document bound nothing of others, whatever the judge says there.
        draws = anything(difference, len(draws)) if len(set(where)) < 2 else draws
    few = metric != LOSS and few_differ(seen, where, draws)
    draws = as_wide_as_unseen(draws, seen, where, mean=difference) if few else draws
    of, documents = len(rows), len(set(clusters))
    return Comparison(metric, task, candidate, serving, difference, draws, of, documents, few, against, told)


def _said(comparison: Comparison, low: float, high: float, level: float) -> str:
    """The numbers of a comparison as the beginning of a sentence."""
    name = comparison.metric.replace("_", " ")
    unit = f" relative to {comparison.against}, lower is better" if comparison.metric == LOSS else ""
    whom = "" if comparison.against == SERVING else f" against {comparison.against}"
    return (
        f"{name}, {comparison.task}{whom}: {comparison.serving:.3f} → {comparison.candidate:.3f} "
        f"({comparison.difference:+.3f}{unit}, {level:.4g} % interval {low:+.3f} to {high:+.3f}, n = {comparison.n})"
    )


def delta(
    comparison: Comparison,
    *,
    role: Role,
    margin: float,
    confidence: float,
    judge: Callable[[float, float], tuple[bool | None, str]],
) -> Delta:
    """A comparison with its interval and what `judge(low, high)` makes of it."""
    low, high = interval(comparison.draws, confidence=confidence)
    passed, words = judge(low, high)
    sentence = _said(comparison, low, high, 100 * confidence) + f": {words}."
    numbers = (comparison.candidate, comparison.serving, comparison.difference, low, high, comparison.n)
    found = Delta(comparison.metric, comparison.task, *numbers, role, margin, passed, sentence)
    labels, documents = comparison.labels, comparison.documents
    return replace(found, against=comparison.against, few=comparison.few, labels=labels, documents=documents)


def holm(confidence: float, tests: int, rank: int) -> float:
    """The level of the interval that the test of this rank (0 has the smallest p-value) must meet."""
    return 1 - (1 - confidence) / (tests - rank)


def primaries(comparisons: Sequence[Comparison], rules: Rules) -> list[Delta]:
    """Every primary in order of its p-value; better only while all before it are (Holm's step-down, 1979).

    One that lost, but certainly less than the margin, is no gain and no failure: its guardrail allows that much.
    """
    deltas: list[Delta] = []
    still = True
    for rank, comparison in enumerate(sorted(comparisons, key=lambda c: c.p_value())):
        confidence = holm(rules.confidence, len(comparisons), rank)
        scarce = _scarce(comparison, rules, confidence)

        def better(low: float, high: float, open_: bool = still, scarce: str = scarce) -> tuple[bool | None, str]:
            if low > 0 and open_ and not scarce:
                return True, "better"
            if high < 0:
                return (False, "worse") if low <= -rules.margin else (None, "lower, but within the margin")
            return None, scarce or "no clear gain"

        deltas.append(delta(comparison, role="primary", margin=0.0, confidence=confidence, judge=better))
        still = still and deltas[-1].passed is True
    return deltas


def _scarce(comparison: Comparison, rules: Rules, confidence: float) -> str:
    """What a primary has too few of to show a gain, in words; empty where it has enough."""
    if comparison.n < rules.min_cases:
        return f"too few cases, {rules.min_cases} are needed"
    if comparison.labels is not None and comparison.labels < rules.min_labels:
        return f"too few labels of the {comparison.task}, {rules.min_labels} are needed"
    least = least_documents(confidence)
    return f"too few documents, {least} are needed" if comparison.documents < least else ""


def guard(
    comparison: Comparison, rules: Rules, *, loss_held: bool | None, alone: bool = False, certain: bool = False
) -> Delta:
    """A guardrail holds, fails, or stays open; `loss_held` lets a small one hold on its point estimate.

    Small is one whose interval is so wide that no difference at all would often not be certified; one that people's
    labels decide holds so only where they exclude a loss beyond the hard margin. `alone` says that the cases are also
    counted in a pool of small tasks: then only a clear or a large loss of its own fails. `certain` lets a small one
    hold that is no worse at all, because what covers it is certified by itself.

    A level above the usual one, for several candidates or looks, asks more of what certifies a margin. It makes no loss
    less clear and no comparison small: both are read from the usual interval.
    """
    margin, hard = (rules.loss_margin if comparison.metric == LOSS else rules.margin), rules.hard_margin
    point, enough = comparison.difference, comparison.n >= rules.min_task_cases
    what = "cases" if comparison.labels is None else "labels"
    # Many small tasks are looked at, each alone: one in forty would look worse for nothing at the usual level.
    clear = interval(comparison.draws, confidence=0.995 if alone else USUAL)[1] < 0
    small = too_wide(comparison.width(USUAL), margin)
    # A few cases are often more than the hard margin apart for nothing: the loss must be likely by itself as well.
    likely = enough and interval(comparison.draws, confidence=LIKELY)[1] < 0

    def holds(low: float, high: float) -> tuple[bool | None, str]:
        if low > -margin:
            return True, f"no worse than the margin of {margin:.3g}"
        if clear:
            return False, "worse, and not within the margin"
        if point < -hard and likely:
            return False, f"worse by more than {hard:.3g}, and a loss is likely"
        told = comparison.labels is None or low > -hard
        if (alone or point >= -margin) and loss_held and told and small:
            covered = "the pooled small tasks and the " if alone else "the paired "
            return True, (
                f"too few {what} to certify the margin of {margin:.3g}; held on the point estimate, because {covered}"
                "held-out loss " + ("cover it" if alone else "is within its own margin")
            )
        if certain and point >= 0 and small:
            return True, (
                f"too few cases to certify the margin of {margin:.3g}; held because it is no worse, and declining and "
                "support over all cases hold by their own intervals"
            )
        return None, f"too few {what} to tell whether it is within the margin of {margin:.3g}"

    return delta(comparison, role="guardrail", margin=margin, confidence=rules.confidence, judge=holds)


def too_wide(width: float, margin: float) -> bool:
    """Whether an interval is so wide that no difference at all would be certified in fewer than 17 of 20 tries."""
    return width / 2 > 0.65 * margin
