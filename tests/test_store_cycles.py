"""Claims about durable cycles: one worker per step, fences, three attempts, one cycle per slot."""

import threading
from datetime import timedelta

import pytest

from store import cycles, interventions
from store.cycles import Claim
from store.database import Database
from store.errors import Conflict, LostLease, NotFound
from store.models import AdapterState, Cycle, CycleState, Outcome, now
from tests.test_store_adapters import made, state


def started(database: Database, slot: str = "night-1") -> Cycle:
    cycle, new = cycles.start(database, slot_key=slot, first_step="collect", started_by="test")
    assert new
    return cycle


def claimed(database: Database) -> Claim:
    found = cycles.claim(database)
    assert found is not None
    return found


def cycle_of(database: Database, cycle_id: str) -> Cycle:
    with database.read() as session:
        return cycles.get(session, cycle_id)


def let_the_lease_end(database: Database, cycle_id: str) -> None:
    with database.write() as session:
        row = cycles.get(session, cycle_id)
        row.lease_until = now() - timedelta(seconds=1)
        session.add(row)


def test_two_workers_never_hold_one_step(database: Database) -> None:
    started(database)
    found: list[Claim | None] = []
    gate = threading.Barrier(6)

    def work() -> None:
        gate.wait()
        found.append(cycles.claim(database))

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(claim is not None for claim in found) == 1


def test_a_finished_step_opens_the_next_and_its_result_stays(database: Database) -> None:
    cycle = started(database)
    cycles.finish_step(database, claimed(database), result={"exchanges": 3}, next_step="classify")
    after = claimed(database)
    assert (after.step, after.fence) == ("classify", 2)
    assert cycle_of(database, cycle.id).results == {"collect": {"exchanges": 3}}
    with database.read() as session:
        assert [(s.name, s.state) for s in cycles.steps(session, cycle.id)] == [
            ("collect", "done"),
            ("classify", "running"),
        ]


def test_a_step_is_finished_once(database: Database) -> None:
    started(database)
    claim = claimed(database)
    cycles.finish_step(database, claim, result={}, next_step="classify")
    with pytest.raises(LostLease):
        cycles.finish_step(database, claim, result={}, next_step="classify")


def test_a_worker_with_an_old_fence_writes_nothing(database: Database) -> None:
    cycle = started(database)
    old = claimed(database)
    let_the_lease_end(database, cycle.id)
    new = claimed(database)
    assert (new.step, new.fence) == (old.step, old.fence + 1)
    for write in (
        lambda: cycles.finish_step(database, old, result={"by": "old"}, next_step="classify"),
        lambda: cycles.renew(database, old, progress={"step": 1}),
        lambda: cycles.fail_step(database, old, "too late"),
    ):
        with pytest.raises(LostLease, match=f"was taken over or cancelled \\(fence {old.fence}\\)"):
            write()
    assert cycle_of(database, cycle.id).results == {}
    cycles.finish_step(database, new, result={"by": "new"}, next_step="classify")
    assert cycle_of(database, cycle.id).results == {"collect": {"by": "new"}}


def test_a_renewed_lease_is_not_taken_and_shows_progress(database: Database) -> None:
    cycle = started(database)
    claim = claimed(database)
    let_the_lease_end(database, cycle.id)
    cycles.renew(database, claim, progress={"step": 5})
    assert cycles.claim(database) is None
    with database.read() as session:
        assert cycles.steps(session, cycle.id)[0].progress == {"step": 5}


def test_three_failures_end_the_cycle_and_the_error_says_why(database: Database) -> None:
    cycle = started(database)
    for attempt in range(1, 4):
        assert cycle_of(database, cycle.id).state == CycleState.RUNNING
        cycles.fail_step(database, claimed(database), f"disk is full ({attempt})")
    after = cycle_of(database, cycle.id)
    assert (after.state, after.error) == (CycleState.FAILED, "disk is full (3)")
    assert cycles.claim(database) is None


def test_three_deaths_without_a_word_end_the_cycle(database: Database) -> None:
    cycle = started(database)
    for _ in range(3):
        claimed(database)
        let_the_lease_end(database, cycle.id)
    assert cycles.claim(database) is None
    after = cycle_of(database, cycle.id)
    assert (after.state, after.error) == (CycleState.FAILED, "the step collect died 3 times without a word.")


