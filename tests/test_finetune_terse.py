"""Claims about terse answers: the question makes a claim of them, and lends nothing to words that no passage has."""

import pytest

from finetune.evaluate import Answer, Case, score_case
from finetune.fitted import FittedJudge
from finetune.judge import supported_answer
from finetune.terse import answering

TOWER = "The Eiffel Tower was finished in 1889. It was built by the company of Gustave Eiffel for the World's Fair."
QUESTION = "When was the Eiffel Tower finished?"
JUDGE = FittedJudge()


def heard(claim: str, passage: str) -> float:
    """Says nothing, and remembers what it was asked."""
    ASKED.append(claim)
    return 0.0


ASKED: list[str] = []


@pytest.mark.parametrize(
    ("claim", "asked"),
    [
        ("1889.", f"{QUESTION} 1889."),
        ("Gustave Eiffel.", f"{QUESTION} Gustave Eiffel."),
        ("Yes.", "Yes."),
        ("1890.", "1890."),
        ("The tower was finished in 1889.", "The tower was finished in 1889."),
    ],
    ids=["a year", "a name", "no word of the passage", "another year", "a whole claim"],
)
def test_only_a_terse_answer_in_the_passages_words_is_judged_with_its_question(claim: str, asked: str) -> None:
    ASKED.clear()
    answering(QUESTION, heard)(claim, TOWER)
    assert [asked] == ASKED


def test_the_question_tells_a_right_year_from_one_of_another_event() -> None:
    fair = f"{TOWER} A museum in Lyon was opened in 1902 by a painter who liked gardens."
    alone = [supported_answer(answer, [fair], JUDGE) for answer in ("1889.", "1902.")]
    asked = [supported_answer(answer, [fair], JUDGE, question=QUESTION) for answer in ("1889.", "1902.")]
    assert alone[0] < alone[1] and asked[0] > asked[1] + 0.1


def test_an_evaluation_judges_a_terse_answer_with_its_question() -> None:
    case = Case("c", "rag", QUESTION, (), (TOWER,), ("1889.",), True, 1, "doc", True)
    scores = score_case(case, Answer("1889 [1].", (-0.1,)), JUDGE).scores
    assert scores["groundedness"] == pytest.approx(JUDGE.support(f"{QUESTION} 1889.", TOWER))
