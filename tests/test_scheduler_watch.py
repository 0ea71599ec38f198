"""Claims about the watch after a swap: it rolls back on a clear rise only, and ends by itself."""

import math
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from sqlmodel import col, select

from scheduler.decisions import act_on
from scheduler.observed import DISLIKED, MOST_OF_ONE, RATINGS_PART, Seen, Told
from scheduler.sequential import looks_until_above, paths_of_others
from scheduler.watch import ALPHA, ENOUGH_RATINGS, LEAST, LEAST_PEOPLE, Watched, look, rises
from store import adapters, deployments, exchanges, people, rollbacks
from store.database import Database
from store.errors import Conflict, NotFound
from store.models import AdapterState as S
from store.models import Conversation, Deployment, Exchange, ExchangeState, Person, Role, new_id, now

SWAP = now() - timedelta(hours=2)


def seen(yes: int, of: int) -> list[bool]:
    """Observations spread evenly over time."""
    return [(place + 1) * yes // of > place * yes // of for place in range(of)]


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((2, 100), (60, 100), True),
        ((0, 20), (20, 20), True),
        ((60, 100), (2, 100), False),
        ((30, 100), (30, 100), False),
        ((0, LEAST - 1), (LEAST, LEAST), False),
        ((0, LEAST), (LEAST - 1, LEAST - 1), False),
        ((8, 20), (11, 20), False),
        ((20, 20), (20, 20), False),
    ],
)
def test_a_share_rises_when_the_evidence_is_strong(
    before: tuple[int, int], after: tuple[int, int], expected: bool, beside: bool
) -> None:
    assert rises(seen(*before), seen(*after), beside=beside) == expected


def test_a_rise_within_what_is_tolerated_is_none() -> None:
    assert rises(seen(10, 100), seen(30, 100), beside=False)
    assert not rises(seen(10, 100), seen(30, 100), beside=False, tolerated=0.25)
    assert not rises(seen(10, 100), seen(30, 100), beside=True, tolerated=0.25)


@pytest.mark.parametrize("before", [20, 100, 1_000])
def test_however_few_ratings_tell_the_level_before_hardly_any_harmless_adapter_is_ever_rolled_back(before: int) -> None:
    """300 windows of 600 ratings, looked at after every one; the share before is known from its ratings alone."""
    random = np.random.default_rng(11)
    alpha = ALPHA * RATINGS_PART
    told = [
        looks_until_above(int(random.binomial(before, 0.3)), before, random.random(600) < 0.3, alpha=alpha)
        for _ in range(300)
    ]
    assert sum(one is not None for one in told) <= alpha * 300


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_a_loss_of_ten_points_is_found_within_two_hundred_ratings_where_the_level_is_well_known(share: float) -> None:
    random = np.random.default_rng(7)
    found = [
        looks_until_above(
            int(random.binomial(5_000, share)), 5_000, random.random(600) < share + 0.1, alpha=ALPHA * RATINGS_PART
        )
        for _ in range(60)
    ]
    assert np.median([one or 10**6 for one in found]) <= 200


def test_looks_until_a_rise_are_those_after_which_it_is_said() -> None:
    told = seen(60, 100)
    looks = looks_until_above(2, 100, told, alpha=ALPHA)
    assert looks is not None and looks_until_above(2, 100, told[:looks], alpha=ALPHA) == looks
    assert looks_until_above(2, 100, told[: looks - 1], alpha=ALPHA) is None


def test_looking_after_every_block_of_a_canary_rolls_hardly_any_harmless_one_back() -> None:
    random = np.random.default_rng(7)
    others, mine = (random.random((100, size)) < 0.3 for size in (300, 100))
    paths = paths_of_others(others.astype(float), mine.astype(float))
    assert paths.shape == (100, 100) and (paths.max(axis=1) >= math.log(1 / ALPHA)).mean() <= ALPHA
    worse = paths_of_others(others.astype(float), (random.random((100, 100)) < 0.7).astype(float))
    assert (worse.max(axis=1) >= math.log(1 / ALPHA)).mean() > 0.9


@pytest.fixture
def ann(database: Database) -> Person:
    adapters.create(database, actor="test")
    with database.write() as session:
        for state in (S.CANDIDATE, S.AWAITING_APPROVAL, S.APPROVED, S.LIVE):
            adapters.move(session, "v1", state, actor="test", decided_at=SWAP)
        session.add(Conversation(id="co_1", person_id=_ann(session).id))
    return people.named(database, "ann")


def _ann(session: object) -> Person:
    row = Person(name="ann", role=Role.CHAT)
    session.add(row)  # type: ignore[attr-defined]
    session.flush()  # type: ignore[attr-defined]
    return row