def test_attempts_count_per_step(database: Database) -> None:
    cycle = started(database)
    cycles.fail_step(database, claimed(database), "once")
    cycles.fail_step(database, claimed(database), "twice")
    cycles.finish_step(database, claimed(database), result={}, next_step="classify")
    cycles.fail_step(database, claimed(database), "once")
    assert cycle_of(database, cycle.id).state == CycleState.RUNNING


def test_a_cancelled_cycle_takes_no_more_writes(database: Database) -> None:
    cycle = started(database)
    claim = claimed(database)
    assert interventions.cancel(database, cycle.id, actor="ann").state == CycleState.CANCELLED
    with pytest.raises(LostLease):
        cycles.finish_step(database, claim, result={}, next_step="classify")
    assert cycles.claim(database) is None
    with pytest.raises(Conflict, match=f"cycle {cycle.id} is cancelled already"):
        interventions.cancel(database, cycle.id, actor="ann")


def test_a_cancelled_cycle_leaves_no_adapter_that_could_be_approved_and_is_watched_by_nobody(
    database: Database,
) -> None:
    adapter, cycle = made(database), started(database)
    waits = {"result": {}, "next_step": "watch", "state": CycleState.AWAITING_APPROVAL, "adapter_id": adapter}
    cycles.finish_step(database, claimed(database), **waits)
    interventions.cancel(database, cycle.id, actor="ann")
    assert state(database, adapter) == AdapterState.REJECTED


def test_a_watch_that_failed_is_watched_again_and_holds_up_no_cycle(database: Database) -> None:
    cycle = started(database)
    cycles.finish_step(database, claimed(database), result={}, next_step="watch", state=CycleState.WATCHING)
    for _ in range(cycles.MAX_ATTEMPTS):
        cycles.fail_step(database, claimed(database), "no")
    cycles.start(database, slot_key="night-2", first_step="collect", started_by="test")
    assert interventions.retry(database, cycle.id, actor="ann").state == CycleState.WATCHING
    watched = cycles.claim(database, states=[CycleState.WATCHING])
    assert watched is not None and watched.step == "watch"


def test_the_same_slot_twice_is_one_cycle(database: Database) -> None:
    cycle = started(database)
    again, new = cycles.start(database, slot_key="night-1", first_step="collect", started_by="other")
    assert (again.id, new) == (cycle.id, False)
    cycles.finish_step(database, claimed(database), result={}, next_step=None, state=CycleState.DONE)
    again, new = cycles.start(database, slot_key="night-1", first_step="collect", started_by="other")
    assert (again.id, new) == (cycle.id, False)
    assert started(database, "night-2").id != cycle.id


def test_a_running_cycle_is_returned_instead_of_a_second(database: Database) -> None:
    cycle = started(database)
    again, new = cycles.start(database, slot_key="by hand", first_step="collect", started_by="ann")
    assert (again.id, new) == (cycle.id, False)


def test_a_cycle_that_awaits_approval_holds_no_lease_and_does_not_block(database: Database) -> None:
    cycle = started(database)
    cycles.finish_step(database, claimed(database), result={}, next_step="watch", state=CycleState.AWAITING_APPROVAL)
    assert cycles.claim(database) is None
    assert cycle_of(database, cycle.id).lease_until is None
    other = started(database, "night-2")
    interventions.cancel(database, other.id, actor="ann")
    cycles.resume(database, cycle.id, step="watch", state=CycleState.WATCHING)
    assert claimed(database).step == "watch"


def test_waiting_counts_as_no_attempt(database: Database) -> None:
    cycle = started(database)
    for _ in range(5):
        cycles.wait(database, claimed(database), seconds=-1)
    assert cycle_of(database, cycle.id).state == CycleState.RUNNING


def test_ending_writes_the_outcome_once(database: Database) -> None:
    cycle = started(database)
    cycles.end(database, cycle.id, outcome=Outcome.PROMOTED, actor="test")
    cycles.end(database, cycle.id, outcome=Outcome.REJECTED, actor="test")
    after = cycle_of(database, cycle.id)
    assert (after.state, after.outcome) == (CycleState.DONE, Outcome.PROMOTED)


def test_an_unknown_cycle_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="no cycle cy_none"):
        interventions.cancel(database, "cy_none", actor="ann")
