"""Claims about the golden set: approved answers only, with a reason, it only grows, and admins see it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from store import audit, exchanges, golden, people
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.models import AuditEntry, Cycle, CycleStep, Person, Role, now
from tests.queued import QueuedBot, error, queued_bot
from tests.test_store_exchanges import asked, user


def approved(database: Database, *, role: str = Role.REVIEWER, trainable: bool = True) -> str:
    """An exchange with a correction by somebody of a role."""
    person: Person = people.add(database, f"somebody-{role}", role=role, actor="test")
    row = asked(database, person, [user("How long is the Aare?")], "No idea.")
    if not trainable:
        with database.write() as session:
            kept = exchanges.get(session, row.id).exchange
            kept.trainable = False
            session.add(kept)
    exchanges.rate(database, row.id, person=person, rating="down", correction="It is 288 km.")
    return row.id


def test_an_approved_answer_joins_the_golden_set_and_the_record_says_why(database: Database) -> None:
    key = approved(database)
    golden.add(database, key, actor="rita", comment="asked weekly")
    with database.read() as session:
        assert golden.members(session) == {key}
        entry = session.get_one(AuditEntry, audit.broken_at(session) or 2)
        assert (entry.action, entry.subject, entry.comment) == ("golden.added", key, "asked weekly")
    with pytest.raises(Conflict, match="in the golden set already"):
        golden.add(database, key, actor="rita", comment="again")


def test_every_question_has_a_count_of_the_evaluations_that_asked_it(database: Database) -> None:
    key = approved(database)
    evaluated(database, "before")
    golden.add(database, key, actor="rita", comment="asked weekly")
    with database.read() as session:
        assert golden.looks(session) == {key: 0}
    evaluated(database, "after")
    evaluated(database, "open", finished=False)
    with database.read() as session:
        assert golden.looks(session) == {key: 1}


def evaluated(database: Database, name: str, *, finished: bool = True) -> None:
    """A cycle whose evaluation began now, and ended."""
    with database.write() as session:
        session.add(Cycle(id=name, slot_key=name))
        session.flush()
        ended = now() if finished else None
        session.add(CycleStep(cycle_id=name, name="evaluate", position=6, started_at=now(), finished_at=ended))


def test_what_may_not_be_measured_with_is_refused_with_a_sentence(database: Database) -> None:
    with pytest.raises(NotFound, match="no exchange ex_none"):
        golden.add(database, "ex_none", actor="rita", comment="why not")
    with pytest.raises(Invalid, match="no answer that a reviewer wrote or approved"):
        golden.add(database, approved(database, role=Role.CHAT), actor="rita", comment="why not")
    with pytest.raises(Invalid, match="did not agree"):
        golden.add(database, approved(database, trainable=False), actor="rita", comment="why not")
    with pytest.raises(Invalid, match="a comment is needed"):
        golden.add(database, approved(database, role=Role.ADMIN), actor="rita", comment=" ")


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


def test_admins_extend_and_list_it_over_http(bot: QueuedBot) -> None:
    key = approved(bot.database)
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        assert client.get("/v1/admin/golden").json() == {"data": [], "next": None}
        assert client.post("/v1/admin/golden", json={"exchange_id": key, "comment": "often"}).json() == {"id": key}
        assert client.get("/v1/admin/golden").json() == {"data": [{"id": key, "evaluations": 0}], "next": None}
        again = client.post("/v1/admin/golden", json={"exchange_id": key, "comment": "often"})
        assert again.status_code == 409 and "already" in error(again)["message"]
        assert client.post("/v1/admin/golden", json={"exchange_id": "ex_no", "comment": "x"}).status_code == 404
