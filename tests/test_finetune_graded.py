"""Claims about answers that a judge refuses to grade: a few count on neither side, with more the evaluation fails."""

import pytest

from finetune.evaluate import Case, CaseScore, EvaluationError, Report, evaluate
from finetune.fitted import FittedJudge
from finetune.gate import decide
from finetune.graded import SUPPORTED
from finetune.judge import Ungraded
from scheduler.verdicts import ungraded
from tests.test_finetune_evaluate import case, no_logprobs

GOOD, REFUSED = "Tickets cost 12 euros for adults [1].", "Knives cost 12 euros for adults [1]."


class Refusing(FittedJudge):
    """The fitted judge, which reads nothing of knives."""

    def support(self, claim: str, passage: str) -> float:
        if "Knives" in claim:
            raise Ungraded("the judge said nothing.")
        return super().support(claim, passage)


def answered(bad: int, *, of: int = 40, model: str = "candidate", text: str = REFUSED) -> Report:
    cases = [case(number) for number in range(of)]

    def answers(part: list[Case]) -> list[str]:
        return [text if cases.index(one) < bad else GOOD for one in part]

    return evaluate(cases, answers, no_logprobs, model=model, judge=Refusing(), samples=50)


def test_an_answer_without_a_grade_has_no_score_where_the_judge_was_asked() -> None:
    first, *others = answered(2).cases
    assert first.ungraded and {name for name in SUPPORTED if first.scores[name] is not None} == set()
    assert first.scores["answer_accuracy"] is not None
    assert first.scores["right_citation"] == first.scores["decline_correct"] == 1.0
    assert [one.ungraded for one in others] == [True, *[False] * 38]
    assert all(one.scores["groundedness"] is not None for one in others[1:])


def test_such_a_case_counts_on_neither_side_and_the_verdict_says_how_many() -> None:
    candidate, serving = answered(2), answered(6, model="serving", text="Bread is baked on the moon [1].")
    verdict = decide(candidate, serving, planned_tasks=["facts", "steps"])
    assert {one.n for one in verdict.deltas if one.task == "all" and one.metric == "groundedness"} == {38}
    said = ungraded({"the candidate": candidate, "what serves": serving, "the anchor": None})
    assert said == (
        "The judge gave no clear grade of some cases, which count on neither side there: 2 of the candidate."
    )
    assert ungraded({"what serves": serving}) == ""


def test_more_than_one_case_in_twenty_without_a_grade_is_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"The judge fitted gave no clear grade of 3 of 40 cases .*at most 5%"):
        answered(3)


def test_a_report_keeps_which_cases_have_no_grade_and_older_ones_have_them_all() -> None:
    report = answered(1)
    assert Report.from_json(report.to_json()) == report
    older = {name: value for name, value in vars(report.cases[0]).items() if name != "ungraded"}
    assert not CaseScore(**older).ungraded
