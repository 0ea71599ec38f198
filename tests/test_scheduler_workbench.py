"""Claims about what a cycle curates: stale examples are retired, and an adapter's lineage names what it rests on."""

import gc
import json
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finetune.curated import Curated
from finetune.examples import Rules
from finetune.fitted import FittedJudge
from finetune.lengths import ENOUGH
from finetune.redact import redact
from scheduler import trials
from scheduler.dataset_files import examples_in, runs_of, write_dataset, write_phases
from scheduler.workbench import Workbench, curated
from store import adapters, cycles, deployments, documents, exchanges, labels, staleness
from store.database import Database
from store.labels import Found
from store.models import Document, Exchange, Feedback, Person
from tests.test_finetune_withheld import example as ordered_example
from tests.test_store_staleness import RIVER, ann, asked, keep, passage

ANSWER = "The Aare is 288 km long [1]."


def bench(database: Database, data: Path) -> Workbench:
    """What curating and publishing need of a workbench."""
    unused: dict[str, Any] = dict.fromkeys(field.name for field in fields(Workbench))
    values: dict[str, Any] = {"database": database, "data": data, "tasks": (), "rules": {}, "held_out_share": 1e-9}
    values |= {
        "base_digest": lambda: "tiny",
        "unanswerable_share": 0.5,
        "max_cases": 10,
        "replay_share": 0.0,
        "seed": 1,
    }
    values |= {"trainer": {"other_orders": 2}, "preference": "auto", "min_preferences": 300, "fitted": FittedJudge()}
    return Workbench(**{**unused, **values, "redact": redact, "new_account_days": 0.0, "most_ratings_per_hour": 0})


def liked(database: Database, notes: Document) -> str:
    row = asked(database, passage(1, notes.id, RIVER), answer=ANSWER)
    exchanges.rate(database, row.id, person=ann(database), rating="up")
    return row.id


def test_an_example_is_retired_once_its_passage_is_gone_and_comes_back_with_it(
    database: Database, tmp_path: Path
) -> None:
    notes = keep(database, "notes", RIVER)
    key = liked(database, notes)
    work = bench(database, tmp_path)
    assert [example.id for example in curated(work)[0].train] == [key]
    documents.remove(database, notes.id)
    made, _ = curated(work)
    assert made.train == [] and made.rows == {"left out: rests on a passage that changed or went": [key]}
    keep(database, "elsewhere", RIVER)
    assert [example.id for example in curated(work)[0].train] == [key]


def test_what_an_account_rated_while_it_was_new_stays_left_out(database: Database, tmp_path: Path) -> None:
    key = liked(database, keep(database, "notes", RIVER))
    work = replace(bench(database, tmp_path), new_account_days=1.0)
    assert curated(work)[0].rows == {"left out: the account is too new": [key]}
    with database.write() as session:
        session.get_one(Person, ann(database).id).created_at -= timedelta(days=9)
        row = session.get_one(Feedback, key)
        row.rated_at = row.updated_at = row.updated_at - timedelta(days=9)
    assert curated(work)[0].rows == {"left out: the account is too new": [key]}
    with database.write() as session:
        row = session.get_one(Feedback, key)
        row.rated_at = row.updated_at = row.updated_at + timedelta(days=5)
    assert [example.id for example in curated(work)[0].train] == [key]


def test_replay_is_what_the_deployed_adapter_answered(database: Database, tmp_path: Path) -> None:
    notes, rows = keep(database, "notes", RIVER), {}
    for name in ("v1", "v2"):
        rows[name] = asked(database, passage(1, notes.id, RIVER), answer=ANSWER).id
        with database.write() as session:
            row = session.get_one(Exchange, rows[name])
            row.adapter, row.question = name, f"What of {name}?"
    for name in ("v1", "v2"):
        with database.write() as session:
            deployments.deploy(session, name, actor="test", comment="")
        assert [one.id for one in curated(bench(database, tmp_path))[0].replay] == [rows[name]]


