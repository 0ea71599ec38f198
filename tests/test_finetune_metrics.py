"""Claims about the metrics: what each rewards, what each must not be fooled by."""

import math
import random

import pytest

from finetune import gaming, metrics, wording
from finetune.declining import decline_correct
from finetune.task_metrics import OF_TASKS
from store.answers import DECLINE

PASSAGES = [
    "The museum opens at nine on weekdays. It is closed on Mondays.",
    "Tickets cost 12 euros. Children under six enter free.",
    "The café on the roof serves lunch until three.",
]


def contained(claim: str, passage: str) -> float:
    """A support judge as plain as can be: all content words are in the passage."""
    return float(wording.share_found(wording.content_words(claim), wording.content_words(passage)) == 1.0)


def test_a_supported_and_cited_answer_scores_one():
    answer = "The museum opens at nine on weekdays [1]. Tickets cost 12 euros [2]."
    assert metrics.citation_recall(answer, PASSAGES, contained) == 1.0
    assert metrics.citation_precision(answer, PASSAGES, contained) == 1.0
    assert metrics.context_relevance(answer, PASSAGES, contained) == 1.0
    assert metrics.groundedness(answer, PASSAGES, contained) == 1.0


def test_citing_everything_lowers_precision():
    answer = "Tickets cost 12 euros [1][2][3]."
    assert metrics.citation_recall(answer, PASSAGES, contained) == 1.0
    assert metrics.citation_precision(answer, PASSAGES, contained) == pytest.approx(1 / 3)


def test_two_passages_that_are_needed_together_both_count():
    answer = "Tickets cost 12 euros and lunch is served until three [2, 3]."
    assert metrics.citation_recall(answer, PASSAGES, contained) == 1.0
    assert metrics.citation_precision(answer, PASSAGES, contained) == 1.0


def test_a_sentence_without_citation_lowers_recall():
    answer = "The museum opens at nine on weekdays [1]. Tickets cost 12 euros."
    assert metrics.citation_recall(answer, PASSAGES, contained) == 0.5
    assert metrics.citation_precision(answer, PASSAGES, contained) == 1.0


@pytest.mark.parametrize("gap", ["[2].", ". [2]", ".\n[2]", ".[2]"])
def test_a_marker_before_or_after_the_full_stop_cites_the_same(gap):
    answer = f"Tickets cost 12 euros{gap}"
    assert metrics.citation_recall(answer, PASSAGES, contained) == 1.0
    assert metrics.citation_precision(answer, PASSAGES, contained) == 1.0


@pytest.mark.parametrize("answer", ["Tickets cost 12 euros [9].", "Tickets cost 12 euros [0].", "No marks at all."])
def test_out_of_range_and_missing_citations_score_nothing(answer):
    assert metrics.citation_recall(answer, PASSAGES, contained) == 0.0
    assert metrics.citation_precision(answer, PASSAGES, contained) == 0.0


def test_the_wrong_passage_cited_scores_nothing():
    assert metrics.citation_recall("Tickets cost 12 euros [1].", PASSAGES, contained) == 0.0
    assert metrics.citation_precision("Tickets cost 12 euros [1].", PASSAGES, contained) == 0.0


def test_rightly_declining_is_not_scored_and_wrongly_declining_is_zero():
    for metric in (
        metrics.citation_recall,
        metrics.citation_precision,
        metrics.context_relevance,
        metrics.groundedness,
    ):
        assert metric(DECLINE, PASSAGES, contained, answerable=False) is None
        assert metric(DECLINE, PASSAGES, contained, answerable=True) == 0.0


def test_small_talk_without_passages_is_not_scored_for_citations():
    assert metrics.citation_recall("You are welcome!", [], contained) is None
    assert metrics.citation_precision("You are welcome!", [], contained) is None
    assert metrics.context_relevance("You are welcome!", [], contained) is None
    assert metrics.citation_recall("You are welcome [1]!", [], contained) == 0.0


def test_source_attribution_is_the_harmonic_mean():
    assert metrics.source_attribution(1.0, 0.5) == pytest.approx(2 / 3)
    assert metrics.source_attribution(0.0, 0.0) == 0.0
    assert metrics.source_attribution(None, 1.0) is None


