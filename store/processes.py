"""Who is running: bots and schedulers report what they have loaded and when they were last alive."""

import os
import socket
from datetime import timedelta

from sqlmodel import Session, col, delete, select

from store.database import Database
from store.models import BASE, Process, new_id, now

STALE = timedelta(seconds=15)
"""A process not heard of for this long counts as dead."""


def register(database: Database, kind: str) -> str:
    """Enter this process as a `bot` or `scheduler` and return its id; forgets processes dead for long."""
    row = Process(id=f"{kind}_{socket.gethostname()}_{new_id('p')[2:8]}", kind=kind, pid=os.getpid())
    with database.write() as session:
        session.exec(delete(Process).where(col(Process.heartbeat) < now() - 100 * STALE))
        session.add(row)
    return row.id


def beat(
    database: Database,
    process_id: str,
    *,
    generation: int = 0,
    adapter: str = BASE,
    canary: str | None = None,
    error: str = "",
) -> None:
    """Say that the process lives, which deployment generation it serves and what went wrong if it could not load."""
    with database.write() as session:
        row = session.get(Process, process_id)
        if row is not None:
            row.heartbeat, row.generation, row.error = now(), generation, error
            row.adapter, row.canary = adapter, canary
            session.add(row)


def leave(database: Database, process_id: str) -> None:
    """Take the process off the list."""
    with database.write() as session:
        session.exec(delete(Process).where(col(Process.id) == process_id))


def alive(session: Session, kind: str) -> list[Process]:
    """The processes of a kind that were heard of lately; one of this machine whose process has ended is not alive."""
    query = select(Process).where(Process.kind == kind, col(Process.heartbeat) > now() - STALE)
    return [row for row in session.exec(query) if not _ended_here(row)]


def _ended_here(row: Process) -> bool:
    if f"_{socket.gethostname()}_" not in row.id:
        return False
    try:
        os.kill(row.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
