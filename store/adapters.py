"""The adapter registry: the only place where an adapter's state and the deployment change.

It holds folders and digests but reads no files; what loads an adapter checks them.
"""

import hashlib
import json
from typing import Any

from sqlmodel import Session, col, select

from store import audit
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.models import BASE, Adapter, Deployment, now
from store.models import AdapterState as S

ARROWS: dict[S, dict[S, str]] = {
    S.TRAINING: {S.CANDIDATE: "its folder was published with digests"},
    S.CANDIDATE: {S.AWAITING_APPROVAL: "the gate said promote", S.REJECTED: "the gate or an admin said no"},
    S.AWAITING_APPROVAL: {
        S.APPROVED: "an admin approved these digests",
        S.REJECTED: "an admin said no",
        S.SUPERSEDED: "a newer candidate passed the gate",
        S.EXPIRED: "nobody decided in time",
        S.CANDIDATE: "what is live changed since: it is evaluated again",
    },
    S.APPROVED: {
        S.CANARY: "a bot loaded it for a share of the conversations",
        S.LIVE: "a bot loaded it",
        S.ROLLED_BACK: "an admin took it back before a bot had loaded it",
        S.SUPERSEDED: "another adapter was approved before a bot had loaded it",
    },
    S.CANARY: {S.LIVE: "the watch or an admin completed it", S.ROLLED_BACK: "the watch or an admin took it back"},
    S.LIVE: {S.RETIRED: "a newer one went live", S.ROLLED_BACK: "the watch or an admin took it back"},
    S.RETIRED: {S.LIVE: "a rollback returned to it"},
    S.ROLLED_BACK: {S.LIVE: "an admin returned to it"},
    S.REJECTED: {},
    S.SUPERSEDED: {},
    S.EXPIRED: {},
    S.QUARANTINED: {},
}
"""The allowed moves and why each happens; beside them, every state but `quarantined` may move to `quarantined`."""


def allowed(before: str, after: str) -> bool:
    """Whether an adapter may move from one state to another."""
    return after in ARROWS[S(before)] or (after == S.QUARANTINED and before != S.QUARANTINED)


def move(session: Session, adapter_id: str, after: S, *, actor: str, comment: str = "", **values: Any) -> Adapter:
    """Move an adapter to a state inside the caller's write transaction, with an audit entry.

    Raises NotFound for an unknown adapter and Conflict when the state machine has no such arrow.
    """
    row = get(session, adapter_id)
    if not allowed(row.state, after):
        raise Conflict(f"adapter {adapter_id} is {row.state}: it cannot become {after}.")
    audit.record(
        session, actor=actor, action=f"adapter.{after}", subject=adapter_id, comment=comment, details={"was": row.state}
    )
    row.state = after
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    return row


def get(session: Session, adapter_id: str) -> Adapter:
    """One adapter; raises NotFound."""
    row = session.get(Adapter, adapter_id)
    if row is None:
        raise NotFound(f"no adapter {adapter_id}.", "`python -m store adapters` lists them.")
    return row


def page(session: Session, *, limit: int = 1_000, before: str | None = None) -> list[Adapter]:
    """Adapters, newest first; `before` is the id of the last one seen."""
    query = select(Adapter).order_by(col(Adapter.created_at).desc()).limit(limit)
    if before is not None and (last := session.get(Adapter, before)) is not None:
        query = query.where(col(Adapter.created_at) < last.created_at)
    return list(session.exec(query))


def create(database: Database, *, actor: str, origin: str = "trained", **values: Any) -> Adapter:
    """Enter a new adapter version as `training`; versions are numbered v1, v2, …"""
    with database.write() as session:
        taken = [int(i[1:]) for i in session.exec(select(Adapter.id)) if i[1:].isdigit()]
        row = Adapter(id=f"v{max(taken, default=0) + 1}", origin=origin, **values)
        session.add(row)
        audit.record(session, actor=actor, action="adapter.training", subject=row.id, details={"origin": origin})
    return row


def report_digest(report: dict[str, Any]) -> str:
    """The SHA-256 of an evaluation report's canonical JSON."""
    return hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()


def deployment(session: Session) -> Deployment:
    """What is deployed now."""
    return session.get(Deployment, 1) or Deployment()


def deploy(
    session: Session, adapter_id: str, *, actor: str, comment: str, canary: str | None = None, share: float = 0.0
) -> Deployment:
    """Point new requests at an adapter; every bot follows within a second."""
    row = deployment(session)
    row.adapter, row.canary, row.share = adapter_id, canary, share
    row.generation, row.changed_at = row.generation + 1, now()
    session.add(row)
    audit.record(session, actor=actor, action="deployment.changed", subject=adapter_id, comment=comment)
    return row


