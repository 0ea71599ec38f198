"""Claims about the training plan."""

import json
import re

import pytest

from finetune.hardware import Base, Machine
from scheduler.goals import Gap
from scheduler.memory import Memory, bits, impossible, lacking
from scheduler.report import ReportRow, analyse
from scheduler.strategy import CycleResult, as_text, plan
from tests.conftest import ROOT

RECIPE = {
    "rank": 20,
    "alpha": 40,
    "dropout": 0.1,
    "target_modules": ["q_proj", "v_proj", "k_proj"],
    "learning_rate": 2e-4,
    "epochs": 3,
    "warmup_steps": 100,
    "batch_size": 3,
}
WIDE = RECIPE | {"rank": 32, "alpha": 64, "target_modules": ["q_proj", "v_proj", "k_proj", "o_proj"], "epochs": 4}
COMBINED = {"rank": 32, "learning_rate": 1.5e-4, "epochs": 4}
DOMINANT = {"a": 20, "b": 8, "c": 6}
GUIDE = {"a": 11, "b": 8, "c": 6, "d": 4, "e": 2}
BALANCED = {"a": 10, "b": 9, "c": 9}
PLENTY = {"a": 100, "b": 100, "c": 100}
ONE_WON = CycleResult("single", ("a",), "promoted")
ONE_LOST = CycleResult("single", ("a",), "rejected")
CONFLICT = CycleResult("multi", ("a", "b", "c"), "rejected", ("b",))
FORGOT = CycleResult("progressive", ("a", "b", "c"), "rejected", ("a",))


def report(counts, scores=None):
    rows = [
        ReportRow("q", "a", label, {label: 0.9} if scores is None else scores(label))
        for label, count in counts.items()
        for _ in range(count)
    ]
    return analyse(rows, tasks=sorted(counts))


def planned(counts, examples, *, recipes=None, scores=None, **changes):
    values = {
        "held_out": {},
        "recipes": recipes or {"a": RECIPE, "b": RECIPE, "c": WIDE},
        "combined": COMBINED,
        "phases": ("a", "c", "b"),
        "strategy": "auto",
        "min_examples": 30,
        "max_examples": 600,
        "max_minutes": 60.0,
        "tokens_per_second": 250.0,
        "tokens_per_example": 300.0,
        "hidden_size": 576,
        "scale_learning_rate": True,
        "max_passes": None,
    }
    return plan(report(counts, scores), examples=examples, **(values | changes))


BELOW = Gap("a", "answer_accuracy", 0.5, 0.9, 40)
MET = Gap("a", "answer_accuracy", 0.92, 0.9, 40)
STUCK = [ONE_WON, ONE_LOST, ONE_LOST]
IN_ORDER = ("progressive", ("a", "c", "b"), False)
ALONE = ("single", ("a",), False)
TOGETHER = ("multi", ("a", "b", "c"), False)
TRIED = ("tournament", ("a", "b", "c"), False)
IN_4_BITS = (*ALONE, "in 4 bits")
LAYER = {"q_proj": 3072, "k_proj": 1792, "v_proj": 1792, "o_proj": 3072, "down_proj": 10496}
SIZES = {name: 28 * size for name, size in LAYER.items()}
MODEL = Base(1536, 8960, 28, 151_936, 1_543_714_304, 1_310_195_712, SIZES, tuple(LAYER))


def gpu(free_mb, *, four_bit=True, qlora="auto"):
    return {"memory": Memory(MODEL, Machine(free_mb, four_bit), 1024, qlora)}


