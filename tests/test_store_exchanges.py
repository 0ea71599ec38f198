"""Claims about the log: which conversation a request continues, what feedback does, what a dead bot leaves behind."""

import subprocess
import sys
from datetime import timedelta

import pytest

from store import conversations, exchanges, histories, people, processes
from store.database import Database
from store.errors import Conflict, Invalid, NotAllowed, NotFound
from store.models import Conversation, Exchange, ExchangeState, Person, Process, Role, now

Messages = list[dict[str, str]]


@pytest.fixture
def ann(database: Database) -> Person:
    return people.add(database, "ann", role=Role.CHAT, actor="test")


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def asked(
    database: Database, person: Person, messages: Messages, answer: str, conversation: str | None = None
) -> Exchange:
    """One exchange, logged as the bot logs it."""
    conversation_id, parent = histories.find_conversation(
        database, person_id=person.id, conversation_id=conversation, messages=messages
    )
    row = Exchange(
        conversation_id=conversation_id, parent_id=parent, person_id=person.id, question=messages[-1]["content"]
    )
    exchanges.begin(database, row)
    digest = histories.history_digest(person.id, [*messages, bot(answer)])
    exchanges.finish(
        database, row.id, state=ExchangeState.FINISHED, answer=answer, history_digest=digest, messages=messages
    )
    return row


def test_a_conversation_without_an_id_is_matched_by_its_history(database: Database, ann: Person) -> None:
    first = asked(database, ann, [user("Hello?")], "Hi!")
    second = asked(database, ann, [user("Hello?"), bot("Hi!"), user("And now?")], "Now this.")
    assert (second.conversation_id, second.parent_id) == (first.conversation_id, first.id)


def test_an_edit_is_a_sibling(database: Database, ann: Person) -> None:
    first = asked(database, ann, [user("Hello?")], "Hi!")
    one = asked(database, ann, [user("Hello?"), bot("Hi!"), user("And now?")], "Now this.")
    edited = asked(database, ann, [user("Hello?"), bot("Hi!"), user("And then?")], "Then that.")
    assert (edited.conversation_id, edited.parent_id) == (one.conversation_id, first.id)
    with database.read() as session:
        assert histories.turns(session, edited.id) == [
            user("Hello?"),
            bot("Hi!"),
            user("And then?"),
            bot("Then that."),
        ]


def test_no_match_starts_a_new_conversation(database: Database, ann: Person) -> None:
    first = asked(database, ann, [user("Hello?")], "Hi!")
    other = asked(database, ann, [user("Hello?"), bot("Something we never said"), user("And now?")], "Now this.")
    assert other.conversation_id != first.conversation_id and other.parent_id is None


def test_a_new_conversation_is_entered_with_its_first_exchange(database: Database, ann: Person) -> None:
    messages = [user("Hello?"), bot("Something we never said"), user("And now?")]
    found, _ = histories.find_conversation(database, person_id=ann.id, conversation_id=None, messages=messages)
    with database.read() as session:
        assert session.get(Conversation, found) is None
    row = Exchange(conversation_id=found, person_id=ann.id, question="And now?", adapter="v1")
    exchanges.begin(database, row, title=histories.title_of(messages))
    with database.read() as session:
        kept = session.get_one(Conversation, found)
    assert (kept.person_id, kept.title, kept.pinned_adapter) == (ann.id, "Hello?", "v1")


def test_what_was_deleted_meanwhile_is_not_begun_anew(database: Database, ann: Person) -> None:
    first = asked(database, ann, [user("Hello?")], "Hi!")
    conversations.remove(database, first.conversation_id, person_id=ann.id)
    late = Exchange(conversation_id=first.conversation_id, parent_id=first.id, person_id=ann.id, question="And now?")
    with pytest.raises(NotFound, match=f"conversation {first.conversation_id} was deleted"):
        exchanges.begin(database, late)
    people.erase(database, ann.id, actor="test")
    with pytest.raises(NotFound, match="was deleted"):
        exchanges.begin(database, Exchange(conversation_id="co_new", person_id=ann.id, question="Hello?"))


