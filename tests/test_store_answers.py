"""Claims about reading an answer: sentences, citation markers and declining."""

import pytest

from store.answers import (
    DECLINE,
    Citation,
    citations,
    cited_numbers,
    declined,
    ended_part,
    renumbered,
    sentences,
    without_citations,
)


def test_a_marker_is_found_with_its_span():
    assert citations("Yes [2].") == [Citation(2, 4, 7)]


def test_a_marker_with_several_numbers_counts_once_each_with_the_same_span():
    assert citations("So [1, 3; 12].") == [Citation(1, 3, 13), Citation(3, 3, 13), Citation(12, 3, 13)]


def test_numbers_are_listed_once_in_order_of_appearance():
    assert cited_numbers("A [3]. B [1][3]. C [2, 1].") == [3, 1, 2]


def test_citations_can_be_given_other_numbers_and_nothing_else_changes():
    assert renumbered("In 2 [1, 3; 2] of 3 [2][9].", {1: 3, 2: 1, 3: 2}) == "In 2 [3, 2; 1] of 3 [1][9]."


@pytest.mark.parametrize("text", ["", "No marker.", "[a]", "[]", "x[1.5]", "[1234]", "[-1]"])
def test_other_brackets_are_no_citations(text):
    assert citations(text) == []
    assert without_citations(text) == text.strip()


def test_markers_and_the_spaces_before_them_are_removed():
    assert without_citations("Open at nine [1]. Free [2, 3] for all. [4]") == "Open at nine. Free for all."


def test_a_marker_after_the_full_stop_stays_with_its_sentence():
    assert sentences("Open at nine. [1] Free for children. [2]") == ["Open at nine. [1]", "Free for children. [2]"]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith opened it.",
        "Use a tool, e.g. Make.",
        "Version 2.5 is out.",
        "1. Open the lid.",
        "The U.S. Senate met.",
    ],
)
def test_numbers_and_abbreviations_do_not_end_a_sentence(text):
    assert sentences(text) == [text]


def test_every_line_of_a_list_is_a_sentence():
    assert sentences("Steps:\n1. Open it.\n2. Close it.\n- Done") == ["Steps:", "1. Open it.", "2. Close it.", "- Done"]


def test_a_code_block_is_one_sentence():
    code = "```python\nx = 1. \nprint(x)\n```"
    assert sentences(f"Run this:\n{code}\nIt prints. All good.") == ["Run this:", code, "It prints.", "All good."]
    assert sentences("```\nnever closed. Really") == ["```\nnever closed. Really"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("It is long [1]. It rises in the", "It is long [1]."),
        ("It is long. [1] It ri", "It is long. [1]"),
        ("Steps:\n1. Open it.\n2. Close", "Steps:\n1. Open it."),
        ("Run this:\n```\nmake", "Run this:"),
        ("It is 288 kilo", ""),
        ("", ""),
    ],
)
def test_a_last_sentence_without_an_end_is_left_out(text, left):
    assert ended_part(text) == left


@pytest.mark.parametrize("text", ["It is [1].", "It is. [2]", 'He said "yes."', "Is it?", "```\nmake\n```", "是。"])
def test_an_answer_that_ended_stays_as_it_is(text):
    assert ended_part(text) == text


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_nothing_has_no_sentences_and_declines(text):
    assert sentences(text) == []
    assert declined(text)


@pytest.mark.parametrize(
    "text",
    [
        DECLINE,
        "I couldn't find this in the documents. Please ask the desk.",
        "The passages do not mention opening hours.",
        "This is not covered in the documents [1].",
        "No information about that is available.",
    ],
)
def test_saying_that_the_documents_do_not_answer_declines(text):
    assert declined(text)


@pytest.mark.parametrize(
    "text",
    [
        "The museum opens at nine [1].",
        "The museum does not open on Mondays [1].",
        "I could not find the price. The museum opens at nine [1]. Lunch is served until three [3].",
        "It opens at nine [1]. The price is not mentioned in the documents.",
    ],
)
def test_an_answer_that_answers_something_does_not_decline(text):
    assert not declined(text)


def test_no_sentence_is_lost():
    text = "First one [1]. Second: yes!\n\n- third\n```\ncode. Here\n``` Fourth? Fifth."
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