SITUATIONS = {
    "empty log": ({}, {}, {}, "", ("single", (), True)),
    "one exchange": ({"a": 1}, {"a": 1}, {}, "", ("single", (), True)),
    "little data": (DOMINANT, {"a": 20, "b": 5}, {}, "", ("single", (), True)),
    "nothing usable": (DOMINANT, {}, {}, "", ("single", (), True)),
    "one dominant task": (DOMINANT, PLENTY, {}, "", ALONE),
    "the guide's shares": (GUIDE, PLENTY, {}, "", ALONE),
    "balanced tasks": (BALANCED, PLENTY, {}, "", TOGETHER),
    "balanced, one has data": (BALANCED, {"a": 100, "b": 9}, {}, "", ALONE),
    "balanced, two have data": (BALANCED, {"a": 9, "b": 80, "c": 80}, {}, "", ("multi", ("b", "c"), False)),
    "most asked lacks data": (DOMINANT, {"a": 9, "b": 90}, {}, "", ("single", ("b",), False)),
    "enough only together": (BALANCED, {"a": 15, "b": 12, "c": 10}, {}, "", TOGETHER),
    "balanced, time for one": (BALANCED, PLENTY, {"max_minutes": 10.0}, "10 minutes", ALONE),
    "no time at all": (DOMINANT, PLENTY, {"max_minutes": 0.1}, "6 seconds", ("single", (), True)),
    "tasks in conflict": (BALANCED, PLENTY, {"last": [CONFLICT]}, "multi made b worse", IN_ORDER),
    "conflict, no time": (
        BALANCED, PLENTY, {"last": [CONFLICT], "max_minutes": 9.0}, "multi made b worse; 9 minutes", ALONE,
    ),
    "main task promoted": (GUIDE, PLENTY, {"last": [ONE_WON]}, "a was promoted", IN_ORDER),
    "main task rejected": (GUIDE, PLENTY, {"last": [ONE_LOST]}, "a was rejected", ALONE),
    "promoted, others lack data": (GUIDE, {"a": 100, "b": 9}, {"last": [ONE_WON]}, "a was promoted", ALONE),
    "promoted, below its target": (
        GUIDE, PLENTY, {"last": [ONE_WON], "standing": [BELOW]}, "a was promoted, accuracy 0.50 of 0.90", ALONE,
    ),
    "promoted, targets met": (
        GUIDE, PLENTY, {"last": [ONE_WON], "standing": [MET]}, "a was promoted, accuracy 0.92 of 0.90", IN_ORDER,
    ),
    "phases forgot": (GUIDE, PLENTY, {"last": [ONE_WON, FORGOT]}, "a was promoted, then forgotten in phases", ALONE),
    "phases forgot, balanced": (
        BALANCED, PLENTY, {"last": [ONE_WON, FORGOT]}, "a was promoted, then forgotten in phases", TOGETHER,
    ),
    "two cycles in vain": (GUIDE, {"a": 100}, {"last": STUCK}, "a was promoted, then rejected twice",
                           ("tournament", ("a",), False)),
    "two cycles in vain, no time": (
        GUIDE, {"a": 100}, {"last": STUCK, "max_minutes": 0.7}, "a was promoted, then rejected twice; 42 seconds",
        ALONE,
    ),
    "set to single": (BALANCED, PLENTY, {"strategy": "single"}, "set to single", ALONE),
    "set to multi": (DOMINANT, {"a": 90, "b": 90}, {"strategy": "multi"}, "set to multi", ("multi", ("a", "b"), False)),
    "set to progressive": (BALANCED, PLENTY, {"strategy": "progressive"}, "set to progressive", IN_ORDER),
    "set, too little data": (BALANCED, {"a": 3}, {"strategy": "multi"}, "set to multi", ("multi", (), True)),
    "tournament": (BALANCED, PLENTY, {"strategy": "tournament", "max_minutes": 120.0}, "set to tournament, 120 minutes",
                   TRIED),
    "tournament, time for one": (
        DOMINANT, {"a": 90}, {"strategy": "tournament", "max_minutes": 0.7}, "set to tournament, 42 seconds", ALONE,
    ),
    "no GPU": (DOMINANT, PLENTY, gpu(0), "no GPU, bitsandbytes", ALONE),
    "a GPU with room": (DOMINANT, PLENTY, gpu(24_000), "24,000 MB free on the GPU, bitsandbytes", ALONE),
    "a small GPU": (DOMINANT, PLENTY, gpu(4_000), "4,000 MB free on the GPU, bitsandbytes", IN_4_BITS),
    "a small GPU alone": (
        DOMINANT, PLENTY, gpu(4_000, four_bit=False), "4,000 MB free on the GPU, no bitsandbytes", ALONE,
    ),
    "a small GPU, set to off": (DOMINANT, PLENTY, gpu(4_000, qlora="off"), "4,000 MB free, qlora off", ALONE),
    "a GPU, set to on": (DOMINANT, PLENTY, gpu(24_000, qlora="on"), "24,000 MB free, qlora on", IN_4_BITS),
    "balanced, a small GPU": (BALANCED, PLENTY, gpu(4_000), "4,000 MB free on the GPU, bitsandbytes",
                              (*TOGETHER, "in 4 bits")),
    "two cycles in vain, a GPU": (
        GUIDE, {"a": 100}, {"last": STUCK, **gpu(24_000)}, "a was promoted, then rejected twice; 24,000 MB free",
        ("tournament", ("a",), False),
    ),
    "taxonomy of one": ({"a": 9}, {"a": 50}, {"recipes": {"a": RECIPE}, "phases": ()}, "", ALONE),
    "labels of an old taxonomy": ({"old": 9, "a": 3}, {"old": 90, "a": 40}, {}, "old is no task any more", ALONE),
}  # fmt: skip
"""By name: questions asked per task, usable examples per task, what else is so, the same in words, what is chosen."""


