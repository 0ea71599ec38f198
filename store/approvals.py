"""Who has agreed to an adapter so far, where more than one person must; kept in the audit record, bound to digests."""

from typing import Any

from sqlmodel import Session, col, select

from store import audit
from store.errors import Conflict
from store.models import Adapter, AuditEntry

AGREED = "adapter.agreed"


def given(session: Session, row: Adapter) -> list[AuditEntry]:
    """The agreements with exactly this adapter, dataset and report, oldest first; those of another report count not."""
    query = select(AuditEntry).where(AuditEntry.action == AGREED, AuditEntry.subject == row.id)
    return [entry for entry in session.exec(query.order_by(col(AuditEntry.id))) if entry.details == _bound(row)]


def enough(session: Session, row: Adapter, *, actor: str, comment: str, needed: int) -> bool:
    """Note that somebody agrees; whether that makes `needed` people. Raises Conflict for one person's second time."""
    before = {entry.actor for entry in given(session, row)}
    if actor in before:
        raise Conflict(
            f"you have approved adapter {row.id} already; {needed - len(before)} more must.", "Ask another admin."
        )
    audit.record(session, actor=actor, action=AGREED, subject=row.id, comment=comment, details=_bound(row))
    return len(before) + 1 >= needed


def _bound(row: Adapter) -> dict[str, Any]:
    return {"digest": row.digest, "dataset": row.dataset_digest, "report": row.report_digest}