def test_the_same_history_of_somebody_else_is_not_joined(database: Database, ann: Person) -> None:
    bob = people.add(database, "bob", role=Role.CHAT, actor="test")
    first = asked(database, ann, [user("Hello?")], "Hi!")
    other = asked(database, bob, [user("Hello?"), bot("Hi!"), user("And now?")], "Now this.")
    assert other.conversation_id != first.conversation_id


def test_an_explicit_id_continues_after_its_last_exchange(database: Database, ann: Person) -> None:
    first = asked(database, ann, [user("Hello?")], "Hi!")
    second = asked(database, ann, [user("And now?")], "Now this.", first.conversation_id)
    third = asked(database, ann, [user("And then?")], "Then that.", first.conversation_id)
    assert (second.parent_id, third.parent_id) == (first.id, second.id)


def test_an_unknown_or_foreign_conversation_is_not_found(database: Database, ann: Person) -> None:
    bob = people.add(database, "bob", role=Role.CHAT, actor="test")
    foreign = asked(database, bob, [user("Hello?")], "Hi!").conversation_id
    for wanted in ("co_none", foreign):
        with pytest.raises(NotFound, match=f"no conversation {wanted}"):
            asked(database, ann, [user("Hello?")], "Hi!", wanted)


def test_an_exchange_is_finished_once(database: Database, ann: Person) -> None:
    row = asked(database, ann, [user("Hello?")], "Hi!")
    with pytest.raises(Conflict, match=f"exchange {row.id} is finished, not streaming"):
        exchanges.finish(database, row.id, state=ExchangeState.STOPPED)


def test_a_second_feedback_replaces_the_first(database: Database, ann: Person) -> None:
    row = asked(database, ann, [user("Hello?")], "Hi!")
    exchanges.rate(database, row.id, person=ann, rating="down", reasons=["wrong"], comment="no", correction=" Hello. ")
    with database.read() as session:
        first = exchanges.get(session, row.id).feedback
    assert first is not None and (first.rating, first.correction) == ("down", "Hello.")
    exchanges.rate(database, row.id, person=ann, rating="up")
    with database.read() as session:
        again = exchanges.get(session, row.id).feedback
    assert again is not None
    assert (again.rating, again.reasons, again.comment, again.correction) == ("up", [], "", "")


def test_feedback_that_cannot_be_kept_is_refused_with_a_sentence(database: Database, ann: Person) -> None:
    bob = people.add(database, "bob", role=Role.CHAT, actor="test")
    rita = people.add(database, "rita", role=Role.REVIEWER, actor="test")
    row = asked(database, ann, [user("Hello?")], "Hi!")
    with pytest.raises(Invalid, match='rating is "meh", expected "up", "down" or null'):
        exchanges.rate(database, row.id, person=ann, rating="meh")
    with pytest.raises(Invalid, match="the correction has 20001 characters, at most 20000 are kept"):
        exchanges.rate(database, row.id, person=ann, rating="up", correction="x" * 20_001)
    with pytest.raises(NotFound, match="no exchange ex_none"):
        exchanges.rate(database, "ex_none", person=ann, rating="up")
    with pytest.raises(NotAllowed, match="belongs to somebody else"):
        exchanges.rate(database, row.id, person=bob, rating="up")
    assert exchanges.rate(database, row.id, person=rita, rating="up").person_id == rita.id


@pytest.mark.parametrize("approved", [None, True])
def test_what_a_reviewer_wrote_stays_when_the_asker_rates_or_corrects_afterwards(
    database: Database, ann: Person, approved: bool | None
) -> None:
    rita = people.add(database, "rita", role=Role.REVIEWER, actor="test")
    row = asked(database, ann, [user("How long?")], "300 km.")
    exchanges.rate(database, row.id, person=rita, rating="down", correction="288 km.", approved=approved)
    for correction in ("", "300 km."):
        found = exchanges.rate(database, row.id, person=ann, rating="up", comment="thanks", correction=correction)
        assert (found.correction, found.person_id) == ("288 km.", rita.id)
        assert found.approved_by == (rita.id if approved else None)
        assert (found.rating, found.comment) == ("up", "thanks")
    assert exchanges.rate(database, row.id, person=rita, rating="up").correction == ""


