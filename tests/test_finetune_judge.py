"""Claims about the word judge and the rows of `python -m finetune judge`."""

import json
import random
from pathlib import Path

import pytest

from finetune.judge import JudgeInputError, WordJudge, judge_rows, names, supported_answer
from store.answers import DECLINE

ATTRIBUTION = Path(__file__).parents[2] / "shared" / "data" / "attributionbench" / "dev.jsonl"
PASSAGE = (
    "The Harbour Museum opened in 1998 in Lisbon. It is open from Tuesday to Sunday. "
    "Visitors can not bring dogs into the building. Tickets cost 12 euros for adults."
)
judge = WordJudge()


@pytest.mark.parametrize(
    "claim",
    [
        "The Harbour Museum opened in 1998 in Lisbon.",
        "Tickets for adults cost 12 euros [1].",
        "Visitors can't bring dogs into the building.",
        "The museum is open from Tuesday to Sunday.",
    ],
)
def test_what_the_passage_says_is_supported(claim):
    assert judge.support(claim, PASSAGE) >= 0.5


@pytest.mark.parametrize(
    "claim",
    [
        "The Harbour Museum opened in 1989 in Lisbon.",
        "The Harbour Museum opened in 1998 in Madrid.",
        "Visitors can bring dogs into the building.",
        "Tickets do not cost 12 euros for adults.",
        "The roof garden has a view of the river.",
        "Parking behind the station is cheap at night.",
    ],
)
def test_a_changed_number_name_or_negation_and_new_facts_are_not_supported(claim):
    assert judge.support(claim, PASSAGE) < 0.5


def test_words_scattered_over_a_passage_support_less_than_words_together():
    together = "Dogs are welcome in the garden. The sun was out. Rain fell. Snow fell. Wind blew."
    scattered = "Dogs bark. The sun was out. You are welcome. Rain fell. Snow fell. The garden is big."
    claim = "Dogs are welcome in the garden."
    assert judge.support(claim, together) > 0.5 > judge.support(claim, scattered)


def test_nothing_supports_nothing():
    assert judge.support("A claim.", "") == 0.0
    assert judge.support("", PASSAGE) == 0.0
    assert judge.relevance("A question?", []) == 0.0
    assert supported_answer("A claim.", [], judge) == 0.0
    assert supported_answer("", [PASSAGE], judge) == 0.0


def test_an_acronym_matches_the_phrase_it_stands_for():
    assert judge.support("The WHO advises rest.", "The World Health Organization advises rest.") >= 0.5


def test_names_leave_out_ordinary_sentence_beginnings():
    assert names("Visitors pay. Toby Keith sang in Lisbon with max_tokens.") == (
        "Toby",
        "Keith",
        "Lisbon",
        "max_tokens",
    )


def test_one_unsupported_sentence_makes_an_answer_doubtful():
    good = "The Harbour Museum opened in 1998 in Lisbon. Tickets cost 12 euros for adults."
    assert supported_answer(good, [PASSAGE], judge) >= 0.5
    assert supported_answer(f"{good} Elvis Presley lived there until 1950.", [PASSAGE], judge) < 0.5


def test_accuracy_follows_the_references_and_declining():
    assert judge.accuracy("When did it open?", "It opened in 1998.", ["1998"]) >= 0.5
    assert judge.accuracy("When did it open?", "It opened in 1989.", ["1998"]) < 0.5
    assert judge.accuracy("Who?", DECLINE, []) == 1.0
    assert judge.accuracy("Who?", DECLINE, [DECLINE]) == 1.0
    assert judge.accuracy("Who?", DECLINE, ["Ada"]) == 0.0


def test_scores_stay_between_zero_and_one_for_any_text():
    pieces = [
        "The",
        "Museum",
        "not",
        "12",
        "1,5",
        "[1]",
        ".",
        "?",
        "\n",
        "(aside",
        ")",
        "ÄÖ",
        "🎟️",
        "A.B",
        "x_y",
        "*",
        "\\",
    ]
    rng = random.Random(3)
    for _ in range(400):
        claim, passage = (" ".join(rng.choices(pieces, k=rng.randrange(15))) for _ in range(2))
        assert 0.0 <= judge.support(claim, passage) <= 1.0
        assert 0.0 <= judge.accuracy("", claim, [passage]) <= 1.0
        assert 0.0 <= judge.relevance(claim, [passage]) <= 1.0


def test_rows_are_scored_in_order_for_every_metric():
    row = {
        "question": "When did it open?",
        "answer": "It opened in 1998 [1].",
        "passages": [PASSAGE],
        "reference": "1998",
    }
    for metric in ("support", "accuracy", "relevance"):
        scores = judge_rows([row, {**row, "passages": [], "reference": "2020"}], metric=metric, judge=judge)
        assert [set(score) for score in scores] == [{"score"}, {"score"}]
        assert scores[0]["score"] > scores[1]["score"]


@pytest.mark.parametrize(
    ("row", "metric", "message"),
    [
        ({"passages": []}, "support", 'Line 2: found the fields ["passages"], expected "claim" or "answer" as a text.'),
        ({"claim": "x"}, "support", 'Line 2: found "passages" = null, expected a list of texts.'),
        ({"claim": "x", "passages": "y"}, "support", 'Line 2: found "passages" = "y", expected a list of texts.'),
        ({"claim": "x", "passages": [1]}, "support", 'Line 2: found "passages" = [1], expected a list of texts.'),
        ({"answer": 5, "reference": "x"}, "accuracy", '"answer" or "claim" as a text'),
        ({"answer": "x"}, "accuracy", 'Line 2: found "reference" = null, expected a text or a list of texts.'),
        ({"question": 3, "answer": "x", "reference": "x"}, "accuracy", 'expected "question" as a text'),
        ({"passages": []}, "relevance", 'expected "question" as a text'),
        ([1, 2], "support", "Line 2: found list, expected a JSON object."),
    ],
)
def test_a_bad_row_is_named_with_its_line(row, metric, message):
    good = {"question": "q", "claim": "c", "passages": [], "reference": []}
    with pytest.raises(JudgeInputError) as error:
        judge_rows([good, row], metric=metric, judge=judge)
    assert message in str(error.value)


def test_an_unknown_metric_is_an_error_that_lists_the_known_ones():
    with pytest.raises(JudgeInputError, match='Found the metric "truth", expected one of support, accuracy, relevance'):
        judge_rows([], metric="truth", judge=judge)


@pytest.mark.skipif(not ATTRIBUTION.exists(), reason="AttributionBench is not beside this checkout")
def test_support_agrees_with_people_better_than_chance_on_attributionbench():
    rows = [json.loads(line) for line in ATTRIBUTION.read_text().splitlines()]
    scores = judge_rows(
        [{"claim": r["claim"], "passages": r["references"]} for r in rows], metric="support", judge=judge
    )
    yes = [score["score"] >= 0.5 for score in scores]
    right = [said == (row["attribution_label"] == "attributable") for said, row in zip(yes, rows, strict=True)]
    assert sum(right) / len(right) > 0.66