def approve(database: Database, adapter_id: str, *, actor: str, comment: str) -> Adapter:
    """Approve an awaiting adapter: it is bound to its digests and deployed to every bot.

    Raises Invalid without a comment, Conflict when it does not await approval or when what serves has changed since
    it was evaluated (it then becomes a candidate again, to be evaluated against the adapter that serves now).
    """
    _need_comment(comment, "approving")
    with database.write() as session:
        row = get(session, adapter_id)
        if row.state not in (S.AWAITING_APPROVAL, S.CANDIDATE):
            raise Conflict(f"adapter {adapter_id} is {row.state}: only one that awaits approval can be approved.")
        if row.state == S.CANDIDATE:
            raise Conflict(
                f"adapter {adapter_id} has not passed the gate.",
                "Run `python -m scheduler once`: only adapters with the verdict promote can be approved.",
            )
        if row.report_digest != report_digest(row.report):
            raise Conflict(f"the report of adapter {adapter_id} does not match the digest it was gated with.")
        serving = deployment(session).adapter
        stale = serving != row.compared_with
        if stale:
            move(session, adapter_id, S.CANDIDATE, actor=actor, comment=f"{serving} serves now")
        else:
            _supersede_approved(session, actor)
            move(session, adapter_id, S.APPROVED, actor=actor, comment=comment, decided_at=now(), replaced=serving)
            deploy(session, adapter_id, actor=actor, comment=comment)
    if stale:
        raise Conflict(
            f"adapter {adapter_id} was compared with {row.compared_with}, but {serving} serves now.",
            "It will be evaluated again against the adapter that serves now.",
        )
    return row


def _supersede_approved(session: Session, actor: str) -> None:
    for waiting in session.exec(select(Adapter).where(Adapter.state == S.APPROVED)):
        move(session, waiting.id, S.SUPERSEDED, actor=actor)


def reject(database: Database, adapter_id: str, *, actor: str, comment: str) -> Adapter:
    """Refuse a candidate or an awaiting adapter; raises Invalid without a comment, Conflict in any other state."""
    _need_comment(comment, "rejecting")
    with database.write() as session:
        return move(session, adapter_id, S.REJECTED, actor=actor, comment=comment, decided_at=now())


def loaded(database: Database, adapter_id: str) -> bool:
    """A bot has loaded the deployed adapter: move `approved → live` and the one before it to `retired`, once.

    Returns whether this call was the one that moved it.
    """
    with database.read() as session:
        row = session.get(Adapter, adapter_id)
        if row is None or row.state != S.APPROVED:
            return False
    with database.write() as session:
        if get(session, adapter_id).state != S.APPROVED or deployment(session).adapter != adapter_id:
            return False
        for other in session.exec(select(Adapter).where(Adapter.state == S.LIVE)):
            move(session, other.id, S.RETIRED, actor="bot")
        move(session, adapter_id, S.LIVE, actor="bot", comment="loaded")
    return True


def rollback(database: Database, *, actor: str, comment: str, to: str | None = None) -> Deployment:
    """Take the deployed adapter back and return to the one it replaced, or to `to` (`base` is always possible).

    Raises Conflict when the base already serves or the target never was live, Invalid without a comment.
    """
    _need_comment(comment, "rolling back")
    with database.write() as session:
        current = deployment(session).adapter
        if current == BASE and to in (None, BASE):
            raise Conflict("the base model serves already: there is nothing to roll back.")
        target = to or _before(session, current)
        if target == current:
            raise Conflict(f"{target} serves already.")
        if target != BASE and not _was_live(session, target):
            raise Conflict(f"adapter {target} is {get(session, target).state}: only one that was live can come back.")
        if current != BASE and get(session, current).state in (S.LIVE, S.APPROVED, S.CANARY):
            move(session, current, S.ROLLED_BACK, actor=actor, comment=comment)
        return _return_to(session, target, actor=actor, comment=comment)


def _before(session: Session, adapter_id: str) -> str:
    target = get(session, adapter_id).replaced
    while target != BASE and not _was_live(session, target):
        target = get(session, target).replaced
    return target


def _was_live(session: Session, adapter_id: str) -> bool:
    """Whether an adapter can serve again; it is still live when the one that replaced it was never loaded."""
    state = get(session, adapter_id).state
    return state in (S.LIVE, S.RETIRED, S.ROLLED_BACK)


def _return_to(session: Session, target: str, *, actor: str, comment: str) -> Deployment:
    for other in session.exec(select(Adapter).where(Adapter.state == S.LIVE, Adapter.id != target)):
        move(session, other.id, S.RETIRED, actor=actor)
    if target != BASE and get(session, target).state != S.LIVE:
        move(session, target, S.LIVE, actor=actor, comment=comment)
    return deploy(session, target, actor=actor, comment=comment)


def quarantine(database: Database, adapter_id: str, *, actor: str, comment: str) -> None:
    """Take an adapter out of use for good; if it is deployed, what it replaced is deployed in its place."""
    with database.write() as session:
        if get(session, adapter_id).state == S.QUARANTINED:
            return
        move(session, adapter_id, S.QUARANTINED, actor=actor, comment=comment)
        if deployment(session).adapter == adapter_id:
            _return_to(session, _before(session, adapter_id), actor=actor, comment=comment)


def _need_comment(comment: str, doing: str) -> None:
    if not comment.strip():
        raise Invalid(f"{doing} an adapter needs a comment that says why.", 'Add --comment "…" or a "comment" field.')