def page_row(name):
    counts, examples, _, said, (strategy, tasks, nothing, *how) = SITUATIONS[name]
    total = sum(counts.values())
    asked = ", ".join(f"{task} {count / total:.0%}" for task, count in counts.items())
    usable = ", ".join(f"{task} {count}" for task, count in examples.items())
    chosen = "nothing yet" if nothing else ", ".join([f"{strategy}: {', '.join(tasks)}", *how])
    return [name, asked, usable, said, chosen]


def test_the_page_has_the_table_of_situations():
    lines = (ROOT / "docs" / "strategy.md").read_text().split("<!-- situations -->")[1].strip().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert rows == [page_row(name) for name in SITUATIONS]


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_situation_gets_its_strategy(name):
    counts, examples, changes, _, expected = SITUATIONS[name]
    made = planned(counts, examples, **changes)
    how = ["in 4 bits"] if any(phase.recipe["four_bit"] for phase in made.phases) else []
    assert (made.strategy, made.tasks, made.too_little_data, *how) == expected
    assert made.override == ("strategy" in changes)


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_plan_has_reasons_fits_its_time_and_can_be_shown(name):
    counts, examples, changes, _, _ = SITUATIONS[name]
    made = planned(counts, examples, **changes)
    assert made.reasons and all(reason.endswith(".") for reason in made.reasons)
    assert made.runner_up != made.strategy and made.runner_up_reason
    assert made.estimated_minutes <= changes.get("max_minutes", 60.0)
    plain = json.loads(json.dumps(made.to_json()))
    assert plain["text"] == as_text(made)
    assert bool(made.phases) != made.too_little_data


def test_the_learning_rate_is_scaled_to_the_models_width():
    recipe = planned(DOMINANT, PLENTY).phases[0].recipe
    assert recipe["learning_rate_recipe"] == 2e-4
    assert recipe["learning_rate_used"] == pytest.approx(9.3e-4, rel=0.01)
    assert recipe["learning_rate_used"] == pytest.approx(2e-4 * (4096 / 576) ** 0.781)


def test_scaling_can_be_turned_off():
    recipe = planned(DOMINANT, PLENTY, scale_learning_rate=False).phases[0].recipe
    assert recipe["learning_rate_used"] == recipe["learning_rate_recipe"] == 2e-4


def test_warm_up_is_at_most_a_tenth_of_the_steps_and_both_are_shown():
    made = planned(DOMINANT, PLENTY)
    phase = made.phases[0]
    assert phase.steps == 3 * 34
    assert (phase.recipe["warmup_steps"], phase.recipe["warmup_steps_recipe"]) == (10, 100)
    assert "warm-up: recipe 100, used 10 of 102 steps" in as_text(made)


def test_a_short_warm_up_stays_as_the_recipe_says():
    recipes = {"a": RECIPE | {"warmup_steps": 4}}
    assert planned({"a": 9}, {"a": 100}, recipes=recipes).phases[0].recipe["warmup_steps"] == 4


def test_several_tasks_at_once_use_the_combined_recipe_and_all_their_modules():
    recipe = planned(BALANCED, PLENTY).phases[0].recipe
    assert (recipe["rank"], recipe["alpha"], recipe["learning_rate_recipe"], recipe["epochs"]) == (32, 64, 1.5e-4, 4)
    assert recipe["target_modules"] == ["q_proj", "v_proj", "k_proj", "o_proj"]


