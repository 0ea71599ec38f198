"""What follows from decisions: the gate moves adapters, cycles go on or expire, and the watch has its way."""

from datetime import timedelta
from typing import Any

from sqlmodel import col, select

from scheduler.watch import Watched
from scheduler.workbench import Workbench
from store import adapters, cycles, deployments, rollbacks
from store.database import Database
from store.models import Adapter, AdapterState, Cycle, CycleState, Outcome, now
from store.signing import SIGNATURE, Signer, signed_text


def follow_decisions(bench: Workbench) -> None:
    """Take up the cycles whose adapter was decided on, and let those expire that nobody decided on."""
    with bench.database.read() as session:
        query = select(Cycle).where(Cycle.state == CycleState.AWAITING_APPROVAL)
        waiting = [
            (one, session.get(Adapter, one.adapter_id), cycles.gated_at(session, one)) for one in session.exec(query)
        ]
    for cycle, adapter, since in waiting:
        if adapter is None:
            continue
        state = AdapterState(adapter.state)
        if state == AdapterState.AWAITING_APPROVAL and now() - since > timedelta(days=bench.approval_days):
            with bench.database.write() as session:
                adapters.move(session, adapter.id, AdapterState.EXPIRED, actor="scheduler", comment="nobody decided")
            cycles.end(bench.database, cycle.id, outcome=Outcome.REJECTED, actor="scheduler")
        elif state in (AdapterState.LIVE, AdapterState.CANARY):
            cycles.resume(bench.database, cycle.id, step="watch", state=CycleState.WATCHING)
        elif state == AdapterState.CANDIDATE:
            cycles.resume(bench.database, cycle.id, step="evaluate", state=CycleState.RUNNING)
        elif state in _ENDS:
            cycles.end(bench.database, cycle.id, outcome=_ENDS[state], actor="scheduler")


_ENDS = {
    AdapterState.REJECTED: Outcome.REJECTED,
    AdapterState.EXPIRED: Outcome.REJECTED,
    AdapterState.SUPERSEDED: Outcome.SUPERSEDED,
    AdapterState.ROLLED_BACK: Outcome.REJECTED,
    AdapterState.QUARANTINED: Outcome.REJECTED,
    AdapterState.RETIRED: Outcome.PROMOTED,
}


def act_on(database: Database, found: Watched, *, adapter_id: str) -> None:
    """Roll an adapter back, or give everybody a canary, when the watch says so.

    Raises Conflict when somebody else has decided on the adapter meanwhile.
    """
    if found.verdict == "roll back":
        rollbacks.rollback(database, actor="watch", comment=found.sentence, of=adapter_id)
    elif found.verdict == "complete" and _rests_on_erased(database, adapter_id):
        rollbacks.quarantine(database, adapter_id, actor="watch", comment=adapters.ERASED)
    elif found.verdict == "complete":
        all_of_them = deployments.EVERYBODY
        deployments.change_canary(database, actor="watch", comment=found.sentence, share=all_of_them, of=adapter_id)


def _rests_on_erased(database: Database, adapter_id: str) -> bool:
    with database.read() as session:
        return adapters.rests_on_erased(adapters.get(session, adapter_id))


def judged(
    database: Database,
    adapter_id: str,
    report: dict[str, Any],
    verdict: dict[str, Any],
    *,
    serving: str,
    signer: Signer | None = None,
) -> None:
    """Keep what the gate found of an adapter, signed, and move it by the verdict; one that waits supersedes others."""
    said = verdict["verdict"]
    state = {"promote": AdapterState.AWAITING_APPROVAL, "reject": AdapterState.REJECTED}.get(said)
    kept = {
        "report": report,
        "report_digest": adapters.report_digest(report),
        "verdict": verdict,
        "compared_with": serving,
    }
    with database.write() as session:
        row = adapters.get(session, adapter_id)
        for name, value in kept.items():
            setattr(row, name, value)
        if signer is not None:
            row.verdict = {**verdict, SIGNATURE: signer.sign(signed_text(row))}
        session.add(row)
        if row.state != AdapterState.CANDIDATE:  # an admin has rejected it meanwhile
            return
        if adapters.rests_on_erased(row):
            state, said = AdapterState.QUARANTINED, adapters.ERASED
        if state == AdapterState.AWAITING_APPROVAL:
            query = select(Adapter).where(Adapter.state == AdapterState.AWAITING_APPROVAL, col(Adapter.id) != row.id)
            for older in session.exec(query):
                adapters.move(session, older.id, AdapterState.SUPERSEDED, actor="scheduler", comment=f"by {row.id}")
        if state is not None:
            adapters.move(session, row.id, state, actor="gate", comment=said)
