"""Ways of training that are tried against each other within the time budget (pure).

Either each strategy once, or one strategy with recipes around its own. Where more than FINALISTS take part, all are
trained on half of their examples first, the worse ones leave, and the finalists are trained in full and meet at the
gate. It plans; what trains and measures is `finetune/contest.py`.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from finetune.halving import FINALISTS, shares
from scheduler.goals import CycleResult
from scheduler.phases import Means, Phase, fits, fitted, full, minutes
from scheduler.reasons import STRATEGIES, Groups


@dataclass(frozen=True)
class Way:
    """A change of every recipe: factors of rank (alpha with it) and learning rate, passes, and where LoRA is put."""

    name: str
    rank: float = 1.0
    rate: float = 1.0
    passes: int = 0
    every_linear: bool = False


AS_IT_IS = Way("as the recipe says")
SEARCH = (
    AS_IT_IS,
    Way("on every linear layer", every_linear=True),
    Way("twice the learning rate", rate=2.0),
    Way("one pass less", passes=-1),
    Way("half the learning rate", rate=0.5),
    Way("twice the rank", rank=2.0),
)
"""The small search of phase 3; without time for all, those first that were tried least, then in this order."""
WAYS = {way.name: way for way in SEARCH if way is not AS_IT_IS}
LEAST_SHARE = 0.5
"""The share of what a plan without a search trains on that each finalist of one must be trained on; of two, any."""
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
    makers = [_maker(name, name, groups[name], AS_IT_IS) for name in different.values()]
    return _within(makers, means)


def of_recipes(strategy: str, groups: Groups, means: Means, *, last: Sequence[CycleResult] = ()) -> tuple[Variant, ...]:
    """One strategy with the recipes of SEARCH, as many as fit the time; none where fewer than two do.

    A way that changes nothing, as every linear layer where the recipes have them all, is left out. What wins must beat
    an adapter that had all the time, so that rather fewer ways are tried than all of them on little.
    """
    as_it_is = _used(groups[strategy], means)
    ways = [way for way in SEARCH if way is AS_IT_IS or _used(groups[strategy], _changed(means, way)) != as_it_is]
    times = Counter(name for cycle in last for name in cycle.tried)
    ways.sort(key=lambda way: (way is not AS_IT_IS, times[way.name]))
    makers = [_maker(way.name, strategy, groups[strategy], way) for way in ways]
    if means.memory is not None and means.memory.possible and means.memory.qlora == "auto" and not means.four_bit:
        make = _maker(FOUR_BITS, strategy, groups[strategy], AS_IT_IS)
        makers.append(lambda within: make(replace(within, four_bit=True)))
    return _within(makers, means, least=LEAST_SHARE * _seen(fitted(groups[strategy], means)))


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


def _maker(name: str, strategy: str, groups: Sequence[tuple[str, ...]], way: Way) -> _Make:
    def make(means: Means) -> Variant:
        phases = fitted(groups, _changed(means, way))
        tasks = tuple(dict.fromkeys(task for phase in phases for task in phase.tasks))
        return Variant(name, strategy, tasks, phases)

    return make


def _used(groups: Sequence[tuple[str, ...]], means: Means) -> list[dict[str, Any]]:
    """What each phase trains by, without what was written beside it."""
    phases = full(groups, means)
    return [{key: value for key, value in p.recipe.items() if not key.endswith("_recipe")} for p in phases]


def settled(means: Means, last: Sequence[CycleResult]) -> tuple[Means, list[str]]:
    """The means with the recipes that earlier searches found, for the tasks that they were found for; and a sentence.

    What won at the gate and was promoted stays, until the recipe in the taxonomy is another one.
    """
    said = []
    for cycle in last:
        if cycle.outcome == "promoted" and (way := WAYS.get(cycle.way)) is not None:
            means = _changed(means, way, cycle.tasks)
            said.append(f"{', '.join(cycle.tasks)} {way.name}")
    return means, [f"An earlier search won at the gate, and its recipe stays: {'; '.join(said)}."] if said else []


def _changed(means: Means, way: Way, tasks: Collection[str] | None = None) -> Means:
    """The same means with every recipe changed in a way, or those of some tasks."""
    every = means.memory.base.every_linear if means.memory is not None and way.every_linear else ()
    named = set(means.recipes) if tasks is None else set(tasks)
    recipes = {name: _recipe(one, way, every) if name in named else one for name, one in means.recipes.items()}
    together = tasks is None or len(named) > 1
    return replace(means, recipes=recipes, combined=_recipe(means.combined, way, ()) if together else means.combined)


def _recipe(recipe: Mapping[str, Any], way: Way, every: Sequence[str]) -> dict[str, Any]:
    changed: dict[str, Any] = {
        **{key: max(1, round(recipe[key] * way.rank)) for key in ("rank", "alpha") if key in recipe},
        "learning_rate": recipe["learning_rate"] * way.rate,
        "epochs": max(1, recipe["epochs"] + way.passes),
    }
    if not set(recipe.get("target_modules", ())).issuperset(every):
        changed["target_modules"] = list(every)
    return {**recipe, **changed}


def _seen(phases: Sequence[Phase]) -> int:
    """How many examples a run sees, each as often as it does."""
    return sum(phase.examples * phase.epochs for phase in phases)


def _within(makers: Sequence[_Make], means: Means, *, least: float = 0.0) -> tuple[Variant, ...]:
    """As many variants as fit, the first ones before the others, each in an equal share of the time.

    More than two only where the first of them sees `least` examples in its share.
    """
    for count in range(len(makers), 1, -1):
        each = replace(means, max_minutes=means.max_minutes / sum(_rounds(count)))
        fit = [variant for make in makers if fits((variant := make(each)).phases, each)]
        if len(fit) >= count and (count == 2 or _seen(fit[0].phases) >= least):
            return tuple(fit[:count])
    return ()
