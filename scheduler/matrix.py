"""The decision matrix: six factors of the three strategies, measured for this installation (pure).

Stars compare the strategies with each other, five for the best; amounts are what was compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scheduler.memory import shown
from scheduler.phases import Means, Phase, minutes

FACTORS = ("Training Speed", "Performance", "Versatility", "Complexity", "Resource Usage", "Maintenance")
MORE_IS_BETTER = ("Performance", "Versatility")


@dataclass(frozen=True)
class Cell:
    """One field of the matrix: what was measured, what that rests on, and one to five stars."""

    value: str
    reason: str
    amount: float
    stars: int = 0


def matrix(
    phases: Mapping[str, tuple[Phase, ...]], demand: Mapping[str, float], shares: Mapping[str, float], means: Means
) -> dict[str, dict[str, Cell]]:
    """Factor -> strategy -> cell, for the phases that each strategy would train."""
    cells = {strategy: _cells(plan, demand, shares, means) for strategy, plan in phases.items() if plan}
    return {factor: _starred(factor, {name: row[factor] for name, row in cells.items()}) for factor in FACTORS}


def _cells(
    phases: tuple[Phase, ...], demand: Mapping[str, float], shares: Mapping[str, float], means: Means
) -> dict[str, Cell]:
    tasks = list(dict.fromkeys(task for phase in phases for task in phase.tasks))
    return {
        "Training Speed": _speed(phases, means),
        "Performance": _performance(tasks, phases, demand),
        "Versatility": _versatility(tasks, shares),
        "Complexity": _complexity(tasks, phases),
        "Resource Usage": _resources(phases, means),
        "Maintenance": _maintenance(tasks, phases),
    }


def _speed(phases: tuple[Phase, ...], means: Means) -> Cell:
    passes = " + ".join(f"{phase.examples} x {phase.epochs}" for phase in phases)
    spent = minutes(phases)
    reason = f"examples x passes: {passes}, {means.seconds_per_example:.2f} s each"
    return Cell(f"{spent:.1f} min", reason, max(spent, 0.01))


def _performance(tasks: list[str], phases: tuple[Phase, ...], demand: Mapping[str, float]) -> Cell:
    """Focus on the main task: the share of the training steps that its own examples get, replay and others aside."""
    main = max(tasks, key=lambda task: demand.get(task, 0.0))
    weight = sum(
        phase.steps * (phase.examples - phase.replay) / max(phase.examples, 1) / len(phase.tasks)
        for phase in phases
        if main in phase.tasks
    )
    focus = weight / max(sum(phase.steps for phase in phases), 1)
    return Cell(f"{focus:.0%} of the steps", f"how much of the training is about {main}", focus)


def _versatility(tasks: list[str], shares: Mapping[str, float]) -> Cell:
    covered = min(sum(shares.get(task, 0.0) for task in tasks), 1.0)
    return Cell(f"{covered:.0%} of the exchanges", f"asked for {', '.join(tasks)}", covered)


def _complexity(tasks: list[str], phases: tuple[Phase, ...]) -> Cell:
    value = f"{len(tasks)} task{'s' * (len(tasks) > 1)}, {len(phases)} phase{'s' * (len(phases) > 1)}"
    return Cell(value, "each task and each phase has a recipe that can go wrong", len(tasks) + len(phases))


def _resources(phases: tuple[Phase, ...], means: Means) -> Cell:
    size = max(phase.recipe["rank"] * len(phase.recipe["target_modules"]) for phase in phases)
    spent = minutes(phases) / means.max_minutes if means.max_minutes > 0 else 1.0
    largest = max(phases, key=lambda phase: phase.recipe["rank"] * len(phase.recipe["target_modules"]))
    memory, choice = shown(means.memory, [phase.recipe for phase in phases])
    value = f"{spent:.0%} of the time, rank {largest.recipe['rank']}{memory}"
    reason = f"of {means.max_minutes:g} min; {len(largest.recipe['target_modules'])} modules per layer{choice}"
    return Cell(value, reason, max(size * spent, 0.01))


def _maintenance(tasks: list[str], phases: tuple[Phase, ...]) -> Cell:
    checks = sum(len({task for phase in phases[: number + 1] for task in phase.tasks}) for number in range(len(phases)))
    value = f"{checks} measurement{'s' * (checks > 1)}"
    return Cell(value, "tasks to measure after each phase, forgetting included", checks)


def _starred(factor: str, row: dict[str, Cell]) -> dict[str, Cell]:
    """Stars in proportion to the best of the row."""
    if not row:
        return {}
    amounts = [cell.amount for cell in row.values()]
    if factor in MORE_IS_BETTER:
        ratio = {name: cell.amount / max(*amounts, 1e-9) for name, cell in row.items()}
    else:
        ratio = {name: min(amounts) / max(cell.amount, 1e-9) for name, cell in row.items()}
    return {name: replace(cell, stars=max(1, round(5 * ratio[name]))) for name, cell in row.items()}