def answered(
    database: Database,
    ann: Person,
    number: int,
    *,
    after: bool,
    adapter: str = "",
    rating: str | None = None,
    alone: bool = False,
    **values: object,
) -> None:
    """Exchanges before the swap, answered by the base, or after it, answered by v1; of as many people as count.

    `alone` are those of ann.
    """
    asking = [ann] if alone else crowd(database, math.ceil(number / MOST_OF_ONE))
    for i in range(number):
        at = SWAP + timedelta(seconds=i + 1) * (1 if after else -1)
        person = asking[i % len(asking)]
        row = Exchange(
            conversation_id="co_1",
            person_id=person.id,
            question="?",
            adapter=adapter or ("v1" if after else "base"),
            model=str(values.get("model", "")),
            created_at=at,
        )
        exchanges.begin(database, row)
        state = ExchangeState(str(values.get("state", "finished")))
        exchanges.finish(database, row.id, state=state, declined=bool(values.get("declined")))
        if rating:
            exchanges.rate(database, row.id, person=person, rating=rating)


def crowd(database: Database, size: int) -> list[Person]:
    """So many new people."""
    people = [Person(name=new_id("pe"), role=Role.CHAT) for _ in range(size)]
    with database.write() as session:
        session.add_all(people)
    return people


def verdict(database: Database, *, hours: float = 24) -> tuple[str, str]:
    found = look(database, adapter_id="v1", hours=hours, max_decline_rise=0.25, now=now())
    return found.verdict, found.sentence


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"declined": True}, "declines rose from 0 of 30 to 25 of 25 exchanges with v1."),
        ({"state": "failed"}, "failures rose from 0 of 30 to 25 of 25 exchanges with v1."),
        ({"rating": "down"}, "thumbs-down rose from 0 of 30 to 25 of 25 ratings with v1."),
    ],
)
def test_a_clear_rise_rolls_back_and_says_of_what(
    database: Database, ann: Person, values: dict[str, object], sentence: str
) -> None:
    answered(database, ann, 30, after=False, rating="up")
    answered(database, ann, 25, after=True, **values)  # type: ignore[arg-type]
    assert verdict(database) == ("roll back", sentence)


def judged_verdict(database: Database, unsupported: Callable[[str], bool | None]) -> tuple[str, str]:
    found = look(database, adapter_id="v1", hours=24, max_decline_rise=0.25, now=now(), unsupported=unsupported)
    return found.verdict, found.sentence


def test_answers_that_the_judge_finds_unsupported_roll_back_without_a_single_rating(
    database: Database, ann: Person
) -> None:
    answered(database, ann, 30, after=False)
    answered(database, ann, 25, after=True)
    sentence = "unsupported answers rose from 0 of 30 to 25 of 25 judged answers with v1."
    with database.read() as session:
        new = set(session.exec(select(Exchange.id).where(Exchange.adapter == "v1")))
    assert judged_verdict(database, lambda exchange_id: exchange_id in new) == ("roll back", sentence)
    assert judged_verdict(database, lambda _: None) == judged_verdict(database, lambda _: True) == ("waiting", "")


def test_what_the_judge_may_err_by_is_no_rise(database: Database, ann: Person) -> None:
    answered(database, ann, 400, after=False)
    answered(database, ann, 300, after=True)
    with database.read() as session:
        rows = session.exec(select(Exchange.id, Exchange.adapter).order_by(col(Exchange.created_at))).all()
    places = {key: (place, adapter) for place, (key, adapter) in enumerate(rows)}

    def every(part: int, more: int) -> Callable[[str], bool]:
        return lambda key: places[key][0] % (more if places[key][1] == "v1" else part) == 0

    assert judged_verdict(database, every(10, 5)) == ("waiting", "")
    assert judged_verdict(database, every(10, 2))[0] == "roll back"


@pytest.mark.parametrize("state", ["failed", "aborted"])
def test_unfinished_and_declining_answers_are_not_judged(database: Database, ann: Person, state: str) -> None:
    answered(database, ann, 30, after=False)
    answered(database, ann, 15, after=True, state=state)
    answered(database, ann, 15, after=True, declined=True)
    with database.read() as session:
        before = set(session.exec(select(Exchange.id).where(Exchange.adapter == "base")))
    asked: list[str] = []
    judged_verdict(database, lambda exchange_id: bool(asked.append(exchange_id)))
    assert set(asked) == before


