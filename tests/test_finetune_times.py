"""Dates and spans of time: which a text names, and whether another text names others."""

import pytest

from finetune.fitted import FittedJudge
from finetune.times import names_others, times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15 September 1996", {("month", "sep"), ("day of a month", "sep 15")}),
        ("the 15th of Sept.", {("month", "sep"), ("day of a month", "sep 15")}),
        ("September 15th, 1996", {("month", "sep"), ("day of a month", "sep 15")}),
        ("in May", {("month", "may")}),
        ("may 2020", {("month", "may")}),
        ("You may 3 times", set()),
        ("They march 5 miles", set()),
        ("Three weeks", {("minutes", "30240")}),
        ("21 days", {("minutes", "30240")}),
        ("a year and 12 months", {("months", "12")}),
        ("", set()),
    ],
)
def test_a_text_names_its_dates_and_spans(text: str, expected: set[tuple[str, str]]) -> None:
    assert times(text) == expected


@pytest.mark.parametrize(
    ("said", "known", "other"),
    [
        ("15 September", "16 September", True),
        ("in September", "on 16 September 1996", False),
        ("21 days", "three weeks", False),
        ("three months", "three weeks", True),
        ("in 1996", "15 September 1996", False),
        ("24 hours", "1 day or 2 days", False),
        ("5 books", "3 films", False),
        ("1 hour and 30 minutes", "90 minutes", False),
        ("1 to 2 weeks", "7 days", False),
        ("3-5 May", "4 May", False),
        ("In May 10 people came", "on 12 May", False),
        ("12:30 May 5", "5 May", False),
        ("Step 3 may be skipped", "due on 5 May", False),
        ("90 days", "3 months", False),
        ("under 12 years", "valid for 30 days", False),
        ("52 weeks", "1 year", False),
    ],
)
def test_other_times_are_told_from_the_same_ones_in_other_words(said: str, known: str, other: bool) -> None:
    assert names_others(said, known) == names_others(known, said) == other


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("When is the form due?", "The form is due on 15 September.", "The form is due on 15 October."),
        ("How long may I keep a book?", "You may keep it for three weeks.", "You may keep it for three months."),
    ],
)
def test_an_answer_with_another_time_is_neither_right_nor_supported_as_well(
    question: str, right: str, wrong: str
) -> None:
    judge = FittedJudge()
    assert judge.accuracy(question, right, [right]) > 0.9 and judge.accuracy(question, wrong, [right]) < 0.5
    assert judge.support(wrong, right) < judge.support(right, right) - 0.1
