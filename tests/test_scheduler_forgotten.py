"""Claims about deletion: what somebody deletes goes from the files of cycles as well, and nothing else does."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.preferences import preferences, rows_for
from scheduler import forgotten
from scheduler.dataset_files import PREFERENCES, PREFERRED, write_rows
from scheduler.workbench import Workbench
from store import adapters, conversations, exchanges, people, requests
from store.database import Database
from store.models import Conversation, Exchange, Feedback, Person
from tests.test_scheduler_workbench import bench


@pytest.fixture
def work(database: Database, tmp_path: Path) -> Workbench:
    return bench(database, tmp_path)


def asked(database: Database, person: Person, number: int) -> Exchange:
    with database.write() as session:
        talk = Conversation(id=f"co_{number}", person_id=person.id)
        session.add(talk)
        session.flush()
        row = Exchange(id=f"ex_{number}", conversation_id=talk.id, person_id=person.id, question=f"secret {number}?")
        session.add(row)
    return row


def example(number: int) -> dict[str, Any]:
    said = {
        "messages": [{"role": "user", "content": f"secret {number}?"}],
        "target": "Yes [1].",
        "logged_answer": "No.",
    }
    return {"id": f"ex_{number}", "kind": "correction", **said}


def filled(work: Workbench, numbers: list[int]) -> Path:
    """The files of a cycle that trained on these exchanges, with preferences, and of its evaluation."""
    folder = work.data / "cycles" / "cy_1"
    rows = [example(number) for number in numbers]
    withheld = [{**row, "kind": "withheld", "target": "The documents do not say."} for row in rows]
    write_rows(folder / "data-4" / "train.jsonl", [*rows, *withheld])
    write_rows(folder / "data-4" / PREFERRED, rows)
    write_rows(folder / "data-4" / PREFERENCES, rows_for("dpo", preferences(rows)))
    write_rows(folder / "data-4" / "held_out.jsonl", rows[-1:])
    labels = [{"id": row["id"], "question": row["messages"][0]["content"]} for row in rows]
    (folder / "evaluate-7.json").write_text(json.dumps({"labels": labels, "batch": 4}))
    return folder


def holding(folder: Path, text: str) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and text in path.read_text())


def test_an_erased_person_is_in_no_file_of_a_cycle_and_the_others_stay(database: Database, work: Workbench) -> None:
    ann, ben = (people.add(database, name, role="chat", actor="test") for name in ("ann", "ben"))
    for number, person in enumerate((ann, ben, ann)):
        asked(database, person, number)
    folder = filled(work, [0, 1, 2])
    assert holding(folder, "secret 2") == [
        "evaluate-7.json",
        *sorted(["held_out.jsonl", PREFERENCES, PREFERRED, "train.jsonl"]),
    ]
    people.erase(database, "ann", actor="test")
    assert forgotten.follow(work)
    assert holding(folder, "secret 0") == holding(folder, "secret 2") == []
    assert holding(folder, "secret 1") == ["evaluate-7.json", PREFERENCES, PREFERRED, "train.jsonl"]
    assert json.loads((folder / "evaluate-7.json").read_text())["batch"] == 4
    assert not forgotten.follow(work) and requests.to_forget(database) == []
    assert not list(folder.rglob("*.part"))


def test_what_an_erased_person_said_of_others_answers_goes_too(database: Database, work: Workbench) -> None:
    ann, ben = (people.add(database, name, role="chat", actor="test") for name in ("ann", "ben"))
    for number in (0, 1):
        row = asked(database, ben, number)
        if number == 0:
            exchanges.finish(database, row.id, state="finished", answer="No.")
            with database.write() as session:
                session.add(Feedback(exchange_id=row.id, person_id=ann.id, correction="Yes [1]."))
    folder = filled(work, [0, 1])
    people.erase(database, "ann", actor="test")
    forgotten.follow(work)
    assert holding(folder, "secret 0") == []
    assert "train.jsonl" in holding(folder, "secret 1")


def test_a_deleted_conversation_goes_once_a_scheduler_runs_however_late(database: Database, work: Workbench) -> None:
    ann = people.add(database, "ann", role="chat", actor="test")
    for number in (0, 1):
        asked(database, ann, number)
    folder = filled(work, [0, 1])
    conversations.remove(database, "co_0", person_id=ann.id)
    assert requests.take(database) is None
    assert requests.to_forget(database)[0][1] == ["ex_0"]
    forgotten.follow(work)
    assert holding(folder, "secret 0") == [] and "train.jsonl" in holding(folder, "secret 1")


def test_what_was_deleted_while_the_log_was_curated_is_not_left_in_what_was_written(
    database: Database, work: Workbench
) -> None:
    ann = people.add(database, "ann", role="chat", actor="test")
    for number in (0, 1):
        asked(database, ann, number)
    conversations.remove(database, "co_0", person_id=ann.id)
    forgotten.follow(work)
    folder = filled(work, [0, 1])
    forgotten.forget_since(work, folder, ["ex_0", "ex_1"])
    assert holding(folder, "secret 0") == [] and "train.jsonl" in holding(folder, "secret 1")


def test_files_without_what_was_deleted_are_not_touched(work: Workbench) -> None:
    folder = filled(work, [0, 1])
    before = {path: (path.stat().st_mtime_ns, path.read_text()) for path in folder.rglob("*") if path.is_file()}
    assert forgotten.forget(folder, {"ex_7"}) == []
    assert before == {path: (path.stat().st_mtime_ns, path.read_text()) for path in before}


def measured(work: Workbench, numbers: list[int]) -> Path:
    """A cycle's evaluation on these exchanges, and the adapter whose report it is."""
    cases = [{"case_id": f"ex_{number}", "answer": f"secret {number}.", "scores": {}} for number in numbers]
    side = {"model": "v1", "judge": "fitted", "cases": cases, "summaries": []}
    folder = work.data / "cycles" / "cy_1" / "evaluation-8"
    folder.mkdir(parents=True)
    for name in ("candidate", "candidate-2", "serving", "anchor"):
        (folder / f"{name}.json").write_text(json.dumps(side, sort_keys=True, separators=(",", ":")))
    report = {"candidate": side, "serving": side, "slices": []}
    adapters.create(work.database, actor="test", report=report, report_digest=adapters.report_digest(report))
    return folder