def test_an_adapter_is_held_against_the_one_it_replaced_not_against_a_worse_one_before(
    database: Database, ann: Person
) -> None:
    """The base was disliked by all, v0 by nobody: v1, disliked by half, is a gain on their mean and a loss on v0."""
    with database.write() as session:
        adapter = adapters.get(session, "v1")
        adapter.replaced = "v0"
        session.add(adapter)
    answered(database, ann, 300, after=False, rating="down")
    answered(database, ann, 30, after=True, rating="down")
    answered(database, ann, 30, after=True, rating="up")
    assert verdict(database)[0] == "kept"
    answered(database, ann, LEAST, after=False, adapter="v0", rating="up")
    assert verdict(database) == ("roll back", "thumbs-down rose from 0 of 20 to 30 of 60 ratings with v1.")


def test_what_another_base_model_answered_before_is_no_measure(database: Database, ann: Person) -> None:
    """The old model was disliked by all, today's by nobody: v1, disliked by half, is a loss."""
    with database.write() as session:
        adapter = adapters.get(session, "v1")
        adapter.base_model = "today's"
        session.add(adapter)
    answered(database, ann, 300, after=False, rating="down", model="the old one")
    answered(database, ann, 30, after=True, rating="down")
    answered(database, ann, 30, after=True, rating="up")
    assert verdict(database)[0] == "waiting"
    answered(database, ann, LEAST, after=False, rating="up", model="today's")
    assert verdict(database) == ("roll back", "thumbs-down rose from 0 of 20 to 30 of 60 ratings with v1.")


def test_few_exchanges_and_other_adapters_decide_nothing(database: Database, ann: Person) -> None:
    answered(database, ann, 30, after=False)
    answered(database, ann, LEAST - 1, after=True, declined=True)
    answered(database, ann, 30, after=True, adapter="v7", declined=True)
    assert verdict(database) == ("waiting", "")


def test_what_was_already_so_before_is_no_rise(database: Database, ann: Person) -> None:
    answered(database, ann, 30, after=False, declined=True)
    answered(database, ann, 30, after=True, declined=True)
    assert verdict(database) == ("waiting", "")


def test_the_watch_ends_with_kept_no_verdict(database: Database, ann: Person) -> None:
    answered(database, ann, 3, after=True)
    assert verdict(database, hours=1) == ("kept", "kept, no verdict: 3 exchanges in 1 h showed no clear loss.")


def test_many_ratings_without_a_verdict_ask_an_admin(database: Database, ann: Person) -> None:
    answered(database, ann, 60, after=False, rating="up")
    answered(database, ann, ENOUGH_RATINGS, after=True, rating="up")
    asked = "50 exchanges and 50 ratings in 1 h show neither a loss nor a gain with v1: keep it or roll it back."
    assert verdict(database, hours=1) == ("asks", asked)
    assert verdict(database, hours=24) == ("waiting", "")


def test_a_clear_fall_of_thumbs_down_ends_the_watch_at_once(database: Database, ann: Person) -> None:
    answered(database, ann, 40, after=False, rating="down")
    answered(database, ann, 30, after=True, rating="up")
    assert verdict(database) == ("kept", "thumbs-down fell from 40 of 40 to 0 of 30 ratings with v1.")


def test_an_adapter_that_is_live_no_more_is_not_watched(database: Database, ann: Person) -> None:
    with database.write() as session:
        adapters.move(session, "v1", S.ROLLED_BACK, actor="ann")
    assert verdict(database) == ("taken back", "v1 is rolled_back: it was taken back.")


def test_an_unknown_adapter_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="no adapter v1"):
        verdict(database)


# a canary


def as_canary(database: Database) -> None:
    """v2, a canary since SWAP beside v1."""
    adapters.create(database, actor="test")
    with database.write() as session:
        for state in (S.CANDIDATE, S.AWAITING_APPROVAL, S.APPROVED, S.CANARY):
            adapters.move(session, "v2", state, actor="test", decided_at=SWAP)
        session.add(Deployment(adapter="v1", canary="v2", share=0.5, generation=2))


def canary_verdict(database: Database, complete: float | None = None, *, hours: float = 24) -> tuple[str, str]:
    found = look(
        database, adapter_id="v2", hours=hours, max_decline_rise=0.25, now=now(), complete_canary_hours=complete
    )
    return found.verdict, found.sentence


def test_a_canary_is_compared_with_what_serves_the_others_in_the_same_time(database: Database, ann: Person) -> None:
    as_canary(database)
    answered(database, ann, 30, after=False, adapter="v1")
    answered(database, ann, 25, after=True, adapter="v1", declined=True)
    answered(database, ann, 25, after=True, adapter="v2", declined=True)
    assert canary_verdict(database) == ("waiting", "")


