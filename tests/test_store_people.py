"""Claims about people: roles, keys, sessions, the set-up link and erasure."""

import threading
from datetime import timedelta

import pytest
from argon2 import extract_parameters
from sqlmodel import select

from scheduler.decisions import judged
from store import adapters, embeddings, exchanges, histories, labels, people, rollbacks
from store.database import Database
from store.errors import Conflict, Invalid, NotAllowed, NotFound
from store.models import (
    BASE,
    Conversation,
    Embedding,
    Exchange,
    ExchangeState,
    Feedback,
    Key,
    Label,
    Login,
    Person,
    Role,
    now,
)
from store.models import AdapterState as S
from tests.test_store_adapters import live, made, state

PASSWORD = "correct horse battery"


def ann(database: Database, role: str = Role.CHAT) -> Person:
    return people.add(database, "ann", role=role, actor="test", password=PASSWORD)


@pytest.mark.parametrize(
    ("name", "role", "sentence"),
    [
        ("", Role.CHAT, "the name has 0 characters, expected 1 to 100"),
        ("x" * 101, Role.CHAT, "the name has 101 characters"),
        ("ann", "king", 'role is "king", expected one of chat, reviewer, admin'),
    ],
)
def test_a_bad_name_or_role_is_refused(database: Database, name: str, role: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence):
        people.add(database, name, role=role, actor="test")


def test_a_name_is_taken_once(database: Database) -> None:
    ann(database)
    with pytest.raises(Conflict, match='somebody is called "ann" already'):
        ann(database)


def test_two_requests_for_a_new_person_at_once_find_the_same_one(database: Database) -> None:
    found: list[str] = []
    gate = threading.Barrier(4)

    def ask() -> None:
        gate.wait()
        found.append(people.named(database, "customer-7").id)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


def test_a_key_names_its_person_and_is_kept_as_a_digest_only(database: Database) -> None:
    person = ann(database)
    secret = people.add_key(database, person, actor="test", scopes=["on_behalf"])
    with database.read() as session:
        found = people.by_key(session, secret)
        assert found is not None
        assert (found[0].id, found[1].scopes) == (person.id, ["on_behalf"])
        assert people.by_key(session, secret + "x") is None
        assert secret not in str(session.exec(select(Key)).one().model_dump())


def test_a_revoked_key_names_nobody(database: Database) -> None:
    secret = people.add_key(database, ann(database), actor="test")
    with database.write() as session:
        row = session.exec(select(Key)).one()
        row.revoked_at = now()
        session.add(row)
    with database.read() as session:
        assert people.by_key(session, secret) is None


def test_an_unknown_scope_is_named(database: Database) -> None:
    with pytest.raises(Invalid, match="unknown scope root, expected some of on_behalf, given_passages"):
        people.add_key(database, ann(database), actor="test", scopes=["root"])


def test_a_session_lasts_until_it_is_closed_or_over(database: Database) -> None:
    person = ann(database)
    closed, over = people.sign_in(database, "ann", PASSWORD), people.sign_in(database, "ann", PASSWORD)
    with database.read() as session:
        assert people.by_session(session, closed) == person
    people.close_session(database, closed)
    with database.write() as session:
        row = session.get_one(Login, people.secret_digest(over))
        row.expires_at = now() - timedelta(seconds=1)
        session.add(row)
    with database.read() as session:
        assert [people.by_session(session, secret) for secret in (closed, over, "wrong")] == [None, None, None]


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("nobody", PASSWORD), ("keyless", "")])
def test_wrong_names_and_passwords_get_the_same_sentence(database: Database, name: str, password: str) -> None:
    ann(database)
    people.add(database, "keyless", role=Role.CHAT, actor="test")
    with pytest.raises(NotAllowed) as error:
        people.sign_in(database, name, password)
    assert error.value.message == "wrong name or password."


def test_the_set_up_link_makes_one_admin_and_is_then_over(database: Database) -> None:
    old = people.setup_secret(database)
    secret = people.setup_secret(database)
    assert secret is not None and old is not None
    with pytest.raises(NotAllowed, match="wrong, used or over"):
        people.claim_setup(database, old, name="eve", password=PASSWORD)
    with pytest.raises(Invalid, match="the password has 5 characters"):
        people.claim_setup(database, secret, name="ann", password="short")
    assert people.claim_setup(database, secret, name="ann", password=PASSWORD).role == Role.ADMIN
    with pytest.raises(NotAllowed, match="wrong, used or over"):
        people.claim_setup(database, secret, name="eve", password=PASSWORD)
    assert people.setup_secret(database) is None


def test_there_is_no_set_up_link_beside_an_admin_who_has_a_key_only(database: Database) -> None:
    secret = people.setup_secret(database)
    assert secret is not None
    people.add(database, "admin", role=Role.ADMIN, actor="first start")
    assert people.setup_secret(database) is None
    with pytest.raises(NotAllowed, match="wrong, used or over"):
        people.claim_setup(database, secret, name="eve", password=PASSWORD)


def test_a_name_that_is_unknown_is_checked_as_long_as_one_that_is_known(database: Database) -> None:
    ann(database)
    with database.read() as session:
        known = people.find(session, "ann").password
    assert known is not None and extract_parameters(people._nobody()) == extract_parameters(known)
    assert people._nobody() is people._nobody()


def test_sessions_that_are_over_go_when_one_is_opened(database: Database) -> None:
    person = ann(database)
    for secret in (people.open_session(database, person), people.open_session(database, person)):
        with database.write() as session:
            row = session.get_one(Login, people.secret_digest(secret))
            row.expires_at = now() - timedelta(seconds=1)
            session.add(row)
    left = people.open_session(database, person)
    with database.read() as session:
        assert [row.digest for row in session.exec(select(Login))] == [people.secret_digest(left)]