def test_what_was_answered_to_a_deleted_question_goes_from_reports_whose_digest_still_fits(
    database: Database, work: Workbench
) -> None:
    ann, ben = (people.add(database, name, role="chat", actor="test") for name in ("ann", "ben"))
    for number, person in enumerate((ann, ben)):
        asked(database, person, number)
    folder = measured(work, [0, 1])
    people.erase(database, "ann", actor="test")
    forgotten.follow(work)
    with database.read() as session:
        row = adapters.get(session, "v1")
    assert "secret 0" not in json.dumps(row.report) and json.dumps(row.report).count("secret 1.") == 2
    assert row.report_digest == adapters.report_digest(row.report)
    assert holding(folder, "secret 0") == []
    assert len(holding(folder, "secret 1.")) == len(list(folder.iterdir())) == 4
    altered = json.loads(json.dumps(row.report).replace('"answer": ""', '"answer": "another"'))
    assert adapters.report_digest(altered) != row.report_digest
    assert adapters.forget_answers(database, {"ex_0"}) == ["v1"]
    with database.read() as session:
        assert adapters.get(session, "v1").report == row.report


def test_an_answer_stays_in_reports_where_only_what_was_said_of_it_is_deleted(
    database: Database, work: Workbench
) -> None:
    ann, ben = (people.add(database, name, role="chat", actor="test") for name in ("ann", "ben"))
    row = asked(database, ben, 0)
    with database.write() as session:
        session.add(Feedback(exchange_id=row.id, person_id=ann.id, correction="Yes [1]."))
    folder = measured(work, [0])
    people.erase(database, "ann", actor="test")
    assert forgotten.follow(work)
    assert len(holding(folder, "secret 0.")) == 4
