"""Claims about judging on demand: each sentence has its support, and fair declines do not count as ungrounded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from scheduler import jobs, judged
from store import judge_labels
from store.answers import DECLINE
from store.database import Database
from store.models import Ask, Exchange
from tests.test_scheduler_workbench import bench
from tests.test_store_staleness import RIVER, asked, passage


def test_each_sentence_has_its_support_and_the_passage_that_bears_it_out(database: Database, tmp_path: Path) -> None:
    row = asked(database, passage(1, None, RIVER), answer=f"{RIVER} [1] Bananas are blue on Mars.")
    found = judged.exchange_now(bench(database, tmp_path), row.id)
    assert found["sentences"][0]["passage"] == 1
    assert found["sentences"][0]["support"] > judged.SUPPORTED > found["sentences"][-1]["support"]
    assert 0 < found["groundedness"] < 1


def test_groundedness_by_day_leaves_declines_out(database: Database, tmp_path: Path) -> None:
    asked(database, passage(1, None, RIVER), answer=f"{RIVER} [1]")
    declining = asked(database, passage(1, None, RIVER), answer=DECLINE)
    with database.write() as session:
        row = session.get_one(Exchange, declining.id)
        row.declined = True
        session.add(row)
    work = bench(database, tmp_path)
    [day] = judged.groundedness_now(work)["data"]
    assert day["n"] == 1 and day["mean"] > 0.8


def test_the_watch_is_told_which_answers_are_not_borne_out_and_which_cannot_be_judged(
    database: Database, tmp_path: Path
) -> None:
    work = replace(bench(database, tmp_path), min_agreement=0.6, min_labels=2)
    told = judged.unsupported(work)
    assert told is not None
    said = {f"{RIVER} [1]": False, "Bananas are blue on Mars [1].": True, DECLINE: None, "": None}
    for answer, expected in said.items():
        assert told(asked(database, passage(1, None, RIVER), answer=answer).id) is expected
    assert told(asked(database, answer="Bananas are blue on Mars [1].").id) is None
    assert told("ex_erased") is None


def test_a_judge_that_people_contradict_has_no_say_in_the_watch(database: Database, tmp_path: Path) -> None:
    work = replace(bench(database, tmp_path), min_agreement=0.6, min_labels=10)
    for answer, value in [(f"{RIVER} [1]", False), ("Bananas are blue on Mars [1].", True)] * 5:
        row = asked(database, passage(1, None, RIVER), answer=answer)
        judge_labels.put(database, row.id, metric="support", value=value, actor="ann")
    assert judged.unsupported(work) is None
    assert judged.unsupported(replace(work, min_labels=11)) is not None


def test_an_unknown_exchange_is_told_to_the_page(database: Database, tmp_path: Path) -> None:
    row = Ask(kind="judged", payload={"exchange_id": "ex_x"})
    told: dict[str, Any] = jobs.answer(bench(database, tmp_path), row)
    assert told["error"] == "no exchange ex_x."
