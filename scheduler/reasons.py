"""What speaks for and against each strategy, in sentences (pure).

It weighs demand, usable data, time and earlier cycles; it does not choose, and knows no task by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from scheduler.goals import CycleResult, Gap, still_gains, widest
from scheduler.phases import Means, Phase, fits, full, minutes
from scheduler.report import TaskReport

STRATEGIES = ("single", "multi", "progressive")
BALANCED = 0.8
"""Tasks are balanced when the second is asked for at least this often, relative to the first."""
RELATED = 0.5
"""Training several tasks at once takes in those asked for at least this often, relative to the first."""

Groups = dict[str, list[tuple[str, ...]]]


def demands(report: TaskReport, recipes: Mapping[str, Any]) -> dict[str, float]:
    """How much each task is asked for, in [0, 1], most first.

    The mean of its share and its mean score: a task that scores on many exchanges counts beyond those it labels.
    """
    found = {line.name: (line.share + line.mean_score) / 2 for line in report.tasks if line.name in recipes}
    found |= {name: 0.0 for name in recipes if name not in found}
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def groups_of(demand: Mapping[str, float], means: Means, order: Sequence[str]) -> Groups:
    """What each strategy would train: its tasks, phase by phase."""
    having = [name for name in demand if name in means.examples]
    ready = [name for name in having if means.examples[name] >= means.min_examples]
    main = (ready or having)[0]
    several = [name for name in ready or having if demand[name] >= RELATED * demand[main]]
    if len(several) < 2:
        several = ready if len(ready) > 1 else having
    rest = sorted(
        (name for name in several if name != main), key=lambda n: order.index(n) if n in order else len(order)
    )
    return {"single": [(main,)], "multi": [tuple(several)], "progressive": [(name,) for name in (main, *rest)]}


def against_each(
    demand: Mapping[str, float],
    means: Means,
    groups: Groups,
    last: Sequence[CycleResult],
    standing: Sequence[Gap] = (),
) -> dict[str, str]:
    """What speaks against each strategy, "" for nothing."""
    main, several = groups["single"][0][0], groups["multi"][0]
    ready = [name for name in several if means.examples[name] >= means.min_examples]
    if not ready:
        alone = f"No task has {means.min_examples} examples of its own; together they have {means.of(several)}."
        return {"single": alone, "multi": "", "progressive": alone}
    if len(ready) < 2:
        few = f"Only {main} has the {means.min_examples} usable examples that a task needs."
        return {"single": "", "multi": few, "progressive": few}
    second = ready[1]
    lopsided = demand[second] < BALANCED * demand[main]
    uneven = f"{main} is asked for much more than {second} ({demand[main]:.0%} against {demand[second]:.0%})."
    multi = _too_long("multi", groups, means) or _lost("multi", last) or (uneven if lopsided else "")
    focus = _focus(main, last, standing)
    if focus:
        return {"single": "", "multi": multi or focus, "progressive": focus}
    untried = not _succeeded(main, last) and not _lost("multi", last)
    early = f"No cycle has promoted an adapter for {main} yet, and no conflict between tasks was seen."
    progressive = _too_long("progressive", groups, means) or _lost("progressive", last) or (early if untried else "")
    narrow = f"{main} and {second} are asked for about equally." if not lopsided else ""
    return {"single": narrow, "multi": multi, "progressive": progressive}


def _focus(main: str, last: Sequence[CycleResult], standing: Sequence[Gap]) -> str:
    """That the main task is below its target and still gains, as a sentence, or ""."""
    gap = widest(standing, main)
    return f"{gap} It still gains by itself." if gap is not None and still_gains(main, last) else ""


def _too_long(strategy: str, groups: Groups, means: Means) -> str:
    phases = full(groups[strategy], means)
    spent = f"It takes about {minutes(phases):.0f} minutes, more than the {means.max_minutes:g} there are."
    return "" if fits(phases, means) else spent


def _lost(strategy: str, last: Sequence[CycleResult]) -> str:
    """What the latest cycle of a strategy made worse, as a sentence, or ""."""
    cycles = [cycle for cycle in last if cycle.strategy == strategy]
    lost = cycles[-1].lost if cycles else ()
    return f"The last {strategy} cycle made {', '.join(lost)} worse." if lost else ""


def _succeeded(task: str, last: Sequence[CycleResult]) -> bool:
    return any(cycle.outcome == "promoted" and task in cycle.tasks for cycle in last)


def runner_up(chosen: str, against: Mapping[str, str]) -> tuple[str, str]:
    """The next best strategy and what speaks against it."""
    others = [name for name in ("progressive", "multi", "single") if name != chosen]
    second = next((name for name in others if not against[name]), others[0] if chosen != "single" else "multi")
    weaker = {
        "single": "It trains one task only; the others have enough data to take part.",
        "multi": "Training one after the other keeps tasks from getting in each other's way.",
        "progressive": "It takes longer, and later phases can undo earlier ones.",
    }
    return second, against[second] or weaker[second]


def reasons(
    chosen: str,
    against: Mapping[str, str],
    *,
    asked: str,
    report: TaskReport,
    means: Means,
    tasks: tuple[str, ...],
) -> list[str]:
    """Why this strategy and these tasks, in sentences; `asked` is what the settings say."""
    shares = {line.name: line.share for line in report.tasks}
    found = [
        f"{name}: {shares.get(name, 0):.1%} of the exchanges, {means.examples[name]} usable examples." for name in tasks
    ]
    if asked == "tournament":
        found.insert(0, f"A tournament is asked for; by itself the plan would be {chosen}.")
    elif asked != "auto":
        found.insert(
            0, f"The settings ask for {chosen}." + (f" Against it: {against[chosen]}" if against[chosen] else "")
        )
    elif chosen == "progressive":
        found.append("Tasks follow one another: an earlier cycle succeeded, or training them together failed.")
    elif chosen == "multi":
        found.append(against["single"])
    found += [f"Not {name}: {against[name]}" for name in STRATEGIES if name != chosen and against[name]]
    top = max(shares, key=lambda name: shares[name], default=tasks[0])
    enough = means.examples.get(top, 0) >= means.min_examples
    if top not in tasks and not enough:
        found.append(f"{top} is asked for most but has {means.examples.get(top, 0)} of {means.min_examples} examples.")
    elif top != tasks[0] and enough:
        found.append(f"{tasks[0]} counts for more than its share: it also scores on exchanges of other tasks.")
    return found


def adjusted(groups: Sequence[Sequence[str]], phases: Sequence[Phase], means: Means) -> list[str]:
    """Where phases differ from their recipes."""
    wanted = full(groups, means)
    found = []
    if sum(p.examples for p in phases) < sum(p.examples for p in wanted):
        found.append(f"{means.max_minutes:g} minutes leave room for {sum(p.examples for p in phases)} examples.")
    if any(phase.recipe["rank"] != phase.recipe["rank_recipe"] for phase in phases):
        found.append(f"All phases train one adapter, so that all have rank {phases[0].recipe['rank']}.")
    if any(phase.epochs < phase.recipe["epochs_recipe"] for phase in phases):
        found.append("Fewer passes than the recipe says: max_passes or the time budget.")
    return found


def lacking(report: TaskReport, means: Means) -> str:
    """Why nothing can be trained, or ""."""
    if not report.exchanges:
        return "The log holds no exchanges yet."
    if means.of(list(means.examples)) < min(means.min_examples, means.max_examples) or not means.examples:
        return f"{means.of(list(means.examples))} usable examples; a cycle needs {means.min_examples}."
    return ""


def data_needed(report: TaskReport, means: Means, held_out: Mapping[str, int], min_cases: int) -> tuple[str, ...]:
    """Sentences on what is missing, overall first, then for the tasks that the report recommends."""
    found = []
    missing = means.min_examples - means.of(list(means.examples))
    if missing > 0:
        found.append(f"About {missing} more usable examples until a cycle trains at all.")
    for name in [name for name in report.recommended if name in means.recipes]:
        missing = means.min_examples - means.examples.get(name, 0)
        cases = min_cases - held_out.get(name, 0)
        if missing > 0:
            found.append(f"About {missing} more examples of {name} until it can be trained as a task of its own.")
        if cases > 0:
            found.append(f"About {cases} more held-out cases of {name} until the gate can judge it by itself.")
    return tuple(found)
