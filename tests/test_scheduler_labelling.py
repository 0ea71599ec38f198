"""Claims about labels of the log: texts are embedded once, old labels are found, what people say wins and teaches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.embedding import Embedder
from scheduler.labelling import label_all, vectors_of
from scheduler.tasks import TaskSpec
from scheduler.workbench import Workbench
from store import exchanges, histories, labels
from store.database import Database
from store.errors import Invalid, NotFound
from store.models import Exchange, ExchangeState, Label
from tests.test_scheduler_workbench import bench
from tests.test_store_staleness import ann

GARDEN = TaskSpec("garden", "Plants.", ("When do I plant tomatoes?", "How often should I water roses?"))
TRAVEL = TaskSpec("travel", "Trips.", ("When does the train leave?", "Do I need a visa for Japan?"))
ASKED = ("How do I prune roses?", "Which train goes to Vienna?", "When do I water tomatoes?")


class Counted:
    """The real embedder, and every text that it was given."""

    def __init__(self, embedder: Embedder) -> None:
        self.texts: list[str] = []
        self._embedder = embedder

    def __call__(self, texts: list[str]) -> Any:
        self.texts += texts
        return self._embedder.encode(texts)


@pytest.fixture
def encode(embedder: Embedder) -> Counted:
    return Counted(embedder)


@pytest.fixture
def work(database: Database, tmp_path: Path, encode: Counted) -> Workbench:
    made = bench(database, tmp_path)
    return replace(made, encode=encode, embedding_model="m", tasks=(GARDEN, TRAVEL), taxonomy="t1")


def ask(database: Database, question: str, answer: str = "", parent: Exchange | None = None) -> Exchange:
    person = ann(database)
    conversation, parent_id = histories.find_conversation(
        database,
        person_id=person.id,
        conversation_id=None if parent is None else parent.conversation_id,
        messages=[{"role": "user", "content": question}],
    )
    row = Exchange(conversation_id=conversation, person_id=person.id, question=question, parent_id=parent_id)
    exchanges.begin(database, row)
    exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer=answer)
    return row


def label(database: Database, row: Exchange) -> Label:
    with database.read() as session:
        return session.get_one(Label, row.id)


def test_each_text_is_embedded_once_and_a_second_cycle_embeds_what_is_new(
    work: Workbench, database: Database, encode: Counted
) -> None:
    rows = [ask(database, question, "It depends.") for question in ASKED]
    assert label_all(work) == 3
    assert [label(database, row).task for row in rows] == ["garden", "travel", "garden"]
    encode.texts.clear()
    assert label_all(work) == 0 and encode.texts == []
    ask(database, "Is there a night train?")
    assert label_all(work) == 1
    assert {"Is there a night train?"} == set(encode.texts) - {*GARDEN.examples, *TRAVEL.examples, "Plants.", "Trips."}


def test_another_taxonomy_labels_everything_anew_from_kept_vectors(
    work: Workbench, database: Database, encode: Counted
) -> None:
    rows = [ask(database, question) for question in ASKED]
    label_all(work)
    encode.texts.clear()
    changed = replace(work, taxonomy="t2", tasks=(GARDEN, replace(TRAVEL, name="trains")))
    assert label_all(changed) == 3
    assert not set(ASKED) & set(encode.texts)
    assert [label(database, row).task for row in rows] == ["garden", "trains", "garden"]
    assert {label(database, row).taxonomy for row in rows} == {"t2"}


def test_labels_from_before_vectors_were_kept_are_embedded_first(work: Workbench, database: Database) -> None:
    row = ask(database, ASKED[1])
    labels.save(database, [labels.Found(row.id, "old", 1.0, {})], taxonomy="t0")
    assert label_all(work) == 1
    assert label(database, row).task == "travel"


def test_what_a_person_says_wins_and_teaches_the_next_cycle(work: Workbench, database: Database) -> None:
    first = ask(database, "Is my sourdough starter alive?")
    second = ask(database, "Why does my sourdough starter not rise?")
    label_all(work)
    before = label(database, second)
    labels.correct(database, first.id, "garden", known=["garden", "travel"], actor="pe_1")
    assert label_all(work) == 0
    assert label_all(work, relearn=True) == 1
    after, said = label(database, second), label(database, first)
    assert after.scores["garden"] > before.scores["garden"] and after.task == "garden"
    assert (said.task, said.labelled_by, said.confidence) == ("garden", "pe_1", 1.0)
    assert label_all(work, relearn=True) == 0 and label_all(work) == 0
    assert label_all(replace(work, taxonomy="t2")) == 1


def test_a_label_that_a_person_gave_stays(database: Database) -> None:
    row = ask(database, "Hello?")
    labels.correct(database, row.id, "chat", known=["chat"], actor="pe_1")
    labels.save(database, [labels.Found(row.id, "code", 0.5, {})], taxonomy="t2")
    labels.relabel(database, [("code", 0.5, "{}", row.id), ("code", 0.5, "{}", "ex_erased")], taxonomy="t2")
    assert label(database, row).task == "chat"
    with database.read() as session:
        assert labels.by_people(session, most=5) == [labels.Taught(row.id, "Hello?", "chat")]


def test_a_short_question_leans_on_the_one_before_it(work: Workbench, database: Database) -> None:
    parent = ask(database, "Which train goes to Vienna?")
    follows, alone = ask(database, "And on Sundays?", parent=parent), ask(database, "And on Sundays?")
    label_all(work)
    assert label(database, follows).scores["travel"] > label(database, alone).scores["travel"]


def test_nothing_and_an_empty_question_are_no_trouble(work: Workbench, database: Database) -> None:
    assert label_all(work) == 0
    row = ask(database, " ")
    assert label_all(work) == 1 and label(database, row).task == "unclassified"


def test_vectors_are_kept_nearly_as_they_were(work: Workbench, database: Database, embedder: Embedder) -> None:
    rows = [ask(database, ASKED[0]), ask(database, ""), ask(database, ASKED[1])]
    kept = vectors_of(work, [row.id for row in rows])
    real = embedder.encode([ASKED[0], ASKED[1]])
    assert np.abs(kept[[0, 2]] - real).max() < 0.005 and not kept[1].any()


def test_correcting_to_an_unknown_task_or_an_unknown_exchange_is_a_sentence(database: Database) -> None:
    row = ask(database, "Hello?")
    with pytest.raises(Invalid, match='the task is "tax", expected one of chat, unclassified'):
        labels.correct(database, row.id, "tax", known=["chat"], actor="pe_1")
    with pytest.raises(NotFound, match="no exchange ex_none"):
        labels.correct(database, "ex_none", "chat", known=["chat"], actor="pe_1")