def test_a_canary_that_does_harm_is_rolled_back_by_the_same_rule(database: Database, ann: Person) -> None:
    as_canary(database)
    answered(database, ann, 25, after=True, adapter="v1")
    answered(database, ann, 25, after=True, adapter="v2", declined=True)
    assert canary_verdict(database) == (
        "roll back",
        "declines rose from 0 of 25 to 25 of 25 exchanges with v2.",
    )
    act_on(database, look_at_v2(database), adapter_id="v2")
    assert deployed(database) == ("v1", None, S.ROLLED_BACK)
    assert canary_verdict(database) == ("taken back", "v2 is rolled_back: it was taken back.")


def look_at_v2(database: Database) -> Watched:
    return Watched(*canary_verdict(database, complete=1))


def deployed(database: Database) -> tuple[str, str | None, str]:
    with database.read() as session:
        row = deployments.deployment(session)
        return row.adapter, row.canary, adapters.get(session, "v2").state


def test_a_canary_is_watched_for_as_long_as_nobody_completes_it(database: Database, ann: Person) -> None:
    as_canary(database)
    answered(database, ann, 3, after=True, adapter="v2")
    assert canary_verdict(database, complete=None) == ("waiting", "")
    assert canary_verdict(database, complete=24) == ("waiting", "")


def test_a_canary_without_a_verdict_in_the_window_asks_an_admin(database: Database, ann: Person) -> None:
    as_canary(database)
    answered(database, ann, 3, after=True, adapter="v2")
    assert canary_verdict(database, hours=24) == ("waiting", "")
    said = (
        "3 exchanges and 0 ratings in 1 h show neither a loss nor a gain with v2: complete the canary or roll it back."
    )
    assert canary_verdict(database, hours=1) == ("asks", said)


@pytest.mark.parametrize("complete", [None, 1.0])
def test_a_canary_that_nobody_used_asks_an_admin_when_its_window_is_over(
    database: Database, ann: Person, complete: float | None
) -> None:
    as_canary(database)
    assert canary_verdict(database, complete, hours=24) == ("waiting", "")
    said = "nobody asked v2 anything in 1 h: complete the canary or roll it back."
    assert canary_verdict(database, complete, hours=1) == ("asks", said)


def test_a_canary_that_people_clearly_prefer_goes_live_by_itself(database: Database, ann: Person) -> None:
    as_canary(database)
    answered(database, ann, 60, after=True, adapter="v1", rating="down")
    answered(database, ann, 60, after=True, adapter="v2", rating="up")
    assert canary_verdict(database) == (
        "complete",
        "thumbs-down fell from 60 of 60 to 0 of 60 ratings with v2.",
    )


def test_a_canary_that_was_used_without_harm_for_the_set_time_goes_live(database: Database, ann: Person) -> None:
    as_canary(database)
    assert canary_verdict(database, complete=1) == ("waiting", "")
    answered(database, ann, 3, after=True, adapter="v2")
    sentence = "completed: 3 exchanges in 1 h as a canary showed no clear loss."
    assert canary_verdict(database, complete=1) == ("complete", sentence)
    act_on(database, look_at_v2(database), adapter_id="v2")
    assert deployed(database) == ("v2", None, S.LIVE)
    found = look(database, adapter_id="v2", hours=24, max_decline_rise=0.25, now=now())
    assert found.verdict == "waiting"


# who tells


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
        found = look(database, adapter_id="v1", hours=24, max_decline_rise=0.25, now=now(), new_account_days=days)
        assert found.verdict == expected


def test_ratings_count_in_the_order_in_which_they_were_given_and_the_first_few_of_each_person() -> None:
    rows = [
        Seen(str(n), "v1", "finished", False, "ann", rating, person, SWAP + timedelta(minutes=minutes))
        for n, (rating, person, minutes) in enumerate(
            [("down", "bob", 9), *(("up", "ann", n) for n in range(MOST_OF_ONE)), ("down", "ann", 8)]
        )
    ]
    told = Told.of(rows, DISLIKED)
    assert told.shows() == [False] * MOST_OF_ONE + [True, True]
    assert told.few().rows == tuple([(False, "ann")] * MOST_OF_ONE + [(True, "bob")])
    assert told.few(last=True).rows == tuple([(False, "ann")] * (MOST_OF_ONE - 1) + [(True, "ann"), (True, "bob")])
    assert told.people() == 2


def test_the_watch_never_rolls_back_what_came_after_its_adapter(database: Database, ann: Person) -> None:
    as_canary(database)
    rollbacks.rollback(database, actor="eve", comment="bad")
    with pytest.raises(Conflict, match="v2 is not deployed any more"):
        act_on(database, Watched("roll back", "declines rose."), adapter_id="v2")
    assert deployed(database) == ("v1", None, S.ROLLED_BACK)
