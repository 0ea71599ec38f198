"""How long an adapter was watched: time in which looks came and a bot answered with it, whatever the clock says.

It is kept in the progress of the cycle's watch step, so that it goes on after a restart. Time in which the scheduler,
or every bot, was down is not in it: nothing could be seen then.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from store import cycles, processes
from store.database import Database
from store.models import Adapter, CycleStep, now

MOST_BETWEEN = timedelta(hours=1)
"""So much at most counts from one look to the next, as where a timer runs `python -m scheduler once` each hour."""


def extended(before: Mapping[str, Any], *, decided_at: datetime, at: datetime, answers: bool) -> dict[str, Any]:
    """The window after a look `at` a time, from the one after the look before (pure).

    It begins anew after another decision on the adapter, such as a canary's completion. `answers`: a bot serves it.
    """
    if before.get("decided_at") != decided_at.isoformat():
        return {"decided_at": decided_at.isoformat(), "looked_at": at.isoformat(), "seconds": 0.0}
    passed = min(max(at - datetime.fromisoformat(before["looked_at"]), timedelta(0)), MOST_BETWEEN)
    seconds = before["seconds"] + (passed.total_seconds() if answers else 0.0)
    return {**before, "looked_at": at.isoformat(), "seconds": seconds}


def window(database: Database, *, cycle_id: str, adapter_id: str) -> dict[str, Any]:
    """The window of a cycle's watch with this look; it counts once it is kept in the step's progress."""
    with database.read() as session:
        step = session.get(CycleStep, (cycle_id, cycles.WATCH))
        adapter = session.get(Adapter, adapter_id)
        bots = processes.alive(session, "bot")
    before = step.progress.get("window", {}) if step is not None else {}
    decided_at = (adapter.decided_at or adapter.created_at) if adapter is not None else now()
    answers = any(adapter_id in (one.adapter, one.canary) for one in bots)
    return extended(before, decided_at=decided_at, at=now(), answers=answers)


def passed(found: Mapping[str, Any]) -> timedelta:
    """The time watched so far."""
    return timedelta(seconds=found["seconds"])