def test_curation_searches_no_reference_cycles_and_leaves_that_as_it_was(database: Database, tmp_path: Path) -> None:
    notes, seen = keep(database, "notes", RIVER), []
    key = liked(database, notes)

    def looked_at(text: str, public: str = "") -> str:
        seen.append(gc.isenabled())
        if not text:
            raise ValueError("no text")
        return text

    work = replace(bench(database, tmp_path), redact=looked_at)
    assert [example.id for example in curated(work)[0].train] == [key]
    assert set(seen) == {False} and gc.isenabled()
    with database.write() as session:
        session.get(Exchange, key).question = ""
    with pytest.raises(ValueError, match="no text"):
        curated(work)
    assert gc.isenabled()
    gc.disable()
    with pytest.raises(ValueError, match="no text"):
        curated(work)
    assert not gc.isenabled()
    gc.enable()


def test_a_liked_answer_as_short_as_peoples_corrections_is_trained_on(database: Database, tmp_path: Path) -> None:
    notes = keep(database, "notes", RIVER)
    short = asked(database, passage(1, notes.id, RIVER), answer="It is 288 km long [1].")
    exchanges.rate(database, short.id, person=ann(database), rating="up")
    work = replace(bench(database, tmp_path), rules={"rag": Rules(min_length=40)})
    written = [asked(database, passage(1, notes.id, RIVER), answer="Long.") for _ in range(ENOUGH)]
    labels.save(database, [Found(row.id, "rag", 1.0, {}) for row in [short, *written]], taxonomy="t")
    for row in written[1:]:
        exchanges.rate(database, row.id, person=ann(database), rating="down", correction="288 km.")
    assert "upvoted" not in {example.kind for example in curated(work)[0].train}
    exchanges.rate(database, written[0].id, person=ann(database), rating="down", correction="Only 288 km.")
    assert "upvoted" in {example.kind for example in curated(work)[0].train}


def test_what_is_trained_on_holds_its_passages_in_other_orders_too(tmp_path: Path, database: Database) -> None:
    one = replace(ordered_example(passages=(RIVER, "Bread rises.", "The port is old.")), tasks=("rag",))
    made = Curated(train=[one])
    for wanted in (2, 0):
        work = replace(bench(database, tmp_path), trainer={"other_orders": wanted})
        [file] = write_phases(work, made, [{"tasks": ["rag"], "examples": 9}], tmp_path / "data")
        [row] = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(row.get("other_orders", [])) == wanted
        assert examples_in(file) == [one]


def test_a_published_adapters_lineage_names_the_passages_that_its_examples_cite(
    database: Database, tmp_path: Path
) -> None:
    notes, work = keep(database, "notes", RIVER), bench(database, tmp_path)
    key = liked(database, notes)
    made, _ = curated(work)
    write_dataset(work, made, tmp_path / "data")
    phases = [{"tasks": ["unclassified"], "examples": 9}]
    write_phases(work, made, phases, tmp_path / "data")
    row, _ = cycles.start(database, slot_key="s", first_step="train", started_by="test")
    row.results, row.plan = {"curate": {"data": "data", "digest": made.digest()}}, {"phases": phases}
    adapter = adapters.create(database, actor="test")
    trained = {
        "folder": str(tmp_path),
        "digest": "d",
        "dataset_digest": "s",
        "phases": [{"phase": 1, "folder": tmp_path.name}],
    }
    [run] = runs_of(row.plan, tmp_path / "data")
    trials.enter_lineage(work, adapter.id, run)
    trials.published(work, row, adapter.id, run, trained)
    with database.read() as session:
        lineage = adapters.get(session, adapter.id).lineage
        assert lineage == {
            "people": [ann(database).id],
            "documents": ["document:notes"],
            "examples": {key: [documents.text_digest(RIVER)]},
            "withheld": {},
            "cycle": row.id,
            "kinds": {"upvoted": 1},
        }
        assert [one.id for one in staleness.resting_on(session, notes.id).adapters] == [adapter.id]
        assert staleness.trained_on(session, lineage).stale == 0
    documents.remove(database, notes.id)
    with database.read() as session:
        assert staleness.trained_on(session, lineage).stale == 1
