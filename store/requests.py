"""What the pages ask of the scheduler: rows taken once, answered once."""

import time
from typing import Any

from sqlmodel import col, select

from store import processes
from store.database import Database
from store.errors import Unavailable
from store.models import Ask

WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.1


def ask(database: Database, kind: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the scheduler for `kind` and wait up to 10 s for its answer; one that just starts has time to come up.

    Raises Unavailable when no scheduler is alive or it does not answer in time; the request is then withdrawn.
    """
    row = Ask(kind=kind, payload=payload or {})
    with database.write() as session:
        session.add(row)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with database.read() as session:
            found = session.get(Ask, row.id)
            if found is not None and found.state == "answered":
                return found.answer
        time.sleep(_POLL_SECONDS)
    with database.write() as session:
        found = session.get_one(Ask, row.id)
        found.state = "withdrawn" if found.state == "waiting" else found.state
        session.add(found)
        alive = bool(processes.alive(session, "scheduler"))
    if not alive:
        raise Unavailable("no scheduler is running.", "Start one with `python -m scheduler run`.")
    raise Unavailable(f"the scheduler did not answer within {WAIT_SECONDS:.0f} s.", "It may be busy: try again.")


def take(database: Database) -> Ask | None:
    """The oldest waiting request, now taken, or None."""
    with database.read() as session:
        if session.exec(select(Ask.id).where(Ask.state == "waiting").limit(1)).first() is None:
            return None
    with database.write() as session:
        row = session.exec(select(Ask).where(Ask.state == "waiting").order_by(col(Ask.created_at)).limit(1)).first()
        if row is not None:
            row.state = "taken"
            session.add(row)
        return row


def answer(database: Database, request_id: str, content: dict[str, Any]) -> None:
    """Answer a request that was taken."""
    with database.write() as session:
        row = session.get(Ask, request_id)
        if row is not None:
            row.state, row.answer = "answered", content
            session.add(row)
