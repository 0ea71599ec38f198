"""Claims about judging on demand: each sentence has its support, and fair declines do not count as ungrounded."""

from pathlib import Path
from typing import Any

from scheduler import jobs, judged
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


def test_an_unknown_exchange_is_told_to_the_page(database: Database, tmp_path: Path) -> None:
    row = Ask(kind="judged", payload={"exchange_id": "ex_x"})
    told: dict[str, Any] = jobs.answer(bench(database, tmp_path), row)
    assert told["error"] == "no exchange ex_x."
