"""Two reports over the same cases -> promote | reject | not enough evidence, with reasons in plain sentences (pure).

It knows scores and documents (clusters), not models, adapters or people; approval comes after it. Promote only if a
primary metric over the planned tasks' cases gained, its interval above 0 (Holm across the primaries), and no guardrail
is worse than its margin allows. Intervals are paired bootstraps over documents. A case where a metric applies to one
of the two answers only is left out there; the guardrail on declining, which always applies, covers it.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from scipy import stats

from finetune.evaluate import ALL, CaseScore, Floats, Report, interval, resampled_means, value_of

Role = Literal["primary", "guardrail", "shown"]
OTHER = "other tasks"
PLANNED = "planned tasks"
LOSS = "loss"
SHOWN = ("context_relevance", "citation_recall", "citation_precision", "right_citation", "verbatim_share")
_SMALLEST_GAIN = 0.01
"""No gain smaller than this is planned for when the cases still needed are counted."""

Pair = tuple[CaseScore, CaseScore]


class GateInputError(ValueError):
    """Two reports that cannot be compared: the message says what was found and what was expected."""


@dataclass(frozen=True)
class Delta:
    """Candidate minus serving on one metric; for `loss`, how much lower it is, as a share of the serving loss.

    `passed` is None when the evidence does not settle it, and for metrics that are only shown.
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


@dataclass(frozen=True)
class Verdict:
    """What the gate says; `cases_needed` is the total of held-out cases that would probably settle it."""

    verdict: Literal["promote", "reject", "not_enough_evidence"]
    reasons: tuple[str, ...]
    deltas: tuple[Delta, ...]
    cases_needed: int | None

    def to_json(self) -> str:
        """Canonical JSON: keys sorted, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class _Rules:
    margin: float
    hard_margin: float
    loss_margin: float
    min_cases: int
    min_task_cases: int
    confidence: float
    seed: int
    samples: int


@dataclass(frozen=True)
class _Comparison:
    """Paired means and the bootstrap draws of their difference."""

    metric: str
    task: str
    candidate: float
    serving: float
    difference: float
    draws: Floats
    n: int

    def p_value(self) -> float:
        """Two-sided bootstrap p-value, never 0."""
        below, above = float(np.mean(self.draws <= 0)), float(np.mean(self.draws >= 0))
        return min(1.0, max(2 * min(below, above), 1 / len(self.draws)))


def _pairs(candidate: Report, serving: Report) -> list[Pair]:
    """The two reports' scores case by case; raises where they do not hold the same cases and the same judge."""
    if candidate.judge != serving.judge:
        raise GateInputError(f'Found the judges "{candidate.judge}" and "{serving.judge}", expected the same one.')
    theirs = {score.case_id: score for score in serving.cases}
    unmatched = {score.case_id for score in candidate.cases} ^ set(theirs)
    if unmatched or len(candidate.cases) != len(serving.cases):
        raise GateInputError(
            f"Found {len(candidate.cases)} cases of {candidate.model} and {len(serving.cases)} of {serving.model}, "
            f"{len(unmatched)} in only one of them {sorted(unmatched)[:3]}, expected the same cases in both."
        )
    pairs = [(score, theirs[score.case_id]) for score in candidate.cases]
    for mine, other in pairs:
        if (mine.task, mine.cluster, mine.answerable) != (other.task, other.cluster, other.answerable):
            raise GateInputError(f"Case {mine.case_id} differs in task, cluster or answerable, expected the same case.")
    return pairs


def _compare(metric: str, task: str, pairs: Sequence[Pair], rules: _Rules) -> _Comparison | None:
    """The paired comparison over the cases to which the metric applies on both sides; None where there are none."""
    found = [(value_of(mine, metric), value_of(other, metric), mine.cluster) for mine, other in pairs]
    rows = [(a, b, cluster) for a, b, cluster in found if a is not None and b is not None]
    if not rows:
        return None
    ours, theirs = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    gains = ours - theirs
    if metric == LOSS:
        gains = -gains / max(float(theirs.mean()), 1e-9)
    draws = resampled_means(gains.tolist(), [row[2] for row in rows], seed=rules.seed, samples=rules.samples)
    return _Comparison(metric, task, float(ours.mean()), float(theirs.mean()), float(gains.mean()), draws, len(rows))


