"""Claims about the search of phase 3: what is tried against what the recipes say, and that what won stays."""

import pytest

from scheduler.strategy import CycleResult
from tests.test_scheduler_strategy import BALANCED, DOMINANT, GUIDE, LAYER, PLENTY, RECIPE, STUCK, gpu, planned

WON = CycleResult("single", ("a",), "promoted", way="on every linear layer")


def test_phase_three_searches_over_rank_learning_rate_target_modules_and_passes() -> None:
    made = planned(GUIDE, {"a": 100}, last=STUCK, max_minutes=600.0, **gpu(0))
    assert made.stage == 3
    recipes = {variant.name: variant.phases[0].recipe for variant in made.variants}
    found = {
        name: (one["rank"], one["learning_rate_recipe"], len(one["target_modules"]), one["epochs"])
        for name, one in recipes.items()
    }
    assert found == {
        "as the recipe says": (20, 2e-4, 3, 3),
        "on every linear layer": (20, 2e-4, 5, 3),
        "twice the learning rate": (20, 4e-4, 3, 3),
        "one pass less": (20, 2e-4, 3, 2),
        "half the learning rate": (20, 1e-4, 3, 3),
        "twice the rank": (40, 2e-4, 3, 3),
    }
    assert recipes["twice the rank"]["alpha"] == 80
    assert recipes["on every linear layer"]["target_modules"] == list(LAYER)


def test_phase_three_tries_nothing_twice() -> None:
    every = RECIPE | {"target_modules": tuple(LAYER), "epochs": 1}
    made = planned(GUIDE, {"a": 100}, recipes={"a": every}, last=STUCK, max_minutes=600.0, **gpu(0))
    names = [variant.name for variant in made.variants]
    assert names == ["as the recipe says", "twice the learning rate", "half the learning rate", "twice the rank"]
    once = planned(GUIDE, {"a": 100}, last=STUCK, max_minutes=600.0, max_passes=1, **gpu(0))
    assert "one pass less" not in [variant.name for variant in once.variants]


@pytest.mark.parametrize(("minutes", "ways"), [(25.0, 6), (12.0, 4), (10.5, 3), (7.0, 2), (2.2, 2), (1.0, 0)])
def test_rather_fewer_ways_are_tried_than_all_on_less_than_half_of_what_a_plain_run_sees(
    minutes: float, ways: int
) -> None:
    made = planned(GUIDE, {"a": 100}, last=STUCK, max_minutes=minutes, **gpu(0))
    names = ["as the recipe says", "on every linear layer", "twice the learning rate", "one pass less"]
    assert [variant.name for variant in made.variants][:4] == names[:ways] and len(made.variants) == ways
    assert all(variant.phases[0].examples >= 50 for variant in made.variants) or ways == 2


def test_what_was_tried_before_comes_last() -> None:
    tried = ("as the recipe says", "on every linear layer", "twice the learning rate")
    before = CycleResult("single", ("a",), "rejected", way="as the recipe says", tried=tried)
    made = planned(GUIDE, {"a": 100}, last=[*STUCK[:1], before, before], max_minutes=10.5, **gpu(0))
    names = [variant.name for variant in made.variants]
    assert names == ["as the recipe says", "one pass less", "half the learning rate"]


def test_a_tournament_of_one_task_tries_recipes_instead_of_strategies() -> None:
    made = planned({"a": 9}, {"a": 90}, strategy="tournament")
    assert [variant.strategy for variant in made.variants] == ["single"] * 5


def test_a_tournament_without_time_says_so() -> None:
    made = planned(DOMINANT, {"a": 90}, strategy="tournament", max_minutes=0.7)
    assert "0.7 minutes are too short to try more than one way of training." in made.reasons


def test_phase_three_on_a_gpu_also_tries_four_bits() -> None:
    made = planned(GUIDE, {"a": 100}, last=STUCK, **gpu(24_000))
    assert [variant.phases[0].recipe["four_bit"] for variant in made.variants] == [False] * 6 + [True]
    assert made.variants[-1].name == "in 4 bits" and made.estimated_minutes <= 60
    off = planned(GUIDE, {"a": 100}, last=STUCK, **gpu(24_000, qlora="off"))
    assert len(off.variants) == 6


def test_what_won_a_search_is_the_recipe_of_its_task_from_then_on() -> None:
    made = planned(BALANCED, PLENTY, strategy="progressive", last=[WON], max_minutes=600.0, **gpu(0))
    used = {phase.tasks[0]: phase.recipe for phase in made.phases}
    assert all(recipe["target_modules"] == list(LAYER) for recipe in used.values())  # phases share one adapter
    assert "An earlier search won at the gate, and its recipe stays: a on every linear layer." in made.reasons
    other = planned({"b": 10}, {"b": 100}, last=[WON], max_minutes=600.0, **gpu(0))
    assert other.phases[0].recipe["target_modules"] == RECIPE["target_modules"]


def test_searches_add_up_and_what_was_rejected_or_no_search_changes_nothing() -> None:
    twice = CycleResult("single", ("a",), "promoted", way="twice the learning rate")
    lost = CycleResult("single", ("a",), "rejected", way="half the learning rate")
    other = CycleResult("single", ("a",), "promoted", way="single")
    recipe = planned(DOMINANT, {"a": 100}, last=[WON, twice, lost, other], **gpu(0)).phases[0].recipe
    assert (recipe["learning_rate_recipe"], recipe["target_modules"]) == (4e-4, list(LAYER))


def test_the_next_search_goes_on_from_what_won() -> None:
    lost = CycleResult("single", ("a",), "rejected")
    made = planned(GUIDE, {"a": 100}, last=[WON, lost, lost], max_minutes=600.0, **gpu(0))
    names = [variant.name for variant in made.variants]
    assert names[:2] == ["as the recipe says", "twice the learning rate"] and "on every linear layer" not in names
    assert all(variant.phases[0].recipe["target_modules"] == list(LAYER) for variant in made.variants)
