"""Claims about what a cycle does after its adapter was decided on: it watches, and it ends with what became of it."""

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from bot.asked import watch_asks
from scheduler import cycle
from scheduler.decisions import follow_decisions
from scheduler.workbench import Workbench
from store import adapters, cycles, deployments, interventions, rollbacks
from store.database import Database
from store.errors import Conflict
from store.models import Adapter, AdapterState, Conversation, Cycle, CycleState, CycleStep, Outcome, now
from tests.test_scheduler_watch import SWAP, answered, crowd
from tests.test_store_adapters import made, state


def bench(database: Database, *, complete: float | None = None, hours: float = 0) -> Workbench:
    """What following a decision and watching need of a workbench."""
    unused: dict[str, Any] = dict.fromkeys(field.name for field in fields(Workbench))
    values = {
        "database": database,
        "approval_days": 14,
        "watch_hours": hours,
        "max_decline_rise": 0.25,
        "new_account_days": 0.0,
    }
    return Workbench(**{**unused, **values, "complete_canary_hours": complete})


def waiting(database: Database) -> tuple[str, str]:
    """A cycle that awaits the approval of its adapter: ids of both."""
    adapter = made(database)
    row, _ = cycles.start(database, slot_key="s", first_step="gate", started_by="test")
    claim = cycles.claim(database)
    assert claim is not None
    cycles.finish_step(
        database, claim, result={}, next_step="watch", state=CycleState.AWAITING_APPROVAL, adapter_id=adapter
    )
    return row.id, adapter


def look(database: Database, cycle_id: str, **values: Any) -> Cycle:
    """What the scheduler does in a round: follow decisions, work on a claim when there is one."""
    follow_decisions(bench(database, **values))
    with database.write() as session:
        cycles.get(session, cycle_id).lease_until = None
    claim = cycles.claim(database, cycle_id=cycle_id)
    if claim is not None:
        cycle.work(bench(database, **values), claim)
    with database.read() as session:
        return cycles.get(session, cycle_id)


def as_canary(database: Database) -> tuple[str, str]:
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="try it", share=0.5)
    deployments.loaded(database, adapter)
    return cycle_id, adapter


def test_a_cycle_watches_its_canary_until_an_admin_completes_it(database: Database) -> None:
    cycle_id, _ = as_canary(database)
    for _ in range(3):
        assert look(database, cycle_id).state == CycleState.WATCHING
    deployments.change_canary(database, actor="ann", comment="all well", share=1)
    row = look(database, cycle_id)
    assert (row.state, row.outcome) == (CycleState.DONE, Outcome.PROMOTED)


def test_a_canary_is_not_kept_and_left_unwatched(database: Database) -> None:
    cycle_id, adapter = as_canary(database)
    assert look(database, cycle_id).state == CycleState.WATCHING
    with pytest.raises(
        Conflict, match=f"adapter {adapter} is a canary: kept is only one that everybody gets"
    ) as refused:
        interventions.keep(database, cycle_id, actor="ann", comment="looks fine")
    assert refused.value.hint == "Complete it with share 1, or roll it back."
    assert look(database, cycle_id).state == CycleState.WATCHING
    deployments.change_canary(database, actor="ann", comment="all well", share=1)
    assert interventions.keep(database, cycle_id, actor="ann", comment="looks fine").outcome == Outcome.PROMOTED


@pytest.mark.parametrize("watched", [False, True])
def test_a_cycle_whose_canary_was_taken_back_ends_as_rejected(database: Database, watched: bool) -> None:
    cycle_id, _ = as_canary(database)
    if watched:
        assert look(database, cycle_id).state == CycleState.WATCHING
    rollbacks.rollback(database, actor="ann", comment="bad")
    row = look(database, cycle_id)
    assert (row.state, row.outcome) == (CycleState.DONE, Outcome.REJECTED)


def test_a_cycle_whose_live_adapter_was_rolled_back_while_watched_ends_as_rejected(database: Database) -> None:
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="good")
    assert look(database, cycle_id).state == CycleState.AWAITING_APPROVAL
    deployments.loaded(database, adapter)
    assert look(database, cycle_id, hours=1).state == CycleState.WATCHING
    rollbacks.rollback(database, actor="ann", comment="bad")
    row = look(database, cycle_id, hours=1)
    assert (row.state, row.outcome) == (CycleState.DONE, Outcome.REJECTED)
    assert row.results["watch"]["sentence"] == f"{adapter} is rolled_back: it was taken back."


def test_an_adapter_returned_to_by_hand_is_watched_anew_whatever_it_did_before(database: Database) -> None:
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="good")
    deployments.loaded(database, adapter)
    [ann] = crowd(database, 1)
    with database.write() as session:
        session.get_one(Adapter, adapter).decided_at = SWAP
        session.add(Conversation(id="co_1", person_id=ann.id))
    answered(database, ann, 30, after=False)
    answered(database, ann, 30, after=True, adapter=adapter, state="failed")
    assert look(database, cycle_id, hours=24).state == CycleState.DONE
    assert (state(database, adapter), cycles.claim(database)) == (AdapterState.ROLLED_BACK, None)
    rollbacks.rollback(database, actor="ann", comment="the disk was full", to=adapter)
    row = look(database, cycle_id, hours=24)
    assert (row.state, row.outcome, state(database, adapter)) == (CycleState.WATCHING, None, AdapterState.LIVE)
    with database.write() as session:
        session.get_one(Adapter, adapter).decided_at = SWAP
    assert look(database, cycle_id, hours=24).outcome == Outcome.REJECTED


