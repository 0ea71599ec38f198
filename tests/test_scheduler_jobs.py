"""Claims about the ticker: what takes long is done beside it, kept for the next who asks, and left nowhere."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlmodel import func, select

from scheduler.jobs import COUNTED, Ticker
from scheduler.kept import LONG, TIMES, Kept
from scheduler.tasks import TaskSpec
from scheduler.workbench import Workbench
from store import requests
from store.database import Database
from store.errors import Unavailable
from store.models import BASE, Adapter, AdapterState, Ask, Cycle, CycleState, Deployment, Outcome, Person, Process, now
from tests.queued import until
from tests.test_scheduler_watch import ann as ann
from tests.test_scheduler_watch import answered
from tests.test_scheduler_workbench import bench

Answers = Callable[[Workbench, Ask], dict[str, Any]]


class Slow:
    """Answers at once, but for reports, which wait until they may go on."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()

    def __call__(self, _: Workbench, asked: Ask) -> dict[str, Any]:
        self.asked.append(asked.kind)
        if asked.kind == "report":
            self.go_on.wait(30)
        return {"kind": asked.kind}


@pytest.fixture
def slow(database: Database, tmp_path: Path) -> Iterator[Slow]:
    answers = Slow()
    ticker = Ticker(bench(database, tmp_path), cron="0 0 1 1 *", answers=answers)
    running = threading.Thread(target=ticker.run)
    running.start()
    yield answers
    answers.go_on.set()
    ticker.stop()
    running.join()


def test_the_scheduler_lives_and_answers_what_is_quick_while_it_counts(database: Database, slow: Slow) -> None:
    with ThreadPoolExecutor(1) as pages:
        report: Future[dict[str, Any]] = pages.submit(requests.ask, database, "report")
        until(lambda: slow.asked == ["report"])
        with database.read() as session:
            before = session.exec(select(Process.heartbeat)).one()
        assert requests.ask(database, "run_cycle") == {"kind": "run_cycle"}

        def beats() -> bool:
            with database.read() as session:
                return session.exec(select(Process.heartbeat)).one() > before

        until(beats)
        assert not report.done()
        slow.go_on.set()
        found = report.result(timeout=30)
    assert found["kind"] == "report" and found["as_of"].startswith("20")


def test_a_harmful_adapter_is_rolled_back_while_the_next_cycle_works(
    database: Database, tmp_path: Path, ann: Person
) -> None:
    answered(database, ann, 30, after=False, rating="up")
    answered(database, ann, 30, after=True, rating="down")
    with database.write() as session:
        session.add(Deployment(id=1, adapter="v1", generation=1))
        session.add(Cycle(id="cy_1", slot_key="1", step="watch", state=CycleState.WATCHING, adapter_id="v1"))
        session.add(Cycle(id="cy_2", slot_key="2", step="classify", created_at=now() - timedelta(days=1)))
    busy, go_on = threading.Event(), threading.Event()

    def encode(texts: list[str]) -> Any:
        busy.set()
        go_on.wait(60)
        return np.ones((len(texts), 4), dtype=np.float32)

    values: dict[str, Any] = {"watch_hours": 1, "max_decline_rise": 0.25, "min_agreement": 0.6, "min_labels": 20}
    values |= {"taxonomy": "t", "embedding_model": "m", "encode": encode, "approval_days": 14}
    values["tasks"] = (TaskSpec("travel", "rivers and roads", ("How long is it?",), 0.0),)
    ticker = Ticker(replace(bench(database, tmp_path), **values), cron="0 0 1 1 *")
    running = threading.Thread(target=ticker.run)
    running.start()
    try:
        assert busy.wait(20)

        def ended() -> bool:
            with database.read() as session:
                return session.get_one(Cycle, "cy_1").outcome == Outcome.REJECTED

        until(ended)
        with database.read() as session:
            assert session.get_one(Deployment, 1).adapter == BASE
            assert session.get_one(Cycle, "cy_2").step == "classify"
    finally:
        ticker.stop()
        go_on.set()
        running.join()


def left(database: Database) -> int:
    with database.read() as session:
        return session.exec(select(func.count()).select_from(Ask)).one()


