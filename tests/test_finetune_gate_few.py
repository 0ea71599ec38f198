"""Claims about the gate with little to tell by: what was hardly seen to differ is not certified, and never a gain."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from finetune.bootstrap import interval, resampled_means
from finetune.comparison import Comparison, Rules, compared, guard, primaries
from finetune.gate import decide
from finetune.needed import more_cases
from finetune.people import at_look
from tests.test_finetune_gate import COUNTS, changed, gate, noisy, report, score, steady

RULES = Rules(margin=0.05, min_cases=24, samples=1000)
Row = tuple[float, float, str]


def pairs(rows: Sequence[Row], metric: str = "decline_correct") -> Comparison:
    found = compared(metric, "all", rows, RULES)
    assert found is not None
    return found


def tied(n: int, *, documents: int | None = None) -> list[Row]:
    return [(1.0, 1.0, f"d{number % (documents or n)}") for number in range(n)]


@pytest.mark.parametrize(("n", "passed"), [(3, None), (10, None), (24, None), (60, None), (80, True), (120, True)])
def test_cases_that_all_tie_certify_a_margin_from_some_eighty_on(n: int, passed: bool | None) -> None:
    said = guard(pairs(tied(n)), RULES, loss_held=None)
    assert said.passed is passed and said.few
    assert said.low <= -(1 - 0.025 ** (1 / n))


def test_cases_that_all_tie_are_held_where_the_held_out_loss_covers_them() -> None:
    said = guard(pairs(tied(24)), RULES, loss_held=True)
    assert said.passed and "too few cases to certify the margin" in said.sentence


@pytest.mark.parametrize("n", [24, 36, 60])
def test_a_true_loss_beyond_the_margin_is_hardly_ever_certified_as_none(n: int) -> None:
    random_ = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        rows = [(float(kept), 1.0, f"d{number}") for number, kept in enumerate(random_.random(n) >= 0.06)]
        held += guard(pairs(rows), RULES, loss_held=None).passed is True
    assert held <= 0.025 * 200


def test_many_pairs_that_differ_are_drawn_from_as_before() -> None:
    chance = random.Random(3)
    rows = [(chance.gauss(0.5, 0.2), 0.5, f"d{n % 20}") for n in range(60)]
    found = pairs(rows, "groundedness")
    plain = resampled_means([a - b for a, b, _ in rows], [one for *_, one in rows], samples=1000)
    assert not found.few and interval(found.draws) == interval(plain)


def test_the_same_held_out_loss_to_the_last_bit_is_no_luck() -> None:
    assert guard(pairs([(2.0, 2.0, f"d{n}") for n in range(10)], "loss"), RULES, loss_held=None).passed


@pytest.mark.parametrize("gain", [0.2, 0.98, 1.0])
@pytest.mark.parametrize("documents", [1, 2, 5])
def test_a_gain_in_a_few_documents_is_never_shown_however_large(gain: float, documents: int) -> None:
    rows = [(gain, 0.0, f"d{n % documents}") for n in range(30)]
    [said] = primaries([pairs(rows, "answer_accuracy")], RULES)
    assert said.passed is None
    assert "too few documents, 6 are needed" in said.sentence


def test_a_gain_in_documents_enough_is_shown() -> None:
    rows = [(0.6 + 0.01 * (n % 5), 0.0, f"d{n % 6}") for n in range(30)]
    [said] = primaries([pairs(rows, "answer_accuracy")], RULES)
    assert said.passed


def test_one_document_alone_bounds_nothing() -> None:
    low, high = interval(resampled_means([0.98] * 30, ["only"] * 30))
    assert low < 0 and high > 1
    assert guard(pairs(tied(200, documents=1)), RULES, loss_held=None).passed is None


def test_a_small_installation_that_never_declines_otherwise_is_still_promoted() -> None:
    """60 cases in all: hardly a guardrail can certify its margin, and the held-out loss covers them."""
    serving = noisy(1, {"facts": 60})
    verdict = gate(changed(serving, "facts", answer_accuracy=0.2), serving, margin=0.05)
    assert verdict.verdict == "promote"


def test_the_cases_needed_are_those_that_the_open_task_lacks() -> None:
    """400 cases of the planned task, 60 of another, whose guardrail is open: it is the other that needs more."""
    rng = random.Random(4)
    rows = [*noisy(1, {"facts": 400}), *(score(n, "b") for n in range(60))]
    serving = [replace(row, loss=None) for row in rows]
    gained = changed(serving, "facts", answer_accuracy=0.2)
    moved = [
        replace(row, scores={**row.scores, "answer_accuracy": 0.5 + rng.choice((-0.3, 0.3))})
        if row.task == "b"
        else row
        for row in gained
    ]
    verdict = decide(report(moved), report(serving, "serving"), planned_tasks=("facts",), samples=500, margin=0.05)
    assert verdict.verdict == "not_enough_evidence" and verdict.needed_of == "b"
    assert verdict.cases_needed is not None and 1 <= verdict.cases_needed < 400
    assert f"about {verdict.cases_needed} more held-out cases (b) would probably settle it" in verdict.reasons[0]


def test_the_cases_that_are_said_to_be_needed_settle_a_task_that_ties() -> None:
    said = guard(pairs(tied(40)), RULES, loss_held=None)
    more = more_cases(said, 0.95, effect=0.05)
    assert 30 <= more <= 45 and guard(pairs(tied(40 + more + 2)), RULES, loss_held=None).passed


def test_identical_reports_of_few_cases_are_rejected() -> None:
    rows = steady({name: 20 for name in COUNTS})
    assert gate(rows, rows).verdict == "reject"


def test_a_stricter_level_makes_no_guardrail_small_and_no_loss_unclear() -> None:
    """At the usual level the interval excludes 0; at the level of a third look it would be called too wide to tell."""
    draws = np.random.default_rng(0).normal(-0.035, 0.015, 4_000)
    found = Comparison("answer_accuracy", "steps", 0.8, 0.835, -0.035, draws, 450, 300)
    assert guard(found, RULES, loss_held=True).passed is False
    assert guard(found, replace(RULES, confidence=at_look(3, 0.95)), loss_held=True).passed is False
    better = replace(found, draws=draws + 0.035 - 0.02, difference=-0.02)
    assert guard(better, RULES, loss_held=True).passed is True
    assert guard(better, replace(RULES, confidence=at_look(3, 0.95)), loss_held=True).passed is None
