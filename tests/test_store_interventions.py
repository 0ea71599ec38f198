"""Claims about what people do to a cycle: none of it destroys what is newer, and none leaves an adapter unwatched."""

import pytest

from store import adapters, cycles, deployments, interventions, rollbacks
from store.database import Database
from store.errors import Conflict, LostLease
from store.models import Adapter, AdapterState, Cycle, CycleState, Outcome
from tests.test_scheduler_decisions import waiting
from tests.test_store_adapters import live, made, state


def undecided(database: Database) -> str:
    """A candidate that was compared with the base, and that its gate could not tell about."""
    adapter = made(database, AdapterState.CANDIDATE)
    with database.write() as session:
        cycle = Cycle(slot_key=adapter, adapter_id=adapter, step="gate", state=CycleState.DONE)
        cycle.outcome, cycle.results = Outcome.NOT_ENOUGH_EVIDENCE, {"gate": {"verdict": "not_enough_evidence"}}
        session.add(cycle)
        session.flush()
        session.get_one(Adapter, adapter).cycle_id = cycle.id
    return adapter


def again(database: Database, adapter: str) -> Cycle:
    return interventions.decide_again(database, adapter, actor="ann", comment="labelled", min_labels=20)


def test_what_the_gate_could_not_tell_about_is_decided_again(database: Database) -> None:
    assert again(database, undecided(database)).state == CycleState.RUNNING


def test_nothing_is_decided_again_once_something_else_serves(database: Database) -> None:
    old = undecided(database)
    serves = live(database)
    waits = made(database, compared_with=serves)
    with pytest.raises(Conflict, match=f"adapter {old} was compared with base, but {serves} serves now") as refused:
        again(database, old)
    assert refused.value.hint == "Run a cycle: it compares with what serves."
    assert (state(database, old), state(database, waits)) == (AdapterState.CANDIDATE, AdapterState.AWAITING_APPROVAL)
    assert cycles.claim(database) is None


def test_nothing_is_decided_again_while_another_one_awaits_approval(database: Database) -> None:
    old = undecided(database)
    waits = made(database)
    with pytest.raises(Conflict, match=f"adapter {waits} awaits approval: {old} could supersede it"):
        again(database, old)
    adapters.reject(database, waits, actor="ann", comment="slow")
    assert again(database, old).state == CycleState.RUNNING


def test_what_an_admin_has_rejected_is_not_decided_again(database: Database) -> None:
    adapter = undecided(database)
    adapters.reject(database, adapter, actor="ann", comment="no")
    with pytest.raises(Conflict, match=f"adapter {adapter} is rejected: decided again is only what the gate could not"):
        again(database, adapter)
    assert cycles.claim(database) is None


@pytest.mark.parametrize(("share", "loaded", "is_"), [(1.0, False, "approved"), (0.5, True, "canary")])
@pytest.mark.parametrize("watched", [False, True])
def test_a_cycle_is_not_cancelled_under_an_adapter_that_answers(
    database: Database, share: float, loaded: bool, is_: str, watched: bool
) -> None:
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="good", share=share)
    if loaded:
        deployments.loaded(database, adapter)
    if watched:
        cycles.resume(database, cycle_id, step="watch", state=CycleState.WATCHING)
    with pytest.raises(Conflict, match=f"adapter {adapter} is {is_}: without cycle {cycle_id} nobody") as refused:
        interventions.cancel(database, cycle_id, actor="ann")
    assert refused.value.hint == "Roll it back."
    rollbacks.rollback(database, actor="ann", comment="bad")
    assert interventions.cancel(database, cycle_id, actor="ann").state == CycleState.CANCELLED


def test_a_live_adapter_is_kept_or_rolled_back_not_left_unwatched(database: Database) -> None:
    cycle_id, adapter = waiting(database)
    deployments.approve(database, adapter, actor="ann", comment="good")
    deployments.loaded(database, adapter)
    cycles.resume(database, cycle_id, step="watch", state=CycleState.WATCHING)
    with pytest.raises(Conflict, match=f"adapter {adapter} is live") as refused:
        interventions.cancel(database, cycle_id, actor="ann")
    assert refused.value.hint == "Keep it or roll it back."
    assert cycles.claim(database) is not None


def test_a_gate_that_was_to_decide_again_is_undecided_as_before_once_that_is_cancelled(database: Database) -> None:
    adapter = undecided(database)
    cycle_id = again(database, adapter).id
    with pytest.raises(Conflict, match=f"the gate is deciding again on adapter {adapter} already"):
        again(database, adapter)
    claim = cycles.claim(database)
    assert claim is not None
    left = interventions.cancel(database, cycle_id, actor="ann")
    assert (left.state, left.outcome) == (CycleState.DONE, Outcome.NOT_ENOUGH_EVIDENCE)
    with database.read() as session:
        assert [step.state for step in cycles.steps(session, cycle_id)] == ["done"]
    with pytest.raises(LostLease):
        cycles.finish_step(database, claim, result={}, next_step=None, state=CycleState.DONE)
    assert again(database, adapter).state == CycleState.RUNNING
