"""Claims about the search for a recipe: halving, the time budget, and what the grid holds."""

import math
from typing import Any

import pytest

from finetune.search import Recipe, grid, search

RECIPE: Recipe = {"rank": 20, "alpha": 40, "learning_rate_used": 1e-3, "epochs": 3, "target_modules": ["q_proj"]}


EVERY = ("q_proj", "v_proj", "down_proj")


class Clock:
    """Seconds that pass only when a trial does."""

    def __init__(self) -> None:
        self.now = 0.0
        self.seen: list[tuple[Any, int]] = []

    def __call__(self) -> float:
        return self.now

    def attempt(self, recipe: Recipe, steps: int) -> float:
        self.now += steps
        self.seen.append((recipe["loss"], steps))
        return float(recipe["loss"])


def recipes(*losses: float) -> list[Recipe]:
    return [{"loss": loss} for loss in losses]


def test_the_better_half_trains_twice_as_long_until_one_is_left() -> None:
    clock = Clock()
    found = search(recipes(4, 2, 5, 1, 3), attempt=clock.attempt, steps=10, minutes=60, clock=clock)
    assert found.recipe == {"loss": 1} and found.ended == "one recipe was left"
    assert [(len(trials), trials[0].steps) for trials in found.rounds] == [(5, 10), (3, 20), (2, 40), (1, 80)]
    assert found.rounds[1][0].seconds == 20


def test_no_trial_begins_after_the_budget_and_the_last_whole_round_decides() -> None:
    clock = Clock()
    found = search(recipes(2, 1, 3, 4), attempt=clock.attempt, steps=15, minutes=1.2, clock=clock)
    assert clock.seen == [(2, 15), (1, 15), (3, 15), (4, 15), (1, 30)]
    assert found.recipe == {"loss": 1} and found.ended == "1.2 minutes were over"


def test_one_trial_is_made_however_small_the_budget() -> None:
    clock = Clock()
    assert search(recipes(2, 1), attempt=clock.attempt, steps=1, minutes=0, clock=clock).recipe == {"loss": 2}


def test_a_loss_that_is_no_number_loses_and_the_given_recipe_wins_a_tie() -> None:
    clock = Clock()
    assert search(recipes(math.nan, 7), attempt=clock.attempt, steps=1, minutes=9, clock=clock).recipe == {"loss": 7}
    tied = [{"loss": 1, "name": "given"}, {"loss": 1, "name": "other"}]
    assert search(tied, attempt=clock.attempt, steps=1, minutes=9, clock=clock).recipe["name"] == "given"
    with pytest.raises(ValueError, match="there is no recipe to try"):
        search([], attempt=clock.attempt, steps=1, minutes=9, clock=clock)


def test_the_grid_begins_with_the_recipe_and_varies_rank_rate_targets_and_passes() -> None:
    made = grid(RECIPE, EVERY)
    assert made[0] == RECIPE and len(made) == 24
    assert {one["rank"] / one["alpha"] for one in made} == {0.5}
    assert {tuple(one["target_modules"]) for one in made} == {("q_proj",), EVERY}
    assert {(one["epochs"]) for one in made} == {2, 3}
    assert len({one["learning_rate_used"] for one in made}) == 3
    assert len(grid({**RECIPE, "target_modules": list(EVERY), "epochs": 1}, EVERY)) == 6
