"""A task report and counts of usable data to a training plan with its reasons (pure).

The task people ask for most is trained first and alone; several at once when they are balanced; one after the other
once the first has succeeded or tasks got in each other's way. It knows no task by name, reads nothing, trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from scheduler.goals import CycleResult, Gap, expected, review, stage
from scheduler.matrix import Cell, matrix
from scheduler.memory import Memory, bits
from scheduler.phases import Means, Phase, fits, fitted, full, minutes
from scheduler.reasons import (
    STRATEGIES,
    adjusted,
    against_each,
    data_needed,
    demands,
    groups_of,
    lacking,
    reasons,
    runner_up,
)
from scheduler.report import TaskReport
from scheduler.tournament import Variant, of_recipes, of_strategies, settled, total_minutes

__all__ = ["SETTINGS", "CycleResult", "Plan", "as_text", "plan"]

TOURNAMENT = "tournament"
SETTINGS = ("auto", *STRATEGIES, TOURNAMENT)
"""What the strategy can be set to."""
SEARCH_STAGE = 3


@dataclass(frozen=True)
class Plan:
    """What a cycle trains and why; `examples` counts the distinct targets of the planned tasks, replay aside.

    `stage` is the phase of the guide's iterative plan, `expected` the gain per metric that the next cycle is held to.
    A tournament has `variants`; `phases` are those of the first. `comment` is why somebody set the strategy.
    """

    strategy: str
    tasks: tuple[str, ...]
    phases: tuple[Phase, ...]
    examples: int
    reasons: tuple[str, ...]
    runner_up: str
    runner_up_reason: str
    decision_matrix: dict[str, dict[str, Cell]] = field(default_factory=dict)
    estimated_minutes: float = 0.0
    data_needed: tuple[str, ...] = ()
    too_little_data: bool = False
    override: bool = False
    stage: int = 1
    expected: dict[str, float] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    comment: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the text that `as_text` prints."""
        return asdict(self) | {"text": as_text(self)}


def plan(
    report: TaskReport,
    *,
    examples: Mapping[str, int],
    held_out: Mapping[str, int],
    recipes: Mapping[str, Mapping[str, Any]],
    combined: Mapping[str, Any],
    phases: Sequence[str],
    strategy: str,
    min_examples: int,
    max_examples: int,
    max_minutes: float,
    tokens_per_second: float,
    tokens_per_example: float,
    hidden_size: int,
    scale_learning_rate: bool,
    max_passes: int | None,
    last: Sequence[CycleResult] = (),
    total: int | None = None,
    replay_share: float = 0.0,
    min_cases: int = 0,
    standing: Sequence[Gap] = (),
    comment: str = "",
    memory: Memory | None = None,
) -> Plan:
    """Choose a strategy, its tasks and its phases.

    `examples` and `held_out` count per task; one example may count for several, `total` is how many there are in all.
    `last` are earlier cycles, oldest first; `min_cases` is what the gate needs; `standing` is how far what serves is
    from the tasks' targets; `comment` says why the strategy is set; `memory` decides on the bits of the frozen weights.
    Raises ValueError for an unknown strategy or a speed that is not above zero.
    """
    if strategy not in SETTINGS:
        raise ValueError(f'the strategy is "{strategy}", expected {", ".join(SETTINGS)}.')
    if tokens_per_second <= 0:
        raise ValueError(f"tokens_per_second is {tokens_per_second}, expected the trainer's measured speed, above 0.")
    usable = {name: count for name, count in examples.items() if name in recipes and count > 0}
    means = Means(
        examples=usable,
        total=sum(usable.values()) if total is None else total,
        recipes=recipes,
        combined=combined,
        min_examples=min_examples,
        max_examples=max_examples,
        max_minutes=max_minutes,
        seconds_per_example=tokens_per_example / tokens_per_second,
        hidden_size=hidden_size if scale_learning_rate else None,
        max_passes=max_passes,
        replay_share=replay_share,
        memory=memory,
    )
    means, kept = settled(means, last)
    needed = data_needed(report, means, held_out, min_cases)
    if missing := lacking(report, means):
        return replace(_nothing(missing, needed, strategy), comment=comment)
    made = _planned(report, means, order=phases, strategy=strategy, last=last, needed=needed, standing=standing)
    return replace(made, comment=comment, reasons=(*made.reasons, *kept))


