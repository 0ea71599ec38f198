"""Claims about the step that weighs retrieval anew: the gate decides, and nothing that happens there stops a cycle."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlmodel import select

from retrieval import ranking
from retrieval.index import Index
from retrieval.learning import Judged
from retrieval.library import Library
from retrieval.weights import Weights
from scheduler import cycle, rank
from scheduler.workbench import Workbench
from store import cycles, exchanges, people, rankings
from store.database import Database
from store.errors import Invalid
from store.models import AuditEntry, Conversation, CycleState, Exchange, ExchangeState
from store.rankings import RankingState
from tests.queued import WordEmbedder, until

QUESTIONS = 40


def judged(first: tuple[int, int], shown: tuple[int, int], *, of: int = 200, documents: int = 40) -> list[Judged]:
    """So many questions of each kind: right first and shown, under the learned weights and under those in force."""
    return [
        Judged(f"doc_{n % documents}", (n < first[0], n < first[1]), (n < shown[0], n < shown[1])) for n in range(of)
    ]


def decide(rows: list[Judged]) -> tuple[str, str]:
    said = rank.decide(rows, margin=0.03, min_cases=30, seed=17)
    return said.verdict, " ".join(said.reasons)


# the gate


def test_a_clear_gain_with_as_many_shown_is_promoted_with_its_numbers() -> None:
    verdict, reasons = decide(judged((160, 120), (180, 180)))
    assert verdict == "promote" and "questions on other documents: 0.600 → 0.800" in reasons and "n = 200" in reasons


def test_a_gain_is_refused_when_fewer_right_passages_are_shown() -> None:
    verdict, reasons = decide(judged((160, 120), (150, 190)))
    assert verdict == "reject" and "right passage shown" in reasons and "worse" in reasons


def test_no_gain_and_a_loss_are_refused() -> None:
    assert decide(judged((120, 120), (180, 180)))[0] == "reject"
    assert decide(judged((100, 140), (180, 180)))[0] == "reject"


def test_a_small_gain_says_how_many_questions_would_show_it() -> None:
    lost = [Judged(f"doc_{n}", (False, True), (True, True)) for n in range(20)]
    verdict, reasons = decide(judged((124, 100), (180, 180), of=180) + lost)
    assert verdict == "not_enough_evidence" and "(questions on other documents) would show one of this size" in reasons


def test_questions_of_one_document_prove_less_than_those_of_many() -> None:
    many = judged((170, 130), (200, 200))
    one = judged((170, 130), (200, 200), documents=1)
    assert decide(many)[0] == "promote" and decide(one)[0] == "not_enough_evidence"


# the step


def fill(database: Database, library: Library, *, questions: int = QUESTIONS) -> None:
    """Documents whose titles mislead, and answers rated up that cite the passage under the plain title."""
    admin = people.add(database, "admin", role="admin", actor="test")
    for n in range(questions):
        library.add_text(source=f"right{n}", title=f"Notes {n}", text=f"Valve k{n} is kept closed for days.")
        library.add_text(source=f"wrong{n}", title=f"How long is valve k{n} kept", text=f"Nothing about item k{n}.")
    for n in range(questions):
        query = f"How long is valve k{n} kept?"
        [passage] = [p for p in library.search(query, 30) if p["title"] == f"Notes {n}"]
        log(database, admin.id, query, {**passage, "n": 1})


def log(database: Database, person_id: str, query: str, passage: dict[str, Any]) -> None:
    conversation = Conversation(person_id=person_id)
    with database.write() as session:
        session.add(conversation)
    row = Exchange(conversation_id=conversation.id, person_id=person_id, question=query, passages=[passage])
    exchanges.begin(database, row)
    exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer="For days [1].")
    with database.read() as session:
        person = people.find(session, person_id)
    exchanges.rate(database, row.id, person=person, rating="up")


def bench(database: Database, index: Callable[[], Index], *, learn: bool = True) -> Workbench:
    """What the step needs of a workbench."""
    unused: dict[str, Any] = dict.fromkeys(field.name for field in fields(Workbench))
    values = {"database": database, "index": index, "learn": learn, "passages": 3, "min_score": 0.1}
    return Workbench(**{**unused, **values, "margin": 0.03, "min_cases": 30, "seed": 17})


def run(database: Database, made: Workbench) -> tuple[str, dict[str, Any]]:
    """Work on a cycle's step `rank`; the step that the cycle comes to, and the result."""
    cycles.start(database, slot_key="s", first_step="rank", started_by="test")
    claim = cycles.claim(database)
    assert claim is not None
    cycle.work(made, claim)
    with database.read() as session:
        row = cycles.get(session, claim.cycle_id)
    assert row.state == CycleState.RUNNING
    return row.step, row.results["rank"]


