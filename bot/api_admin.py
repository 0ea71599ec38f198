"""What admins see and decide over HTTP: cycles, the schedule, the log and the audit record.

Everything shown comes from the store; what only the scheduler can do is asked of it. Every route needs an admin.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from croniter import CroniterBadDateError, croniter
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlmodel import Session, col, or_, select

from bot import api_exchanges, api_golden, api_labels, api_rankings, api_views
from bot.api_parts import Admin, Name, Text, WithPage, WithParts, admin_only, ask_scheduler, listing
from bot.asked import asked_for, watch_asks
from store import (
    adapters,
    audit,
    cycles,
    deployments,
    exchanges,
    interventions,
    people,
    processes,
    staleness,
)
from store.errors import Invalid
from store.models import AdapterState, AuditEntry, Cycle, Schedule, now

NEXT_TIMES = 5
router = APIRouter(prefix="/v1/admin", dependencies=[Depends(admin_only)])
router.include_router(api_rankings.router)
router.include_router(api_labels.router)
router.include_router(api_golden.router)
router.include_router(api_exchanges.router)


class NewSchedule(BaseModel):
    """When cycles are due: five cron fields, UTC."""

    cron: Name
    enabled: bool = True


class Adoption(BaseModel):
    """A discovered task's own name and description, where the proposed ones will not do, and why."""

    name: Name = ""
    description: Annotated[Text, Field(max_length=500)] = ""
    comment: Annotated[Text, Field(max_length=2_000)] = ""


class Kept(BaseModel):
    """Why an adapter stays though the watch gave no verdict."""

    comment: Annotated[Text, Field(max_length=5_000)] = ""


class NewCycle(BaseModel):
    """A strategy for this cycle alone, in place of the one that the settings name, and why."""

    strategy: Name | None = None
    comment: Annotated[Text, Field(max_length=2_000)] = ""


@router.get("/overview")
def overview(parts: WithParts, admin: Admin) -> dict[str, Any]:
    """What serves, who runs, what waits for a decision, and what others have asked for that more must agree to."""
    with parts.database.read() as session:
        row = deployments.deployment(session)
        names = people.names(session, row.testers)
        running = processes.alive(session, "bot") + processes.alive(session, "scheduler")
        waiting = adapters.page(session, limit=20, state=AdapterState.AWAITING_APPROVAL)
        wished = asked_for(session, row, waiting, approvers=parts.approvers, me=admin.person.id)
        open_cycles = cycles.open_ones(session)
        shown = [_cycle_view(session, row) for row in open_cycles]
        counts = {"people": people.count(session), "corrections": exchanges.to_approve(session)}
        asked = watch_asks(session, row, open_cycles)
    schedule = show_schedule(parts)
    return {
        **api_views.deployment(row, names),
        "processes": [api_views.process(p) for p in running],
        "awaiting_approval": [a.id for a in waiting],
        "watch_asks": asked,
        "asked_for": wished,
        "cycles": shown,
        "counts": counts,
        "schedule": schedule,
    }


@router.get("/report")
def report(parts: WithParts) -> dict[str, Any]:
    """The task distribution of the log; the scheduler makes it."""
    return ask_scheduler(parts, "report")


@router.get("/plan")
def plan(parts: WithParts) -> dict[str, Any]:
    """The training strategy the next cycle would take, with reasons; the scheduler makes it."""
    return ask_scheduler(parts, "plan")


@router.get("/faults")
def faults(parts: WithParts) -> dict[str, Any]:
    """The bad exchanges, newest first, each put down to a cause with its evidence; the scheduler makes it."""
    return ask_scheduler(parts, "faults")


@router.get("/gaps")
def gaps(parts: WithParts) -> dict[str, Any]:
    """What people asked in vain and training cannot mend, most people first; the scheduler makes it."""
    return ask_scheduler(parts, "gaps")


@router.get("/discovered")
def discovered(parts: WithParts) -> dict[str, Any]:
    """The tasks that the taxonomy lacks, with examples; the scheduler makes it."""
    return ask_scheduler(parts, "discovered")


