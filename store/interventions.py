"""What people do to a cycle beside its adapter: cancel, try again, decide again, end its watch.

Its steps are claimed and finished in `store/cycles.py`.
"""

from sqlmodel import Session, select

from store import adapters, audit, case_labels, cycles, deployments
from store.database import Database
from store.errors import Conflict
from store.models import Adapter, AdapterState, Cycle, CycleState, CycleStep, Outcome, now


def keep(database: Database, cycle_id: str, *, actor: str, comment: str) -> Cycle:
    """End the watch of a live adapter because a person says that it stays; nothing is deployed by it.

    Raises Invalid without a comment, NotFound, or Conflict when the cycle watches nothing, or an adapter that is not
    live: a canary would go on with nobody watching.
    """
    adapters.need_comment(comment, "keeping")
    with database.write() as session:
        cycle = cycles.get(session, cycle_id)
        if cycle.state != CycleState.WATCHING:
            raise Conflict(f"cycle {cycle_id} is {cycle.state}: it watches no adapter.")
        _check_live(adapters.get(session, cycle.adapter_id or ""))
        cycle.state, cycle.outcome, cycle.finished_at = CycleState.DONE, Outcome.PROMOTED, now()
        cycle.fence, cycle.lease_until = cycle.fence + 1, None
        session.add(cycle)
        audit.record(session, actor=actor, action="cycle.kept", subject=cycle_id, comment=comment)
        return cycle


def _check_live(adapter: Adapter) -> None:
    if adapter.state == AdapterState.CANARY:
        hint = "Complete it with share 1, or roll it back."
        raise Conflict(f"adapter {adapter.id} is a canary: kept is only one that everybody gets.", hint)
    if adapter.state != AdapterState.LIVE:
        raise Conflict(f"adapter {adapter.id} is {adapter.state}: kept is only one that is live.")


def cancel(database: Database, cycle_id: str, *, actor: str) -> Cycle:
    """Stop a cycle; the adapter that it has waiting for approval is rejected: nobody would watch it.

    One whose gate decides again is undecided as before.

    Raises NotFound, or Conflict when it has ended or its adapter answers by now: that would go on unwatched.
    """
    with database.write() as session:
        cycle = cycles.get(session, cycle_id)
        if cycle.state not in cycles.OPEN:
            raise Conflict(f"cycle {cycle_id} is {cycle.state} already.")
        _check_unused(session, cycle)
        if cycle.state == CycleState.AWAITING_APPROVAL and cycle.adapter_id is not None:
            adapter = adapters.get(session, cycle.adapter_id)
            if adapter.state == AdapterState.AWAITING_APPROVAL:
                why = "its cycle was cancelled"
                adapters.move(session, adapter.id, AdapterState.REJECTED, actor=actor, comment=why, decided_at=now())
        cycle.state, cycle.finished_at, cycle.fence = CycleState.CANCELLED, now(), cycle.fence + 1
        if cycles.undecided(cycle):
            _leave_undecided(session, cycle)
        cycle.lease_until = None
        session.add(cycle)
        audit.record(session, actor=actor, action="cycle.cancelled", subject=cycle_id)
        return cycle


def _leave_undecided(session: Session, cycle: Cycle) -> None:
    """End a cycle as its gate had ended it before it was to decide again: that may be asked for anew."""
    cycle.state, cycle.outcome = CycleState.DONE, Outcome.NOT_ENOUGH_EVIDENCE
    step = session.get(CycleStep, (cycle.id, cycle.step))
    if step is not None:
        step.state = "done"
        session.add(step)


def _check_unused(session: Session, cycle: Cycle) -> None:
    adapter = session.get(Adapter, cycle.adapter_id) if cycle.adapter_id else None
    if adapter is not None and cycle.state != CycleState.RUNNING and adapter.state in _ANSWERS:
        hint = "Keep it or roll it back." if adapter.state == AdapterState.LIVE else "Roll it back."
        raise Conflict(
            f"adapter {adapter.id} is {adapter.state}: without cycle {cycle.id} nobody would watch it.", hint
        )


_ANSWERS = (AdapterState.APPROVED, AdapterState.CANARY, AdapterState.LIVE)


