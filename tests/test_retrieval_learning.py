"""Claims about learning to rank: it finds what matters, is judged on other documents, and follows what is approved."""

from typing import Any

import numpy as np
import pytest

from retrieval import learning, ranking
from retrieval.learning import Pair
from retrieval.weights import Weights
from store import rankings
from store.chunks import Passage
from store.database import Database
from store.errors import Invalid
from store.exchanges import Logged
from store.models import Exchange, Feedback
from tests.queued import until

PASSAGES = [
    {"n": 1, "title": "Aare", "text": "The river Aare is 288 kilometres long.", "digest": "d1"},
    {"n": 2, "title": "Bread", "text": "Bake the bread for forty minutes.", "digest": "d2"},
]


def pairs(count: int, *, telling: str = "phrase", documents: int = 40, seed: int = 1) -> list[Pair]:
    """Questions in which only one measure tells the right candidate from nine others."""
    draw = np.random.default_rng(seed)
    made = []
    for i in range(count):
        measures = draw.random((10, len(ranking.MEASURES)), dtype=np.float32) * 0.5
        right = np.arange(10) == draw.integers(0, 10)
        measures[right, ranking.MEASURES.index(telling)] += 0.35
        made.append(Pair(f"doc_{i % documents}", measures, right))
    return made


def logged(answer: str, *, rating: str | None = None, correction: str = "", **values: Any) -> Logged:
    given = {"person_id": "p", "question": "How long?", "passages": PASSAGES, **values}
    exchange = Exchange(conversation_id="c", answer=answer, **given)
    return Logged(exchange, Feedback(exchange_id="e", person_id="p", rating=rating, correction=correction), None)


# fitting


def test_fitted_weights_are_shares_and_favour_the_measure_that_tells() -> None:
    weights = learning.fit(pairs(200))
    assert sum(weights.values()) == pytest.approx(1, abs=1e-3) and min(weights.values()) >= 0
    assert max(weights, key=lambda name: weights[name]) == "phrase"


def test_few_pairs_move_the_weights_less_than_many() -> None:
    def moved(count: int) -> float:
        weights = learning.fit(pairs(count))
        return sum(abs(weights[name] - ranking.DEFAULT[name]) for name in ranking.MEASURES)

    assert moved(5) < moved(50) < moved(400)


def test_pairs_that_teach_nothing_are_refused() -> None:
    [pair] = pairs(1)
    with pytest.raises(Invalid, match="no question has both a right and a wrong candidate"):
        learning.fit([Pair("doc", pair.measures, np.zeros(10, dtype=np.bool_))])


def test_weights_are_judged_on_documents_they_have_not_seen() -> None:
    some = pairs(100)
    folds = learning.folds_of([pair.group for pair in some])
    fitted = learning.cross_fitted(some)
    for fold in set(folds.tolist()):
        others = [pair for pair, other in zip(some, folds, strict=True) if other != fold]
        mine = [weights for weights, other in zip(fitted, folds, strict=True) if other == fold]
        assert all(weights == learning.fit(others) for weights in mine[:1]) and mine.count(mine[0]) == len(mine)
        assert not {p.group for p in others} & {p.group for p, o in zip(some, folds, strict=True) if o == fold}


def test_a_pair_with_more_say_moves_the_weights_more() -> None:
    dense, phrase = pairs(50, telling="dense"), pairs(50, seed=2)

    def phrase_share(say: float) -> float:
        heavy = [Pair(pair.group, pair.measures, pair.right, say) for pair in phrase]
        return learning.fit([*dense, *heavy])["phrase"]

    assert phrase_share(0.1) < phrase_share(1) < phrase_share(10)


def test_learning_tells_for_each_question_what_came_first_and_what_was_shown() -> None:
    some = pairs(200)
    learned = learning.learn(some, inforce=ranking.DEFAULT, passages=3, min_score=0.0)
    assert [row.group for row in learned.judged] == [pair.group for pair in some]
    fitted = learning.cross_fitted(some)
    expected = [bool(learning.first_is_right([p], w)[0]) for p, w in zip(some, fitted, strict=True)]
    assert [row.first[0] for row in learned.judged] == expected
    assert [row.first[1] for row in learned.judged] == learning.first_is_right(some, ranking.DEFAULT).tolist()
    assert sum(row.first[0] for row in learned.judged) > sum(row.first[1] for row in learned.judged)
    assert all(row.shown[0] for row in learned.judged if row.first[0])
    assert learned.weights == learning.fit(some)


def test_a_passage_under_the_minimum_score_is_not_shown() -> None:
    judged = learning.learn(pairs(40), inforce=ranking.DEFAULT, passages=10, min_score=0.99).judged
    assert any(row.first[0] for row in judged) and not any(shown for row in judged for shown in row.shown)