def _groups(pairs: Sequence[Pair], smallest: int) -> dict[str, list[Pair]]:
    """The pairs by task; tasks with fewer than `smallest` cases together as "other tasks"."""
    by_task: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_task.setdefault(pair[0].task, []).append(pair)
    large = {task: rows for task, rows in sorted(by_task.items()) if len(rows) >= smallest}
    rest = [pair for pair in pairs if pair[0].task not in large]
    return large | ({OTHER: rest} if rest else {})


def _said(comparison: _Comparison, low: float, high: float, level: float) -> str:
    """The numbers of a comparison as the beginning of a sentence."""
    name = comparison.metric.replace("_", " ")
    unit = " relative to serving, lower is better" if comparison.metric == LOSS else ""
    return (
        f"{name}, {comparison.task}: {comparison.serving:.3f} → {comparison.candidate:.3f} "
        f"({comparison.difference:+.3f}{unit}, {level:.4g} % interval {low:+.3f} to {high:+.3f}, n = {comparison.n})"
    )


def _delta(
    comparison: _Comparison,
    *,
    role: Role,
    margin: float,
    confidence: float,
    judge: Callable[[float, float], tuple[bool | None, str]],
) -> Delta:
    low, high = interval(comparison.draws, confidence=confidence)
    passed, words = judge(low, high)
    sentence = _said(comparison, low, high, 100 * confidence) + f": {words}."
    numbers = (comparison.candidate, comparison.serving, comparison.difference, low, high, comparison.n)
    return Delta(comparison.metric, comparison.task, *numbers, role, margin, passed, sentence)


def _holm(confidence: float, tests: int, rank: int) -> float:
    """The level of the interval that the test of this rank (0 has the smallest p-value) must meet."""
    return 1 - (1 - confidence) / (tests - rank)


def _primaries(comparisons: Sequence[_Comparison], rules: _Rules) -> list[Delta]:
    """Every primary in order of its p-value; better only while all before it are (Holm's step-down, 1979)."""
    deltas: list[Delta] = []
    still = True
    for rank, comparison in enumerate(sorted(comparisons, key=lambda c: c.p_value())):
        confidence = _holm(rules.confidence, len(comparisons), rank)

        def better(low: float, high: float, open_: bool = still, n: int = comparison.n) -> tuple[bool | None, str]:
            if low > 0 and open_ and n >= rules.min_cases:
                return True, "better"
            if high < 0:
                return False, "worse"
            return None, f"too few cases, {rules.min_cases} are needed" if n < rules.min_cases else "no clear gain"

        deltas.append(_delta(comparison, role="primary", margin=0.0, confidence=confidence, judge=better))
        still = still and deltas[-1].passed is True
    return deltas


def _guard(comparison: _Comparison, rules: _Rules, *, loss_held: bool | None) -> Delta:
    """A guardrail holds, fails, or stays open; `loss_held` lets a small one hold on its point estimate."""
    margin, hard = (rules.loss_margin if comparison.metric == LOSS else rules.margin), rules.hard_margin
    point, enough = comparison.difference, comparison.n >= rules.min_task_cases

    def holds(low: float, high: float) -> tuple[bool | None, str]:
        if low > -margin:
            return True, f"no worse than the margin of {margin:.3g}"
        if high < 0:
            return False, "worse, and not within the margin"
        if point < -hard and enough:
            return False, f"worse by more than {hard:.3g}, which is too much whatever the interval"
        if point >= -margin and loss_held:
            return True, (
                f"too few cases to certify the margin of {margin:.3g}; held on the point estimate, because the paired "
                "held-out loss is within its own margin"
            )
        return None, f"too few cases to tell whether it is within the margin of {margin:.3g}"

    return _delta(comparison, role="guardrail", margin=margin, confidence=rules.confidence, judge=holds)


def _guardrails(pairs: Sequence[Pair], primary: Sequence[str], rules: _Rules) -> list[Delta]:
    """The held-out loss over all cases first; then, leaning on it, declining, grounding and every task."""
    loss = _compare(LOSS, ALL, pairs, rules)
    first = [_guard(loss, rules, loss_held=None)] if loss else []
    held = bool(first and first[0].passed)
    groups = _groups(pairs, rules.min_task_cases)
    wanted = [(metric, ALL, list(pairs)) for metric in ("decline_correct", "groundedness")]
    per_task = (*primary, LOSS) if len(groups) > 1 else primary
    wanted += [(metric, task, rows) for task, rows in groups.items() for metric in per_task]
    compared = [_compare(metric, task, rows, rules) for metric, task, rows in wanted]
    return first + [_guard(comparison, rules, loss_held=held) for comparison in compared if comparison]


