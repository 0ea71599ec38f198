"""Claims about learned weights in the store: which moves there are, what approving checks, where a rollback leads."""

import threading
from itertools import product

import pytest
from sqlmodel import select

from store import audit, rankings
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.models import AuditEntry, Ranking
from store.rankings import ARROWS, RankingState


def kept(database: Database, said: str = "promote", *, dense: float = 0.5, compared_with: str = "") -> str:
    row = rankings.keep(
        database,
        actor="test",
        weights={"dense": dense, "bm25": 1 - dense},
        metrics={"questions": 100},
        verdict={"verdict": said, "reasons": []},
        compared_with=compared_with,
    )
    return row.id


def state(database: Database, ranking_id: str) -> str:
    with database.read() as session:
        return rankings.get(session, ranking_id).state


def in_force(database: Database) -> str | None:
    with database.read() as session:
        row = rankings.in_force(session)
    return row.id if row is not None else None


def entries(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as session:
        assert audit.broken_at(session) is None
        return [(row.action, row.subject, row.comment) for row in session.exec(select(AuditEntry))]


@pytest.mark.parametrize(
    ("said", "after"),
    [("promote", "awaiting_approval"), ("reject", "rejected"), ("not_enough_evidence", "candidate")],
)
def test_the_verdict_decides_the_state(database: Database, said: str, after: str) -> None:
    assert state(database, kept(database, said)) == after and in_force(database) is None


def test_weights_are_numbered_and_listed_newest_first(database: Database) -> None:
    made = [kept(database, "reject", dense=n / 10) for n in range(3)]
    with database.read() as session:
        assert [row.id for row in rankings.page(session)] == made[::-1] == ["r3", "r2", "r1"]
        assert [row.id for row in rankings.page(session, limit=1, before="r3")] == ["r2"]


def test_the_same_weights_with_the_same_evidence_are_kept_once(database: Database) -> None:
    first = kept(database)
    rankings.reject(database, first, actor="ann", comment="not now")
    assert kept(database) == first and state(database, first) == "rejected"
    assert kept(database, dense=0.6) == "r2"


def test_newer_weights_supersede_those_that_wait(database: Database) -> None:
    first, second = kept(database), kept(database, dense=0.6)
    assert (state(database, first), state(database, second)) == ("superseded", "awaiting_approval")
    assert kept(database, "reject", dense=0.7) and state(database, second) == "awaiting_approval"


def test_approving_retires_what_was_in_force_and_rolling_back_walks_back_to_the_default(database: Database) -> None:
    first = kept(database)
    rankings.approve(database, first, actor="ann", comment="better on manuals")
    second = kept(database, dense=0.6, compared_with=first)
    rankings.approve(database, second, actor="ann", comment="better still")
    assert (state(database, first), state(database, second), in_force(database)) == ("retired", "approved", second)
    assert rankings.rollback(database, actor="ann", comment="worse on codes") == first
    assert (state(database, first), state(database, second), in_force(database)) == ("approved", "rolled_back", first)
    assert rankings.rollback(database, actor="ann", comment="worse") == "" and in_force(database) is None
    with pytest.raises(Conflict, match="the default weights are in force: there is nothing to roll back"):
        rankings.rollback(database, actor="ann", comment="again")


def test_every_decision_is_in_the_audit_record_with_its_comment(database: Database) -> None:
    first = kept(database)
    rankings.approve(database, first, actor="ann", comment="better on manuals")
    rankings.rollback(database, actor="ann", comment="worse on codes")
    assert entries(database) == [
        ("ranking.candidate", "r1", ""),
        ("ranking.awaiting_approval", "r1", "promote"),
        ("ranking.approved", "r1", "better on manuals"),
        ("ranking.rolled_back", "r1", "worse on codes"),
    ]


@pytest.mark.parametrize("comment", ["", "  \n"])
def test_every_decision_needs_a_comment(database: Database, comment: str) -> None:
    first = kept(database)
    before = entries(database)
    with pytest.raises(Invalid, match="approving weights needs a comment"):
        rankings.approve(database, first, actor="ann", comment=comment)
    with pytest.raises(Invalid, match="rejecting weights needs a comment"):
        rankings.reject(database, first, actor="ann", comment=comment)
    with pytest.raises(Invalid, match="rolling back weights needs a comment"):
        rankings.rollback(database, actor="ann", comment=comment)
    assert state(database, first) == "awaiting_approval" and entries(database) == before


def test_of_two_admins_who_approve_at_once_one_is_told_so(database: Database) -> None:
    first, told = kept(database), []

    def approve(name: str) -> None:
        try:
            rankings.approve(database, first, actor=name, comment="better")
        except Conflict as error:
            told.append(error.message)

    threads = [threading.Thread(target=approve, args=[name]) for name in ("ann", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["the weights r1 are approved: only those that await approval can be approved."]
    assert [action for action, _, _ in entries(database)].count("ranking.approved") == 1


def test_weights_fitted_against_others_than_those_in_force_cannot_be_approved(database: Database) -> None:
    first = kept(database)
    rankings.approve(database, first, actor="ann", comment="better")
    late = kept(database, dense=0.6, compared_with="")
    with pytest.raises(Conflict, match="r2 were compared with the default, but r1 is in force now"):
        rankings.approve(database, late, actor="ann", comment="better?")
    assert (state(database, late), in_force(database)) == ("awaiting_approval", first)


@pytest.mark.parametrize("said", ["reject", "not_enough_evidence"])
def test_weights_that_did_not_pass_the_gate_cannot_be_approved(database: Database, said: str) -> None:
    with pytest.raises(Conflict, match="only those that await approval"):
        rankings.approve(database, kept(database, said), actor="ann", comment="please")
    with pytest.raises(NotFound, match="no weights r9"):
        rankings.approve(database, "r9", actor="ann", comment="please")


@pytest.mark.parametrize(
    "change", [{"weights": {"dense": 1.0}}, {"metrics": {"questions": 9000}}, {"compared_with": "r7"}]
)
def test_weights_changed_since_the_gate_saw_them_cannot_be_approved(
    database: Database, change: dict[str, object]
) -> None:
    first = kept(database)
    with database.write() as session:
        row = rankings.get(session, first)
        for name, value in change.items():
            setattr(row, name, value)
    with pytest.raises(Conflict, match="do not match the digest"):
        rankings.approve(database, first, actor="ann", comment="better")


@pytest.mark.parametrize(("before", "after"), list(product(RankingState, RankingState)))
def test_weights_move_exactly_along_the_arrows(database: Database, before: RankingState, after: RankingState) -> None:
    with database.write() as session:
        row = Ranking(id="r1", state=before)
        session.add(row)
    with database.write() as session:
        row = rankings.get(session, "r1")
        if after in ARROWS[before]:
            rankings._move(session, row, after, actor="test", comment="")
        else:
            with pytest.raises(Conflict, match=f"r1 are {before}: they cannot become {after}"):
                rankings._move(session, row, after, actor="test", comment="")
    assert state(database, "r1") == (after if after in ARROWS[before] else before)


def test_a_move_is_refused_when_the_state_changed_meanwhile(database: Database) -> None:
    first = kept(database)
    with database.read() as session:
        seen = rankings.get(session, first)
    rankings.reject(database, first, actor="ann", comment="no")
    with pytest.raises(Conflict, match="are not awaiting_approval any more"), database.write() as session:
        rankings._move(session, seen, RankingState.APPROVED, actor="ben", comment="yes")
    assert state(database, first) == "rejected"