def test_the_right_citation_is_the_gold_passage():
    assert metrics.right_citation("Twelve euros [2].", 2) == 1.0
    assert metrics.right_citation("Twelve euros [1].", 2) == 0.0
    assert metrics.right_citation("Twelve euros [1].", None) is None
    assert metrics.right_citation(DECLINE, 2) == 0.0


def test_passages_about_the_question_are_more_relevant_than_others():
    question = "When does the museum open on weekdays?"
    assert metrics.passage_relevance(question, PASSAGES[:1]) > metrics.passage_relevance(question, PASSAGES[1:])
    assert metrics.passage_relevance(question, []) == 0.0


def test_a_longer_answer_with_the_facts_is_still_accurate():
    short = metrics.answer_accuracy("12 euros [2].", ["Tickets cost 12 euros."], question="What do tickets cost?")
    long = metrics.answer_accuracy(
        "Thank you for asking. Tickets cost 12 euros [2].", ["Tickets cost 12 euros."], question="What do tickets cost?"
    )
    assert long == 1.0
    assert short is not None and short > 0.5


def test_copying_context_does_not_answer_accurately():
    copied = f"{PASSAGES[0]} {PASSAGES[2]}"
    accuracy = metrics.answer_accuracy(copied, ["Tickets cost 12 euros."], question="What do tickets cost?")
    assert accuracy is not None and accuracy < 0.1
    assert gaming.verbatim_share(copied, PASSAGES) > 0.9


def test_restating_the_question_does_not_answer_accurately():
    question = "Who sang the song should have been a cowboy"
    reference = "Toby Keith sang Should Have Been a Cowboy."
    accuracy = metrics.answer_accuracy(f"{question}?", [reference], question=question)
    assert accuracy is not None and accuracy < 0.4
    assert metrics.answer_accuracy("Toby Keith.", [reference], question=question) > 0.6  # type: ignore[operator]


def test_facts_scattered_over_a_long_text_do_not_add_up_to_an_answer():
    scattered = "Ada is here. One came. Two came. Three came. Four came. Lovelace was there."
    whole = metrics.answer_accuracy("It was Ada Lovelace.", ["Ada Lovelace"])
    assert whole == 1.0
    assert metrics.answer_accuracy(scattered, ["Ada Lovelace"]) == 0.5


def test_a_wrong_number_and_a_turned_negation_each_halve_the_score():
    reference = ["Children under 6 enter free."]
    right = metrics.answer_accuracy("Children under 6 enter free.", reference)
    wrong_number = metrics.answer_accuracy("Children under 9 enter free.", reference)
    negated = metrics.answer_accuracy("Children under 6 do not enter free.", reference)
    assert right == 1.0
    assert wrong_number is not None and wrong_number <= 0.5
    assert negated == 0.5


def test_number_words_and_digits_are_the_same_number():
    assert metrics.answer_accuracy("Two stamps.", ["2 stamps"]) == 1.0
    assert wording.numbers("1. pay 1,000 euros [3]\n2. wait two days") == {"1000", "2"}


def test_the_best_reference_counts():
    assert metrics.answer_accuracy("In Lyon.", ["Paris", "Lyon"]) == 1.0
    assert metrics.answer_accuracy("In Lyon.", []) is None


def test_accuracy_of_declining_depends_on_whether_there_is_an_answer():
    assert metrics.answer_accuracy(DECLINE, [], answerable=False) == 1.0
    assert metrics.answer_accuracy("Paris.", [], answerable=False) == 0.0
    assert metrics.answer_accuracy(DECLINE, ["Paris"], answerable=True) == 0.0


def test_declining_is_right_exactly_where_nothing_answers():
    table = [(text, can) for text in (DECLINE, "Paris [1].") for can in (True, False)]
    assert [decline_correct(text, can) for text, can in table] == [0.0, 1.0, 1.0, 0.0]


def test_perplexity_is_exp_of_the_mean_negative_log_probability():
    assert metrics.perplexity([math.log(0.5), math.log(0.125)]) == pytest.approx(4.0)
    assert metrics.perplexity([]) is None


