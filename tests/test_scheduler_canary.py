"""Claims about a canary that is watched: it is held against the others of the same time, and asked about in the end."""

import pytest
from sqlmodel import select

from scheduler.decisions import act_on
from scheduler.watch import LEAST, Watched, look
from store import adapters, deployments, rollbacks
from store.database import Database
from store.errors import Conflict
from store.models import Adapter, Deployment, Exchange, Person, now
from store.models import AdapterState as S
from tests.test_scheduler_watch import SWAP, answered
from tests.test_scheduler_watch import ann as ann


def as_canary(database: Database) -> None:
    """v2, a canary since SWAP beside v1."""
    adapters.create(database, actor="test")
    with database.write() as session:
        for state in (S.CANDIDATE, S.AWAITING_APPROVAL, S.APPROVED, S.CANARY):
            adapters.move(session, "v2", state, actor="test", decided_at=SWAP)
        session.add(Deployment(adapter="v1", canary="v2", share=0.5, generation=2))


def canary_verdict(database: Database, complete: float | None = None, *, hours: float = 24) -> tuple[str, str]:
    found = look(
        database,
        adapter_id="v2",
        hours=hours,
        max_decline_rise=0.25,
        watched=now() - SWAP,
        complete_canary_hours=complete,
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
    said, choice = "3 exchanges and 0 ratings in 1 h of watching", "complete the canary or roll it back."
    little = f"{said}, too little beside to compare with v2: {choice}"
    assert canary_verdict(database, hours=1) == ("asks", little)
    answered(database, ann, LEAST, after=True, adapter="v1")
    little = f"{said}, too little since to compare with v2: {choice}"
    assert canary_verdict(database, hours=1) == ("asks", little)
    answered(database, ann, LEAST - 3, after=True, adapter="v2")
    blind = "and too little beside to compare thumbs-down"
    said = f"20 exchanges and 0 ratings in 1 h of watching show neither a loss nor a gain with v2, {blind}"
    assert canary_verdict(database, hours=1) == ("asks", f"{said}: {choice}")


def test_a_canary_that_mostly_fails_with_too_little_beside_to_compare_is_not_completed_unasked(
    database: Database, ann: Person
) -> None:
    as_canary(database)
    answered(database, ann, LEAST - 1, after=True, adapter="v1")
    answered(database, ann, 30, after=True, adapter="v2", state="failed")
    said = "failures in 30 of 30 exchanges with v2, too little beside to compare: complete the canary or roll it back."
    assert canary_verdict(database, complete=1) == ("asks", said)


def test_the_watch_never_completes_a_canary_that_came_after_its_own(database: Database, ann: Person) -> None:
    as_canary(database)
    rollbacks.rollback(database, actor="eve", comment="it leaks names")
    with database.write() as session:
        deployments.deploy(session, "v1", actor="eve", comment="careful", canary="v3", share=0.01)
    with pytest.raises(Conflict, match="v2 is not the canary any more, v3 is"):
        act_on(database, Watched("complete", "thumbs-down fell."), adapter_id="v2")
    with database.read() as session:
        row = deployments.deployment(session)
        assert (row.adapter, row.canary, row.share) == ("v1", "v3", 0.01)


@pytest.mark.parametrize("complete", [None, 1.0])
def test_a_canary_that_nobody_used_asks_an_admin_when_its_window_is_over(
    database: Database, ann: Person, complete: float | None
) -> None:
    as_canary(database)
    assert canary_verdict(database, complete, hours=24) == ("waiting", "")
    said = "nobody asked v2 anything in 1 h of watching: complete the canary or roll it back."
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
    sentence = "completed: 3 exchanges in 1 h of watching as a canary, too little beside to compare with v2."
    assert canary_verdict(database, complete=1) == ("complete", sentence)
    answered(database, ann, LEAST, after=True, adapter="v1")
    sentence = "completed: 3 exchanges in 1 h of watching as a canary, too little since to compare with v2."
    assert canary_verdict(database, complete=1) == ("complete", sentence)
    act_on(database, look_at_v2(database), adapter_id="v2")
    assert deployed(database) == ("v2", None, S.LIVE)
    found = look(database, adapter_id="v2", hours=24, max_decline_rise=0.25, watched=now() - SWAP)
    assert found.verdict == "waiting"


def test_a_completed_canary_is_held_against_what_served_not_against_what_was_taken_back(
    database: Database, ann: Person
) -> None:
    """The base is disliked by one in ten, v1, which was rolled back beside the canary, by most: so is v2."""
    as_canary(database)
    answered(database, ann, 54, after=False, rating="up")
    answered(database, ann, 6, after=False, rating="down")
    answered(database, ann, 60, after=False, adapter="v1", rating="down")
    with database.write() as session:
        session.get_one(Adapter, "v2").replaced = "v1"
    rollbacks.rollback(database, actor="watch", comment="thumbs-down rose", of="v1")
    deployments.change_canary(database, actor="eve", comment="all well", share=1)
    with database.write() as session:
        session.get_one(Adapter, "v2").decided_at = SWAP
    answered(database, ann, 40, after=True, adapter="v2", rating="down")
    answered(database, ann, 20, after=True, adapter="v2", rating="up")
    assert canary_verdict(database) == ("roll back", "thumbs-down rose from 6 of 60 to 40 of 60 ratings with v2.")


def test_the_watch_never_rolls_back_what_came_after_its_adapter(database: Database, ann: Person) -> None:
    as_canary(database)
    rollbacks.rollback(database, actor="eve", comment="bad")
    with pytest.raises(Conflict, match="v2 is not deployed any more"):
        act_on(database, Watched("roll back", "declines rose."), adapter_id="v2")
    assert deployed(database) == ("v1", None, S.ROLLED_BACK)


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("mine", ["up", "down"])
def test_testers_decide_nothing_by_themselves(database: Database, ann: Person, share: float, mine: str) -> None:
    """They rate the canary otherwise than the public rates what serves beside it, whoever is better."""
    as_canary(database)
    answered(database, ann, 60, after=True, adapter="v1", rating="down" if mine == "up" else "up")
    answered(database, ann, 30, after=True, adapter="v2", rating=mine)
    with database.write() as session:
        row = session.get_one(Deployment, 1)
        row.share = share
        session.add(row)
    said = canary_verdict(database, hours=24)[0]
    assert said == {"up": "complete", "down": "roll back"}[mine]
    with database.write() as session:
        row = session.get_one(Deployment, 1)
        row.testers = sorted(set(session.exec(select(Exchange.person_id).where(Exchange.adapter == "v2"))))
        session.add(row)
    said, sentence = canary_verdict(database, 1, hours=1)
    most = "thumbs-down in 30 of 30 ratings with v2" if mine == "down" else "30 exchanges and 30 ratings"
    assert said == "asks" and sentence.startswith(most)
    assert "too little since from others than testers to compare" in sentence


def test_failures_are_no_testers_fault(database: Database, ann: Person) -> None:
    as_canary(database)
    answered(database, ann, 25, after=True, adapter="v1")
    answered(database, ann, 25, after=True, adapter="v2", state="failed")
    with database.write() as session:
        row = session.get_one(Deployment, 1)
        row.share, row.testers = 0.0, sorted(set(session.exec(select(Exchange.person_id))))
        session.add(row)
    assert canary_verdict(database)[0] == "roll back"