def retry(database: Database, cycle_id: str, *, actor: str) -> Cycle:
    """Let a failed cycle try its step again, three times anew; what it finished before stays.

    Raises NotFound, or Conflict when it has not failed or another cycle runs.
    """
    with database.write() as session:
        cycle = cycles.get(session, cycle_id)
        if cycle.state != CycleState.FAILED:
            raise Conflict(f"cycle {cycle_id} is {cycle.state}: only a failed one can be tried again.")
        state = CycleState.WATCHING if cycle.step == cycles.WATCH else CycleState.RUNNING
        other = session.exec(select(Cycle.id).where(Cycle.state == CycleState.RUNNING)).first()
        if other is not None and state == CycleState.RUNNING:
            raise Conflict(f"cycle {other} is running.", "Wait for its end, or cancel it.")
        cycle.state, cycle.attempts, cycle.error, cycle.finished_at = state, 0, "", None
        session.add(cycle)
        step = session.get(CycleStep, (cycle.id, cycle.step))
        if step is not None:
            step.error = ""
            session.add(step)
        audit.record(session, actor=actor, action="cycle.retried", subject=cycle_id, details={"step": cycle.step})
        return cycle


def decide_again(
    database: Database, adapter_id: str, *, actor: str, comment: str, min_labels: int, step: str = "gate"
) -> Cycle:
    """Take up the cycle of a candidate that the gate could not tell about, at its gate: people have labelled since.

    Raises NotFound, Invalid without a comment, or Conflict when it is no candidate any more or its cycle ended
    otherwise, when something else serves than it was compared with, another adapter awaits approval or another cycle
    runs, or when too little was labelled since the gate last looked: who looks after every label finds a gain by
    chance.
    """
    adapters.need_comment(comment, "deciding again")
    with database.write() as session:
        row = adapters.get(session, adapter_id)
        cycle = session.get(Cycle, row.cycle_id) if row.cycle_id else None
        if cycle is not None and cycle.state == CycleState.RUNNING and cycles.undecided(cycle):
            raise Conflict(f"the gate is deciding again on adapter {adapter_id} already.", "See the cycle's progress.")
        undecided = cycle is not None and cycle.outcome == Outcome.NOT_ENOUGH_EVIDENCE
        if cycle is None or not undecided or cycle.adapter_id != adapter_id or row.state != AdapterState.CANDIDATE:
            raise Conflict(
                f"adapter {adapter_id} is {row.state}: decided again is only what the gate could not tell about."
            )
        _need_same_rivals(session, row)
        _need_labels(session, row, least=min_labels)
        other = session.exec(select(Cycle.id).where(Cycle.state == CycleState.RUNNING)).first()
        if other is not None:
            raise Conflict(f"cycle {other} is running.", "Wait for its end, or cancel it.")
        cycle.state, cycle.outcome, cycle.step, cycle.finished_at = CycleState.RUNNING, None, step, None
        cycle.attempts, cycle.error, cycle.lease_until = 0, "", None
        session.add(cycle)
        audit.record(session, actor=actor, action="cycle.decided_again", subject=cycle.id, comment=comment)
        return cycle


def _need_same_rivals(session: Session, row: Adapter) -> None:
    """Raises Conflict where the gate's figures are of another day: a yes would supersede what is newer."""
    serving = deployments.deployment(session).adapter
    if serving != row.compared_with:
        said = f"adapter {row.id} was compared with {row.compared_with}, but {serving} serves now"
        raise Conflict(f"{said}: the gate cannot decide again.", "Run a cycle: it compares with what serves.")
    waits = session.exec(select(Adapter.id).where(Adapter.state == AdapterState.AWAITING_APPROVAL)).first()
    if waits is not None:
        raise Conflict(f"adapter {waits} awaits approval: {row.id} could supersede it.", f"Decide on {waits} first.")


def _need_labels(session: Session, row: Adapter, *, least: int) -> None:
    """Raises Conflict where labels were given or counted, and the next look at them is not due yet."""
    found = case_labels.next_open(session, row)
    looks = row.report.get(case_labels.LOOKS, [])
    if not found.labelled and not looks:
        return
    wanted = case_labels.needed(row.report, found.cases, least=least, said=found.said)
    last = f"the gate last looked with {looks[-1]}" if looks else "the gate has not counted any yet"
    said = f"{found.labelled} of {found.cases} held-out cases of {row.id} are labelled, and {last}"
    if wanted is None:
        raise Conflict(f"{said}, which were all there are.", "A new cycle asks more.")
    if wanted > found.cases:
        raise Conflict(f"{said}: it decides again from {wanted} on.", "There are not as many: a new cycle asks more.")
    if found.labelled < wanted:
        raise Conflict(f"{said}: it decides again from {wanted} on.", f"Label {wanted - found.labelled} more.")
