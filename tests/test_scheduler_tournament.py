"""Claims about a whole cycle by tournament: two tasks, three ways of training, real child processes, a tiny model.

A model of random weights learns nothing that passes the gate: what counts is that every contender can be followed.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from sqlmodel import select

from bot.dossier import dossier
from configs.settings import load_settings
from finetune.alternatives import PROMPTS
from scheduler import planning
from scheduler.__main__ import bench_of, main
from scheduler.refetched import ways
from store import exchanges, people
from store.database import Database, open_database
from store.models import Adapter, Conversation, Cycle, Exchange, ExchangeState
from store.signing import Signer

pytestmark = pytest.mark.slow
GARDEN = ("tomatoes", "roses", "lettuce", "carrots", "beans", "tulips", "basil", "pumpkins", "onions", "peas", "mint",
          "garlic", "leeks", "spinach", "radishes", "dahlias")  # fmt: skip
TRAVEL = ("Vienna", "Rome", "Paris", "Oslo", "Madrid", "Berlin", "Prague", "Lisbon", "Athens", "Dublin", "Warsaw",
          "Zurich", "Milan", "Hamburg", "Geneva", "Lyon")  # fmt: skip
RECIPE = {"rank": 4, "alpha": 8, "dropout": 0.0, "epochs": 1, "warmup_steps": 0, "batch_size": 4,
          "target_modules": ["q_proj", "v_proj"]}  # fmt: skip
TASKS = {
    "garden": {
        "description": "Plants and gardening.",
        "examples": ["When do I plant beans?", "How often should I water tulips?", "What eats my lettuce?",
                     "How do I prune roses?", "Where do onions grow best?"],
        "recipe": RECIPE,
    },
    "travel": {
        "description": "Trips, trains and hotels.",
        "examples": ["When does the train to Rome leave?", "Do I need a visa for Japan?", "How do I book a seat?",
                     "Which hotel is near the station in Oslo?", "How do I get to Paris?"],
        "recipe": RECIPE,
    },
}  # fmt: skip
COMBINED = {"rank": 4, "learning_rate": 2e-4, "epochs": 1}


def taught(database: Database, about: str, question: str, target: str) -> None:
    """A question that a reviewer answered, over passages of a document of its own."""
    ann = people.named(database, "ann")
    talk = Conversation(person_id=ann.id)
    with database.write() as session:
        session.add(talk)
    text = f"All there is to know about {about} stands in this part of the book."
    passage = {"n": 1, "document": None, "title": f"On {about}", "text": text, "digest": about, "score": 0.9}
    row = Exchange(conversation_id=talk.id, person_id=ann.id, question=question, passages=[passage])
    row.messages = [{"role": "user", "content": f"[1] {text}\n\n{question}"}]
    exchanges.begin(database, row)
    exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer="No idea.")
    exchanges.rate(database, row.id, person=ann, rating="down", correction=target)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tournament")


@pytest.fixture(scope="module")
def database(data: Path, tiny_model: str) -> Iterator[Database]:
    """A store after a tournament cycle that `once` ran; what it printed is in `once.txt` beside it."""
    (data / "tasks.yaml").write_text(yaml.safe_dump({"tasks": TASKS, "combined": COMBINED}))
    values = {
        "RATCHET_DATA": str(data),
        "RATCHET__MODELS__CHAT": tiny_model,
        "RATCHET__TASKS": str(data / "tasks.yaml"),
        "RATCHET__GENERATION__MAX_TOKENS": "8",
        "RATCHET__GENERATION__CONTEXT_TOKENS": "512",
        "RATCHET__TRAINING__MIN_EXAMPLES": "8",
        "RATCHET__TRAINING__MAX_MINUTES": "600",
        "RATCHET__EVALUATION__ALTERNATIVE_CASES": "2",
        "RATCHET__GATE__MIN_CASES": "4",
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in values.items():
            environment.setenv(name, value)
        opened = open_database(load_settings().database_url)
        people.set_role(opened, people.named(opened, "ann").id, "reviewer", actor="test")
        for plant in GARDEN:
            taught(opened, plant, f"When do I plant {plant}?", f"Plant {plant} in spring, says the book [1].")
        for city in TRAVEL:
            taught(opened, city, f"How do I get to {city} by train?", f"Take the night train to {city} [1].")
        yield opened
        opened.close()


def test_a_whole_cycle_shows_every_contender_the_halving_and_why_one_was_kept(
    database: Database, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["once", "--strategy", "tournament", "--comment", "which way is best?"]) == 0
    printed = capsys.readouterr().out
    with database.read() as session:
        [cycle] = session.exec(select(Cycle)).all()
        rows = sorted(session.exec(select(Adapter)).all(), key=lambda row: row.id)
        shown = [dossier(session, row.id, signer=Signer(data), approvers=1)["contenders"] for row in rows]
    assert cycle.state == "done" and cycle.outcome in ("rejected", "not_enough_evidence"), cycle.error
    assert [one["name"] for one in cycle.plan["variants"]] == ["single", "multi", "progressive"]
    assert cycle.plan["comment"] == "which way is best?"

    contenders = shown[0]
    assert shown == [contenders] * 3 and [one["adapter"] for one in contenders] == ["v1", "v2", "v3"]
    rounds = [[part["share"] for part in one["rounds"]] for one in contenders]
    assert sorted(rounds) == [[0.5], [0.5, 1.0], [0.5, 1.0]]
    assert all(part["steps"] > 0 and part["loss"] > 0 for one in contenders for part in one["rounds"])
    halved = {one["adapter"]: one["rounds"][0]["loss"] for one in contenders}
    [left] = [one for one in contenders if one["left"]]
    [kept] = [one for one in contenders if one["kept"]]
    [other] = [one for one in contenders if one not in (left, kept)]
    assert halved[left["adapter"]] == max(halved.values())
    assert left["why"].startswith("Left the tournament after 50% of its examples: loss on examples put aside")
    assert kept["why"].startswith("The best at the gate: ") and kept["adapter"] == cycle.adapter_id
    assert other["why"] == f"{kept['adapter']} did better at the same gate."
    for one in contenders:
        assert f"{one['adapter']}, {one['name']}: {one['rounds'][0]['steps']} steps on 50%" in printed
    assert f"Kept: {kept['adapter']}, {kept['name']}. The best at the gate" in printed


def test_every_contender_is_in_the_registry_with_its_folder_its_phases_and_its_reason(
    database: Database, data: Path
) -> None:
    with database.read() as session:
        [cycle] = session.exec(select(Cycle)).all()
        rows = {row.recipe["variant"]: row for row in session.exec(select(Adapter)).all()}
    won = cycle.results["gate"]["winner"]["adapter"]
    assert set(rows) == {"single", "multi", "progressive"}
    assert all(row.state == "rejected" and row.verdict["reasons"] for row in rows.values() if row.id != won)
    for row in rows.values():
        manifest = json.loads((Path(row.folder) / "manifest.json").read_text())
        assert Path(row.folder).parent == data / "adapters" and manifest["dataset_digest"] == row.dataset_digest
    kept = rows["progressive"].lineage["phases"]
    assert [one["tasks"] for one in kept] == [[task] for task in cycle.plan["variants"][2]["tasks"]]
    assert all((data / "adapters" / one["folder"] / "manifest.json").exists() for one in kept)
    assert not list(data.glob("adapters/*tried*")) and not list(data.glob("adapters/*.work"))


def test_cheaper_fixes_met_the_same_gate_among_them_what_serves_over_other_passages(
    database: Database, data: Path
) -> None:
    with database.read() as session:
        [cycle] = session.exec(select(Cycle)).all()
        found = dossier(session, cycle.adapter_id or "", signer=Signer(data), approvers=1)["alternatives"]
    names = {one["what"] for one in found}
    more, best = ways(load_settings().retrieval.passages)
    shown = more.rpartition(" ")[0]
    assert {*PROMPTS, best} <= names and any(name.startswith(shown) for name in names)
    assert {one["n"] for one in found if one["metric"] == "answer_accuracy"} == {2}
    assert {one["gate"] for one in found} <= {"promote", "reject", "not_enough_evidence"}


def test_the_next_plan_knows_the_cycle_as_the_strategy_that_won(database: Database) -> None:
    with database.read() as session:
        [cycle] = session.exec(select(Cycle)).all()
    found = planning.plan_now(bench_of(load_settings()))
    assert not found["too_little_data"] and found["stage"] == 1
    [earlier] = planning.earlier(bench_of(load_settings()))
    assert earlier.strategy == earlier.way == cycle.results["gate"]["winner"]["variant"]
