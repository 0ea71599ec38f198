"""Who has agreed to an adapter so far, where more than one person must; kept in the audit record, bound to digests."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from store import audit
from store.errors import Conflict
from store.models import Adapter, AuditEntry, Person, Role

AGREED = "adapter.agreed"


def given(session: Session, row: Adapter) -> list[AuditEntry]:
    """The agreements that stand, oldest first: each admin's last one, where it is to the same share as the newest.

    They are with exactly this adapter, dataset and report, and of people who are admins now.
    """
    last = _last(session, row)
    newest = max(last.values(), key=lambda entry: entry.id or 0, default=None)
    standing = [entry for entry in last.values() if newest is not None and terms_of(entry) == terms_of(newest)]
    return sorted(standing, key=lambda entry: entry.id or 0)


def terms_of(entry: AuditEntry) -> tuple[float, list[str]]:
    """To which share and testers an agreement is."""
    return entry.details.get("share", 1.0), entry.details.get("testers", [])


def missing(session: Session, row: Adapter, *, needed: int) -> int:
    """How many more people must agree to what the newest agreement says."""
    return max(needed - len(given(session, row)), 0) if needed > 1 else 0


def covers(session: Session, row: Adapter, *, needed: int, share: float, testers: Sequence[str]) -> bool:
    """Whether `needed` people agree, each by the last word of an admin, to one share and testers that include these."""
    terms = Counter((most, tuple(named)) for most, named in map(terms_of, _last(session, row).values()))
    return any(
        people >= needed and share <= most and set(testers) <= set(named) for (most, named), people in terms.items()
    )


def open_terms(session: Session, row: Adapter, *, needed: int, above: float = -1.0) -> list[list[AuditEntry]]:
    """The standing agreements to each share `above` one, and testers, that fewer than `needed` people agree to.

    Each admin's last word counts; the newest terms come first, and of each who agreed first.
    """
    found = dict[tuple[float, tuple[str, ...]], list[AuditEntry]]()
    for entry in last_words(session, row):
        share, testers = terms_of(entry)
        found.setdefault((share, tuple(testers)), []).append(entry)
    waiting = [agreed for (share, _), agreed in found.items() if share > above and len(agreed) < needed]
    return sorted(waiting, key=lambda agreed: agreed[-1].id or 0, reverse=True)


def _entries(row: Adapter) -> SelectOfScalar[AuditEntry]:
    query = select(AuditEntry).where(AuditEntry.action == AGREED, AuditEntry.subject == row.id)
    return query.order_by(col(AuditEntry.id))


def bound(session: Session, row: Adapter) -> list[AuditEntry]:
    """All agreements with exactly this adapter, dataset and report, oldest first, whoever agreed and to whatever."""
    digests = _digests(row)
    return [entry for entry in session.exec(_entries(row)) if digests.items() <= entry.details.items()]


def last_words(session: Session, row: Adapter) -> list[AuditEntry]:
    """Each admin's last agreement, oldest first."""
    return sorted(_last(session, row).values(), key=lambda entry: entry.id or 0)


def _last(session: Session, row: Adapter) -> dict[str, AuditEntry]:
    return {entry.actor: entry for entry in bound(session, row) if _is_admin(session, entry.actor)}


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
    mine = _last(session, row).get(actor)
    if mine is not None and terms_of(mine) == (share, sorted(testers)):
        more = needed - len(given(session, row))
        raise Conflict(f"you have approved adapter {row.id} already; {more} more must.", "Ask another admin.")
    audit.record(
        session, actor=actor, action=AGREED, subject=row.id, comment=comment, details={**_digests(row), **terms}
    )
    session.flush()
    return len(given(session, row)) >= needed


def _is_admin(session: Session, actor: str) -> bool:
    person = session.get(Person, actor)
    return person is not None and person.role == Role.ADMIN and person.erased_at is None


def _digests(row: Adapter) -> dict[str, Any]:
    return {"digest": row.digest, "dataset": row.dataset_digest, "report": row.report_digest}
