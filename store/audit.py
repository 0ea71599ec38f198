"""Append-only, hash-chained record of who did what and why. It decides nothing."""

import hashlib
import json
from typing import Any

from sqlmodel import Session, col, select

from store.models import AuditEntry, now


def record(
    session: Session, *, actor: str, action: str, subject: str, comment: str = "", details: dict[str, Any] | None = None
) -> None:
    """Append an entry inside the caller's write transaction, chained to the one before it."""
    last = session.exec(select(AuditEntry).order_by(col(AuditEntry.id).desc()).limit(1)).first()
    entry = AuditEntry(
        at=now(),
        actor=actor,
        action=action,
        subject=subject,
        comment=comment,
        details=details or {},
        previous=last.digest if last else "",
    )
    entry.digest = digest(entry)
    session.add(entry)


def digest(entry: AuditEntry) -> str:
    """The SHA-256 over an entry's content and its predecessor's digest."""
    content = [
        entry.previous,
        entry.at.isoformat(),
        entry.actor,
        entry.action,
        entry.subject,
        entry.comment,
        entry.details,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def broken_at(session: Session) -> int | None:
    """The id of the first entry that does not fit the chain, or None when the record is whole."""
    previous = ""
    for entry in session.exec(select(AuditEntry).order_by(col(AuditEntry.id))):
        if entry.previous != previous or entry.digest != digest(entry):
            return entry.id
        previous = entry.digest
    return None