def _planned(
    report: TaskReport,
    means: Means,
    *,
    order: Sequence[str],
    strategy: str,
    last: Sequence[CycleResult],
    needed: tuple[str, ...],
    standing: Sequence[Gap],
) -> Plan:
    demand = demands(report, means.recipes)
    groups = groups_of(demand, means, order)
    against = against_each(demand, means, groups, last, standing)
    number, told = stage(groups["single"][0][0], standing, last)
    chosen = _chosen(against) if strategy in ("auto", TOURNAMENT) else strategy
    trained = STRATEGIES if strategy == TOURNAMENT else (chosen,)
    wanted = [phase.recipe for name in trained for phase in full(groups[name], means)]
    four_bit, why_bits = bits(means.memory, wanted)
    means = replace(means, four_bit=four_bit)
    variants: tuple[Variant, ...] = ()
    if strategy == TOURNAMENT:
        variants = of_strategies(groups, means) or of_recipes(chosen, groups, means, last=last)
    elif strategy == "auto" and number == SEARCH_STAGE:
        variants = of_recipes(chosen, groups, means, last=last)
    plans = {name: fitted(groups[name], means) for name in STRATEGIES}
    shares = {line.name: line.share for line in report.tasks}
    table = matrix(plans, demand, shares, means)
    phases = variants[0].phases if variants else plans[chosen]
    if not fits(phases, means):
        reason = (
            f"{means.max_minutes:g} minutes are too short: one pass over {phases[0].examples} examples takes about "
            f"{minutes(phases):.1f}. Raise training.max_minutes."
        )
        return _nothing(reason, needed, strategy, table)
    every = [*phases, *(phase for variant in variants for phase in variant.phases)]
    tasks = tuple(dict.fromkeys(task for phase in every for task in phase.tasks))
    second, why = runner_up(chosen, against)
    return Plan(
        strategy=TOURNAMENT if variants else chosen,
        tasks=tasks,
        phases=phases,
        examples=min(means.of(tasks), sum(phase.examples - phase.replay for phase in phases)),
        reasons=(
            *reasons(chosen, against, asked=strategy, report=report, means=means, tasks=tasks),
            told,
            *tried(variants, means, asked=strategy == TOURNAMENT),
            *([why_bits] if why_bits else []),
            *review(last),
            *adjusted(groups[chosen], phases, means),
        ),
        runner_up=second,
        runner_up_reason=why,
        decision_matrix=table,
        estimated_minutes=round(total_minutes(variants) if variants else minutes(phases), 1),
        data_needed=needed,
        override=strategy != "auto",
        stage=number,
        expected=expected(standing, tasks, last),
        variants=variants,
    )


def tried(variants: Sequence[Variant], means: Means, *, asked: bool) -> list[str]:
    """What a tournament tries, or why there is none though one was asked for, in sentences."""
    if variants:
        names = ", ".join(variant.name for variant in variants)
        return [f"Tried against each other: {names}; the best at the gate is kept."]
    return [f"{means.max_minutes:g} minutes are too short to try more than one way of training."] if asked else []


def _chosen(against: Mapping[str, str]) -> str:
    if not against["progressive"]:
        return "progressive"
    return "multi" if not against["multi"] else "single"


def _nothing(
    reason: str, needed: tuple[str, ...], strategy: str, table: dict[str, dict[str, Cell]] | None = None
) -> Plan:
    return Plan(
        strategy="single" if strategy in ("auto", TOURNAMENT) else strategy,
        tasks=(),
        phases=(),
        examples=0,
        reasons=(reason,),
        runner_up="none",
        runner_up_reason="There is nothing to choose from.",
        decision_matrix=table or {},
        data_needed=needed,
        too_little_data=True,
        override=strategy != "auto",
    )


def as_text(made: Plan) -> str:
    """The plan as lines to print."""
    lines = [
        f"Strategy: {made.strategy}" + (" (set, not chosen)" if made.override else ""),
        *([f"Set because: {made.comment}"] if made.comment else []),
        "Nothing is trained." if made.too_little_data else f"Tasks: {', '.join(made.tasks)}",
        "",
        "Why:",
        *(f"  {reason}" for reason in made.reasons),
        *_phases_text(made),
        "",
        f"Estimated time: {made.estimated_minutes:.1f} min",
        f"Expected gain: {_expected_text(made)}",
        f"Runner-up: {made.runner_up}. {made.runner_up_reason}",
    ]
    if made.decision_matrix:
        lines += ["", "Decision matrix:", *_matrix_text(made.decision_matrix)]
    if made.data_needed:
        lines += ["", "Data needed:", *(f"  {sentence}" for sentence in made.data_needed)]
    return "\n".join(lines)


def _expected_text(made: Plan) -> str:
    said = [f"{metric.replace('_', ' ')} {gain:+.2f}" for metric, gain in made.expected.items()]
    return ", ".join(said) or "not known before an adapter was evaluated, or every measured target is met"


def _phases_text(made: Plan) -> list[str]:
    several = [(f"{variant.name}: ", variant.phases) for variant in made.variants] or [("", made.phases)]
    numbered = [(name, number, phase) for name, phases in several for number, phase in enumerate(phases, start=1)]
    return [line for name, number, phase in numbered for line in _phase_text(f"{name}phase {number}", phase)]


def _phase_text(name: str, phase: Phase) -> list[str]:
    recipe = phase.recipe
    return [
        "",
        f"{name[0].upper()}{name[1:]}: {', '.join(phase.tasks)}",
        f"  LoRA rank {recipe['rank']}, alpha {recipe['alpha']}, on {', '.join(recipe['target_modules'])}",
        f"  Learning rate: recipe {recipe['learning_rate_recipe']:.2g}, used {recipe['learning_rate_used']:.2g}",
        *(["  Base weights: 4-bit (QLoRA)"] if recipe["four_bit"] else []),
        f"  Epochs: {phase.epochs}; warm-up: recipe {recipe['warmup_steps_recipe']},"
        f" used {recipe['warmup_steps']} of {phase.steps} steps",
        f"  Examples: {phase.examples} ({phase.replay} of other tasks); about {phase.minutes:.1f} min",
    ]


def _matrix_text(table: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    columns = list(next(iter(table.values()), {}))
    rows = [["Factor", *columns]]
    rows += [[factor, *(f"{'*' * row[c].stars:5} {row[c].value}" for c in columns)] for factor, row in table.items()]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
