"""Opens a database and hands out short sessions: `read()` never blocks, `write()` is brief, and writers take turns.

SQLite: WAL, `synchronous=FULL`, and every write transaction begins IMMEDIATE. The reason: a deferred transaction that
has read and then writes fails at once when another one committed in between, whatever the busy timeout.
Postgres: every write transaction first takes one lock until its end. What is read before it is written, the next fence
or the last entry of the audit record, would else be read by two at once.
"""

import hashlib
import secrets
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from filelock import FileLock, Timeout
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlmodel import Session

from store.errors import DatabaseProblem, Invalid, NotFound

BUSY_SECONDS = 10
CACHE_KB = 65_536
"""What a connection keeps of a SQLite file at most; the index of a million labels fits."""
WRITERS = 7_291_406
"""The key of the lock that writers take on Postgres: any number that nothing else in the database locks."""
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """A database at a URL; safe to share between threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._writer = _engine(url, read_only=False)
        self._reader = _engine(url, read_only=True) if self.is_sqlite else self._writer

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that cannot write and never waits for a writer."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits when its block ends well; keep it short, never generate or train inside.

        Raises DatabaseProblem when the database stays locked for 10 s or the disk is full.
        """
        try:
            with Session(self._writer, expire_on_commit=False) as session, session.begin():
                if self._writer.dialect.name == "postgresql":
                    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITERS})
                yield session
        except OperationalError as error:
            raise DatabaseProblem(
                f"the database could not be written: {error.orig}.",
                "Check free disk space and that no other program holds it locked, then try again.",
            ) from error

    def restored(self) -> int:
        """A number that is another one after each restore of a backup; 0 before the first, and on Postgres."""
        if not self.is_sqlite:
            return 0
        with self.read() as session:
            return int(session.execute(text("PRAGMA user_version")).scalar_one())

    def close(self) -> None:
        """Give all connections back."""
        self._writer.dispose()
        self._reader.dispose()

    def backup(self, target: Path) -> None:
        """Copy the SQLite database, while in use, into the file `target`."""
        if not self.is_sqlite:
            raise Invalid("backup copies SQLite databases only.", "Use pg_dump for Postgres.")
        try:
            with closing(sqlite3.connect(_file(self.url))) as source, closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
        except sqlite3.Error as error:
            raise DatabaseProblem(f"the backup {target} cannot be written: {error}.", "Name another file.") from error


def open_database(url: str) -> Database:
    """The database at `url`, created and upgraded to the newest schema by the first process that comes.

    Raises DatabaseProblem when it is locked, newer than this program, or cannot be opened or written.
    """
    try:
        if url.startswith("sqlite"):
            _file(url).parent.mkdir(parents=True, exist_ok=True)
        database = Database(url)
        migrate(database)
    except OSError as error:
        raise DatabaseProblem(
            f"{error.filename or 'the data folder'} cannot be written: {error.strerror or error}.",
            "Give this user the right to write there, or set RATCHET_DATA to another folder.",
        ) from error
    except (ArgumentError, ImportError) as error:
        raise DatabaseProblem(
            f"the database address cannot be used: {error}.",
            "Check RATCHET_DATABASE_URL, as sqlite:////folder/ratchet.db or postgresql+psycopg://user@host/name; "
            "PostgreSQL needs pip install -e .[postgres].",
        ) from error
    except (DatabaseError, sqlite3.Error) as error:
        raise DatabaseProblem(
            f"the database {make_url(url).render_as_string()} cannot be opened: {getattr(error, 'orig', error)}.",
            "Check RATCHET_DATABASE_URL and that the file is a Ratchet database.",
        ) from error
    return database


def migrate(database: Database) -> None:
    """Upgrade the schema; one process at a time does it."""
    named = hashlib.sha256(database.url.encode()).hexdigest()[:12]
    elsewhere = Path(tempfile.gettempdir()) / f"ratchet-{named}.migrate.lock"
    lock = _file(database.url).with_suffix(".migrate.lock") if database.is_sqlite else elsewhere
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(str(lock), timeout=60, mode=0o666):
            _upgrade(database._writer)
    except Timeout as error:
        raise DatabaseProblem("another process has been upgrading the database for 60 s.", "Try again.") from error


def restore(url: str, source: Path) -> None:
    """Put the backup `source` in the place of the SQLite database at `url`; stop Ratchet first."""
    if not source.is_file():
        raise NotFound(f"no backup file {source}.")
    _file(url).parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(source)) as copy, closing(sqlite3.connect(_file(url))) as target:
        if not _whole(copy):
            raise Invalid(f"the backup {source} is damaged or no Ratchet database.", "Use another backup.")
        copy.backup(target)
        target.execute(f"PRAGMA user_version={secrets.randbelow(2**31 - 1) + 1}")


def _whole(copy: sqlite3.Connection) -> bool:
    """Whether a file is an undamaged database of ours; an empty file is an empty database to SQLite."""
    try:
        known = copy.execute("SELECT count(*) FROM alembic_version").fetchone()[0]
        return bool(known and copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    except sqlite3.DatabaseError:
        return False


def _file(url: str) -> Path:
    return Path(str(make_url(url).database))


def _upgrade(engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found == script.get_current_head():
        return
    if found is not None and found not in {revision.revision for revision in script.walk_revisions()}:
        raise DatabaseProblem(
            f"the database has schema revision {found}, which this version of Ratchet does not know.",
            "It was written by a newer version: update Ratchet, or restore a backup.",
        )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _engine(url: str, *, read_only: bool) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size={-CACHE_KB}")
        connection.execute("PRAGMA foreign_keys=ON")
        if read_only:
            connection.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
