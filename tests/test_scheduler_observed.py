"""Claims about whom the watch listens to: of one person a few ratings count, and few people alone decide nothing."""

from datetime import timedelta

import pytest
from sqlmodel import select

from scheduler.observed import DISLIKED, MOST_OF_ONE, Seen, Told, seen
from scheduler.watch import LEAST_PEOPLE, look
from store import exchanges, people
from store.database import Database
from store.models import Exchange, Person, Role, now
from tests.test_scheduler_canary import as_canary, canary_verdict
from tests.test_scheduler_watch import SWAP, answered, crowd, verdict
from tests.test_scheduler_watch import ann as ann


def test_one_person_alone_rolls_no_adapter_back_but_an_admin_is_asked(database: Database, ann: Person) -> None:
    answered(database, ann, 100, after=False, rating="up")
    answered(database, ann, 40, after=True, rating="down", alone=True)
    said = "thumbs-down rose from 0 of 100 to 40 of 40 ratings with v1, but only 1 person shows it"
    assert verdict(database) == ("asks", f"{said}: keep it or roll it back.")


@pytest.mark.parametrize("values", [{"declined": True}, {"state": "failed"}])
def test_what_one_person_asks_rolls_nothing_back_either(
    database: Database, ann: Person, values: dict[str, object]
) -> None:
    answered(database, ann, 100, after=False)
    answered(database, ann, 40, after=True, alone=True, **values)  # type: ignore[arg-type]
    assert verdict(database)[0] == "asks"


def test_a_few_loud_people_do_not_outvote_many(database: Database, ann: Person) -> None:
    answered(database, ann, 60, after=False, rating="up")
    answered(database, ann, 100, after=True, rating="up")
    for loud in crowd(database, LEAST_PEOPLE):
        answered(database, loud, 5 * MOST_OF_ONE, after=True, rating="down", alone=True)
    told, sentence = verdict(database)
    assert (told, "to 45 of 145 ratings with v1, but a few people make most of it" in sentence) == ("asks", True)


def test_a_single_user_is_asked_and_never_surprised(database: Database, ann: Person) -> None:
    answered(database, ann, 60, after=False, rating="up", alone=True)
    answered(database, ann, 10, after=True, rating="down", alone=True)
    assert verdict(database) == ("waiting", "")
    answered(database, ann, 15, after=True, rating="down", alone=True)
    assert verdict(database)[0] == "asks"


def test_one_person_completes_no_canary_but_an_admin_is_asked(database: Database, ann: Person) -> None:
    as_canary(database)
    answered(database, ann, 60, after=True, adapter="v1", rating="down")
    answered(database, ann, 60, after=True, adapter="v2", rating="up", alone=True)
    said = "thumbs-down fell from 60 of 60 to 0 of 60 ratings with v2, but only 1 person shows it"
    assert canary_verdict(database) == ("asks", f"{said}: complete the canary or roll it back.")
    assert canary_verdict(database, complete=1)[0] == "complete"


def test_one_persons_likes_do_not_end_the_watch_of_a_live_adapter(database: Database, ann: Person) -> None:
    answered(database, ann, 40, after=False, rating="down")
    answered(database, ann, 30, after=True, rating="up", alone=True)
    assert verdict(database) == ("waiting", "")


def test_what_new_accounts_rate_does_not_count(database: Database, ann: Person) -> None:
    answered(database, ann, 60, after=False, rating="up")
    answered(database, ann, 30, after=True, rating="down")
    for days, expected in ((0.0, "roll back"), (7.0, "waiting")):
        with database.write() as session:
            for person in session.exec(select(Person)):
                person.created_at = now() - timedelta(days=1)
                session.add(person)
        found = look(
            database, adapter_id="v1", hours=24, max_decline_rise=0.25, watched=now() - SWAP, new_account_days=days
        )
        assert found.verdict == expected


