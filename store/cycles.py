"""Durable cycles: a step is claimed with a lease and a fence, finished once, resumed by whoever comes next.

The fence grows with each claim. A worker that was stopped longer than its lease holds an old fence, and its writes
then match no row. It knows the names of the steps only as strings: `scheduler/cycle.py` gives them meaning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CursorResult, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, or_, select

from store import audit, paging
from store.database import Database
from store.errors import LostLease, NotFound
from store.models import Cycle, CycleState, CycleStep, Outcome, now
from store.progress import with_curve

LEASE = timedelta(seconds=60)
MAX_ATTEMPTS = 3
WATCH = "watch"
"""The name of the step that looks after an adapter that was swapped in."""
WORKED_ON = (CycleState.RUNNING, CycleState.WATCHING)
OPEN = (CycleState.RUNNING, CycleState.AWAITING_APPROVAL, CycleState.WATCHING)


@dataclass(frozen=True)
class Claim:
    """The right to work on one step until the lease ends."""

    cycle_id: str
    step: str
    fence: int


def start(
    database: Database, *, slot_key: str, first_step: str, started_by: str, asked: dict[str, str] | None = None
) -> tuple[Cycle, bool]:
    """The cycle of a slot, new or already there, and whether it is new; a cycle that runs is returned instead.

    Two schedulers with the same slot get the same cycle. `asked` is a strategy and a comment for this cycle alone.
    """
    wanted = asked or {}
    try:
        with database.write() as session:
            running = session.exec(select(Cycle).where(Cycle.state == CycleState.RUNNING)).first()
            if running is not None:
                return running, False
            row = Cycle(
                slot_key=slot_key, step=first_step, started_by=started_by, plan={"asked": wanted} if wanted else {}
            )
            session.add(row)
            audit.record(
                session,
                actor=started_by,
                action="cycle.started",
                subject=row.id,
                comment=wanted.get("comment", ""),
                details=dict(wanted),
            )
        return row, True
    except IntegrityError:
        with database.read() as session:
            return session.exec(select(Cycle).where(Cycle.slot_key == slot_key)).one(), False


def claim(database: Database, *, cycle_id: str | None = None, states: Sequence[CycleState] = WORKED_ON) -> Claim | None:
    """Take the step of a cycle in one of the states whose lease is free; None when there is nothing to do."""
    free = or_(col(Cycle.lease_until).is_(None), col(Cycle.lease_until) < now())
    query = select(Cycle).where(col(Cycle.state).in_(states), free)
    if cycle_id is not None:
        query = query.where(Cycle.id == cycle_id)
    query = query.order_by(col(Cycle.created_at)).limit(1)
    with database.read() as session:
        if session.exec(query).first() is None:
            return None
    with database.write() as session:
        row = session.exec(query).first()
        if row is None:
            return None
        if row.attempts >= MAX_ATTEMPTS:
            _fail(session, row, row.error or f"the step {row.step} died {row.attempts} times without a word.")
            return None
        row.fence, row.attempts, row.lease_until = row.fence + 1, row.attempts + 1, now() + LEASE
        session.add(row)
        _open_step(session, row)
        return Claim(row.id, row.step, row.fence)


def _open_step(session: Session, cycle: Cycle) -> None:
    step = session.get(CycleStep, (cycle.id, cycle.step))
    if step is None:
        done = len(session.exec(select(CycleStep.name).where(CycleStep.cycle_id == cycle.id)).all())
        step = CycleStep(cycle_id=cycle.id, name=cycle.step, position=done)
    step.state, step.attempts = "running", cycle.attempts
    session.add(step)


def _guarded(session: Session, claim: Claim, **values: Any) -> None:
    statement = (
        update(Cycle)
        .where(col(Cycle.id) == claim.cycle_id, col(Cycle.fence) == claim.fence, col(Cycle.step) == claim.step)
        .where(col(Cycle.state).in_(WORKED_ON))
        .values(**values)
    )
    result = session.execute(statement)
    if not isinstance(result, CursorResult) or result.rowcount != 1:
        raise LostLease(f"step {claim.step} of {claim.cycle_id} was taken over or cancelled (fence {claim.fence}).")


def renew(database: Database, claim: Claim, *, progress: dict[str, Any] | None = None) -> None:
    """Keep the lease and note progress with the loss so far; raises LostLease when the step is no longer ours."""
    with database.write() as session:
        _guarded(session, claim, lease_until=now() + LEASE)
        if progress is not None:
            step = session.get_one(CycleStep, (claim.cycle_id, claim.step))
            step.progress = with_curve(step.progress, progress)
            session.add(step)


def finish_step(
    database: Database,
    claim: Claim,
    *,
    result: dict[str, Any],
    next_step: str | None,
    state: CycleState = CycleState.RUNNING,
    outcome: Outcome | None = None,
    **values: Any,
) -> None:
    """End a step once, with its result, and open the next one or end the cycle.

    Raises LostLease when the step is no longer ours; nothing is written then.
    """
    ended = state in (CycleState.DONE, CycleState.FAILED)
    with database.write() as session:
        _guarded(
            session,
            claim,
            step=next_step or claim.step,
            state=state,
            outcome=outcome,
            attempts=0,
            error="",
            lease_until=None,
            finished_at=now() if ended else None,
            **values,
        )
        cycle = session.get_one(Cycle, claim.cycle_id, populate_existing=True)
        cycle.results = {**cycle.results, claim.step: result}
        step = session.get_one(CycleStep, (claim.cycle_id, claim.step))
        step.state, step.result, step.finished_at, step.error = "done", result, now(), ""
        session.add_all([cycle, step])
        if ended:
            audit.record(session, actor="scheduler", action=f"cycle.{outcome}", subject=claim.cycle_id)


def wait(database: Database, claim: Claim, *, seconds: float) -> None:
    """Leave a watching step until later; it counts as no attempt."""
    with database.write() as session:
        _guarded(session, claim, attempts=0, lease_until=now() + timedelta(seconds=seconds))


def fail_step(database: Database, claim: Claim, error: str) -> None:
    """Note that an attempt failed; after the third the cycle is `failed`."""
    with database.write() as session:
        _guarded(session, claim, lease_until=None, error=error)
        cycle = session.get_one(Cycle, claim.cycle_id, populate_existing=True)
        step = session.get_one(CycleStep, (claim.cycle_id, claim.step))
        step.state, step.error = "failed", error
        session.add(step)
        if cycle.attempts >= MAX_ATTEMPTS:
            _fail(session, cycle, error)


def _fail(session: Session, cycle: Cycle, error: str) -> None:
    cycle.state, cycle.error, cycle.finished_at, cycle.lease_until = CycleState.FAILED, error, now(), None
    session.add(cycle)
    audit.record(session, actor="scheduler", action="cycle.failed", subject=cycle.id, comment=error[:500])


def end(database: Database, cycle_id: str, *, outcome: Outcome, actor: str) -> None:
    """End a cycle that awaits approval or is watched."""
    with database.write() as session:
        cycle = get(session, cycle_id)
        if cycle.state in OPEN:
            cycle.state, cycle.outcome, cycle.finished_at, cycle.lease_until = CycleState.DONE, outcome, now(), None
            session.add(cycle)
            audit.record(session, actor=actor, action=f"cycle.{outcome}", subject=cycle_id)


def resume(database: Database, cycle_id: str, *, step: str, state: CycleState) -> None:
    """Take up again a cycle that awaited approval."""
    with database.write() as session:
        cycle = get(session, cycle_id)
        if cycle.state == CycleState.AWAITING_APPROVAL:
            cycle.state, cycle.step, cycle.attempts, cycle.lease_until = state, step, 0, None
            session.add(cycle)


def watch_again(session: Session, adapter_id: str) -> None:
    """Open the watch of an adapter that comes back anew, where a cycle made it; inside the caller's transaction."""
    query = select(Cycle).where(Cycle.adapter_id == adapter_id, Cycle.step == WATCH)
    row = session.exec(query.order_by(col(Cycle.created_at).desc())).first()
    if row is None:
        return
    row.state, row.outcome, row.finished_at, row.error = CycleState.WATCHING, None, None, ""
    row.attempts, row.lease_until, row.fence = 0, None, row.fence + 1
    session.add(row)
    step = session.get(CycleStep, (row.id, WATCH))
    if step is not None:
        step.progress, step.result, step.finished_at = {}, {}, None
        session.add(step)


