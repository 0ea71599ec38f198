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


@pytest.mark.parametrize("code", ["`items[0]`", "`a[1]` and `b[2]`", "```\nx = items[1]\n```", "```\nx = items[1]"])
def test_an_index_in_code_is_no_citation_and_stays(code):
    assert citations(code) == []
    assert without_citations(code) == renumbered(code, {0: 9, 1: 9, 2: 9}) == code


def test_a_marker_beside_code_is_a_citation():
    text = "Read `items[1]` [1].\n```\nitems[2]\n``` [2]"
    assert cited_numbers(text) == [1, 2]
    assert text[citations(text)[0].start : citations(text)[0].end] == "[1]"
    assert renumbered(text, {1: 2, 2: 1}) == "Read `items[1]` [2].\n```\nitems[2]\n``` [1]"
    assert without_citations(text) == "Read `items[1]`.\n```\nitems[2]\n```"


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


@pytest.mark.parametrize(
    "parts",
    [
        ["Der Turm ist hoch.", "\u00dcber ihm ist Himmel [2]."],
        ["\u041e\u043d \u043d\u043e\u0432\u044b\u0439.", "\u041e\u043d \u0432 \u041f\u0430\u0440\u0438\u0436\u0435."],
    ],
    ids=["German", "Russian"],
)
def test_a_sentence_ends_before_any_capital(parts):
    assert sentences(" ".join(parts)) == parts


def test_chinese_sentences_end_without_a_blank():
    parts = [
        "\u5854\u9ad8300\u7c73\u3002[1]",
        "\u5b83\u5728\u5df4\u9ece\u3002",
        "\u201c\u662f\uff01\u201d\u4ed6\u8bf4\u3002",
    ]
    assert sentences("".join(parts[:2])) == parts[:2]
    assert sentences(" ".join(parts)) == parts


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
        "아레강은 288킬로미터입니다. 베른 알프스에서 시작합니다. 라인강으로 흘러갑니다 [1].",
        "आरे नदी 288 किलोमीटर लंबी है। यह आल्प्स से निकलती है। यह राइन में मिलती है [1]।",
        "طول النهر 288 كيلومترا. ينبع من جبال الألب. يصب في الراين [1].",
        "אורך הנהר 288 קילומטר. הוא נובע מהאלפים. הוא נשפך לריין [1].",
    ],
)
def test_scripts_without_capitals_have_sentences_too(text):
    assert len(sentences(text)) == 3


@pytest.mark.parametrize(
    "text",
    [
        DECLINE,
        "I couldn't find this in the documents. Please ask the desk.",
        "The passages do not mention opening hours.",
        "This is not covered in the documents [1].",
        "No information about that is available.",
        "From the passages I cannot answer that.",
        "Passage [1] does not mention the year.",
        "I couldn\u2019t find this in the documents.",
        "Sorry, I could not find this in the documents.",
        "Unfortunately, the provided passages do not mention the price.",
        "I do not know.",
        "I don't know the answer to that.",
        "We do not know.",
        "I cannot answer this question from the passages.",
        "I'm unable to find this in the provided context.",
        "I am not able to answer this question.",
        "Could not find this in the documents.",
        "The document does not say when it opens [1].",
        "That isn't stated in the given passages.",
        "None of the documents mention a price.",
        "No passage answers the question.",
        "There is no information about parking in the documents.",
        "There is no mention of dogs.",
        "Based on the passages, I cannot answer that.",
        "The context does not explicitly state the year.",
        "Passages 1 and 2 do not contain the answer.",
        "It is not in the documents.",
        "The question cannot be answered from the passages.",
        "This cannot be found in the sources.",
        "The documents contain no information on this.",
        "I have no information about the opening hours.",
        "I don't see any information about this in the context.",
        "No information on parking was found.",
        "The documents you provided do not say.",
        "I am sorry, but I could not find this in the documents.",
        "Nothing in the documents says that.",
        "The documents say nothing about it.",
        "Sorry, but the passages say nothing of subcontractors.",
        "Nothing is said about parking in these documents.",
        "The passages don't mention it.",
        "The documents do not say that.",
        "No information is available.",
        "This information is not provided in the context.",
        "I did not find anything about it.",
        "Unable to find this in the documents.",
        "The answer is not contained in these passages.",
        "The opening hours are not mentioned in the text.",
        "I can't find that.",
        "The text does not specify when he died.",
        "The passage does not provide information about the year.",
        "The given text doesn't mention who wrote it.",
        "**I could not find this in the documents.**",
        "- I could not find this in the documents.",
        "# Answer\nI could not find this in the documents.",
        "I could not find this [1].",
        "Sorry, I do not have enough information to answer that question [2].",
        "There is nothing about this in the documents.",
        "There is nothing in the documents.",
        "It is not possible to say from the passages when it opened.",
        "I could not find any information about parental leave [1].",
        "I do not know the opening hours [1].",
        "I don't have enough information about shipping costs [1].",
        "This is not mentioned in the document library.",
        "It is not possible to answer based on the passages.",
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


@pytest.mark.parametrize(
    "text",
    [
        "If we cannot find your order, we refund it [1].",
        "The logo is not in source control [1].",
        "The file cannot be opened in text mode [1].",
        "Text does not include HTML [1].",
        "When I cannot see the page, the porter helps [2].",
        "Water damage is not covered by the warranty.",
        "Guests cannot see the admin pages.",
        "No information leaves your computer.",
        "The bot cannot answer in French [1].",
        "If you do not know your password, click Reset [1].",
        "If you cannot find the invoice, open Billing, then Archive [1].",
        "The warranty documents do not cover water damage [1].",
        "The warranty documents say nothing about water damage [1].",
        "Nothing is stored in the documents folder [1].",
        "Do not answer calls from unknown numbers [2].",
        "No documents are needed at the desk [1].",
        "Cannot find the invoice? Open Billing [1].",
        "No information about customers is shared with third parties [1].",
        "You cannot see deleted messages [1].",
        "We do not answer calls on Sundays [3].",
        "Drafts are not contained in the export [1].",
        "A guest who did not find the key should ask the porter [2].",
        "Passwords are not provided by the help desk [1].",
        "The app did not see the file, so restart it [1].",
        "The source code does not include the tests [1].",
        "No source of water may be left open [1].",
        "We cannot answer letters in French [1].",
        "Open source licences do not cover the logo [1].",
        "Unsigned documents are not accepted [2].",
        "Costs not covered by the plan are paid by you [1].",
        "We do not know your password: it is stored as a hash [1].",
        "I cannot see other people's chats, and neither can you [1].",
        "We could not find a link between the drug and cancer [1].",
        "Unable to find the file, the tool exits with code 2 [1].",
        "No details on your account are given to others [2].",
        "Deleted files are not in the documents folder but in the bin [1].",
        "**Deleted messages cannot be seen by guests** [1].",
        "# Refunds",
        "There is nothing to worry about in the documents.",
        "There is nothing illegal in the texts that staff send.",
        "There is nothing to sign in the documents that you get.",
        "It is impossible to tell from the document that it was signed.",
    ],
)
def test_a_right_answer_with_a_negation_does_not_decline(text):
    assert not declined(text)


def test_no_sentence_is_lost():
    text = "First one [1]. Second: yes!\n\n- third\n```\ncode. Here\n``` Fourth? Fifth."
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
