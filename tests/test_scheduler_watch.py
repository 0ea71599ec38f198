"""Claims about the watch after a swap: it rolls back on a clear rise only, and ends by itself."""

import math
from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest
from sqlmodel import col, select

from scheduler.observed import MOST_OF_ONE, RATINGS_PART
from scheduler.sequential import RISES, looks_until_above, nearest, paths_of_others
from scheduler.watch import ALPHA, ENOUGH_RATINGS, LEAST, look, rises
from store import adapters, exchanges, people
from store.database import Database
from store.errors import NotFound
from store.models import AdapterState as S
from store.models import Conversation, Exchange, ExchangeState, Feedback, Person, Role, new_id, now

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


def test_a_canary_whose_rise_is_tolerated_is_hardly_ever_rolled_back_however_often_one_looks() -> None:
    """8 points where 10 are tolerated; a rise of 30 is found, and what cannot be larger by so much is none."""
    random, alpha = np.random.default_rng(5), ALPHA * 0.2
    others = (random.random((300, 1_000)) < 0.2).astype(float)
    told = {
        share: paths_of_others(others, (random.random((300, 500)) < share).astype(float), tolerated=0.1).max(axis=1)
        for share in (0.28, 0.5)
    }
    assert (told[0.28] >= math.log(1 / alpha)).mean() <= alpha and (told[0.5] >= math.log(1 / alpha)).mean() > 0.9
    assert not paths_of_others(np.zeros(40), np.ones(40), tolerated=0.97).any()


@pytest.mark.parametrize("size", [1, 3, 9])
@pytest.mark.parametrize("tolerated", [0.05, 0.1, 0.25])
def test_no_pair_of_shares_within_what_is_tolerated_makes_a_bet_against_it_pay(size: int, tolerated: float) -> None:
    """The mean of a block's e-variable, for every pair of shares on a grid, is at most 1."""
    shares = np.linspace(0, 1, 51)
    theirs, mine = shares[:, None, None], shares[None, :, None]
    for low in np.linspace(0.01, 0.5, 8):
        high = low + tolerated + RISES
        least = nearest(np.full(4, low), high, size, tolerated)
        of_others = (theirs * low / least + (1 - theirs) * (1 - low) / (1 - least)) ** size
        of_mine = mine * high / (least + tolerated) + (1 - mine) * (1 - high) / (1 - least - tolerated)
        within = np.broadcast_to(mine <= theirs + tolerated + 1e-12, (51, 51, 4))
        assert (of_others * of_mine)[within & (high < 0.98)].max() <= 1 + 1e-9


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


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
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
    others, mine = (random.random((1_000, size)) < 0.3 for size in (300, 100))
    paths = paths_of_others(others.astype(float), mine.astype(float))
    assert paths.shape == (1_000, 100) and (paths.max(axis=1) >= math.log(1 / ALPHA)).mean() <= ALPHA
    worse = paths_of_others(others.astype(float), (random.random((1_000, 100)) < 0.7).astype(float))
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
    days: int = 0,
    **values: object,
) -> None:
    """Exchanges before the swap, answered by the base, or after it, answered by v1; of as many people as count.

    They are rated in the order of the calls, on their side of the swap; `alone` are those of ann, `days` earlier ones.
    """
    asking = [ann] if alone else crowd(database, math.ceil(number / MOST_OF_ONE))
    for i in range(number):
        at = SWAP + timedelta(seconds=i + 1) * (1 if after else -1) - timedelta(days=days)
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
            rated_at = exchanges.rate(database, row.id, person=person, rating=rating).rated_at
            if not after and rated_at is not None:
                with database.write() as session:
                    session.get_one(Feedback, row.id).rated_at = rated_at - timedelta(hours=3)


def crowd(database: Database, size: int) -> list[Person]:
    """So many new people."""
    people = [Person(name=new_id("pe"), role=Role.CHAT) for _ in range(size)]
    with database.write() as session:
        session.add_all(people)
    return people


def verdict(database: Database, *, hours: float = 24) -> tuple[str, str]:
    found = look(database, adapter_id="v1", hours=hours, max_decline_rise=0.25, watched=now() - SWAP)
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
    found = look(
        database, adapter_id="v1", hours=24, max_decline_rise=0.25, watched=now() - SWAP, unsupported=unsupported
    )
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
    answered(database, ann, LEAST, after=False, rating="up")
    answered(database, ann, LEAST, after=True, rating="up")
    said = "kept, no verdict: 20 exchanges in 1 h of watching showed no clear loss."
    assert verdict(database, hours=1) == ("kept", said)