def test_length_ratio_is_one_for_the_same_length():
    assert gaming.length_ratio("one two three [1]", ["four five six"]) == 1.0
    assert gaming.length_ratio("one two", ["a b c d"]) == 0.5
    assert gaming.length_ratio("one", []) is None


def test_every_score_stays_between_zero_and_one_for_any_text():
    pieces = [
        "",
        "[1]",
        "[2, 9]",
        "not",
        "The",
        "museum",
        "12",
        "1,000.5",
        ".",
        "?\n",
        "- item",
        "1. do",
        "`x_y`",
        "ÄÖ ½",
    ]
    pieces += ["```code\n", "I could not find this in the documents.", "🎟️", "HTTP", "n't", "[", "e.g."]
    rng = random.Random(7)
    for _ in range(400):
        answer, reference, passage, question = (" ".join(rng.choices(pieces, k=rng.randrange(12))) for _ in range(4))
        can = rng.random() < 0.7
        scores = [
            metric(answer, [passage, reference], contained, answerable=can)
            for metric in (metrics.citation_recall, metrics.citation_precision, metrics.context_relevance)
        ]
        scores += [
            metrics.source_attribution(scores[0], scores[1]),
            metrics.groundedness(answer, [passage], contained, answerable=can),
            metrics.answer_accuracy(answer, [reference], question=question, answerable=can),
            decline_correct(answer, can),
            metrics.passage_relevance(question, [passage]),
            *(metric(answer, [reference]) for metric in OF_TASKS.values()),
            gaming.verbatim_share(answer, [passage]),
            gaming.length_ratio(answer, [reference]),
            metrics.right_citation(answer, 1, answerable=can),
        ]
        assert all(score is None or 0.0 <= score <= 1.0 for score in scores), (answer, reference, scores)


def test_what_is_said_twice_counts_once():
    answer = "The museum opened in 1998 [1]. The museum opened in 1998 [1]. It has a lion."
    assert metrics.citation_recall(answer, ["The museum opened in 1998."], lambda s, p: float("1998" in s)) == 0.5
    assert metrics.groundedness(answer, ["The museum opened in 1998."], lambda s, p: float("1998" in s)) == 0.5
    assert len(wording.distinct("The fee is due [1]. The fee is not due [1]. 1. The fee is due [2].")) == 2
    again = "The fee is due on Friday [1]. Indeed, the fee is due on Friday [1]. On Friday, then, the fee is due."
    assert len(wording.distinct(again)) == 2
    heading = "**Annual leave for employees: 25 days.**\nAnnual leave for employees: 25 days [1]."
    assert wording.distinct(heading) == ["Annual leave for employees: 25 days [1]."]