def test_a_rating_stays_of_who_gave_it_when_they_gave_it_whoever_corrects_the_answer(
    database: Database, ann: Person
) -> None:
    rita = people.add(database, "rita", role=Role.REVIEWER, actor="test")
    row = asked(database, ann, [user("How long?")], "300 km.")
    first = exchanges.rate(database, row.id, person=ann, rating="down")
    assert (first.rated_by, first.rated_at) == (ann.id, first.updated_at)
    found = exchanges.rate(database, row.id, person=rita, rating="down", correction="288 km.", approved=True)
    assert (found.person_id, found.rated_by, found.rated_at) == (rita.id, ann.id, first.rated_at)
    assert found.updated_at > first.updated_at
    again = exchanges.rate(database, row.id, person=ann, rating="up")
    assert (again.person_id, again.rated_by, again.rated_at) == (rita.id, ann.id, again.updated_at)
    none = exchanges.rate(database, row.id, person=ann, rating=None)
    assert (none.rated_by, none.rated_at) == (None, None)


def test_what_a_reviewer_approved_of_the_askers_stays_too(database: Database, ann: Person) -> None:
    rita = people.add(database, "rita", role=Role.REVIEWER, actor="test")
    row = asked(database, ann, [user("How long?")], "300 km.")
    exchanges.rate(database, row.id, person=ann, rating="down", correction="288 km.")
    assert exchanges.rate(database, row.id, person=ann, rating="down", correction="289 km.").correction == "289 km."
    exchanges.rate(database, row.id, person=rita, rating="down", correction="288 km.", approved=True)
    assert exchanges.rate(database, row.id, person=ann, rating="up").approved_by == rita.id


def test_only_a_correction_can_be_approved(database: Database, ann: Person) -> None:
    row = asked(database, ann, [user("Hello?")], "Hi!")
    assert exchanges.rate(database, row.id, person=ann, rating="up", approved=True).approved_by is None
    rated = exchanges.rate(database, row.id, person=ann, rating="up", correction="Hello.", approved=True)
    assert rated.approved_by == ann.id


def test_what_a_dead_bot_left_streaming_is_aborted_and_never_curated(database: Database, ann: Person) -> None:
    living, dead = processes.register(database, "bot"), processes.register(database, "bot")
    with database.write() as session:
        row = session.get_one(Process, dead)
        row.heartbeat = now() - timedelta(minutes=5)
        session.add(row)
    conversation = asked(database, ann, [user("Hello?")], "Hi!").conversation_id
    left = {}
    for process in (living, dead, "bot_gone"):
        left[process] = Exchange(conversation_id=conversation, person_id=ann.id, question="?", process=process)
        exchanges.begin(database, left[process])
    assert exchanges.abort_left_over(database) == 2
    with database.read() as session:
        states = {process: exchanges.get(session, row.id).exchange.state for process, row in left.items()}
        assert states == {living: "streaming", dead: "aborted", "bot_gone": "aborted"}
        assert len(list(exchanges.logged(session))) == 1


def test_a_bot_of_this_machine_whose_process_has_ended_is_dead_at_once(database: Database) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    gone = processes.register(database, "bot")
    with database.write() as session:
        row = session.get_one(Process, gone)
        row.pid = child.pid
        session.add(row)
    with database.read() as session:
        assert processes.alive(session, "bot") == []


def test_pages_go_back_in_time_without_gaps(database: Database, ann: Person) -> None:
    rows = [asked(database, ann, [user(f"Question {i}?")], "Hi!").id for i in range(5)]
    with database.read() as session:
        first = exchanges.page(session, limit=3)
        rest = exchanges.page(session, limit=3, before=first[-1].exchange.id)
    assert [row.exchange.id for row in [*first, *rest]] == rows[::-1]


def test_answered_and_rated_exchanges_are_counted(database: Database, ann: Person) -> None:
    rows = [asked(database, ann, [user(f"Question {i}?")], "Hi!") for i in range(3)]
    exchanges.rate(database, rows[0].id, person=ann, rating="up")
    with database.read() as session:
        assert exchanges.counted(session) == (3, 1)
