"""Learned weights of retrieval: candidates, what a person decided, and which are in force; every change is audited.

It keeps the weights as they were fitted and knows neither what they measure nor how they are used. At most one row is
approved; none means that the default is in force.
"""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from sqlalchemy import CursorResult, update
from sqlmodel import Session, col, select

from store import audit, paging
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.models import Ranking, now

DEFAULT = "the default"
"""What the weights are called that come with the program."""


class RankingState(StrEnum):
    """Where fitted weights stand."""

    CANDIDATE = "candidate"
    """Fitted; not enough evidence for either verdict."""
    AWAITING_APPROVAL = "awaiting_approval"
    """The gate said yes; a person has to."""
    APPROVED = "approved"
    """In force: every search uses them."""
    REJECTED = "rejected"
    """The gate or an admin said no."""
    SUPERSEDED = "superseded"
    """Newer weights passed the gate while they waited."""
    RETIRED = "retired"
    """Were in force until newer ones were approved."""
    ROLLED_BACK = "rolled_back"
    """Were in force and were taken back."""


S = RankingState
ARROWS: dict[S, dict[S, str]] = {
    S.CANDIDATE: {S.AWAITING_APPROVAL: "the gate said promote", S.REJECTED: "the gate or an admin said no"},
    S.AWAITING_APPROVAL: {
        S.APPROVED: "an admin approved exactly these weights",
        S.REJECTED: "an admin said no",
        S.SUPERSEDED: "newer weights passed the gate",
    },
    S.APPROVED: {S.RETIRED: "newer weights were approved", S.ROLLED_BACK: "an admin took them back"},
    S.RETIRED: {S.APPROVED: "a rollback returned to them"},
    S.REJECTED: {},
    S.SUPERSEDED: {},
    S.ROLLED_BACK: {},
}
"""The allowed moves and why each happens."""


def digest(row: Ranking) -> str:
    """The SHA-256 over what was fitted and what it was found to be worth: what an approval binds to."""
    content = [row.weights, row.metrics, row.verdict, row.compared_with]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def get(session: Session, ranking_id: str) -> Ranking:
    """One row; raises NotFound."""
    row = session.get(Ranking, ranking_id)
    if row is None:
        raise NotFound(f"no weights {ranking_id}.", "`python -m retrieval weights` lists them.")
    return row


def page(session: Session, *, limit: int = 1_000, before: str | None = None) -> list[Ranking]:
    """Rows, newest first; `before` is the id of the last one seen."""
    return list(session.exec(paging.newest(session, select(Ranking), Ranking, limit=limit, before=before)))


def in_force(session: Session) -> Ranking | None:
    """The approved row, or None while the default is in force."""
    return session.exec(select(Ranking).where(Ranking.state == S.APPROVED)).first()


def keep(
    database: Database,
    *,
    actor: str,
    weights: Mapping[str, float],
    metrics: Mapping[str, Any],
    verdict: Mapping[str, Any],
    compared_with: str,
    cycle_id: str | None = None,
) -> Ranking:
    """Keep fitted weights as r1, r2, … in the state that the gate's verdict (its key `verdict`) leads to.

    `promote` waits for approval, and what waited before is superseded; `reject` is rejected; anything else stays a
    candidate. The same weights with the same evidence are kept once: the row that is there is returned.
    """
    row = Ranking(
        id="",
        weights=dict(weights),
        metrics=dict(metrics),
        verdict=dict(verdict),
        compared_with=compared_with,
        cycle_id=cycle_id,
    )
    row.digest = digest(row)
    with database.write() as session:
        known = session.exec(select(Ranking).where(Ranking.digest == row.digest)).first()
        if known is not None:
            return known
        row.id = f"r{max((int(i[1:]) for i in session.exec(select(Ranking.id))), default=0) + 1}"
        session.add(row)
        audit.record(session, actor=actor, action="ranking.candidate", subject=row.id, details={"digest": row.digest})
        said = verdict.get("verdict")
        if said == "promote":
            for older in session.exec(select(Ranking).where(Ranking.state == S.AWAITING_APPROVAL)):
                _move(session, older, S.SUPERSEDED, actor=actor, comment=f"by {row.id}")
            _move(session, row, S.AWAITING_APPROVAL, actor=actor, comment=said)
        elif said == "reject":
            _move(session, row, S.REJECTED, actor=actor, comment=said)
    return row