def test_a_reviewer_who_agrees_with_a_new_account_is_heard(database: Database, ann: Person) -> None:
    answered(database, ann, 2, after=True, rating="down", alone=True)
    rita, rose = (people.add(database, name, role=Role.REVIEWER, actor="test") for name in ("rita", "rose"))
    with database.read() as session:
        plain, corrected = session.exec(select(Exchange.id)).all()
    exchanges.rate(database, plain, person=rita, rating="down", comment="indeed")
    exchanges.rate(database, plain, person=rose, rating="down")
    exchanges.rate(database, plain, person=ann, rating="down")
    exchanges.rate(database, corrected, person=rita, rating="down", correction="288 km.")
    with database.read() as session:
        ratings = seen(session, since=SWAP - timedelta(days=30), new_account_days=1e5)
    assert {one.id: (one.rating, one.rater) for one in ratings} == {
        plain: ("down", rita.id),
        corrected: (None, ann.id),
    }


def test_ratings_count_in_the_order_in_which_they_were_given_and_the_first_few_of_each_person() -> None:
    rows = [
        Seen(str(n), SWAP, "v1", "finished", False, "ann", rating, person, SWAP + timedelta(minutes=minutes))
        for n, (rating, person, minutes) in enumerate(
            [("down", "bob", 9), *(("up", "ann", n) for n in range(MOST_OF_ONE)), ("down", "ann", 8)]
        )
    ]
    told = Told.of(rows, DISLIKED)
    assert told.shows() == [False] * MOST_OF_ONE + [True, True]
    first, last = ([(one.shows, one.person) for one in told.few(last=last).rows] for last in (False, True))
    assert first == [(False, "ann")] * MOST_OF_ONE + [(True, "bob")]
    assert last == [(False, "ann")] * (MOST_OF_ONE - 1) + [(True, "ann"), (True, "bob")]
    assert told.people() == 2


def corrected_by_rita(database: Database, adapter: str) -> None:
    """A reviewer writes what would be right wherever an adapter's answer was disliked, and leaves the thumb."""
    rita = people.add(database, "rita", role=Role.REVIEWER, actor="test")
    with database.read() as session:
        rows = [one.id for one in session.exec(select(Exchange).where(Exchange.adapter == adapter))]
        down = [one for one in rows if (said := exchanges.get(session, one).feedback) and said.rating == "down"]
    for one in down:
        exchanges.rate(database, one, person=rita, rating="down", correction="288 km.", approved=True)


def test_correcting_old_answers_does_not_move_the_level_before(database: Database, ann: Person) -> None:
    for after in (False, True):
        for rating in ("up", "down") * 10:
            answered(database, ann, 6, after=after, rating=rating)
    assert verdict(database) == ("waiting", "")
    corrected_by_rita(database, "base")
    assert verdict(database) == ("waiting", "")


def test_correcting_disliked_answers_takes_nobodys_word_away(database: Database, ann: Person) -> None:
    answered(database, ann, 60, after=False, rating="up")
    answered(database, ann, 60, after=True, rating="down")
    corrected_by_rita(database, "v1")
    assert verdict(database) == ("roll back", "thumbs-down rose from 0 of 60 to 60 of 60 ratings with v1.")


def test_a_rating_that_was_changed_after_the_swap_tells_nothing_of_the_level_before(
    database: Database, ann: Person
) -> None:
    answered(database, ann, 60, after=False, rating="up")
    answered(database, ann, 30, after=False, rating="down")
    with database.read() as session:
        rows = [exchanges.get(session, one) for one in session.exec(select(Exchange.id))]
        disliked = [
            (one.exchange.id, session.get_one(Person, one.exchange.person_id))
            for one in rows
            if one.feedback and one.feedback.rating == "down"
        ]
    for exchange_id, person in disliked:
        exchanges.rate(database, exchange_id, person=person, rating="up")
    answered(database, ann, 60, after=True, rating="down")
    assert verdict(database) == ("roll back", "thumbs-down rose from 0 of 60 to 60 of 60 ratings with v1.")
