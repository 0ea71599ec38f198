"""Claims about own conversations: what searching finds, what consent and deleting reach, and what they leave."""

from datetime import UTC, datetime, timedelta

import pytest

from store import adapters, audit, conversations, cycles, exchanges, histories, interventions, people, progress, trends
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.models import Adapter, Cycle, Exchange, Person, Role
from tests.test_store_exchanges import asked, user


@pytest.fixture
def ann(database: Database) -> Person:
    return people.add(database, "ann", role=Role.CHAT, actor="test")


def texts(database: Database, person: Person, text: str = "") -> list[str]:
    with database.read() as session:
        return [row.title for row in conversations.page(session, person.id, limit=9, text=text)]


def rows(database: Database) -> list[Exchange]:
    with database.read() as session:
        return [row.exchange for row in exchanges.page(session)]


def test_search_looks_into_titles_questions_and_answers_of_ones_own(database: Database, ann: Person) -> None:
    ben = people.add(database, "ben", role=Role.CHAT, actor="test")
    asked(database, ann, [user("How long is the Aare?")], "It is 288 km.")
    asked(database, ann, [user("Bread?")], "Forty minutes.")
    asked(database, ben, [user("The Aare again?")], "288")
    assert texts(database, ann, "AARE") == texts(database, ann, "288") == ["How long is the Aare?"]
    assert texts(database, ann, "%") == [] and len(texts(database, ann)) == 2


def test_renaming_needs_a_title_and_the_owner(database: Database, ann: Person) -> None:
    row = asked(database, ann, [user("Bread?")], "Yes.")
    conversations.change(database, row.conversation_id, person_id=ann.id, title="  Baking \n bread ")
    assert texts(database, ann) == ["Baking bread"]
    with pytest.raises(Invalid, match="the title has 0 characters, expected 1 to 200"):
        conversations.change(database, row.conversation_id, person_id=ann.id, title=" ")
    with pytest.raises(NotFound, match="no conversation"):
        conversations.change(database, row.conversation_id, person_id="pe_other", title="x")


def test_taking_a_chat_out_reaches_back_and_putting_it_in_does_not(database: Database, ann: Person) -> None:
    row = asked(database, ann, [user("Bread?")], "Yes.")
    other = asked(database, ann, [user("Cheese?")], "Yes.")
    conversations.change(database, row.conversation_id, person_id=ann.id, trainable=False)
    conversations.change(database, row.conversation_id, person_id=ann.id, trainable=True)
    assert {one.id: one.trainable for one in rows(database)} == {row.id: False, other.id: True}


def test_withdrawn_consent_takes_out_everything_said_so_far(database: Database, ann: Person) -> None:
    asked(database, ann, [user("Bread?")], "Yes.")
    assert not conversations.consent(database, ann.id, agrees=False).consent
    assert [one.trainable for one in rows(database)] == [False]


@pytest.mark.parametrize("kind", ["examples", "withheld"])
def test_deleting_a_conversation_takes_all_of_it_and_flags_the_adapters(
    database: Database, ann: Person, kind: str
) -> None:
    gone = asked(database, ann, [user("Bread?")], "Yes.")
    kept = asked(database, ann, [user("Cheese?")], "Yes.")
    exchanges.rate(database, gone.id, person=ann, rating="up")
    learned = adapters.create(database, actor="test", lineage={kind: {gone.id: ["d1"]}})
    other = adapters.create(database, actor="test", lineage={kind: {kept.id: ["d1"]}})
    counts = conversations.remove(database, gone.conversation_id, person_id=ann.id)
    assert counts == {"exchanges": 1, "adapters_flagged": 1}
    assert [one.id for one in rows(database)] == [kept.id]
    with database.read() as session:
        assert session.get_one(Adapter, learned.id).lineage["deleted"] == [gone.id]
        assert "deleted" not in session.get_one(Adapter, other.id).lineage
        assert audit.broken_at(session) is None