def test_a_set_up_secret_is_no_session(database: Database) -> None:
    secret = people.setup_secret(database)
    assert secret is not None
    with database.read() as session:
        assert people.by_session(session, secret) is None


def asked(database: Database, person: Person) -> str:
    conversation, _ = histories.find_conversation(
        database, person_id=person.id, conversation_id=None, messages=[{"role": "user", "content": "secret question"}]
    )
    row = Exchange(conversation_id=conversation, person_id=person.id, question="secret question")
    exchanges.begin(database, row)
    exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer="secret answer")
    exchanges.rate(database, row.id, person=person, rating="up", correction="secret correction")
    labels.save(database, [labels.Found(row.id, "t", 1.0, {})], taxonomy="x")
    vectors = {"question": b"secret vector", "answer": b"", "words": b""}
    embeddings.save(database, [Embedding(exchange_id=row.id, model="m", **vectors)])
    return row.id


def test_what_rests_on_an_erased_person_serves_no_more_once_it_is_replaced(database: Database) -> None:
    person = ann(database)
    first, second = live(database), live(database)
    waits, failed = made(database, compared_with=second), made(database, S.REJECTED)
    with database.write() as session:
        for name in (first, second, waits, failed):
            row = adapters.get(session, name)
            row.lineage = {"people": [person.id]}
            session.add(row)
    assert people.erase(database, "ann", actor="admin")["adapters_flagged"] == 4
    states = [state(database, name) for name in (first, second, waits, failed)]
    assert states == [S.QUARANTINED, S.LIVE, S.QUARANTINED, S.REJECTED]
    third = live(database)
    assert state(database, second) == S.QUARANTINED
    assert rollbacks.rollback(database, actor="eve", comment="bad").adapter == BASE
    assert state(database, third) == S.ROLLED_BACK


def test_what_is_trained_on_somebody_erased_meanwhile_is_quarantined_at_the_gate(database: Database) -> None:
    adapter = made(database, S.CANDIDATE)
    with database.write() as session:
        row = adapters.get(session, adapter)
        row.lineage = {"erased": ["pe_1"]}
        session.add(row)
    judged(database, adapter, {"cases": 30}, {"verdict": "promote"}, serving=BASE)
    assert state(database, adapter) == S.QUARANTINED


def test_erasing_leaves_a_tombstone_and_nothing_that_was_said(database: Database) -> None:
    person, bob = ann(database), people.add(database, "bob", role=Role.CHAT, actor="test")
    asked(database, person)
    kept = asked(database, bob)
    key = people.add_key(database, person, actor="test")
    secret = people.sign_in(database, "ann", PASSWORD)
    adapter = adapters.create(database, actor="test", lineage={"people": [person.id]})
    other = adapters.create(database, actor="test", lineage={"people": [bob.id]})
    assert people.erase(database, "ann", actor="admin") == {"exchanges": 1, "adapters_flagged": 1}
    with database.read() as session:
        for table in (Exchange, Conversation, Feedback):
            assert {row.person_id for row in session.exec(select(table))} == {bob.id}
        assert [row.exchange_id for row in session.exec(select(Label))] == [kept]
        assert people.by_key(session, key) is None
        assert people.by_session(session, secret) is None
        assert session.get_one(Person, person.id).name == f"erased {person.id}"
        assert adapters.get(session, adapter.id).lineage["erased"] == [person.id]
        assert "erased" not in adapters.get(session, other.id).lineage
    with pytest.raises(NotFound, match='nobody is called "ann"'):
        people.erase(database, "ann", actor="admin")


def test_erasing_a_reviewer_takes_the_thumb_and_leaves_what_somebody_else_wrote(database: Database) -> None:
    person = ann(database)
    rita, rose = (people.add(database, name, role=Role.REVIEWER, actor="test") for name in ("rita", "rose"))
    exchange_id = asked(database, person)
    exchanges.rate(database, exchange_id, person=rita, rating="down", comment="secret")
    exchanges.rate(
        database, exchange_id, person=rose, rating="down", comment="see page 3", reasons=["wrong"], correction="288 km."
    )
    people.erase(database, "rita", actor="admin")
    with database.read() as session:
        left = session.get_one(Feedback, exchange_id)
    assert (left.rating, left.rated_by, left.rated_at) == (None, None, None)
    assert (left.correction, left.person_id) == ("288 km.", rose.id)
    assert (left.comment, left.reasons) == ("see page 3", ["wrong"])


def test_erasing_who_rated_leaves_no_comment_where_nobody_corrected(database: Database) -> None:
    bob = people.add(database, "bob", role=Role.CHAT, actor="test")
    rita, rose = (people.add(database, name, role=Role.REVIEWER, actor="test") for name in ("rita", "rose"))
    exchange_id = asked(database, bob)
    exchanges.rate(database, exchange_id, person=rita, rating="down", comment="secret")
    exchanges.rate(database, exchange_id, person=rose, rating="down", comment="secret", reasons=["wrong"])
    people.erase(database, "rita", actor="admin")
    with database.read() as session:
        left = session.get_one(Feedback, exchange_id)
    assert (left.rating, left.comment, left.reasons) == (None, "", [])


def test_an_erased_name_is_free_for_somebody_new(database: Database) -> None:
    person = ann(database)
    people.erase(database, "ann", actor="admin")
    assert people.named(database, "ann").id != person.id


def test_people_are_counted_by_role_and_without_the_erased(database: Database) -> None:
    ann(database, Role.ADMIN)
    people.add(database, "bob", role=Role.CHAT, actor="test")
    people.erase(database, "bob", actor="test")
    with database.read() as session:
        assert (people.count(session), people.count(session, role=Role.CHAT)) == (1, 0)
