"""Claims about how long an adapter was watched: only time in which somebody looked and a bot answered counts."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from scheduler.watch import MOST_WINDOWS
from scheduler.window import MOST_BETWEEN, extended, passed
from store import cycles, deployments, processes
from store.database import Database
from store.models import Adapter, CycleState, CycleStep, Outcome, now
from tests.test_scheduler_decisions import look, waiting

AT = now()
HOUR = timedelta(hours=1)


def after(*pauses: timedelta, answers: bool = True) -> timedelta:
    """The time watched after looks with these pauses between them."""
    at, found = AT, extended({}, decided_at=AT, at=AT, answers=answers)
    for pause in pauses:
        at += pause
        found = extended(found, decided_at=AT, at=at, answers=answers)
    return passed(found)


@pytest.mark.parametrize(
    ("pauses", "counts"),
    [
        ((), timedelta(0)),
        ((timedelta(seconds=5),) * 12, timedelta(minutes=1)),
        ((timedelta(minutes=4), 63 * HOUR, timedelta(minutes=4)), timedelta(minutes=8) + MOST_BETWEEN),
        ((-30 * HOUR, timedelta(minutes=1), 30 * HOUR), timedelta(minutes=1) + MOST_BETWEEN),
    ],
)
def test_time_between_looks_counts_and_neither_a_pause_nor_a_wrong_clock_does(
    pauses: tuple[timedelta, ...], counts: timedelta
) -> None:
    assert after(*pauses) == counts


def test_time_in_which_no_bot_answers_with_it_does_not_count() -> None:
    assert after(*[timedelta(minutes=1)] * 9, answers=False) == timedelta(0)


def test_another_decision_begins_the_window_anew() -> None:
    before: dict[str, Any] = {"decided_at": AT.isoformat(), "looked_at": AT.isoformat(), "seconds": 9e4}
    completed = extended(before, decided_at=AT + HOUR, at=AT + HOUR, answers=True)
    assert passed(completed) == timedelta(0)


def test_an_adapter_approved_before_a_weekend_off_has_its_whole_window_before_it(database: Database) -> None:
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="good")
    with database.write() as session:
        session.get_one(Adapter, adapter).decided_at = now() - timedelta(hours=63)
    deployments.loaded(database, adapter)
    assert look(database, cycle_id, hours=1).state == CycleState.WATCHING


@pytest.mark.parametrize("answers", [True, False])
def test_the_window_goes_on_after_a_restart_and_ends_with_the_hours_that_were_watched(
    database: Database, answers: bool
) -> None:
    unused = 12 / MOST_WINDOWS
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="good")
    deployments.loaded(database, adapter)
    bot = processes.register(database, "bot")
    processes.beat(database, bot, adapter=adapter if answers else "base")
    for _ in range(12):
        assert look(database, cycle_id, hours=unused).state == CycleState.WATCHING
        with database.write() as session:
            step = session.exec(select(CycleStep).where(CycleStep.name == cycles.WATCH)).one()
            earlier = (now() - 2 * HOUR).isoformat()
            step.progress = {**step.progress, "window": {**step.progress["window"], "looked_at": earlier}}
    row = look(database, cycle_id, hours=unused)
    assert row.outcome == (Outcome.PROMOTED if answers else None)
    if answers:
        assert "0 exchanges in 12 h of watching" in row.results["watch"]["sentence"]
