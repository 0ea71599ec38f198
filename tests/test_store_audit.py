"""Claims about the audit record: it is a chain, and a changed entry is found."""

from collections.abc import Callable

import pytest
from sqlmodel import Session, select

from store import audit
from store.database import Database
from store.models import AuditEntry


@pytest.fixture
def filled(database: Database) -> Database:
    for number in range(5):
        with database.write() as session:
            audit.record(
                session, actor="ann", action="adapter.live", subject=f"v{number}", comment="é", details={"n": number}
            )
    return database


def entry(session: Session, number: int) -> AuditEntry:
    return session.exec(select(AuditEntry).where(AuditEntry.id == number)).one()


def test_an_untouched_record_is_whole(filled: Database) -> None:
    with filled.read() as session:
        assert audit.broken_at(session) is None
        rows = list(session.exec(select(AuditEntry)))
    assert [row.previous for row in rows[1:]] == [row.digest for row in rows[:-1]]


def rewritten(row: AuditEntry) -> None:
    """A forger who also makes the digest fit."""
    row.comment = "never happened"
    row.digest = audit.digest(row)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda row: setattr(row, "actor", "eve"), 3),
        (lambda row: setattr(row, "comment", ""), 3),
        (lambda row: setattr(row, "details", {"n": 7}), 3),
        (lambda row: setattr(row, "previous", "0" * 64), 3),
        (rewritten, 4),
    ],
)
def test_a_changed_entry_is_found(filled: Database, change: Callable[[AuditEntry], None], found: int) -> None:
    with filled.write() as session:
        row = entry(session, 3)
        change(row)
        session.add(row)
    with filled.read() as session:
        assert audit.broken_at(session) == found


def test_a_removed_entry_is_found(filled: Database) -> None:
    with filled.write() as session:
        session.delete(entry(session, 2))
    with filled.read() as session:
        assert audit.broken_at(session) == 3


def test_entries_go_with_the_transaction_that_they_describe(filled: Database) -> None:
    with pytest.raises(RuntimeError), filled.write() as session:
        audit.record(session, actor="ann", action="adapter.live", subject="v9")
        session.flush()
        raise RuntimeError
    with filled.read() as session:
        assert len(session.exec(select(AuditEntry)).all()) == 5
        assert audit.broken_at(session) is None
