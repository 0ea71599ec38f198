"""Claims about the database: nothing is lost between writers, and every refusal is a sentence."""

import sqlite3
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from store import people
from store.database import BUSY_SECONDS, Database, open_database, restore
from store.errors import DatabaseProblem, Invalid, NotFound
from store.models import Deployment, Person, Role, Row


def generation(database: Database) -> int:
    with database.read() as session:
        return session.get_one(Deployment, 1).generation


def test_increments_of_four_threads_are_all_counted(database: Database) -> None:
    with database.write() as session:
        session.merge(Deployment(id=1, generation=0))

    def count() -> None:
        for _ in range(25):
            with database.write() as session:
                row = session.get_one(Deployment, 1)
                row.generation += 1
                session.add(row)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert generation(database) == 100


def test_reading_does_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as session:
        session.merge(Deployment(id=1, generation=7))
        session.flush()
        with database.read() as reader:
            assert people.count(reader) == 0
    assert generation(database) == 7


def test_a_read_session_cannot_write(database: Database) -> None:
    with pytest.raises(OperationalError, match="readonly"), database.read() as session:
        session.add(Person(name="ann"))
        session.commit()


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        session.add(Person(name="ann"))
        session.flush()
        raise RuntimeError
    with database.read() as session:
        assert people.count(session) == 0


def test_a_database_newer_than_the_program_is_refused_with_a_sentence(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/newer.db"
    open_database(url).close()
    with sqlite3.connect(tmp_path / "newer.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        DatabaseProblem, match="schema revision 9999, which this version of Ratchet does not know"
    ) as error:
        open_database(url)
    assert "update Ratchet" in error.value.hint


def test_a_data_folder_that_cannot_be_written_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file, where a folder should be")
    with pytest.raises(DatabaseProblem, match=f"{tmp_path / 'var'} cannot be written: ") as error:
        open_database(f"sqlite:///{tmp_path}/var/ratchet.db")
    assert "RATCHET_DATA" in error.value.hint


def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("these are my notes, not a database\n" * 100)
    with pytest.raises(DatabaseProblem, match="cannot be opened: file is not a database"):
        open_database(f"sqlite:///{tmp_path}/notes.db")


def test_a_locked_database_is_a_sentence_after_the_busy_time(database: Database, tmp_path: Path) -> None:
    assert BUSY_SECONDS == 10
    other = sqlite3.connect(tmp_path / "fresh.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseProblem, match="could not be written: database is locked"), database.write() as session:
        session.add(Person(name="ann"))
    other.close()
    people.add(database, "ann", role=Role.CHAT, actor="test")


def test_a_backup_restores_what_was_there(database: Database, tmp_path: Path) -> None:
    people.add(database, "ann", role=Role.CHAT, actor="test")
    database.backup(tmp_path / "copy.db")
    people.add(database, "bob", role=Role.CHAT, actor="test")
    url = f"sqlite:///{tmp_path}/new/place.db"
    restore(url, tmp_path / "copy.db")
    with open_database(url).read() as session:
        assert people.find(session, "ann").name == "ann"
        assert people.count(session) == 1


@pytest.mark.parametrize("content", [b"", b"no database at all" * 300])
def test_a_backup_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "copy.db").write_bytes(content)
    url = f"sqlite:///{tmp_path}/kept.db"
    database = open_database(url)
    people.add(database, "ann", role=Role.CHAT, actor="test")
    with pytest.raises(Invalid, match="is damaged or no Ratchet database"):
        restore(url, tmp_path / "copy.db")
    with database.read() as session:
        assert people.count(session) == 1


def test_a_backup_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no backup file"):
        restore(f"sqlite:///{tmp_path}/x.db", tmp_path / "missing.db")


def test_the_migrations_make_exactly_the_tables_of_the_models(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/migrated.db"
    open_database(url).close()
    with create_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, Row.metadata) == []
        assert "exchange" in Row.metadata.tables


def test_opening_twice_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/twice.db"
    people.add(open_database(url), "ann", role=Role.CHAT, actor="test")
    with open_database(url).read() as session:
        assert people.count(session) == 1


def test_a_store_knows_that_it_was_restored(database: Database, tmp_path: Path) -> None:
    assert database.restored() == 0
    database.backup(tmp_path / "copy.db")
    database.close()
    restore(database.url, tmp_path / "copy.db")
    first = open_database(database.url).restored()
    restore(database.url, tmp_path / "copy.db")
    assert first > 0 and open_database(database.url).restored() not in (0, first)