def approve(database: Database, ranking_id: str, *, actor: str, comment: str) -> Ranking:
    """Put weights in force that wait for approval; what was in force before retires.

    Raises NotFound, Invalid without a comment, and Conflict when they do not wait, were changed since the gate saw
    them, or were compared with others than those in force now.
    """
    _need_comment(comment, "approving")
    with database.write() as session:
        row, before = get(session, ranking_id), in_force(session)
        if row.state != S.AWAITING_APPROVAL:
            raise Conflict(f"the weights {row.id} are {row.state}: only those that await approval can be approved.")
        if row.digest != digest(row):
            raise Conflict(f"the weights {row.id} do not match the digest they were gated with.")
        if _id(before) != row.compared_with:
            raise Conflict(
                f"the weights {row.id} were compared with {_name(row.compared_with)}, "
                f"but {_name(_id(before))} is in force now.",
                "Fit anew: `python -m retrieval learn`, or the next cycle.",
            )
        if before is not None:
            _move(session, before, S.RETIRED, actor=actor, comment=f"by {row.id}")
        row.previous = _id(before)
        return _move(session, row, S.APPROVED, actor=actor, comment=comment)


def reject(database: Database, ranking_id: str, *, actor: str, comment: str) -> Ranking:
    """Refuse weights that were never in force; raises NotFound, Invalid without a comment, Conflict otherwise."""
    _need_comment(comment, "rejecting")
    with database.write() as session:
        return _move(session, get(session, ranking_id), S.REJECTED, actor=actor, comment=comment)


def rollback(database: Database, *, actor: str, comment: str) -> str:
    """Take back the weights in force and return to those before; returns their id, empty for the default.

    Raises Invalid without a comment, Conflict while the default is in force.
    """
    _need_comment(comment, "rolling back")
    with database.write() as session:
        row = in_force(session)
        if row is None:
            raise Conflict("the default weights are in force: there is nothing to roll back.")
        _move(session, row, S.ROLLED_BACK, actor=actor, comment=comment)
        if row.previous:
            _move(session, get(session, row.previous), S.APPROVED, actor=actor, comment=comment)
        return row.previous


def _move(session: Session, row: Ranking, after: S, *, actor: str, comment: str) -> Ranking:
    """Move a row by compare-and-set on its state, with an audit entry; raises Conflict where there is no arrow."""
    before = S(row.state)
    if after not in ARROWS[before]:
        raise Conflict(f"the weights {row.id} are {before}: they cannot become {after}.")
    session.add(row)
    session.flush()
    guarded = update(Ranking).where(col(Ranking.id) == row.id, col(Ranking.state) == before)
    moved = session.execute(guarded.values(state=after, comment=comment, decided_at=now()))
    if not isinstance(moved, CursorResult) or moved.rowcount != 1:
        raise Conflict(f"the weights {row.id} are not {before} any more.")
    session.refresh(row)
    audit.record(
        session, actor=actor, action=f"ranking.{after}", subject=row.id, comment=comment, details={"was": before}
    )
    return row


def _id(row: Ranking | None) -> str:
    return row.id if row is not None else ""


def _name(ranking_id: str) -> str:
    return ranking_id or DEFAULT


def _need_comment(comment: str, doing: str) -> None:
    if not comment.strip():
        raise Invalid(f"{doing} weights needs a comment that says why.", 'Add --comment "…" or a "comment" field.')
