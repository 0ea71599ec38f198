"""Claims about tasks that the taxonomy lacks: they are found, named and adopted; the user's own file stays as it is."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from sqlmodel import select

from configs.settings import ROOT, load_settings
from configs.tasks import load_tasks
from retrieval.embedding import Embedder
from scheduler import adoption, jobs
from scheduler.__main__ import _taught, renewing
from scheduler.discovery import NAME, as_text, description, discover, free_name
from scheduler.labelling import label_all
from scheduler.workbench import Workbench
from store import exchanges
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.exchanges import Logged
from store.models import Ask, AuditEntry, Conversation, Exchange, ExchangeState, Label
from store.people import named
from tests.test_scheduler_workbench import bench

PETS = (
    "My dog scratches his ears all day, is that mites?",
    "Which vaccinations does a puppy need in the first year?",
    "Is chocolate poisonous for dogs?",
    "Our cat stopped eating her dry food, should I worry?",
    "How often should a dog be dewormed?",
    "Can my dog eat grapes?",
    "The cat vomits hair balls every week, is this normal?",
    "What does the vet charge for neutering a cat?",
    "My puppy chews on the furniture when he is alone.",
    "When is a kitten old enough to leave its mother?",
    "Our old dog limps after walks, could it be arthritis?",
    "Are ticks dangerous for cats?",
    "What should I feed a dog with a sensitive stomach?",
    "My cat scratches the sofa, what helps?",
    "Is it safe to give a dog paracetamol?",
    "How do I brush the teeth of my dog?",
    "The puppy is not house trained yet at five months.",
    "Does a house cat need vaccinations?",
    "My dog is afraid of fireworks, what calms him?",
    "How much should a grown cat weigh?",
)
NEW = "Is garlic bad for my dog?"


def ask(database: Database, question: str, name: str = "ann") -> str:
    """An exchange without passages, in a conversation of its own."""
    person = named(database, name)
    conversation = Conversation(person_id=person.id)
    with database.write() as session:
        session.add(conversation)
    row = Exchange(conversation_id=conversation.id, person_id=person.id, question=question)
    exchanges.begin(database, row)
    exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer="")
    return row.id


def label_of(database: Database, exchange_id: str) -> str:
    with database.read() as session:
        return session.get_one(Label, exchange_id).task


def row(question: str, conversation: str) -> Logged:
    return Logged(Exchange(conversation_id=conversation, person_id="ann", question=question), None, None)


@pytest.fixture
def work(database: Database, tmp_path: Path, embedder: Embedder) -> Workbench:
    """A workbench with the shipped taxonomy and the real embedder."""
    made = bench(database, tmp_path)
    values = {
        **made.__dict__,
        "encode": embedder.encode,
        "embedding_model": "m",
        **_taught(load_tasks(ROOT / "configs" / "tasks.yaml")),
    }
    return Workbench(**values)


@pytest.fixture
def renew(tmp_path: Path) -> Callable[[Workbench], Workbench]:
    """What a running scheduler does when the files of the taxonomy change."""
    return renewing(load_settings({"RATCHET_DATA": str(tmp_path)}))


# the whole way


def test_twenty_questions_on_a_new_subject_become_a_task_that_labels_the_next_one(
    work: Workbench, database: Database, renew: Callable[[Workbench], Workbench], tmp_path: Path
) -> None:
    asked = [ask(database, question, f"person-{number % 4}") for number, question in enumerate(PETS)]
    before = (ROOT / "configs" / "tasks.yaml").read_bytes()
    [found] = adoption.discovered_now(work)["data"]
    assert found["questions"] >= 10 and found["people"] == 4 and {"dog", "cat"} <= set(found["terms"])
    assert set(found["examples"]) <= set(PETS) and NAME.fullmatch(found["name"])
    adoption.adopt(work, found["name"], name="pets", comment="asked daily", actor="admin")
    taught = renew(work)
    assert taught.taxonomy != work.taxonomy and list(taught.recipes) == [*work.recipes, "pets"]
    new = ask(database, NEW)
    assert label_all(taught) == len(PETS) + 1
    assert label_of(database, new) == "pets"
    assert sum(label_of(database, one) == "pets" for one in asked) >= 15
    assert adoption.discovered_now(taught)["data"] == []
    assert (ROOT / "configs" / "tasks.yaml").read_bytes() == before
    assert taught.recipes["pets"]["rank"] == 16 and taught.rules["pets"].max_length == 1000


def test_adopting_is_audited_with_its_comment(work: Workbench, database: Database) -> None:
    for question in PETS:
        ask(database, question)
    [found] = adoption.discovered_now(work)["data"]
    adoption.adopt(work, found["name"], name="pets", comment="asked daily", actor="pe_1")
    with database.read() as session:
        [entry] = session.exec(select(AuditEntry).where(AuditEntry.action == "task.adopted")).all()
        assert (entry.actor, entry.subject, entry.comment) == ("pe_1", "pets", "asked daily")


@pytest.mark.parametrize(
    ("values", "error", "sentence"),
    [
        ({"comment": " "}, Invalid, "the comment is empty"),
        ({"name": "My pets"}, Invalid, '"My pets" cannot be the name of a task'),
        ({"name": "unclassified"}, Invalid, '"unclassified" cannot be'),
        ({"name": "code_generation"}, Conflict, "there is a task code_generation already"),
        ({"found": "nothing_like_it"}, NotFound, "no discovered task nothing_like_it"),
    ],
)
def test_what_cannot_be_adopted_is_refused_and_nothing_is_written(
    work: Workbench, database: Database, values: dict[str, str], error: type[Exception], sentence: str
) -> None:
    for question in PETS:
        ask(database, question)
    [found] = adoption.discovered_now(work)["data"]
    with pytest.raises(error, match=sentence):
        adoption.adopt(work, **{"found": found["name"], "comment": "why", "actor": "x", **values})
    assert not (work.data / adoption.ADOPTED).exists()
    with database.read() as session:
        assert not session.exec(select(AuditEntry).where(AuditEntry.action == "task.adopted")).all()


def test_what_cannot_be_written_is_a_sentence_and_leaves_no_trace_in_the_record(
    work: Workbench, database: Database, tmp_path: Path
) -> None:
    for question in PETS:
        ask(database, question)
    [found] = adoption.discovered_now(work)["data"]
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Invalid, match=r"tasks\.adopted\.yaml cannot be written"):
        adoption.adopt(replace(work, data=tmp_path / "file"), found["name"], comment="why", actor="x")
    with database.read() as session:
        assert not session.exec(select(AuditEntry).where(AuditEntry.action == "task.adopted")).all()


def test_an_adopted_task_with_the_name_of_the_users_own_is_ignored(tmp_path: Path) -> None:
    mine, adopted = tmp_path / "mine.yaml", tmp_path / adoption.ADOPTED
    mine.write_text(yaml.safe_dump({"tasks": {"pets": {"description": "mine", "examples": ["Woof?"]}}}))
    alone = load_tasks(mine, adopted).digest
    two = {name: {"description": "adopted", "examples": ["Meow?"]} for name in ("pets", "fish")}
    adopted.write_text(yaml.safe_dump({"tasks": two}))
    taxonomy = load_tasks(mine, adopted)
    assert {name: task.description for name, task in taxonomy.tasks.items()} == {"pets": "mine", "fish": "adopted"}
    assert taxonomy.digest != alone


def test_a_running_scheduler_keeps_its_taxonomy_while_a_file_is_wrong(
    work: Workbench, renew: Callable[[Workbench], Workbench], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert renew(work) is work
    (tmp_path / adoption.ADOPTED).write_text("tasks: [")
    assert renew(work) is work and "the taxonomy stays as it was" in capsys.readouterr().err


def test_the_pages_ask_for_what_is_discovered_and_get_a_users_error_as_an_answer(work: Workbench) -> None:
    assert jobs.answer(work, Ask(kind="discovered"))["data"] == []
    payload = {"found": "pets", "name": "", "description": "", "comment": "why", "actor": "x"}
    assert "no discovered task pets" in jobs.answer(work, Ask(kind="adopt", payload=payload))["error"]


def test_an_empty_log_has_nothing_to_discover(work: Workbench) -> None:
    found = adoption.discovered_now(work)
    assert found["data"] == [] and found["text"].startswith("Nothing new: among 0 unclassified questions")


# what makes a cluster


def test_one_conversation_alone_or_four_questions_propose_nothing() -> None:
    same = np.ones((6, 1))
    assert discover([row("Is it so?", "one") for _ in range(6)], same, known=[]) == []
    assert discover([row("Is it so?", f"c{n}") for n in range(4)], same[:4], known=[]) == []
    [found] = discover([row("Is the tide high?", f"c{n}") for n in range(5)], same[:5], known=[])
    assert (found.questions, found.conversations, found.examples) == (5, 5, ("Is the tide high?",))
    assert json.loads(json.dumps(found.to_json())) and found.name in as_text([found], 5)


@pytest.mark.parametrize(
    ("terms", "taken", "name"),
    [
        (("dog", "cat", "vet"), (), "dog_cat"),
        (("dog", "cat"), ("dog_cat",), "dog_cat_2"),
        (("dog", "cat"), ("dog_cat", "dog_cat_2"), "dog_cat_3"),
        (("c++", "g++"), (), "c_g"),
        ((), (), "topic"),
        (("all",), ("all",), "all_2"),
        (("3d",), (), "topic_3d"),
        (("x" * 60, "y"), (), "x" * 32),
    ],
)
def test_a_proposed_name_is_valid_and_not_taken(terms: tuple[str, ...], taken: tuple[str, ...], name: str) -> None:
    assert free_name(terms, taken) == name and NAME.fullmatch(name)


def test_a_description_says_how_the_questions_are_put() -> None:
    assert description(("dog", "cat"), ["How do I wash a dog?"] * 3) == "How-to questions about dog and cat."
    assert description(("tide",), ["What is a tide?", "Is it high?"]) == "Questions about tide."