def test_a_decision_that_comes_after_somebody_elses_is_no_failure_of_the_watch(database: Database) -> None:
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="good")
    deployments.loaded(database, adapter)
    [ann] = crowd(database, 1)
    with database.write() as session:
        session.get_one(Adapter, adapter).decided_at = SWAP
        session.add(Conversation(id="co_1", person_id=ann.id))
    answered(database, ann, 30, after=False)
    answered(database, ann, 30, after=True, adapter=adapter, state="failed")
    newer = made(database, compared_with=adapter)
    deployments.approve(database, newer, actor="ann", comment="better")
    row = look(database, cycle_id, hours=24)
    assert (row.state, row.error) == (CycleState.WATCHING, "")
    deployments.loaded(database, newer)
    assert (look(database, cycle_id, hours=24).state, state(database, newer)) == (CycleState.DONE, AdapterState.LIVE)


def test_an_adapter_expires_so_long_after_its_gate_not_after_its_cycle_began(database: Database) -> None:
    cycle_id, adapter = waiting(database)
    with database.write() as session:
        row = cycles.get(session, cycle_id)
        row.created_at = now() - timedelta(days=60)
        session.add(row)
    follow_decisions(bench(database))
    assert state(database, adapter) == AdapterState.AWAITING_APPROVAL
    with database.write() as session:
        step = session.get_one(CycleStep, (cycle_id, "gate"))
        step.finished_at = now() - timedelta(days=15)
        session.add(step)
    follow_decisions(bench(database))
    assert state(database, adapter) == AdapterState.EXPIRED
    with database.read() as session:
        assert cycles.get(session, cycle_id).outcome == Outcome.REJECTED


def test_a_cycle_ends_whose_adapter_expired_in_a_process_that_was_killed_then(database: Database) -> None:
    cycle_id, adapter = waiting(database)
    with database.write() as session:
        adapters.move(session, adapter, AdapterState.EXPIRED, actor="scheduler")
    follow_decisions(bench(database))
    with database.read() as session:
        assert cycles.get(session, cycle_id).state == CycleState.DONE


def test_what_the_watch_asked_is_gone_when_its_reason_is(database: Database) -> None:
    cycle_id, _ = as_canary(database)
    follow_decisions(bench(database))
    claim = cycles.claim(database, cycle_id=cycle_id)
    assert claim is not None
    cycles.renew(database, claim, progress={"asks": "thumbs-down rose: roll it back?"})
    look(database, cycle_id, hours=24)
    with database.read() as session:
        assert cycles.asks(session, cycle_id) == ""


def asked(database: Database) -> list[dict[str, Any]]:
    """What the overview lists of the watch."""
    with database.read() as session:
        return watch_asks(session, deployments.deployment(session), cycles.open_ones(session))


def unwatched(database: Database, *, share: float = 1) -> tuple[str, str]:
    """A cycle whose watch failed for good, and its adapter, which is deployed."""
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="good", share=share)
    deployments.loaded(database, adapter)
    for _ in range(cycles.MAX_ATTEMPTS):
        row = look(database, cycle_id, hours=float("inf"))
    assert row.state == CycleState.FAILED
    return cycle_id, adapter


@pytest.mark.parametrize("share", [1, 0.5])
def test_an_adapter_whose_watch_failed_is_asked_about_until_it_is_watched_again(
    database: Database, share: float
) -> None:
    cycle_id, adapter = unwatched(database, share=share)
    said = f"the watch of {adapter} failed (cannot convert float infinity to integer): try again, or roll it back."
    shown = {"cycle_id": cycle_id, "adapter": adapter, "sentence": said, "canary": share < 1, "failed": True}
    assert asked(database) == [shown]
    interventions.retry(database, cycle_id, actor="ann")
    assert asked(database) == []
    assert look(database, cycle_id, hours=24).state == CycleState.WATCHING
    with database.read() as session:
        assert [step.error for step in cycles.steps(session, cycle_id)] == ["", ""]


def test_a_canary_whose_watch_failed_is_asked_about_after_it_was_completed(database: Database) -> None:
    _, adapter = unwatched(database, share=0.5)
    deployments.change_canary(database, actor="ann", comment="all well", share=1)
    assert [(one["adapter"], one["canary"], one["failed"]) for one in asked(database)] == [(adapter, False, True)]


def test_an_adapter_whose_watch_failed_is_asked_about_until_it_is_taken_back(database: Database) -> None:
    cycle_id, adapter = unwatched(database)
    with pytest.raises(Conflict, match="is failed: it watches no adapter"):
        interventions.keep(database, cycle_id, actor="ann", comment="looks fine")
    rollbacks.rollback(database, actor="ann", comment="nobody looks", of=adapter)
    assert asked(database) == []
