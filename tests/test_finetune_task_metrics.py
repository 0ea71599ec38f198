"""Claims about the metrics of how-to answers and explanations."""

import pytest

from finetune.evaluate import Answer, Case, score_case
from finetune.judge import WordJudge
from finetune.task_metrics import clarity, depth, step_completeness, structure, technical_terms, terms
from store.answers import DECLINE

REFERENCE_STEPS = "1. Open the lid.\n2. Fill the tank with water.\n3. Press the red button."


def test_a_missing_step_lowers_completeness():
    assert step_completeness(REFERENCE_STEPS, [REFERENCE_STEPS]) == 1.0
    assert step_completeness("1. Open the lid.\n2. Press the red button.", [REFERENCE_STEPS]) == pytest.approx(2 / 3)
    assert step_completeness("Open it.", ["Just open it."]) is None


def test_steps_that_are_counted_must_come_in_their_order():
    lines = REFERENCE_STEPS.splitlines()
    backwards = "\n".join(f"{n}. {line.split('. ', 1)[1]}" for n, line in enumerate(reversed(lines), start=1))
    assert step_completeness(backwards, [REFERENCE_STEPS]) == pytest.approx(1 / len(lines))
    bullets = "\n".join(f"- {line.split('. ', 1)[1]}" for line in lines)
    assert step_completeness(backwards, [bullets]) == 1.0


def test_structure_asks_for_a_list_where_the_reference_has_one():
    assert structure(REFERENCE_STEPS, [REFERENCE_STEPS]) == 1.0
    assert structure("- Open the lid\n- Press the button", [REFERENCE_STEPS]) == 0.5
    assert structure("Open the lid, then press the button.", [REFERENCE_STEPS]) == 0.0
    assert structure(REFERENCE_STEPS, ["Open the lid."]) is None


def test_technical_terms_are_kept_or_lost():
    reference = "Set `max_tokens` with --limit over HTTP in LangChain."
    assert terms(reference) == {"max_tokens", "--limit", "http", "langchain"}
    assert technical_terms("Use max_tokens and --limit.", [reference]) == 0.5
    assert technical_terms("Use it.", ["Use it."]) is None
    assert technical_terms("He said that the cost is within limits.", ["The AI of the OS and IT."]) == 0.0
    assert technical_terms("Both APIs of the IT.", ["An API for IT."]) == 1.0
    assert technical_terms("A 512GB SSD.", ["An SSD of 512 GB."]) == 1.0


PLAIN = (
    "A model learns from examples. It guesses, sees how wrong it was, and moves a little. Then it guesses again [1]."
)
HARD = (
    "Parametrised estimators approximate conditional distributions through iterative minimisation of differentiable "
    "objectives, notwithstanding computational considerations regarding representational capacity and optimisation [1]."
)


def test_what_reads_as_easily_as_the_reference_is_clear_and_what_is_harder_is_less_so() -> None:
    assert clarity(PLAIN, [PLAIN]) == 1.0
    assert clarity("It guesses and sees how wrong it was.", [PLAIN]) == 1.0
    assert clarity(HARD, [HARD]) == 1.0 and clarity(HARD, [PLAIN]) == 0.0
    assert clarity(HARD, [PLAIN, HARD]) == 1.0
    middle = "A network adjusts its weights after every wrong prediction, so that the error becomes smaller."
    assert 0.0 < (clarity(middle, [PLAIN]) or 0.0) < 1.0


def test_terms_and_code_make_an_answer_no_harder_to_read() -> None:
    said = "Set `gradient_accumulation_steps` in TrainingArguments, and then start it once again as before."
    assert clarity(said + "\n```\ninitialize_distributed_environment()\n```", [PLAIN]) == clarity(said, [PLAIN]) == 1.0


def test_saying_it_again_is_not_clear() -> None:
    assert clarity("It guesses a lot. It guesses a lot. It guesses a lot [1].", [PLAIN]) == pytest.approx(1 / 3)


def test_clarity_and_depth_do_not_apply_where_people_wrote_a_few_words() -> None:
    assert clarity(PLAIN, ["Forty days."]) is None and clarity(PLAIN, []) is None
    assert depth(PLAIN, ["A model learns from examples."]) is None and depth(PLAIN, []) is None


def test_declining_and_saying_nothing_is_neither_clear_nor_deep() -> None:
    for said in (DECLINE, "", "[1]"):
        assert clarity(said, [PLAIN]) == depth(said, [PLAIN]) == 0.0


def test_depth_is_the_share_of_what_people_said() -> None:
    assert depth(PLAIN, [PLAIN]) == 1.0
    part = "A model learns from examples [1]."
    assert depth(part, [PLAIN]) == pytest.approx(10 / 3 / (9 + 1 / 3))
    assert depth("Rain is likely in the north.", [PLAIN]) == 0.0


def test_pouring_out_more_than_twice_the_reference_costs_depth() -> None:
    assert depth(f"{PLAIN} It may take a while.", [PLAIN]) == 1.0
    poured = " ".join([PLAIN, *(f"Page {n} of the book is on something else altogether." for n in range(20))])
    assert 0.5 < (depth(poured, [PLAIN]) or 0.0) < 0.9


def test_an_evaluation_scores_them_where_there_is_an_answer() -> None:
    case = Case("c", "teach", "How does it learn?", (), ("It learns.",), (PLAIN,), True, 1, "d", True)
    scores = score_case(case, Answer(PLAIN), WordJudge()).scores
    assert (scores["clarity"], scores["depth"]) == (1.0, 1.0)
    none = Case("c", "teach", "How does it learn?", (), ("It learns.",), (DECLINE,), False, None, "d", True)
    assert score_case(none, Answer(PLAIN), WordJudge()).scores["depth"] is None