def _needed(delta: Delta, confidence: float, *, effect: float) -> int:
    """Cases for 80 % power to see `effect`: ((z1 + z2) sd / effect) squared, sd from the interval, so clustered."""
    z = float(stats.norm.ppf((1 + confidence) / 2))
    sd = (delta.high - delta.low) / (2 * z) * math.sqrt(delta.n)
    wanted = math.ceil(((z + float(stats.norm.ppf(0.8))) * sd / max(effect, _SMALLEST_GAIN)) ** 2)
    return max(wanted, delta.n + 1)


def _no_gain(primaries: Sequence[Delta], deltas: tuple[Delta, ...], rules: _Rules) -> Verdict:
    """Nothing is shown to be better or worse: reject, unless a point estimate is positive."""
    said = tuple(delta.sentence for delta in primaries)
    rising = [(rank, delta) for rank, delta in enumerate(primaries) if delta.difference > 0]
    if not rising:
        return Verdict("reject", ("Nothing got better.", *said), deltas, None)
    rank, lead = rising[0]
    confidence = _holm(rules.confidence, len(primaries), rank)
    needed = max(_needed(lead, confidence, effect=lead.difference), rules.min_cases)
    first = f"A gain is possible but not shown; about {needed} cases would show one of this size."
    return Verdict("not_enough_evidence", (first, *said), deltas, needed)


def _verdict(deltas: tuple[Delta, ...], rules: _Rules) -> Verdict:
    primaries = [delta for delta in deltas if delta.role == "primary"]
    guards = [delta for delta in deltas if delta.role == "guardrail"]
    failed = [delta.sentence for delta in [*guards, *primaries] if delta.passed is False]
    gained = [delta.sentence for delta in primaries if delta.passed]
    open_ = [delta for delta in guards if delta.passed is None]
    if failed:
        return Verdict("reject", ("Something got worse.", *failed), deltas, None)
    if not gained:
        return _no_gain(primaries, deltas, rules)
    if open_:
        needed = max(_needed(d, rules.confidence, effect=d.margin + min(d.difference, 0.0)) for d in open_)
        said = ("Better, but a guardrail is still open.", *gained, *(delta.sentence for delta in open_))
        return Verdict("not_enough_evidence", said, deltas, needed)
    return Verdict("promote", ("Better where it was trained, no worse elsewhere.", *gained), deltas, None)


def decide(
    candidate: Report,
    serving: Report,
    *,
    planned_tasks: Sequence[str],
    primary: Sequence[str] = ("source_attribution", "answer_accuracy"),
    margin: float = 0.03,
    hard_margin: float = 0.10,
    loss_margin: float = 0.02,
    min_cases: int = 30,
    min_task_cases: int = 20,
    confidence: float = 0.95,
    seed: int = 0,
    samples: int = 2000,
) -> Verdict:
    """Compare two reports of the same cases.

    `margin` and `hard_margin` are absolute (scores are in [0, 1]), `loss_margin` is relative to the serving loss. A
    guardrail holds when its interval lies above minus the margin; fails when the interval lies wholly below 0 or,
    from `min_task_cases` cases, the point estimate is below minus `hard_margin`; and with too few cases for either
    holds when its point estimate is within the margin and the held-out loss over all cases holds.
    """
    rules = _Rules(margin, hard_margin, loss_margin, min_cases, min_task_cases, confidence, seed, samples)
    pairs = _pairs(candidate, serving)
    planned = [pair for pair in pairs if pair[0].task in planned_tasks]
    compared = [found for metric in primary if (found := _compare(metric, PLANNED, planned, rules))]
    if not compared:
        said = f"No held-out case of the planned tasks ({', '.join(planned_tasks) or 'none'}) has a primary metric."
        return Verdict("not_enough_evidence", (said,), (), min_cases)
    shown = [found for metric in SHOWN if (found := _compare(metric, ALL, pairs, rules))]
    deltas = (
        *_primaries(compared, rules),
        *_guardrails(pairs, primary, rules),
        *(_delta(c, role="shown", margin=0.0, confidence=confidence, judge=lambda *_: (None, "shown")) for c in shown),
    )
    return _verdict(deltas, rules)
