"""Claims about migrations: what an older version wrote is carried over."""

import json
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlmodel import select

from configs.settings import ROOT
from store import documents, staleness
from store.database import open_database
from store.models import Document, Feedback
from tests.test_store_staleness import BREAD, CHEESE, RIVER, kept, passage

COUNT = 1_203
"""More than two batches, the last one not full."""


def old_database(path: Path) -> None:
    """A database of schema 0004 with a document, its passage and many exchanges."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "store" / "migrations"))
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    at, shown = (
        "2026-01-01 00:00:00",
        [passage(1, "doc_1", RIVER), passage(2, "doc_1", BREAD), passage(3, None, CHEESE)],
    )
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO person (id, name, role, consent, created_at) VALUES ('pe_1','a','chat',1,?)", [at]
        )
        connection.execute(
            "INSERT INTO person (id, name, role, consent, created_at) VALUES ('pe_2','b','reviewer',1,?)", [at]
        )
        connection.execute(
            "INSERT INTO conversation (id, person_id, title, created_at) VALUES ('co_1','pe_1','',?)", [at]
        )
        connection.execute(
            "INSERT INTO document VALUES ('doc_1','n','n','d','text/plain','t',?,?,NULL,'','[]')", [at, at]
        )
        values = ["ch_1", "doc_1", 0, "n", RIVER, documents.text_digest(RIVER), 0, 1, b"", "m", None, "[]", None]
        connection.execute(f"INSERT INTO chunk VALUES ({','.join('?' * 13)})", values)
        connection.executemany(
            "INSERT INTO exchange VALUES (?,'co_1',NULL,'pe_1',?,'q','','','[]',?,0,1,?,'[]',0,'base','','{}','{}'"
            ",0,0,'','',?,NULL)",
            [
                (f"ex_{n}", "streaming" if n == 1 else "finished", json.dumps(shown), f"So [{n % 3}].", at)
                for n in range(COUNT)
            ],
        )
        connection.executemany(
            "INSERT INTO feedback VALUES (?,?,'down','[]','',?,NULL,?)",
            [
                ("ex_0", "pe_1", "No, so [2].", at),
                ("ex_2", "pe_2", "No, so [2].", at),
                ("ex_3", "pe_2", "", at),
            ],
        )


def test_an_older_log_is_entered_when_the_database_is_upgraded(tmp_path: Path) -> None:
    old_database(tmp_path / "old.db")
    database = open_database(f"sqlite:///{tmp_path}/old.db")
    river, bread = documents.text_digest(RIVER), documents.text_digest(BREAD)
    found = kept(database)
    assert len(found) == 2 * (COUNT - 1) and ("ex_1", river) not in found
    assert (found["ex_0", river], found["ex_0", bread]) == (False, True)
    assert (found["ex_4", river], found["ex_4", bread]) == (True, False)
    assert (found["ex_5", river], found["ex_5", bread]) == (False, True)
    with database.read() as session:
        rated = session.get_one(Feedback, "ex_0")
        assert (rated.rated_by, rated.rated_at) == (rated.person_id, rated.updated_at)
        written = {key: session.get_one(Feedback, key).by_reviewer for key in ("ex_0", "ex_2", "ex_3")}
        assert written == {"ex_0": False, "ex_2": True, "ex_3": False}
        (document,) = session.exec(select(Document)).all()
        assert (document.file_digest, document.rules) == ("", "")
        assert staleness.live_digests(session) == {river}
        assert len(staleness.resting_on(session, "doc_1").stale_exchanges) == COUNT - 1
    database.close()
