"""Which recipe learns a dataset best within a time budget: successive halving over a small grid (pure).

All recipes train a little, the better half trains twice as long, until one is left (Jamieson and Talwalkar, 2016,
arXiv:1502.07943). It trains nothing itself, and what it chooses must still win at the gate.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

Recipe = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One recipe, trained for some steps: its held-out loss and the seconds it took."""

    recipe: Recipe
    steps: int
    loss: float
    seconds: float


@dataclass(frozen=True)
class Found:
    """The best recipe with the trials of each round; `ended` says why the search ended."""

    recipe: Recipe
    rounds: list[list[Trial]] = field(default_factory=list)
    ended: str = ""


def grid(recipe: Mapping[str, Any], every_linear: Sequence[str]) -> list[Recipe]:
    """The recipe itself first, and its neighbours: half and full rank, learning rates, targets, passes.

    `every_linear` names the linear layers of the base model.
    """
    rank, alpha = int(recipe["rank"]), int(recipe["alpha"])
    ranks = [rank, max(4, rank // 2)]
    rates = [float(recipe["learning_rate_used"]) * factor for factor in (1.0, 0.5, 2.0)]
    targets = [list(recipe["target_modules"])]
    if not set(targets[0]).issuperset(every_linear):
        targets.append(list(every_linear))
    passes = sorted({int(recipe["epochs"]), max(1, int(recipe["epochs"]) - 1)}, reverse=True)
    return [
        {
            **recipe,
            "rank": some,
            "alpha": max(1, round(alpha * some / rank)),
            "learning_rate_used": rate,
            "target_modules": modules,
            "epochs": epochs,
        }
        for epochs, some, modules, rate in product(passes, ranks, targets, rates)
    ]


def search(
    recipes: Sequence[Recipe],
    *,
    attempt: Callable[[Recipe, int], float],
    steps: int,
    minutes: float,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """The recipe with the lowest held-out loss after successive halving.

    `attempt` trains a recipe for some steps and returns its held-out loss. The first round trains `steps` steps, each
    further one twice as many. When `minutes` are over no further trial begins: the best of the last whole round wins,
    or of the trials there are. Raises ValueError without recipes.
    """
    if not recipes:
        raise ValueError("there is no recipe to try.")
    begun, left, rounds = clock(), list(recipes), list[list[Trial]]()
    while True:
        trials: list[Trial] = []
        for recipe in left:
            before = clock()
            if before - begun >= 60 * minutes and (rounds or trials):
                best = _ranked(rounds[-1] if rounds else trials)[0]
                return Found(best.recipe, [*rounds, *([trials] if trials else [])], f"{minutes:g} minutes were over")
            loss = attempt(recipe, steps)
            trials.append(Trial(recipe, steps, loss, clock() - before))
        rounds.append(trials)
        ranked = _ranked(trials)
        if len(ranked) == 1:
            return Found(ranked[0].recipe, rounds, "one recipe was left")
        left, steps = [trial.recipe for trial in ranked[: (len(ranked) + 1) // 2]], 2 * steps


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Trials by loss, what is no number last; the earlier recipe wins a tie."""
    return sorted(trials, key=lambda trial: trial.loss if trial.loss == trial.loss else float("inf"))
