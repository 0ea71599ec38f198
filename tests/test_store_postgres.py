"""Claims about PostgreSQL: writers take turns, so that fences, cycles and the audit record are as on SQLite.

They run where its server is installed and `pip install -e .[postgres]` was done.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlmodel import select

from store import audit, cycles, people
from store.database import Database, open_database
from store.errors import DatabaseProblem
from store.models import Cycle, CycleState, Role
from tests.queued import until

ROUNDS = 12


def _server() -> tuple[Path, str | None]:
    """The folder of the server's programs and the user to run it as; skips where there is none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install -e .[postgres]")
    found = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        *map(Path, filter(None, [shutil.which("initdb")])),
    ]
    if not found:
        pytest.skip("PostgreSQL's server is not installed here.")
    if os.geteuid() != 0:
        return found[-1].parent, None
    with suppress(KeyError):
        return found[-1].parent, pwd.getpwnam("postgres").pw_name
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres.")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    programs, user = _server()
    folder = Path(tempfile.mkdtemp(prefix="ratchet-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    subprocess.run(
        [programs / "initdb", "-D", folder / "data", "-U", "ratchet", "-A", "trust", "--no-sync"],
        user=user,
        check=True,
        capture_output=True,
    )
    options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
    named = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([programs / "postgres", "-D", folder / "data", *named], user=user, stderr=log)
        yield f"postgresql+psycopg://ratchet@127.0.0.1:{port}/postgres"
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
    shutil.rmtree(folder)


@pytest.fixture
def database(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.chdir(tmp_path)
    opened: list[Database] = []

    def opens() -> bool:
        with suppress(DatabaseProblem):
            opened.append(open_database(url))
        return bool(opened)

    until(opens)
    yield opened[0]
    opened[0].close()


def both(work: Callable[[int], Any]) -> list[Any]:
    """What two threads come to that do it at the same moment."""
    ready = Barrier(2)

    def one(number: int) -> Any:
        ready.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))


def test_two_workers_never_hold_one_step_and_two_starts_make_one_cycle(database: Database) -> None:
    for number in range(ROUNDS):
        started = both(
            lambda one, number=number: cycles.start(
                database, slot_key=f"{number}-{one}", first_step="collect", started_by="test"
            )
        )
        assert len({cycle.id for cycle, _ in started}) == 1
        claims = [claim for claim in both(lambda _: cycles.claim(database)) if claim is not None]
        assert len(claims) == 1
        cycles.finish_step(database, claims[0], result={}, next_step=None, state=CycleState.DONE)
    with database.read() as session:
        assert len(session.exec(select(Cycle)).all()) == ROUNDS


def test_the_audit_record_is_one_chain_whoever_writes(database: Database) -> None:
    for number in range(ROUNDS):
        both(lambda one, number=number: people.add(database, f"p{number}-{one}", role=Role.CHAT, actor="test"))
    with database.read() as session:
        assert audit.broken_at(session) is None