@pytest.fixture
def index(database: Database, tmp_path: Path) -> Callable[[], Index]:
    return lambda: Index(database, WordEmbedder(), folder=tmp_path / "index", dense_weight=0.6)


def filled(database: Database, index: Callable[[], Index], **values: int) -> None:
    made = index()
    fill(database, Library(database, WordEmbedder(), made, chunk_characters=300, min_score=0.05), **values)
    made.close()


def unused() -> Index:
    raise AssertionError("the index was opened")


def test_weights_that_rank_better_wait_for_approval_and_are_not_in_force(
    database: Database, index: Callable[[], Index]
) -> None:
    filled(database, index)
    step, result = run(database, bench(database, index))
    assert (step, result["ranking"], result["state"]) == ("plan", "r1", "awaiting_approval")
    with database.read() as session:
        row = rankings.get(session, "r1")
        assert rankings.in_force(session) is None and row.cycle_id is not None
        actors = session.exec(select(AuditEntry.actor).where(AuditEntry.subject == "r1")).all()
    assert row.metrics["questions"] == QUESTIONS and row.metrics["right_passage_first"][:2] == [0.0, 1.0]
    assert row.weights["heading"] < ranking.DEFAULT["heading"] and set(actors) == {"scheduler"}
    again = index()
    assert again.owner, "the step left the index open"
    again.close()


def test_learning_twice_from_the_same_log_keeps_one_candidate(database: Database, index: Callable[[], Index]) -> None:
    filled(database, index)
    opened = index()

    def learn() -> str:
        found = rank.learn(
            database, opened.measured, passages=3, min_score=0.1, margin=0.03, min_cases=30, seed=1, actor="ann"
        )
        return found.id

    assert learn() == learn() == "r1"
    rankings.approve(database, "r1", actor="ann", comment="better")
    assert learn() == "r2"
    opened.close()
    with database.read() as session:
        second = rankings.get(session, "r2")
    assert second.compared_with == "r1" and second.state != RankingState.AWAITING_APPROVAL


def test_an_open_index_follows_an_approval_and_a_rollback(database: Database, index: Callable[[], Index]) -> None:
    filled(database, index)
    run(database, bench(database, index))
    searching = Index(database, WordEmbedder(), folder=None, dense_weight=0.6, weights=Weights(database))

    def first() -> str:
        return searching.search("How long is valve k7 kept?", 1)[0].passage.title

    assert first() == "How long is valve k7 kept"
    rankings.approve(database, "r1", actor="ann", comment="better")
    until(lambda: first() == "Notes 7")
    rankings.rollback(database, actor="ann", comment="worse")
    until(lambda: first() == "How long is valve k7 kept")
    searching.close()


def test_nothing_is_learned_unless_it_is_switched_on(database: Database) -> None:
    step, result = run(database, bench(database, unused, learn=False))
    assert step == "plan" and result == {"learned": False, "why": "retrieval.learn is false."}


def test_too_few_questions_are_a_result_and_the_cycle_goes_on(database: Database, index: Callable[[], Index]) -> None:
    filled(database, index, questions=3)
    step, result = run(database, bench(database, index))
    assert step == "plan" and "3 questions with a cited passage, at least 30 are needed" in result["why"]
    with database.read() as session:
        assert rankings.page(session) == []


def test_an_index_that_fails_leaves_its_error_and_the_cycle_goes_on(database: Database) -> None:
    def broken() -> Index:
        raise OSError("the index folder cannot be read")

    step, result = run(database, bench(database, broken))
    assert step == "plan" and "the index folder cannot be read" in result["error"]


def test_a_step_that_died_is_passed_over_by_the_next_attempt(database: Database) -> None:
    cycles.start(database, slot_key="s", first_step="rank", started_by="test")
    claim = cycles.claim(database)
    assert claim is not None
    with database.write() as session:
        cycles.get(session, claim.cycle_id).lease_until = None
    step, result = run(database, bench(database, unused))
    assert step == "plan" and "attempt 1 ended without a word" in result["why"]


def test_no_question_at_all_is_refused(database: Database) -> None:
    empty = (np.zeros((0, len(ranking.MEASURES)), dtype=np.float32),)
    with pytest.raises(Invalid, match="0 questions"):
        rank.learn(
            database, lambda _: ([], empty[0]), passages=3, min_score=0.1, margin=0.03, min_cases=30, seed=1, actor="a"
        )
