"""Claims about learning to rank: it finds what matters, is judged on other documents, and only a gain is approved."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from retrieval import learning, ranking
from retrieval.learning import Pair
from retrieval.versions import Versions
from store.documents import Passage
from store.errors import Conflict, Invalid, NotFound
from store.exchanges import Logged
from store.models import Exchange, Feedback

NOW = datetime(2026, 1, 2, tzinfo=UTC)
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


def logged(answer: str, *, rating: str | None = None, correction: str = "", **values: object) -> Logged:
    exchange = Exchange(
        conversation_id="c", person_id="p", question="How long?", answer=answer, passages=PASSAGES, **values
    )
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


def test_a_clear_gain_is_promoted_and_none_is_kept_back() -> None:
    good = learning.learn(pairs(200), inforce=ranking.DEFAULT, now=NOW)
    assert good.metrics["verdict"] == "promote" and good.metrics["gain"][1] > 0
    same = learning.learn(pairs(200), inforce=good.weights, now=NOW)
    assert same.metrics["verdict"] == "keep"
    with pytest.raises(Invalid, match=r"5 questions with a cited passage, at least 30"):
        learning.learn(pairs(5), inforce=ranking.DEFAULT, now=NOW)


def test_the_interval_is_wider_when_questions_share_their_documents() -> None:
    new, old = np.arange(400) % 4 < 3, np.arange(400) % 4 < 2
    groups = [str(i // 100) for i in np.argsort(np.arange(400) % 4, kind="stable").argsort()]
    _, low, high = learning.gain(new, old, groups)
    _, alone_low, alone_high = learning.gain(new, old, [str(i) for i in range(400)])
    assert high - low > alone_high - alone_low


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


# versions


def test_a_candidate_is_approved_once_and_rolled_back(tmp_path: Path) -> None:
    versions = Versions(tmp_path / "ranking")
    assert versions.current() == ranking.DEFAULT and versions.inforce() is None
    first = learning.learn(pairs(200), inforce=ranking.DEFAULT, now=NOW)
    versions.keep(first)
    assert versions.current() == ranking.DEFAULT
    versions.approve(first.id, comment="better")
    assert versions.current() == first.weights and Versions(tmp_path / "ranking").current() == first.weights
    with pytest.raises(Conflict, match=f"{first.id} is approved with the verdict promote, expected a candidate"):
        versions.approve(first.id, comment="again")
    second = learning.learn(pairs(200, telling="dense", seed=2), inforce=first.weights, now=NOW)
    versions.keep(second)
    versions.approve(second.id, comment="dense tells now")
    assert versions.rollback(comment="worse") == first.id and versions.current() == first.weights
    assert versions.rollback(comment="worse too") == "" and versions.current() == ranking.DEFAULT
    with pytest.raises(Conflict, match="the default weights are in force"):
        versions.rollback(comment="again")
    assert {version.state for version in versions.all()} == {"retired"}


def test_weights_that_did_not_gain_cannot_be_approved(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    good = learning.learn(pairs(200), inforce=ranking.DEFAULT, now=NOW)
    same = learning.learn(pairs(200), inforce=good.weights, now=NOW)
    versions.keep(same)
    with pytest.raises(Conflict, match="candidate with the verdict keep"):
        versions.approve(same.id, comment="try")
    with pytest.raises(NotFound, match="no weights rank_none"):
        versions.approve("rank_none", comment="")


def test_a_changed_file_of_weights_is_refused(tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    version = learning.learn(pairs(200), inforce=ranking.DEFAULT, now=NOW)
    versions.keep(version)
    file = tmp_path / f"{version.id}.json"
    content = json.loads(file.read_text())
    content["weights"]["dense"] = 0.9
    file.write_text(json.dumps(content))
    with pytest.raises(Invalid, match="its digest does not match"):
        versions.get(version.id)