def test_the_end_says_of_what_there_was_too_little_to_compare(database: Database, ann: Person) -> None:
    def said() -> str:
        kept, sentence = verdict(database, hours=0.2)
        assert kept == "kept"
        return sentence.removeprefix("kept, no verdict: ")

    answered(database, ann, LEAST - 1, after=False, rating="up")
    answered(database, ann, 3, after=True, rating="down")
    assert said() == "3 exchanges in 1.4 h of watching, too little before to compare with v1."
    answered(database, ann, 1, after=False)
    assert said() == "3 exchanges in 1.4 h of watching, too little since to compare with v1."
    answered(database, ann, LEAST - 3, after=True)
    compared = "20 exchanges in 0.2 h of watching showed no clear loss"
    assert said() == f"{compared}, and too little before to compare thumbs-down."
    answered(database, ann, 1, after=False, rating="up")
    assert said() == f"{compared}, and too little since to compare thumbs-down."


@pytest.mark.parametrize(
    ("number", "values", "counted"),
    [
        (LEAST - 1, {"state": "failed"}, "failures in 19 of 19 exchanges"),
        (LEAST - 1, {"rating": "down"}, "thumbs-down in 19 of 19 ratings"),
        (5, {"declined": True}, "declines in 5 of 5 exchanges"),
        (5, {"rating": "down", "alone": True}, "thumbs-down in 5 of 5 ratings"),
    ],
)
def test_what_mostly_went_wrong_is_asked_at_the_end_however_little_it_was(
    database: Database, ann: Person, number: int, values: dict[str, object], counted: str
) -> None:
    answered(database, ann, 300, after=False, rating="up")
    answered(database, ann, number, after=True, **values)  # type: ignore[arg-type]
    assert verdict(database) == ("waiting", "")
    asked = f"{counted} with v1, too little since to compare: keep it or roll it back."
    assert verdict(database, hours=1) == ("asks", asked)


def test_a_few_bad_answers_or_what_was_as_bad_before_are_not_asked_about_at_the_end(
    database: Database, ann: Person
) -> None:
    answered(database, ann, 4, after=True, state="failed")
    assert verdict(database, hours=0.2)[0] == "kept"
    answered(database, ann, LEAST, after=False, state="failed")
    answered(database, ann, LEAST - 5, after=True, state="failed")
    assert verdict(database, hours=0.2)[0] == "kept"


def test_a_live_adapter_that_hardly_anybody_used_is_watched_on_for_seven_windows(
    database: Database, ann: Person
) -> None:
    answered(database, ann, LEAST, after=False, rating="up")
    answered(database, ann, LEAST - 1, after=True, rating="up")
    assert verdict(database, hours=1) == ("waiting", "")
    assert verdict(database, hours=0.2)[0] == "kept"
    answered(database, ann, 1, after=True, rating="up")
    assert verdict(database, hours=1)[0] == "kept"


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ({"rating": "down"}, "thumbs-down in 49 of 49 ratings"),
        ({"state": "failed"}, "failures in 49 of 49 exchanges"),
        ({"state": "failed", "alone": True}, "failures in 49 of 49 exchanges"),
        ({"declined": True}, "declines in 49 of 49 exchanges"),
    ],
)
def test_where_most_is_bad_and_too_little_was_before_to_compare_an_admin_is_asked(
    database: Database, ann: Person, values: dict[str, object], counted: str
) -> None:
    answered(database, ann, LEAST - 1, after=False, rating="up")
    answered(database, ann, 49, after=True, **values)  # type: ignore[arg-type]
    for hours in (1, 24):
        asked = f"{counted} with v1, too little before to compare: keep it or roll it back."
        assert verdict(database, hours=hours) == ("asks", asked)


@pytest.mark.parametrize(("down", "asks"), [(LEAST - 1, False), (LEAST, True)])
def test_few_or_half_bad_answers_ask_nobody_where_nothing_was_before(
    database: Database, ann: Person, down: int, asks: bool
) -> None:
    answered(database, ann, down, after=True, rating="down")
    assert verdict(database)[0] == ("asks" if asks else "waiting")
    answered(database, ann, down, after=True, rating="up")
    assert verdict(database)[0] == "waiting"


def test_what_two_people_alone_dislike_asks_nobody_where_nothing_was_before(database: Database, ann: Person) -> None:
    for person in crowd(database, 2):
        answered(database, person, LEAST, after=True, rating="down", alone=True)
    assert verdict(database) == ("waiting", "")


def test_many_ratings_without_a_verdict_ask_an_admin(database: Database, ann: Person) -> None:
    answered(database, ann, 60, after=False, rating="up")
    answered(database, ann, ENOUGH_RATINGS, after=True, rating="up")
    asked = "50 exchanges and 50 ratings in 1 h of watching show neither a loss nor a gain with v1"
    assert verdict(database, hours=1) == ("asks", f"{asked}: keep it or roll it back.")
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
