"""Ways of training that are tried against each other within the time budget (pure).

Either each strategy once, or one strategy with recipes around its own. Where more than FINALISTS take part, all are
trained on half of their examples first, the worse ones leave, and the finalists are trained in full and meet at the
gate. It plans; what trains and measures is `finetune/contest.py`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetune.halving import FINALISTS, shares
from scheduler.phases import Means, Phase, fits, fitted, minutes
from scheduler.reasons import STRATEGIES, Groups

SEARCH = (
    ("as the recipe says", 1.0, 1.0),
    ("twice the learning rate", 1.0, 2.0),
    ("half the learning rate", 1.0, 0.5),
    ("twice the rank", 2.0, 1.0),
)
"""The small search of phase 3: a name, and factors of rank (alpha with it) and learning rate."""
FOUR_BITS = "in 4 bits"
"""What the search tries besides, where 4-bit weights can be trained on and are not needed to fit."""


@dataclass(frozen=True)
class Variant:
    """One way of training, with phases that fit its share of the time."""

    name: str
    strategy: str
    tasks: tuple[str, ...]
    phases: tuple[Phase, ...]


def of_strategies(groups: Groups, means: Means) -> tuple[Variant, ...]:
    """Each strategy that trains something else than the others; none where fewer than two fit the time."""
    different: dict[tuple[tuple[str, ...], ...], str] = {}
    for name in STRATEGIES:
        different.setdefault(tuple(groups[name]), name)
    makers = [(name, _maker(name, name, groups[name], 1.0, 1.0)) for name in different.values()]
    return _within(makers, means)


def of_recipes(strategy: str, groups: Groups, means: Means) -> tuple[Variant, ...]:
    """One strategy with the recipes of SEARCH, as many as fit the time; none where fewer than two do."""
    makers = [(name, _maker(name, strategy, groups[strategy], rank, rate)) for name, rank, rate in SEARCH]
    if means.memory is not None and means.memory.possible and means.memory.qlora == "auto" and not means.four_bit:
        make = _maker(FOUR_BITS, strategy, groups[strategy], 1.0, 1.0)
        makers.append((FOUR_BITS, lambda within: make(replace(within, four_bit=True))))
    return _within(makers, means)


def total_minutes(variants: Sequence[Variant]) -> float:
    """The estimated minutes of a tournament: the short tries, then the longest finalists."""
    spent = sorted((minutes(variant.phases) for variant in variants), reverse=True)
    return sum(spent[0] * weight for weight in _rounds(len(spent)))


def _rounds(count: int) -> list[float]:
    """How much training each round is, in full runs."""
    found, alive = [], count
    for share in shares(count):
        found.append(alive * share)
        alive = max(FINALISTS, math.ceil(alive / 2))
    return [*found, float(min(alive, FINALISTS))]


_Make = Callable[[Means], Variant]


def _maker(name: str, strategy: str, groups: Sequence[tuple[str, ...]], rank: float, rate: float) -> _Make:
    def make(means: Means) -> Variant:
        phases = fitted(groups, _changed(means, rank, rate))
        tasks = tuple(dict.fromkeys(task for phase in phases for task in phase.tasks))
        return Variant(name, strategy, tasks, phases)

    return make


def _changed(means: Means, rank: float, rate: float) -> Means:
    """The same means with every recipe's rank, alpha and learning rate changed by a factor."""
    recipes = {name: _scaled(recipe, rank, rate) for name, recipe in means.recipes.items()}
    return replace(means, recipes=recipes, combined=_scaled(means.combined, rank, rate))


def _scaled(recipe: Mapping[str, Any], rank: float, rate: float) -> dict[str, Any]:
    factors = {"rank": rank, "alpha": rank}
    changed = {key: max(1, round(recipe[key] * factor)) for key, factor in factors.items() if key in recipe}
    return {**recipe, **changed, "learning_rate": recipe["learning_rate"] * rate}


def _within(makers: Sequence[tuple[str, _Make]], means: Means) -> tuple[Variant, ...]:
    """As many variants as fit, the first ones before the others, each in an equal share of the time."""
    for count in range(len(makers), 1, -1):
        each = replace(means, max_minutes=means.max_minutes / sum(_rounds(count)))
        fit = [variant for _, make in makers if fits((variant := make(each)).phases, each)]
        if len(fit) >= count:
            return tuple(fit[:count])
    return ()