def test_too_few_questions_are_refused_with_their_number() -> None:
    with pytest.raises(Invalid, match=r"5 questions with a cited passage, at least 30"):
        learning.learn(pairs(5), inforce=ranking.DEFAULT, passages=3, min_score=0.1)


def test_a_cut_off_refuses_the_stated_share() -> None:
    scores = np.linspace(0, 1, 101).tolist()
    assert np.mean(np.array(scores) < learning.cutoff(scores, false_refusals=0.1)) == pytest.approx(0.1, abs=0.01)
    with pytest.raises(Invalid, match="3 questions, at least 20"):
        learning.cutoff([0.1, 0.2, 0.3])


# from the log


@pytest.mark.parametrize(
    ("row", "digests"),
    [
        (logged("It is 288 km [1].", rating="up"), {"d1"}),
        (logged("It is 288 km [1].", rating="down"), None),
        (logged("It is 288 km.", rating="up"), None),
        (logged("Wrong [2].", rating="down", correction="It is 288 kilometres [1]."), {"d1"}),
        (logged("Wrong [2].", rating="down", correction="The river is 288 kilometres long."), {"d1"}),
        (logged("Wrong [2].", rating="down", correction="Ask the harbour master."), None),
        (logged("x [1]", rating="up", given=True), None),
        (logged("x [1]", rating="up", trainable=False), None),
        (logged("x [1]", rating="up", passages=[{**PASSAGES[0], "flags": ["instructions"]}, PASSAGES[1]]), None),
        (logged("I could not find this in the documents.", rating="up"), None),
    ],
)
def test_what_answered_is_what_a_good_answer_or_a_correction_cites(row: Logged, digests: set[str] | None) -> None:
    found = learning.answered_by(row)
    assert (found and set(found[1])) == digests


def test_a_pair_needs_its_passage_among_the_candidates() -> None:
    passage = Passage("ch", "doc_1", "Aare", "text", "d1", 0, 4, ())
    other = Passage("ch2", "doc_2", "Bread", "text", "d2", 0, 4, ())
    measures = np.zeros((2, len(ranking.MEASURES)), dtype=np.float32)
    log = [("how long", frozenset({"d1"})), ("gone", frozenset({"d9"}))]
    [pair] = learning.pairs_of(log, lambda query: ([other, passage], measures))
    assert pair.group == "doc_1" and pair.right.tolist() == [False, True]


def log_of(counts: dict[str, int]) -> list[Logged]:
    """So many good answers of each person, each to a question of its own."""
    return [
        logged("It is 288 km [1].", rating="up", person_id=person, question=f"How long, {person} {n}?")
        for person, count in counts.items()
        for n in range(count)
    ]


def test_one_person_teaches_little_once_there_are_fifty_people() -> None:
    log = log_of({"busy": 60, **{f"p{n}": 2 for n in range(70)}})
    assert len(learning.questions_of(log, persons=49)) == 200
    capped = [query for query, _ in learning.questions_of(log, persons=50)]
    assert [query for query in capped if "busy" in query] == [f"How long, busy {n}?" for n in (59, 58, 57, 56)]
    assert len(capped) == 144


def test_a_question_counts_once_and_the_newest_come_first() -> None:
    log = log_of({"ann": 3})
    again = logged("It is 288 km [1].", rating="up", person_id="ben", question="how long, ANN 0?")
    found = [query for query, _ in learning.questions_of([*log, again], persons=2)]
    assert found == ["how long, ANN 0?", "How long, ann 2?", "How long, ann 1?"]
    assert len(learning.questions_of(log, persons=2, most=2)) == 2


# what is in force


def approved(database: Database, weights: dict[str, float], compared_with: str = "") -> str:
    row = rankings.keep(
        database,
        actor="test",
        weights=weights,
        metrics={},
        verdict={"verdict": "promote"},
        compared_with=compared_with,
    )
    return rankings.approve(database, row.id, actor="ann", comment="better").id


def test_approved_weights_are_followed_without_a_restart_and_so_is_a_rollback(database: Database) -> None:
    weights, learned = Weights(database), dict.fromkeys(ranking.MEASURES, 1 / 7)
    assert weights() == ranking.DEFAULT
    approved(database, learned)
    until(lambda: weights() == learned)
    assert Weights(database)() == learned
    rankings.rollback(database, actor="ann", comment="worse")
    until(lambda: weights() == ranking.DEFAULT)


def test_weights_that_were_changed_or_know_other_measures_are_not_used(database: Database) -> None:
    first = approved(database, dict.fromkeys(ranking.MEASURES, 1 / 7))
    with database.write() as session:
        rankings.get(session, first).weights = {**ranking.DEFAULT, "dense": 0.9}
    assert Weights(database)() == ranking.DEFAULT
    approved(database, {"dense": 0.5, "smell": 0.5}, compared_with=first)
    assert Weights(database)() == ranking.DEFAULT
