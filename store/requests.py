"""What the pages ask of the scheduler: rows taken once, answered once, and gone when they were read.

An answer may hold what people wrote, so none stays: one that nobody fetched goes when the next is asked for. What is to
be forgotten is asked by whoever deletes, answered to nobody, and waits for a scheduler however long.
"""

import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlmodel import Session, col, delete, select

from store import processes
from store.database import Database
from store.errors import Unavailable
from store.models import Ask, now

WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.1
FORGET = "forget"
LEFT_OVER = timedelta(hours=1)
"""So old is only what a process asked that ended before it read the answer."""


def ask(database: Database, kind: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the scheduler for `kind` and wait up to 10 s for its answer; one that just starts has time to come up.

    Raises Unavailable when no scheduler is alive or it does not answer in time; the request is then withdrawn.
    """
    row = Ask(kind=kind, payload=payload or {})
    with database.write() as session:
        session.exec(delete(Ask).where(col(Ask.created_at) < now() - LEFT_OVER, col(Ask.kind) != FORGET))
        session.add(row)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with database.read() as session:
            found = session.get(Ask, row.id)
            answered = found is not None and found.state == "answered"
        if found is not None and answered:
            done(database, row.id)
            return found.answer
        time.sleep(_POLL_SECONDS)
    with database.write() as session:
        found = session.get(Ask, row.id)
        begun = found is not None and found.state == "taken"
        session.exec(delete(Ask).where(col(Ask.id) == row.id))
        alive = bool(processes.alive(session, "scheduler"))
    if not alive:
        raise Unavailable("no scheduler is running.", "Start one with `python -m scheduler run`.")
    hint = "It is at it: try again in a moment." if begun else "It may be busy: try again."
    raise Unavailable(f"the scheduler did not answer within {WAIT_SECONDS:.0f} s.", hint)


def take(database: Database, *, only: Collection[str] = (), but: Collection[str] = ()) -> Ask | None:
    """The oldest waiting request, now taken, or None; `only` of some kinds, or of all `but` some."""
    waiting = [col(Ask.state) == "waiting", col(Ask.kind).not_in([FORGET, *but])]
    waiting += [col(Ask.kind).in_(only)] if only else []
    with database.read() as session:
        if session.exec(select(Ask.id).where(*waiting).limit(1)).first() is None:
            return None
    with database.write() as session:
        row = session.exec(select(Ask).where(*waiting).order_by(col(Ask.created_at)).limit(1)).first()
        if row is not None:
            row.state = "taken"
            session.add(row)
        return row


def answer(database: Database, request_id: str, content: dict[str, Any]) -> None:
    """Answer a request that was taken; one that was withdrawn meanwhile is gone."""
    with database.write() as session:
        row = session.get(Ask, request_id)
        if row is not None:
            row.state, row.answer = "answered", content
            session.add(row)


def forget(session: Session, exchange_ids: Sequence[str]) -> None:
    """Leave word that exchanges, or what somebody said of them, went from the log and are to go from files too."""
    if exchange_ids:
        session.add(Ask(kind=FORGET, payload={"exchanges": list(exchange_ids)}))


def to_forget(database: Database) -> list[tuple[str, list[str]]]:
    """The requests to forget, oldest first, each with its exchanges."""
    with database.read() as session:
        rows = session.exec(select(Ask).where(Ask.kind == FORGET).order_by(col(Ask.created_at))).all()
    return [(row.id, list(row.payload["exchanges"])) for row in rows]


def done(database: Database, request_id: str) -> None:
    """Let a request go."""
    with database.write() as session:
        session.exec(delete(Ask).where(col(Ask.id) == request_id))