def test_deleting_ones_data_leaves_the_account_and_other_people(database: Database, ann: Person) -> None:
    ben = people.add(database, "ben", role=Role.CHAT, actor="test")
    asked(database, ann, [user("Bread?")], "Yes.")
    theirs = asked(database, ben, [user("Bread?")], "Yes.")
    assert conversations.remove_all(database, ann.id)["exchanges"] == 1
    assert [one.id for one in rows(database)] == [theirs.id] and texts(database, ann) == []
    with database.read() as session:
        assert people.find(session, "ann").erased_at is None


def test_asking_again_makes_a_sibling_in_the_same_conversation(database: Database, ann: Person) -> None:
    first = asked(database, ann, [user("Bread?")], "Yes.")
    found = histories.find_conversation(
        database, person_id=ann.id, conversation_id=None, messages=[user("Bread?")], replaces=first.id
    )
    assert found == (first.conversation_id, None)
    with pytest.raises(NotFound, match="no exchange"):
        histories.find_conversation(
            database, person_id="pe_x", conversation_id=None, messages=[user("x")], replaces=first.id
        )


def test_pages_of_the_log_lose_no_row_of_the_same_moment(database: Database, ann: Person) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    one = asked(database, ann, [user("Bread?")], "Yes.")
    same = [
        Exchange(conversation_id=one.conversation_id, person_id=ann.id, question="q", created_at=at) for _ in range(7)
    ]
    with database.write() as session:
        session.add_all(same)
    seen: list[str] = []
    with database.read() as session:
        while page := exchanges.page(session, limit=3, before=seen[-1] if seen else None):
            seen += [row.exchange.id for row in page]
    assert sorted(seen) == sorted([one.id, *(row.id for row in same)]) and len(seen) == 8


def test_an_unknown_rating_to_look_for_is_an_error(database: Database) -> None:
    with database.read() as session, pytest.raises(Invalid, match='the rating to look for is "x", expected one of up'):
        exchanges.page(session, rating="x")


def test_a_failed_cycle_goes_on_from_its_step_and_only_a_failed_one(database: Database) -> None:
    cycle, _ = cycles.start(database, slot_key="a", first_step="collect", started_by="test")
    with pytest.raises(Conflict, match="is running: only a failed one can be tried again"):
        interventions.retry(database, cycle.id, actor="test")
    for _ in range(cycles.MAX_ATTEMPTS):
        claim = cycles.claim(database)
        assert claim is not None
        cycles.fail_step(database, claim, "no")
    assert cycles.claim(database) is None
    assert interventions.retry(database, cycle.id, actor="test").state == "running"
    again = cycles.claim(database)
    assert again is not None and (again.step, again.fence) == ("collect", claim.fence + 1)


def test_a_failed_cycle_waits_while_another_runs(database: Database) -> None:
    with database.write() as session:
        session.add(Cycle(id="cy_f", slot_key="f", state="failed"))
    running, _ = cycles.start(database, slot_key="a", first_step="collect", started_by="test")
    with pytest.raises(Conflict, match=f"cycle {running.id} is running"):
        interventions.retry(database, "cy_f", actor="test")


def test_the_curve_of_the_loss_is_thinned_and_begins_anew_with_the_steps() -> None:
    kept: dict = {}
    for step in range(1, 1_001):
        kept = progress.with_curve(kept, {"step": step, "steps": 1_000, "loss": 2.0})
    points = [step for step, _ in kept["curve"]]
    assert len(points) <= progress.MAX_POINTS and points == sorted(set(points)) and points[-1] == 1_000
    assert progress.with_curve(kept, {"step": 1, "loss": 3})["curve"] == [[1, 3.0]]
    assert "curve" not in progress.with_curve(kept, {"questions": 4})


def test_trends_count_each_day_and_keep_empty_ones() -> None:
    at = datetime(2026, 3, 4, 12, tzinfo=UTC)
    said = [trends.Said(at, False, True, "up", "travel"), trends.Said(at, True, True, "down", None)]
    first, last = at.date() - timedelta(days=1), at.date()
    empty, day = trends.by_day(said, first=first, last=last)
    assert (empty.day, empty.exchanges) == ("2026-03-03", 0)
    assert (day.exchanges, day.ups, day.downs, day.declined, day.cited) == (2, 1, 1, 1, 1)
    assert day.tasks == {"travel": 1, "unclassified": 1}
