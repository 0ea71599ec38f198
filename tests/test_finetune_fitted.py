"""Claims about the fitted judge, its scorecards and its signals."""

import json
import random
from collections.abc import Sequence

import numpy as np
import pytest

from bot.models import PACKAGED_CHAT, chat_model, packaged_read
from bot.reading import States
from configs.settings import load_settings
from finetune import accuracy, enough, responding, scorecard, signals
from finetune.admission import accuracy_suite
from finetune.fitted import FittedJudge
from finetune.judge import supported_answer
from finetune.meaning import Alignment, Meaning, Read
from finetune.perturbations import Honest
from finetune.responding import answer_quality
from finetune.scorecard import ScorecardError
from retrieval import embedding
from store.answers import DECLINE

PASSAGE = (
    "The Harbour Museum opened in 1998 in Lisbon. It is open from Tuesday to Sunday. "
    "Visitors can not bring dogs into the building. Tickets cost 12 euros for adults."
)
judge = FittedJudge()


def test_what_the_passage_says_is_supported_more_than_what_it_does_not():
    good = [
        "The Harbour Museum opened in 1998 in Lisbon.",
        "Tickets for adults cost 12 euros [1].",
        "Visitors can't bring dogs into the building.",
        "The museum is open from Tuesday to Sunday.",
    ]
    bad = ["The roof garden has a view of the river.", "Parking behind the station is cheap at night."]
    assert min(judge.support(claim, PASSAGE) for claim in good) >= 0.5
    assert max(judge.support(claim, PASSAGE) for claim in bad) < 0.3


@pytest.mark.parametrize(
    ("honest", "changed"),
    [
        ("The Harbour Museum opened in 1998 in Lisbon.", "The Harbour Museum opened in 1989 in Lisbon."),
        ("The Harbour Museum opened in 1998 in Lisbon.", "The Harbour Museum opened in 1998 in Madrid."),
        ("Visitors can not bring dogs into the building.", "Visitors can bring dogs into the building."),
        ("Tickets cost 12 euros for adults.", "Tickets do not cost 12 euros for adults."),
    ],
)
def test_a_changed_number_name_or_negation_lowers_support(honest, changed):
    assert judge.support(changed, PASSAGE) < judge.support(honest, PASSAGE) - 0.05


def test_nothing_supports_nothing():
    assert judge.support("A claim.", "") == 0.0
    assert judge.support("", PASSAGE) == 0.0
    assert judge.relevance("A question?", []) == 0.0
    assert judge.enough("A question?", [""]) == 0.0
    assert answer_quality("A question?", "", [PASSAGE], judge) == 0.0
    assert answer_quality("A question?", DECLINE, [PASSAGE], judge) == 0.0


def test_accuracy_accepts_any_of_several_answers_and_half_a_date():
    assert judge.accuracy("Who sang it?", "It was sung by Mnek and Zara Larsson.", ["Mariah Carey/Zara Larsson"]) >= 0.5
    assert judge.accuracy("When did it open?", "It opened in 1998.", ["1998"]) >= 0.5
    assert judge.accuracy("When did it open?", "It opened in 1989.", ["1998"]) < 0.5
    assert judge.accuracy("Who played him?", "Phillip Paley did.", ["Philip Paley"]) >= 0.5
    assert judge.accuracy("Who?", DECLINE, [DECLINE]) == 1.0
    assert judge.accuracy("Who?", DECLINE, ["Ada"]) == 0.0
    assert judge.accuracy("Who?", "", ["Ada"]) == 0.0


def test_accepted_answers_are_told_from_dates_and_fractions():
    assert accuracy.accepted("291 episodes/291") == ["291 episodes", "291"]
    assert accuracy.accepted("6/12/2018") == ["6/12/2018"]
    assert accuracy.accepted("3/4 of a mile") == ["3/4 of a mile"]
    assert accuracy.accepted("1924/1926/4 May 1928") == ["1924", "1926", "4 May 1928"]
    assert accuracy.accepted("12/31/1999/1999") == ["12/31/1999", "1999"]


def test_an_accepted_answer_that_lost_a_space_is_found():
    names = list(accuracy.DIRECTIONS)
    for said, wanted in (("The religion wasBuddhism.", "Buddhism"), ("Our starLuke Bryansang it.", "Luke Bryan")):
        found = accuracy.right_signals("Who sang?", said, wanted)
        assert found[names.index("whole")] == found[names.index("found")] == 1.0


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("a party", "art"),
        ("one generation", "ratio"),
        ("in Nigeria", "Niger"),
        ("the 21,000 at 110000", "1,000"),
        ("21,000 men", "1,000 men"),
        ("Luke Bryan sang, a[b", "a[b and"),
    ],
)
def test_a_part_of_another_word_or_number_is_no_accepted_answer(said: str, wanted: str):
    assert accuracy.unglued(said, wanted) == said