def test_no_answer_stays_in_the_store_and_a_withdrawn_request_leaves_none(database: Database) -> None:
    with ThreadPoolExecutor(1) as pages:
        asked = pages.submit(requests.ask, database, "faults")
        until(lambda: left(database) == 1)
        row = requests.take(database, only=COUNTED)
        assert row is not None and requests.take(database) is None
        requests.answer(database, row.id, {"data": ["what ann asked"]})
        assert asked.result(timeout=30) == {"data": ["what ann asked"]}
        assert left(database) == 0
        late = pages.submit(requests.ask, database, "faults")
        until(lambda: left(database) == 1)
        row = requests.take(database)
        assert row is not None
        with pytest.raises(Unavailable):
            late.result(timeout=30)
    requests.answer(database, row.id, {"data": ["what ann asked"]})
    assert left(database) == 0


def test_requests_are_taken_of_the_kinds_that_are_wanted(database: Database) -> None:
    with database.write() as session:
        session.add(Ask(kind="report"))
        session.add(Ask(kind="run_cycle"))
    first = requests.take(database, but=COUNTED)
    assert first is not None and first.kind == "run_cycle"
    assert requests.take(database, but=COUNTED) is None
    second = requests.take(database, only=COUNTED)
    assert second is not None and second.kind == "report"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("took", "answer", "after", "moment", "again"),
    [
        (LONG, {"n": 1}, LONG * TIMES - 1, "a", False),
        (LONG, {"n": 1}, LONG * TIMES + 1, "a", True),
        (LONG, {"n": 1}, 0.0, "b", True),
        (LONG / 2, {"n": 1}, 0.0, "a", True),
        (LONG, {"error": "no index."}, 0.0, "a", True),
    ],
)
def test_only_what_took_long_is_kept_and_for_ten_times_as_long(
    took: float, answer: dict[str, Any], after: float, moment: str, again: bool
) -> None:
    clock, made = Clock(), []

    def make() -> dict[str, Any]:
        made.append(clock.now)
        clock.now += took
        return answer

    kept = Kept(clock)
    assert kept.of("report", "a", make) == answer
    clock.now += after
    assert kept.of("report", moment, make) == answer
    assert (len(made) == 2) == again
    kept.of("plan", "a", make)
    assert len(made) == 2 + again


def test_the_scheduler_goes_on_once_the_database_is_back(
    database: Database, slow: Slow, capsys: pytest.CaptureFixture[str]
) -> None:
    def named(before: str, after: str) -> None:
        with database.write() as session:
            session.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    named("cycle", "gone")
    said: list[str] = []
    until(lambda: bool(said.append(capsys.readouterr().err)) or "no such table: cycle" in "".join(said))
    named("gone", "cycle")
    with database.write() as session:
        session.add(Cycle(id="cy_1", slot_key="1", step="unknown"))

    def taken() -> bool:
        with database.read() as session:
            return session.get_one(Cycle, "cy_1").attempts > 0

    until(taken)


def test_what_goes_wrong_in_one_part_of_a_tick_is_said_once_and_stops_no_other(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def renew(_: Workbench) -> Workbench:
        raise OverflowError("date value out of range")

    ticker = Ticker(bench(database, tmp_path), cron="0 0 1 1 *", renew=renew, answers=Slow())
    with database.write() as session:
        session.add(Adapter(id="v1", state=AdapterState.RETIRED))
        session.add(Cycle(id="cy_1", slot_key="1", adapter_id="v1", state=CycleState.AWAITING_APPROVAL))
        session.add(Ask(kind="run_cycle"))
        before = session.exec(select(Process.heartbeat)).one()
    ticker.tick()
    ticker.tick()
    ticker.stop()
    with database.read() as session:
        assert session.exec(select(Process.heartbeat)).one() > before
        assert session.get_one(Cycle, "cy_1").outcome == Outcome.PROMOTED
        assert session.exec(select(Ask.answer)).one() == {"kind": "run_cycle"}
    said = capsys.readouterr().err
    assert said.count("the scheduler could not take settings, and goes on: OverflowError: date value out of range") == 1
    assert "in renew" in said