def test_phases_that_continue_one_adapter_have_one_shape():
    made = planned(BALANCED, PLENTY, last=[CONFLICT])
    shapes = {(p.recipe["rank"], p.recipe["alpha"], *p.recipe["target_modules"]) for p in made.phases}
    assert shapes == {(32, 64, "q_proj", "v_proj", "k_proj", "o_proj")}
    assert [phase.recipe["rank_recipe"] for phase in made.phases] == [20, 32, 20]
    assert "All phases train one adapter, so that all have rank 32." in made.reasons


def test_a_single_plan_takes_other_tasks_as_replay_only():
    phase = planned(DOMINANT, PLENTY, replay_share=0.2).phases[0]
    assert (phase.tasks, phase.examples, phase.replay) == (("a",), 120, 20)


def test_replay_keeps_its_share_of_a_full_plan():
    phase = planned(DOMINANT, PLENTY, replay_share=0.2, max_examples=60).phases[0]
    assert (phase.examples, phase.replay) == (60, 10)
    alone = planned(DOMINANT, {"a": 100}, replay_share=0.2, max_examples=60).phases[0]
    assert (alone.examples, alone.replay) == (60, 0)


def test_replay_is_never_more_than_there_is():
    assert planned(DOMINANT, {"a": 100, "b": 3}, replay_share=0.2).phases[0].replay == 3


def test_an_example_of_two_tasks_is_counted_once():
    made = planned(BALANCED, PLENTY, total=120)
    assert made.examples == made.phases[0].examples == 120


def test_a_short_budget_trains_on_fewer_examples_and_says_so():
    made = planned(DOMINANT, {"a": 600}, max_minutes=20.0)
    assert made.phases[0].epochs == 3
    assert 30 <= made.phases[0].examples < 600
    assert any("leave room for" in reason for reason in made.reasons)


def test_a_shorter_budget_gives_up_passes_before_the_fewest_examples():
    made = planned(DOMINANT, {"a": 600}, max_minutes=1.3)
    assert made.phases[0].epochs < 3
    assert made.phases[0].examples >= 30
    assert any("Fewer passes" in reason for reason in made.reasons)


def test_max_passes_and_max_examples_are_kept():
    phase = planned(DOMINANT, {"a": 500}, max_passes=1, max_examples=200).phases[0]
    assert (phase.epochs, phase.examples) == (1, 200)


def test_a_task_that_scores_on_most_exchanges_is_the_main_task():
    wide = {"b": lambda: {"b": 0.9, "a": 0.35}, "a": lambda: {"a": 0.9}, "c": lambda: {"c": 0.9, "a": 0.35}}
    made = planned({"a": 10, "b": 11, "c": 3}, PLENTY, scores=lambda label: wide[label]())
    assert made.tasks[0] == "a"
    assert any("counts for more than its share" in reason for reason in made.reasons)


def test_what_is_missing_is_said_in_numbers():
    made = planned(DOMINANT, {"a": 18, "b": 5}, held_out={"a": 20}, min_cases=24)
    assert made.data_needed[0] == "About 7 more usable examples until a cycle trains at all."
    assert "About 12 more examples of a until it can be trained as a task of its own." in made.data_needed
    assert "About 4 more held-out cases of a until the gate can judge it by itself." in made.data_needed


def test_the_matrix_measures_six_factors_of_three_strategies():
    table = planned(BALANCED, PLENTY).decision_matrix
    assert list(table) == [
        "Training Speed",
        "Performance",
        "Versatility",
        "Complexity",
        "Resource Usage",
        "Maintenance",
    ]
    assert all(list(row) == ["single", "multi", "progressive"] for row in table.values())
    assert all(1 <= cell.stars <= 5 and cell.value and cell.reason for row in table.values() for cell in row.values())
    assert all(max(cell.stars for cell in row.values()) == 5 for row in table.values())


def test_the_matrix_agrees_with_the_guide_where_the_guide_is_clear():
    table = planned(GUIDE, PLENTY).decision_matrix
    for factor in ("Training Speed", "Performance", "Complexity", "Resource Usage", "Maintenance"):
        assert table[factor]["single"].stars == 5
    assert table["Versatility"]["multi"].stars == 5 > table["Versatility"]["single"].stars


