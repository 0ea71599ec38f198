"""Claims about the ticker: what takes long is counted beside the tick, kept for the next who asks, and left nowhere."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import func, select

from scheduler.jobs import COUNTED, Ticker
from scheduler.kept import LONG, TIMES, Kept
from scheduler.workbench import Workbench
from store import requests
from store.database import Database
from store.errors import Unavailable
from store.models import Ask, Process
from tests.queued import until
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