def test_a_footnotes_number_behind_a_word_or_a_year_is_taken_off():
    said = "It came out on 8 March 19871 with Crawford12, as MP3, in 1500 copies."
    told = "It came out on 8 March 1987 with Crawford, as MP3, in 1500 copies."
    assert accuracy.without_footnotes(said, "1987, Crawford, MP3, 15") == told
    assert accuracy.without_footnotes("an iPhone12, a word15", "iPhone 12, word") == "an iPhone12, a word"
    assert judge.accuracy("When did it open?", "It opened in 19981.", ["1998"]) >= 0.5
    assert judge.accuracy("How many?", "There are 1500.", ["15"]) < 0.5


def test_a_passage_about_the_question_is_more_relevant_than_another():
    other = "The ferry leaves at nine. It does not run in winter."
    assert judge.relevance("When did the Harbour Museum open?", [PASSAGE]) > judge.relevance("When is it?", [other])
    assert judge.enough("When did the Harbour Museum open?", [PASSAGE]) > judge.enough(
        "When did the Castle Theatre close?", [PASSAGE]
    )


def test_copying_echoing_and_padding_lose_against_an_answer():
    question = "When did the Harbour Museum open?"
    passages = [PASSAGE, "The ferry to the castle leaves at nine in the morning. In winter it does not run at all."]
    honest = answer_quality(question, "The Harbour Museum opened in 1998.", passages, judge)
    copied = (
        "The ferry to the castle leaves at nine in the morning. Visitors can not bring dogs into the building. "
        "Tickets cost 12 euros for adults."
    )
    assert honest > answer_quality(question, copied, passages, judge)
    assert honest > answer_quality(question, question, passages, judge)
    assert honest > answer_quality(question, f"It opened in 1998. {copied}", passages, judge)


def test_scores_stay_between_zero_and_one_for_any_text():
    pieces = ["The", "Museum", "not", "12", "1,5", "[1]", ".", "?", "\n", "(aside", ")", "ÄÖ", "🎟️", "A.B", "x_y", "/"]
    rng = random.Random(3)
    for _ in range(300):
        claim, passage = (" ".join(rng.choices(pieces, k=rng.randrange(15))) for _ in range(2))
        found = (
            judge.support(claim, passage),
            judge.accuracy(claim, claim, [passage]),
            judge.relevance(claim, [passage]),
            judge.enough(claim, [passage]),
            answer_quality(passage, claim, [passage], judge),
        )
        assert all(0.0 <= one <= 1.0 for one in found)


def test_the_file_of_points_names_its_labels_and_points_only_go_the_way_they_may():
    content = json.loads(scorecard.WEIGHTS.read_text())
    assert "AttributionBench" in content["fitted_on"]["support"]
    for part, directions in (
        ("support", signals.DIRECTIONS),
        ("support+meaning", signals.DIRECTIONS | signals.MEANING),
        ("relevance+meaning", enough.DIRECTIONS | enough.MEANING),
        ("enough", enough.DIRECTIONS),
        ("enough+states", enough.DIRECTIONS | enough.MEANING | enough.READ),
        ("accuracy", accuracy.DIRECTIONS),
        ("responds", responding.DIRECTIONS),
    ):
        for signal in scorecard.shipped(part, tuple(directions)).signals:
            steps = np.diff(signal.points) * directions[signal.name]
            assert directions[signal.name] == 0 or (steps >= -1e-6).all(), signal


def test_with_meaning_a_paraphrase_is_told_from_another_claim_of_as_many_shared_words():
    passage = "Employees may work remotely two days each week."
    same, other = "Staff can do their job from home twice a week.", "Buses to the harbour leave twice a week."
    meant = FittedJudge(packaged_read)
    assert meant.name == "fitted+meaning"
    gap = meant.support(same, passage) - meant.support(other, passage)
    assert gap > judge.support(same, passage) - judge.support(other, passage) + 0.02