def test_an_override_says_what_speaks_against_it():
    made = planned(DOMINANT, PLENTY, strategy="multi")
    assert made.reasons[0].startswith("The settings ask for multi. Against it: a is asked for much more than b")
    assert "(set, not chosen)" in as_text(made)


def test_an_unknown_strategy_and_an_impossible_speed_are_sentences():
    with pytest.raises(
        ValueError, match='the strategy is "both", expected auto, single, multi, progressive, tournament'
    ):
        planned(DOMINANT, PLENTY, strategy="both")
    with pytest.raises(ValueError, match="tokens_per_second is 0"):
        planned(DOMINANT, PLENTY, tokens_per_second=0.0)


def test_a_tournament_shares_the_time_among_strategies_that_differ():
    made = planned(BALANCED, PLENTY, strategy="tournament", max_minutes=120.0)
    assert [variant.name for variant in made.variants] == ["single", "multi", "progressive"]
    assert made.phases == made.variants[0].phases
    assert made.estimated_minutes <= 120
    assert "Tried against each other: single, multi, progressive; the best at the gate is kept." in made.reasons
    text = as_text(made)
    assert "Progressive: phase 2: c" in text and "Single: phase 1: a" in text


def test_a_comment_stays_with_the_plan():
    made = planned(DOMINANT, PLENTY, strategy="multi", comment="both matter to us")
    assert made.to_json()["comment"] == "both matter to us"
    assert "Set because: both matter to us" in as_text(made)


def test_four_bits_are_chosen_with_both_amounts_and_the_matrix_has_the_other_choice() -> None:
    made = planned(DOMINANT, PLENTY, **gpu(4_000))
    [why] = [reason for reason in made.reasons if reason.startswith("4-bit base weights: ")]
    assert re.search(
        r"about 4,\d{3} MB in 16 bits, and 4,000 MB of the GPU are free; in 4 bits .* about [23],\d{3} MB", why
    )
    cell = made.decision_matrix["Resource Usage"]["single"]
    assert re.search(r", [23],\d{3} MB in 4 bits$", cell.value)
    assert re.search(r"of 4,000 MB free on the GPU; in 16 bits about 4,\d{3} MB$", cell.reason)
    assert "Base weights: 4-bit (QLoRA)" in as_text(made)


def test_without_a_gpu_the_plan_says_nothing_of_bits_but_in_the_matrix() -> None:
    made = planned(DOMINANT, PLENTY, **gpu(0))
    assert "base weights" not in as_text(made)
    cell = made.decision_matrix["Resource Usage"]["single"]
    assert cell.value.endswith("rank 20") and cell.reason.endswith("no CUDA GPU, so that 4-bit weights are no choice")


def test_what_cannot_be_had_and_what_does_not_even_fit_in_four_bits_is_said() -> None:
    recipes = [RECIPE]
    assert impossible(gpu(0, qlora="on")["memory"]) == "training.qlora is on, and this machine has no CUDA GPU."
    missing = gpu(9_000, four_bit=False, qlora="on")["memory"]
    assert impossible(missing) == "training.qlora is on, and bitsandbytes is not installed."
    assert impossible(gpu(0)["memory"]) == impossible(gpu(9_000, qlora="on")["memory"]) == ""
    assert bits(gpu(1_000)["memory"], recipes)[1].endswith("Not even that may fit: lower training.max_tokens.")
    assert "which needs `pip install -e .[gpu]`" in bits(gpu(4_000, four_bit=False)["memory"], recipes)[1]


def test_training_does_not_begin_where_its_memory_is_not_free():
    recipes = [{"rank": 16, "target_modules": ["q_proj", "v_proj"], "four_bit": False}]
    cpu, card = gpu(0)["memory"], gpu(4_000)["memory"]
    needed = cpu.needed_mb(recipes, four_bit=False)
    assert lacking(cpu, recipes, free_mb=needed) == ""
    assert lacking(cpu, recipes, free_mb=900) == (f"training takes at least {needed - 1024:,} MB, and 900 MB are free.")
    assert lacking(card, recipes, free_mb=900).endswith("and 4,000 MB of the GPU are free.")
    assert lacking(card, [{**recipes[0], "four_bit": True}], free_mb=900) == ""
