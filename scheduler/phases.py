"""Recipes to training phases that fit the time budget: learning rate, warm-up, passes and examples as used (pure).

It knows no strategy: it is told which tasks are trained together and in which order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetune.choosing import replay_count
from scheduler.memory import Memory

WIDTH = 4096
WIDTH_POWER = 0.781
SHAPE = ("rank", "alpha", "dropout", "target_modules")
"""What phases that continue one adapter have in common."""
WARMUP_SHARE = 0.1
"""Warm-up takes at most this share of the steps, whatever the recipe says."""


@dataclass(frozen=True)
class Phase:
    """One training run.

    `examples` is what it sees in a pass, `replay` of them from other tasks; `minutes` is estimated. The recipe is as
    used, with what was written beside it as `learning_rate_recipe`, `warmup_steps_recipe`, `epochs_recipe` and
    `rank_recipe`.
    """

    tasks: tuple[str, ...]
    recipe: dict[str, Any]
    epochs: int
    examples: int
    replay: int
    steps: int
    minutes: float


@dataclass(frozen=True)
class Means:
    """What training has to work with: usable examples per task and in all, recipes and limits.

    `seconds_per_example` is for one pass; `hidden_size` is None where learning rates are not scaled. `four_bit`
    says that the frozen weights are held in 4 bits, and `memory` what that was decided on.
    """

    examples: Mapping[str, int]
    total: int
    recipes: Mapping[str, Mapping[str, Any]]
    combined: Mapping[str, Any]
    min_examples: int
    max_examples: int
    max_minutes: float
    seconds_per_example: float
    hidden_size: int | None
    max_passes: int | None
    replay_share: float
    memory: Memory | None = None
    four_bit: bool = False

    def having(self, tasks: Sequence[str]) -> int:
        """How many examples there are of `tasks`; one that counts for several tasks is there once."""
        return min(sum(self.examples.get(task, 0) for task in tasks), self.total)

    def of(self, tasks: Sequence[str]) -> int:
        """How many examples a run over `tasks` can have."""
        return min(self.having(tasks), self.max_examples)


def scaled_rate(rate: float, hidden_size: int | None) -> float:
    """A learning rate meant for a model 4,096 wide, for one of this width: rate x (4096 / hidden size)^0.781.

    Source: the width law of "LoRA without regret" (Thinking Machines, 2025).
    """
    return rate if hidden_size is None else rate * float((WIDTH / hidden_size) ** WIDTH_POWER)


def full(groups: Sequence[Sequence[str]], means: Means) -> tuple[Phase, ...]:
    """One phase per group of tasks with all their examples, however long that takes.

    Later phases continue the adapter of the first, so that all have one shape: the largest rank and every module.
    """
    shape = _shape(groups, means) if len(groups) > 1 else {}
    return tuple(_phase(tasks, means, shape, most=means.max_examples) for tasks in groups)


def fitted(groups: Sequence[Sequence[str]], means: Means) -> tuple[Phase, ...]:
    """One phase per group of tasks within the time budget: fewer examples first, then fewer passes.

    When not even one pass over the fewest examples fits, that is returned, and its minutes exceed the budget.
    """
    phases = full(groups, means)
    longest = max(phase.epochs for phase in phases)
    for passes in range(longest, 0, -1):
        phases = full(groups, replace(means, max_passes=passes))
        share = min(1.0, means.max_minutes / max(minutes(phases), 1e-9))
        fewer = replace(means, max_passes=passes)
        phases = tuple(
            _phase(phase.tasks, fewer, phase.recipe, most=max(means.min_examples, int(phase.examples * share)))
            for phase in phases
        )
        if fits(phases, means):
            break
    return phases


def minutes(phases: Sequence[Phase]) -> float:
    """The estimated minutes of all phases."""
    return sum(phase.minutes for phase in phases)


def fits(phases: Sequence[Phase], means: Means) -> bool:
    """Whether phases stay within the time budget."""
    return minutes(phases) <= means.max_minutes


def _phase(tasks: Sequence[str], means: Means, shape: Mapping[str, Any], *, most: int) -> Phase:
    """A phase of at most `most` examples, replay included; `shape` overrides what the recipe says of the adapter."""
    recipe = _recipe(tasks, means)
    recipe |= {key: shape[key] for key in SHAPE if key in shape} | {"rank_recipe": recipe["rank"]}
    mine = means.having(tasks)
    replay = replay_count(mine, means.total - mine, most=most, share=means.replay_share)
    own = min(mine, most - replay)
    epochs = max(1, min(recipe["epochs"], means.max_passes or recipe["epochs"]))
    steps = epochs * math.ceil((own + replay) / recipe["batch_size"])
    rate = recipe["learning_rate"]
    used = {
        **recipe,
        "learning_rate_recipe": rate,
        "learning_rate_used": scaled_rate(rate, means.hidden_size),
        "epochs": epochs,
        "epochs_recipe": recipe["epochs"],
        "warmup_steps": min(recipe["warmup_steps"], int(steps * WARMUP_SHARE)),
        "warmup_steps_recipe": recipe["warmup_steps"],
        "four_bit": means.four_bit,
    }
    spent = epochs * (own + replay) * means.seconds_per_example / 60
    return Phase(tuple(tasks), used, epochs, own + replay, replay, steps, round(spent, 2))


def _shape(groups: Sequence[Sequence[str]], means: Means) -> dict[str, Any]:
    recipes = [_recipe(tasks, means) for tasks in groups]
    modules = dict.fromkeys(module for recipe in recipes for module in recipe["target_modules"])
    return max(recipes, key=lambda recipe: int(recipe["rank"])) | {"target_modules": list(modules)}


def _recipe(tasks: Sequence[str], means: Means) -> dict[str, Any]:
    """The recipe of one task; for several, that of the first with the combined values and every task's modules."""
    first = dict(means.recipes[tasks[0]])
    modules = dict.fromkeys(module for task in tasks for module in means.recipes[task]["target_modules"])
    if len(tasks) > 1:
        scale = first["alpha"] / first["rank"]
        first |= means.combined
        if "alpha" not in means.combined:
            first["alpha"] = round(first["rank"] * scale)
    return first | {"target_modules": list(modules)}