@pytest.mark.parametrize(
    "different",
    [
        "Use `a < b`.\nUse `a > b`.",
        "- C++\n- C#\n- C",
        "दिन अच्छा है।\nदान अच्छा है।",
        "From Bern to Basel takes an hour. From Basel to Bern takes an hour.",
        "The fee for members is 5 euros. The fee for members is 9 euros.",
        "Guests may park here. Guests may not park here.",
        "Open the settings. Open the settings page and choose who may see your calendar.",
        "Press Save. Press Save twice.",
        "Click the Save button. Click the Cancel button.",
        "Submit the form before the course. Submit the form after the course.",
        "Lot A is open for staff cars. Lot B is open for staff cars.",
        "Parking is free for all staff. Parking is free for all staff and visitors.",
        "The main pump is turned off. The main pump is turned on again.",
    ],
)
def test_what_tells_something_else_is_not_said_twice(different):
    assert len(wording.distinct(different)) == len(wording.claims(different))


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (DECLINE, 1.0),
        (f"{DECLINE} Please ask the front desk.", 1.0),
        (f"{DECLINE} The passages are about bread.", 1.0),
        (f"{DECLINE} The refund is 500 euros [1].", 0.0),
        (f"{DECLINE} Please pay 500 euros.", 0.0),
        (f"{DECLINE} The passages do not mention the price of lunch.", 1.0),
        ("I don't know. The documents do not say.", 1.0),
        (f"{DECLINE} There is no information about lunch.", 1.0),
        (f"{DECLINE} Sorry.", 1.0),
        (f"{DECLINE} The documents only cover parking and the front desk.", 1.0),
        (f"{DECLINE} Contact HR on floor 2.", 1.0),
        (f"{DECLINE} Could you tell me which office you mean?", 1.0),
        (f"{DECLINE} You may want to check the intranet.", 1.0),
        (f"{DECLINE} Let me tell you: lunch is free in the red building.", 0.0),
        (f"{DECLINE} Maybe lunch is free for employees.", 0.0),
        (f"{DECLINE} If you are an employee, lunch is free.", 0.0),
        (f"{DECLINE} You can get a full refund by calling the bank.", 0.0),
        (f"{DECLINE} Please ask the front desk, where somebody can help you.", 1.0),
        (f"{DECLINE} Please contact the office if you need more.", 1.0),
        (f"{DECLINE} Sorry for the inconvenience.", 1.0),
        (f"{DECLINE} Sorry, I cannot help with that.", 1.0),
        (f"{DECLINE} Please ask Lee, who refunds every guest in cash.", 0.0),
        (f"{DECLINE} Please call the office; lunch is free there.", 0.0),
        (f"{DECLINE} Please ask at the desk because lunch is free.", 0.0),
        (f"{DECLINE} Sorry, the museum is closed for good.", 0.0),
        (f"{DECLINE} The documents only say that every guest gets the money back.", 0.0),
        (f"{DECLINE} The documents only say that parking is at the front desk.", 1.0),
        (f"{DECLINE} Please call the desk at 5500.", 1.0),
        (f"{DECLINE} The passages only say that the keys are at 5500.", 1.0),
        (f"{DECLINE} Please contact the help desk as soon as possible.", 1.0),
        (f"{DECLINE} Please check the staff portal and the handbook as well.", 1.0),
        (f"{DECLINE} Please see https://intranet.example.com/help.", 1.0),
        (f"{DECLINE} Please let me know which building you mean.", 1.0),
        (f"{DECLINE} Please ask the person who handles leave requests.", 1.0),
        (f"{DECLINE} I'm sorry that I cannot help more.", 1.0),
        (f"{DECLINE} Could you clarify: staff or student parking?", 1.0),
        (f"{DECLINE} The documents only discuss other topics.", 1.0),
        (f"{DECLINE} Did you know that lunch is free for everybody?", 0.0),
        (f"# Answer\n{DECLINE}", 1.0),
        ("", 0.0),
        ("[1]", 0.0),
    ],
)
def test_a_decline_is_in_words_and_invents_nothing(answer, right):
    passages = ["Bread.", "Parking is in front of the house; the front desk (5500) has the keys."]
    assert decline_correct(answer, False, passages, lambda s, p: float("bread" in s or "5500" in s)) == right
    assert decline_correct(answer, True, passages) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "Under the GDPR (Art. 6) processing is lawful [1].",
        "Call ext. 12 or tel. 555 for help [1].",
        "It is open from Jan. 3 to Feb. 10 [1].",
        "Nach § 5 Abs. 2 Nr. 3 BGB gilt die Frist, z. B. Montags [1].",
        "You need:\n- a passport [1]\n- a photo [1]",
        "## Breakfast\nBreakfast is from 7 to 10 [1].",
        "| Item | Price |\n|---|---|\n| Parking | 4 euros [1] |\n| Fee | 5 euros [1] |",
        "Yes. Breakfast is from 7 to 10 [1].",
    ],
)
def test_what_only_leads_to_a_sentence_and_a_stop_within_it_make_none(answer: str) -> None:
    assert metrics.citation_recall(answer, ["Anything."], lambda claim, passage: 1.0) == 1.0
    assert gaming.concision(answer, ["Anything."]) == 1.0


def test_what_leads_to_a_sentence_is_judged_with_it() -> None:
    heading = "## Dogs are welcome\nBreakfast is from 7 to 10 [1]."
    assert metrics.citation_recall(heading, ["Breakfast is from 7 to 10."], contained) == 0.0
    assert metrics.citation_recall("The fee is due [1]. You need:", ["The fee is due."], contained) == 0.5
