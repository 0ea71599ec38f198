"""Claims about what must be shown before another judge than the fitted one may count on a metric."""

from collections.abc import Sequence

import pytest

from finetune.admission import Admission, Labelled, accuracy_suite, admission, judged
from finetune.fitted import FittedJudge
from finetune.perturbations import Honest
from finetune.wording import share_found, words
from store.answers import DECLINE
from tests.test_finetune_judges import LIMITS
from tests.test_finetune_judges import honest as honest


def accuracy_labels(honest: Sequence[Honest], *, reference: bool = True, count: int = 40) -> list[Labelled]:
    """Every second answer is of another question, and wrong; the right ones say more than the known right answer."""
    found = []
    for number in range(count):
        case, other = honest[number], honest[number - 7]
        right = number % 2 == 0
        said = f"As the handbook has it: {case.answer}" if right else other.answer
        known = case.answer if reference else ""
        row = Labelled(f"ex_{number}", "accuracy", "facts", case.question, said, case.passages, known, right)
        found.append(row)
    return found


def tried(judge: FittedJudge, honest: Sequence[Honest], labels: Sequence[Labelled], *metrics: str) -> Admission:
    return admission(judge, metrics or ("accuracy",), honest, labels, **LIMITS)


class ByLength(FittedJudge):
    """An answer is right where it is as long as the right one."""

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        return max(min(len(answer), len(one)) / max(len(answer), len(one), 1) for one in references)


class ByLetter(FittedJudge):
    """Only the right answer, letter by letter, is right."""

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        return float(answer.strip() in references)


class ByRecall(FittedJudge):
    """An answer is right where it has the right one's words, whatever else it says."""

    def accuracy(self, question: str, answer: str, references: Sequence[str]) -> float:
        return max(share_found(words(one), words(answer)) for one in references)


@pytest.mark.parametrize("judge", [ByLength(), ByLetter()])
def test_a_judge_that_cannot_tell_right_from_wrong_is_not_admitted_for_accuracy_by_its_support(
    judge: FittedJudge, honest: list[Honest]
) -> None:
    without = tried(judge, honest, accuracy_labels(honest, reference=False))
    assert without.counts == () and without.agreement == ()
    assert without.reasons[0].startswith("accuracy: 0 labels of people of answers to which a right one is known")
    corrected = tried(judge, honest, [*accuracy_labels(honest), *accuracy_labels(honest, reference=False)])
    assert corrected.counts == () and corrected.agreement[0].n <= 40


def test_a_judge_that_measures_accuracy_counts_on_it(honest: list[Honest]) -> None:
    found = tried(FittedJudge(), honest, accuracy_labels(honest))
    assert (found.counts, found.reasons) == (("accuracy",), ())
    assert {one.variant for one in found.suite if one.n} >= {"negated", "accuracy, negated", "accuracy, name swapped"}


def test_accuracy_must_notice_answers_turned_wrong(honest: list[Honest]) -> None:
    assert {one.variant: one.share for one in accuracy_suite(ByRecall(), honest)}["accuracy, negated"] == 0.5
    found = tried(ByRecall(), honest, accuracy_labels(honest))
    assert found.counts == () and found.reasons[-1].startswith("accuracy, negated: the honest answer wins 0.50 of")


def test_what_people_say_of_declines_tells_nothing_of_a_judge_but_of_relevance() -> None:
    rows = [
        Labelled("ex_1", metric, "facts", "How long is it?", DECLINE, ("The Aare is 288 km long.",), "", True)
        for metric in ("accuracy", "support", "relevance")
    ]
    assert [one.metric for one in judged(FittedJudge(), rows)] == ["relevance"]


def test_one_label_of_the_rarer_answer_admits_nobody(honest: list[Honest]) -> None:
    rows = accuracy_labels(honest, count=60)
    yes, no = ([row for row in rows if row.value is value] for value in (True, False))
    found = tried(FittedJudge(), honest, [*yes[:24], no[0]])
    said = "accuracy: 24 labels of people of answers to which a right one is known say yes and 1 say no"
    assert (found.counts, found.reasons) == ((), (f"{said}, expected at least 5 of each.",))
    assert tried(FittedJudge(), honest, [*yes[:24], *no[:5]]).counts == ("accuracy",)
