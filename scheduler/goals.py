"""How far tasks are from their targets, what a cycle may be expected to gain, and the phase of the plan (pure).

Values are what the serving adapter reached when it was evaluated last, targets those of the taxonomy; all in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

LEAST_CASES = 8
"""Fewer held-out cases say nothing of a target."""
NEAR = 0.02
"""A target counts as met from this far below it."""
MEASURED = (
    *("context_relevance", "passage_relevance", "context_enough", "citation_recall", "citation_precision"),
    "source_attribution",
    *("right_citation", "answer_accuracy", "decline_correct", "groundedness", "verbatim_share", "selective_citing"),
    *("responding", "concision", "length_ratio", "step_completeness", "structure", "technical_terms"),
    *("clarity", "depth"),
    *("loss", "perplexity"),
)
"""What an evaluation measures (`finetune/evaluate.py`)."""
PRIOR = 0.5
"""The share of a gap that a cycle is expected to close before any was measured; it weighs as much as one cycle."""


@dataclass(frozen=True)
class CycleResult:
    """What an earlier cycle came to; `lost` are the tasks that its adapter made worse.

    `expected` holds the gain that its plan expected per metric, `gained` the measured difference with its interval,
    `way` the change of the recipes that won a search and `tried` all that it tried, where they are still the same.
    """

    strategy: str
    tasks: tuple[str, ...]
    outcome: str
    lost: tuple[str, ...] = ()
    expected: Mapping[str, float] = field(default_factory=dict)
    gained: Mapping[str, Sequence[float]] = field(default_factory=dict)
    way: str = ""
    tried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gap:
    """A task's value of a metric beside its target, over so many held-out cases."""

    task: str
    metric: str
    value: float
    target: float
    cases: int

    @property
    def short(self) -> float:
        """How much is missing."""
        return max(0.0, self.target - self.value)

    def __str__(self) -> str:
        said = "meets" if self.short <= NEAR else "is below"
        name = self.metric.replace("_", " ")
        return f"{self.task} {said} its target: {name} {self.value:.2f} of {self.target:.2f} (n = {self.cases})."


def gaps(
    summaries: Sequence[Mapping[str, Any]], targets: Mapping[str, Mapping[str, float]], covering: Sequence[str] = ()
) -> tuple[Gap, ...]:
    """The gaps that can be told from an evaluation's summaries; a task that covers all exchanges is read from "all".

    A target of 0 is none, and a metric that is not measured or on fewer than LEAST_CASES cases is left out.
    """
    measured = {(one["task"], one["metric"]): one for one in summaries if one["n"] >= LEAST_CASES}
    found = []
    for task, wanted in targets.items():
        for metric, target in wanted.items():
            one = measured.get(("all" if task in covering else task, metric))
            if one is not None and target > 0:
                found.append(Gap(task, metric, float(one["mean"]), target, int(one["n"])))
    return tuple(found)


def unmeasured(targets: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The targets of metrics that are never measured, as sentences: a name may be misspelt."""
    return [
        f'The target of {task} for "{metric}" counts for nothing: no such metric is measured.'
        for task, wanted in targets.items()
        for metric in wanted
        if metric not in MEASURED
    ]


def widest(standing: Sequence[Gap], task: str) -> Gap | None:
    """The metric of a task that misses its target most; None where it meets all that were measured."""
    missed = [gap for gap in standing if gap.task == task and gap.short > NEAR]
    return max(missed, key=lambda gap: gap.short, default=None)


def still_gains(task: str, last: Sequence[CycleResult]) -> bool:
    """Whether the latest cycle that trained a task was promoted."""
    cycles = [cycle for cycle in last if task in cycle.tasks]
    return bool(cycles) and cycles[-1].outcome == "promoted"


def closing_share(last: Sequence[CycleResult]) -> float:
    """The share of what was expected that cycles gained, as a share of the gap: earlier ones and PRIOR, averaged."""
    ratios = [
        PRIOR * min(max(cycle.gained[metric][0] / gain, 0.0), 1 / PRIOR)
        for cycle in last
        for metric, gain in cycle.expected.items()
        if gain > 0 and metric in cycle.gained
    ]
    return (PRIOR + sum(ratios)) / (1 + len(ratios))


def expected(standing: Sequence[Gap], tasks: Sequence[str], last: Sequence[CycleResult]) -> dict[str, float]:
    """The gain per metric that a cycle on `tasks` may be expected to bring: a share of the widest gap among them."""
    share = closing_share(last)
    found: dict[str, float] = {}
    for gap in standing:
        if gap.task in tasks and gap.short > NEAR:
            found[gap.metric] = max(found.get(gap.metric, 0.0), round(share * gap.short, 3))
    return found


def stage(main: str, standing: Sequence[Gap], last: Sequence[CycleResult]) -> tuple[int, str]:
    """The phase of the iterative plan, 1 to 3, and why.

    1 until the main task has a promoted adapter; 2 while it expands by results; 3 once two cycles in a row brought
    nothing after that: smaller steps, more data where it is weak.
    """
    if not any(cycle.outcome == "promoted" and main in cycle.tasks for cycle in last):
        return 1, f"Phase 1: start with {main}; no adapter for it was promoted yet."
    if len(last) >= 2 and not any(cycle.outcome == "promoted" for cycle in last[-2:]):
        weak = ", ".join(sorted({gap.task for gap in standing if gap.short > NEAR}))
        return 3, "Phase 3: the last two cycles brought nothing new; " + (
            f"more data is wanted for {weak}." if weak else "refine the recipes."
        )
    gap = widest(standing, main)
    if gap is not None and still_gains(main, last):
        return 2, f"Phase 2, a problem area: {gap}"
    return 2, f"Phase 2: {main} is served by an adapter; other tasks join."


def review(last: Sequence[CycleResult]) -> list[str]:
    """What the latest plan expected against what was measured, in sentences."""
    if not last:
        return []
    return [_reviewed(metric, gain, last[-1].gained.get(metric)) for metric, gain in last[-1].expected.items()]


def _reviewed(metric: str, gain: float, found: Sequence[float] | None) -> str:
    said = f"The last plan expected {metric.replace('_', ' ')} to rise by {gain:.2f}; "
    if found is None:
        return said + "it was not measured."
    return said + f"it changed by {found[0]:+.2f} ({found[1]:+.2f} to {found[2]:+.2f})."