def asks(session: Session, cycle_id: str) -> str:
    """What the watch of a cycle asks an admin, as a sentence; empty when nothing."""
    step = session.get(CycleStep, (cycle_id, WATCH))
    return str(step.progress.get("asks", "")) if step is not None and step.finished_at is None else ""


def failed_watches(session: Session, adapter_ids: Sequence[str]) -> list[Cycle]:
    """The cycles whose watch of one of these adapters failed for good, newest first: nobody looks after it then."""
    query = select(Cycle).where(Cycle.state == CycleState.FAILED, Cycle.step == WATCH)
    query = query.where(col(Cycle.adapter_id).in_(adapter_ids))
    return list(session.exec(query.order_by(col(Cycle.created_at).desc())))


def undecided(cycle: Cycle) -> bool:
    """Whether the gate of a cycle has decided once and could not tell; it may be deciding again now."""
    return bool(cycle.results.get("gate", {}).get("verdict") == Outcome.NOT_ENOUGH_EVIDENCE)


def get(session: Session, cycle_id: str) -> Cycle:
    """One cycle; raises NotFound."""
    row = session.get(Cycle, cycle_id)
    if row is None:
        raise NotFound(f"no cycle {cycle_id}.", "`python -m store cycles` lists them.")
    return row


def gated_at(session: Session, cycle: Cycle) -> datetime:
    """Since when a cycle waits for a decision: since its gate was last passed."""
    step = session.get(CycleStep, (cycle.id, "gate"))
    return (step.finished_at if step is not None else None) or cycle.created_at


def steps(session: Session, cycle_id: str) -> list[CycleStep]:
    """The steps of a cycle in the order they were begun."""
    return list(session.exec(select(CycleStep).where(CycleStep.cycle_id == cycle_id).order_by(col(CycleStep.position))))


def open_ones(session: Session) -> list[Cycle]:
    """The cycles that have not ended, newest first, however many came after them."""
    query = select(Cycle).where(col(Cycle.state).in_(OPEN))
    return list(session.exec(query.order_by(col(Cycle.created_at).desc())))


def page(session: Session, *, limit: int = 1_000, before: str | None = None) -> list[Cycle]:
    """Cycles, newest first; `before` is the id of the last one seen."""
    return list(session.exec(paging.newest(session, select(Cycle), Cycle, limit=limit, before=before)))
