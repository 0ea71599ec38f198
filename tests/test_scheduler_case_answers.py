"""Claims about labelled held-out answers: a judge is tried on them, each beside the right answer a person wrote."""

from pathlib import Path
from typing import Any

from scheduler import case_answers
from store import adapters, exchanges, judge_labels
from store.case_labels import digest_of
from store.database import Database
from store.models import CaseLabel, Exchange
from tests.test_scheduler_workbench import bench
from tests.test_store_staleness import RIVER, ann, asked, passage

RIGHT = "It is 288 km long."


def corrected(database: Database) -> Exchange:
    row = asked(database, passage(1, None, RIVER))
    exchanges.rate(database, row.id, person=ann(database), rating="down", correction=RIGHT)
    return row


def measured(database: Database, *cases: dict[str, Any]) -> None:
    report = {"candidate": {"cases": list(cases)}, "serving": {"cases": []}}
    adapters.create(database, actor="test", report=report, report_digest=adapters.report_digest(report))


def said(database: Database, row: Exchange, answer: str, value: bool) -> dict[str, Any]:
    """A label, and the case as a report has it."""
    with database.write() as session:
        session.add(CaseLabel(exchange_id=row.id, answer_digest=digest_of(answer), value=value))
    return {"case_id": row.id, "task": "travel", "answer": answer}


def test_labelled_held_out_answers_stand_beside_what_a_person_wrote(database: Database, tmp_path: Path) -> None:
    row, other = corrected(database), asked(database, passage(1, None, RIVER))
    open_ = {"case_id": row.id, "task": "travel", "answer": "Nobody said anything of this."}
    measured(
        database,
        said(database, row, "288 km.", True),
        said(database, other, "No right answer is known to this.", False),
        open_,
    )
    measured(database, said(database, row, "31 km.", False))
    found = case_answers.labelled(bench(database, tmp_path))
    assert {(one.answer, one.value) for one in found} == {("288 km.", True), ("31 km.", False)}
    assert {(one.id, one.metric, one.task, one.reference, one.passages) for one in found} == {
        (row.id, "accuracy", "travel", RIGHT, (RIVER,))
    }


def test_an_evaluation_is_given_them_with_the_labels_of_logged_answers(database: Database, tmp_path: Path) -> None:
    row = corrected(database)
    judge_labels.put(database, row.id, metric="support", value=True, actor="ann")
    measured(database, said(database, row, "288 km.", True))
    given = case_answers.given(bench(database, tmp_path))
    assert [(one["metric"], one["answer"]) for one in given] == [
        ("support", "So it is [1]."),
        ("accuracy", "288 km."),
    ]


def test_only_the_newest_reports_are_looked_through(database: Database, tmp_path: Path) -> None:
    row = corrected(database)
    measured(database, said(database, row, "288 km.", True))
    for _ in range(case_answers.NEWEST):
        measured(database)
    adapters.create(database, actor="test")
    assert case_answers.labelled(bench(database, tmp_path)) == []
