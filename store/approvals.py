"""Who has agreed to an adapter so far, where more than one person must; kept in the audit record, bound to digests."""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select

from store import audit
from store.errors import Conflict
from store.models import Adapter, AuditEntry, Person, Role

AGREED = "adapter.agreed"


def given(session: Session, row: Adapter) -> list[AuditEntry]:
    """The agreements with exactly this adapter, dataset and report by people who are admins now, oldest first."""
    query = select(AuditEntry).where(AuditEntry.action == AGREED, AuditEntry.subject == row.id)
    entries = session.exec(query.order_by(col(AuditEntry.id)))
    bound = _bound(row)
    return [e for e in entries if bound.items() <= e.details.items() and _is_admin(session, e.actor)]


def enough(
    session: Session, row: Adapter, *, actor: str, comment: str, needed: int, share: float, testers: Sequence[str]
) -> bool:
    """Note that somebody agrees, to this share and these testers; whether that makes `needed` people.

    Raises Conflict for one person's second time, and for a caller that is no admin by name, as a command is.
    """
    if not _is_admin(session, actor):
        raise Conflict(
            f"{needed} people must approve adapter {row.id}, and {actor} is none that is known as an admin.",
            "Approve in the pages or over HTTP, where everybody is known.",
        )
    terms = {"share": share, "testers": sorted(testers)}
    before = {entry.actor for entry in given(session, row) if terms.items() <= entry.details.items()}
    if actor in before:
        raise Conflict(
            f"you have approved adapter {row.id} already; {needed - len(before)} more must.", "Ask another admin."
        )
    audit.record(session, actor=actor, action=AGREED, subject=row.id, comment=comment, details={**_bound(row), **terms})
    return len(before) + 1 >= needed


def _is_admin(session: Session, actor: str) -> bool:
    person = session.get(Person, actor)
    return person is not None and person.role == Role.ADMIN and person.erased_at is None


def _bound(row: Adapter) -> dict[str, Any]:
    return {"digest": row.digest, "dataset": row.dataset_digest, "report": row.report_digest}