@router.post("/discovered/{name}/adopt")
def adopt(name: Name, body: Adoption, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Make a discovered task a task; everything is labelled anew."""
    return ask_scheduler(parts, "adopt", {"found": name, **body.model_dump(), "actor": admin.person.id})


@router.post("/cycles")
def run_cycle(parts: WithParts, admin: Admin, body: NewCycle | None = None) -> dict[str, Any]:
    """Run a cycle now, by a strategy of your choice with a comment; while one is running, that one is answered."""
    return ask_scheduler(parts, "run_cycle", {"actor": admin.person.id, **(body or NewCycle()).model_dump()})


@router.get("/cycles")
def list_cycles(parts: WithParts, page: WithPage) -> dict[str, Any]:
    """Cycles with their timelines, newest first."""
    with parts.database.read() as session:
        rows = cycles.page(session, limit=page.limit + 1, before=page.cursor)
        return listing(rows, page, lambda row: _cycle_view(session, row))


@router.get("/cycles/{cycle_id}")
def show_cycle(cycle_id: str, parts: WithParts) -> dict[str, Any]:
    """One cycle with its timeline."""
    with parts.database.read() as session:
        return _cycle_view(session, cycles.get(session, cycle_id))


@router.post("/cycles/{cycle_id}/cancel")
def cancel_cycle(cycle_id: str, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Stop a cycle."""
    interventions.cancel(parts.database, cycle_id, actor=admin.person.id)
    return show_cycle(cycle_id, parts)


@router.post("/cycles/{cycle_id}/keep")
def keep_adapter(cycle_id: str, body: Kept, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """End the watch of an adapter that stays; the other answer to what the watch asks is a rollback."""
    interventions.keep(parts.database, cycle_id, actor=admin.person.id, comment=body.comment)
    return show_cycle(cycle_id, parts)


def _cycle_view(session: Session, row: Cycle) -> dict[str, Any]:
    named = people.names(session, [row.started_by]).get(row.started_by, row.started_by)
    return {**api_views.cycle(row, cycles.steps(session, row.id)), "started_by_name": named}


@router.post("/cycles/{cycle_id}/retry")
def retry_cycle(cycle_id: str, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Let a failed cycle try its step again."""
    interventions.retry(parts.database, cycle_id, actor=admin.person.id)
    return show_cycle(cycle_id, parts)


@router.get("/schedule")
def show_schedule(parts: WithParts) -> dict[str, Any]:
    """When cycles are due, and the next times, UTC."""
    with parts.database.read() as session:
        row = session.get(Schedule, 1) or Schedule(cron=parts.default_cron)
    upcoming = next_times(row.cron) if row.enabled else []
    return {"cron": row.cron, "enabled": row.enabled, "next": [api_views.moment(at) for at in upcoming]}


def next_times(cron: str) -> list[datetime]:
    """The next times of a schedule, UTC; none for a day that never comes, such as 31 February."""
    times = croniter(cron, datetime.now(UTC))
    try:
        return [times.get_next(datetime) for _ in range(NEXT_TIMES)]
    except CroniterBadDateError:
        return []


@router.put("/schedule")
def change_schedule(body: NewSchedule, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Change when cycles are due; the scheduler follows."""
    cron = " ".join(body.cron.split())
    if len(cron.split()) != 5 or not croniter.is_valid(cron) or not next_times(cron):
        hint = 'Write minute, hour, day, month and weekday, like "0 2 * * *" for two at night, UTC.'
        raise Invalid(f'the schedule is "{cron}", expected five cron fields.', hint)
    with parts.database.write() as session:
        row = session.get(Schedule, 1) or Schedule(cron=cron)
        row.cron, row.enabled, row.changed_at = cron, body.enabled, now()
        session.add(row)
        details = {"cron": cron, "enabled": body.enabled}
        audit.record(session, actor=admin.person.id, action="schedule.changed", subject="schedule", details=details)
    return show_schedule(parts)


@router.get("/judge")
def show_judge(parts: WithParts) -> dict[str, Any]:
    """How far the judge agrees with people, per metric and task with n, and whose label would help most."""
    return ask_scheduler(parts, "judge")


@router.get("/documents/stale")
def list_stale_documents(parts: WithParts, page: WithPage) -> dict[str, Any]:
    """The documents that changed or went after exchanges were shown them, with how many of those are stale now."""
    with parts.database.read() as session:
        return listing(staleness.stale(session, limit=page.limit + 1, after=page.cursor), page, asdict)


@router.get("/audit")
def list_audit(
    parts: WithParts, page: WithPage, verify: bool = False, q: Annotated[Text, Query(max_length=200)] = ""
) -> dict[str, Any]:
    """Who did what and why, newest first, or where it says `q`; `verify=true` also says if the chain is whole."""
    query = select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(page.limit + 1)
    if q.strip():
        parts_of_entry = (AuditEntry.action, AuditEntry.subject, AuditEntry.comment, AuditEntry.actor)
        query = query.where(or_(*(col(part).icontains(q.strip(), autoescape=True) for part in parts_of_entry)))
    if page.cursor is not None:
        if not page.cursor.isdecimal():
            raise Invalid(f'the cursor is "{page.cursor}".', "Use the `next` of the page before.")
        query = query.where(col(AuditEntry.id) < int(page.cursor))
    with parts.database.read() as session:
        rows = session.exec(query).all()
        names = people.names(session, list({key for row in rows for key in (row.actor, row.subject)}))
        shown = listing(rows, page, lambda row: api_views.audit(row, names))
        return {**shown, "broken_at": audit.broken_at(session)} if verify else shown