def test_of_several_passages_the_likeliest_is_read_and_each_once():
    asked: list[tuple[str, str]] = []

    def states(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        asked.extend(pairs)
        return np.zeros((len(pairs), len(enough.shipped_probe().weights)))

    reader, question = FittedJudge(packaged_read, states), "When did the Harbour Museum open?"
    passages = ["Bread is baked with yeast and salt.", PASSAGE]
    found = [reader.enough(question, passages) for _ in range(2)]
    assert found[0] == found[1] and 0 < found[0] < 1
    assert asked == [(question, PASSAGE)]
    assert reader.enough(question, []) == reader.enough(question, [""]) == 0.0
    assert FittedJudge(None, states).enough(question, passages) == judge.enough(question, passages)


@pytest.fixture(scope="module")
def states() -> States:
    return States(chat_model(PACKAGED_CHAT, models=load_settings().models.folder))


def test_states_are_those_of_each_pair_however_many_are_read_together(states: States) -> None:
    pairs = [("When did it open?", PASSAGE * 3), ("Is it open on Mondays?", PASSAGE), ("Why?", "")]
    together = states(pairs)
    assert together.shape == (3, len(enough.shipped_probe().weights))
    for pair, row in zip(pairs, together, strict=True):
        [alone] = states([pair])
        assert row @ alone / np.linalg.norm(row) / np.linalg.norm(alone) > 0.999


def test_a_passage_that_says_the_answer_is_told_from_one_that_only_speaks_of_it(states: States) -> None:
    reader, about = FittedJudge(packaged_read, states), "The Harbour Museum is in Lisbon. It is known for its lion."
    for question, answer in (
        ("When did the Harbour Museum open?", "The Harbour Museum opened in 1998."),
        ("How much is a ticket of the Harbour Museum?", "A ticket of the Harbour Museum is twelve euros."),
    ):
        assert reader.enough(question, [answer]) > reader.enough(question, [about]) + 0.1


def test_points_for_other_signals_are_refused():
    with pytest.raises(ScorecardError, match=r"Found points for .* expected a bias and points for"):
        scorecard.shipped("support", ("other",))
    with pytest.raises(ScorecardError, match='Found no part "taste"'):
        scorecard.shipped("taste", ())


def test_a_fit_finds_what_matters_and_keeps_to_its_directions():
    rng = np.random.default_rng(0)
    values = rng.random((400, 2))
    labels = (values[:, 0] + 0.1 * rng.standard_normal(400) > 0.5).astype(float)
    card = scorecard.fit(values, labels, directions={"real": 1, "other": -1}, ridge=0.001)
    assert card.probability((0.9, 0.5)) > 0.8
    assert card.probability((0.1, 0.5)) < 0.2
    assert card.signals[1].points[-1] <= 0
    pairs = np.array([row for pair in zip(values[labels == 1], values[labels == 0], strict=False) for row in pair])
    paired = scorecard.fit(pairs, np.zeros(len(pairs)), directions={"real": 1, "other": -1}, paired=True)
    assert paired.log_odds((0.9, 0.5)) > paired.log_odds((0.1, 0.5))


DOG, CAT, BARK = (1.0, 0.0, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, 1.0)


def read_by(asked: list[str]) -> Read:
    """A model that knows three words; a text is what its first word is."""
    known = {"dog": DOG, "cat": CAT, "barks": BARK, "the": BARK}

    def read(texts: list[str]) -> list[embedding.Read]:
        asked.extend(texts)
        told = [[word for word in text.split() if word in known] for text in texts]
        vectors = [np.array([known[word] for word in words] or np.zeros((0, 3)), np.float32) for words in told]
        return [
            embedding.Read(np.array(found[0] if len(found) else DOG, np.float32), tuple(words), found)
            for words, found in zip(told, vectors, strict=True)
        ]

    return read


def test_meaning_reads_each_text_once():
    asked: list[str] = []
    meaning = Meaning(read_by(asked))
    assert meaning.alike("dog", ["cat", "dog"]) == pytest.approx(1.0)
    assert meaning.alike("dog", ["cat"]) == pytest.approx(0.6)
    assert meaning.alike("dog", []) == 0.0
    assert meaning.aligned("dog", "cat").weakest == pytest.approx(0.6, abs=1e-3)
    assert sorted(asked) == ["cat", "dog"]


def test_words_are_met_by_the_most_similar_one_and_function_words_do_not_count():
    meaning = Meaning(read_by([]))
    met = meaning.aligned("the dog barks", "cat")
    assert (met.weakest, met.back) == (0.0, pytest.approx(0.6, abs=1e-3))
    same = meaning.aligned("dog cat", "cat dog the")
    assert (same.weakest, same.back) == (pytest.approx(1.0, abs=1e-3),) * 2
    assert meaning.aligned("", "cat") == meaning.aligned("dog", "?") == Alignment(0.0, 0.0)


def test_one_unsupported_sentence_makes_an_answer_doubtful():
    good = "The Harbour Museum opened in 1998 in Lisbon. Tickets cost 12 euros for adults."
    more = f"{good} Elvis Presley lived there until 1950."
    assert supported_answer(more, [PASSAGE], judge) < 0.7 * supported_answer(good, [PASSAGE], judge)


def test_the_fitted_judge_notices_answers_turned_wrong_by_accuracy() -> None:
    """At least as often as is asked of any other judge (`judge.min_suite`)."""
    answers = [
        "Guests may not bring dogs into the breakfast room.",
        "The pool is not open to visitors on Sunday.",
        "You do not need a passport for the ferry.",
        "The tenant must not paint the walls of the kitchen.",
        "Refunds are not paid in cash at the desk.",
        "The form is not valid without a stamp of the office.",
        "Bikes may not be left in the hall overnight.",
        "The lift does not stop at the fourth floor.",
        "Members do not pay for guided tours in winter.",
        "Parcels are not accepted after closing time.",
    ]
    found = accuracy_suite(judge, [Honest("What is the rule?", one, (one,), (one,)) for one in answers])
    assert {one.variant: one.share for one in found if one.n} == {"accuracy, negated": 1.0}
