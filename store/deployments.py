"""What serves: the deployment row, changed by approving, canaries, rollbacks and quarantine; every bot follows it.

An adapter's state changes only through `store.adapters.move`; here is what such a move means for the row.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlmodel import Session, select

from store import adapters, approvable, approvals, audit, people
from store.adapters import ERASED, get, move, need_comment
from store.database import Database
from store.errors import Conflict, Invalid
from store.models import BASE, Adapter, Deployment, now
from store.models import AdapterState as S
from store.signing import Signer

STARTER = "starter"
"""The id and the origin of the adapter that a fresh store begins with."""
EVERYBODY = 1.0
"""The share that is no canary."""


def deployment(session: Session) -> Deployment:
    """What is deployed now."""
    return session.get(Deployment, 1) or Deployment()


def untouched(session: Session) -> bool:
    """Whether nothing was ever deployed or entered here."""
    return deployment(session).generation == 0 and session.exec(select(Adapter).limit(1)).first() is None


def begin_with(database: Database, *, folder: str, digest: str, base_model: str) -> bool:
    """Enter the starter adapter as approved and deploy it, in an untouched store only; whether that was done.

    It goes live once a bot has loaded it; rolling back leads to the base.
    """
    with database.write() as session:
        if not untouched(session):
            return False
        row = Adapter(id=STARTER, origin=STARTER, state=S.APPROVED, base_model=base_model, folder=folder, digest=digest)
        row.lineage, row.replaced, row.decided_at = {"starter": True}, BASE, now()
        session.add(row)
        said = "a fresh store begins with the starter"
        audit.record(session, actor="first start", action="adapter.approved", subject=STARTER, comment=said)
        deploy(session, STARTER, actor="first start", comment=said)
    return True


def deploy(
    session: Session,
    adapter_id: str,
    *,
    actor: str,
    comment: str,
    canary: str | None = None,
    share: float = 0.0,
    testers: Sequence[str] = (),
) -> Deployment:
    """Point new requests at an adapter and perhaps a canary; every bot follows within a second."""
    row = deployment(session)
    row.adapter, row.canary, row.share, row.testers = adapter_id, canary, share, list(testers)
    row.generation, row.changed_at = row.generation + 1, now()
    session.add(row)
    details = {"canary": canary, "share": share, "testers": list(testers)} if canary is not None else {}
    audit.record(
        session, actor=actor, action="deployment.changed", subject=adapter_id, comment=comment, details=details
    )
    return row


def approve(
    database: Database,
    adapter_id: str,
    *,
    actor: str,
    comment: str,
    share: float = EVERYBODY,
    testers: Sequence[str] = (),
    approvers: int = 1,
    signer: Signer | None = None,
    days: float | None = None,
    data: Path | None = None,
    report_digest: str | None = None,
) -> Adapter:
    """Approve an awaiting adapter, bound to its digests, and deploy it to every bot.

    Where `approvers` is 2 or more, the first ones are only noted; the call of the last one who agrees to the same share
    and testers deploys. After more than `days` since its gate it is too late. With a `signer` the gate's signature is
    checked, and must be there. With the folder of `data` its files must be those that were evaluated. With a
    `report_digest` the report must be that one, which whoever approves has read.

    A `share` below 1 makes it a canary: it answers that share of the conversations and the `testers`, people by name
    or id; what served before answers the rest.

    Raises Invalid without a comment, NotFound for an unknown tester, Conflict when it does not await approval, while
    another canary runs, when it is to be a canary beside what no bot has loaded yet, when the same person approves
    twice or nobody known does, when it is too late, when the report is another one than was read, when the signature is
    another one or missing, when its files are altered or cannot be read, or when what serves has changed since it was
    evaluated (it then becomes a candidate again, to be evaluated against the adapter that serves now).
    """
    need_comment(comment, "approving")
    _check_share(share, testers)
    if data is not None:
        _check_files(database, adapter_id, data, signer, report_digest)
    with database.write() as session:
        row, serving = get(session, adapter_id), deployment(session)
        approvable.check(row, serving, signer, report_digest)
        approvable.check_in_time(session, row, days)
        stale = serving.adapter != row.compared_with
        ids = _ids(session, testers)
        if stale:
            move(session, adapter_id, S.CANDIDATE, actor=actor, comment=f"{serving.adapter} serves now")
        elif approvers > 1 and not approvals.enough(
            session, row, actor=actor, comment=comment, needed=approvers, share=share, testers=ids
        ):
            return row
        else:
            _send_live(session, row, serving.adapter, actor=actor, comment=comment, share=share, testers=ids)
    if stale:
        raise Conflict(
            f"adapter {adapter_id} was compared with {row.compared_with}, but {serving.adapter} serves now.",
            "It will be evaluated again against the adapter that serves now.",
        )
    return row


def _send_live(
    session: Session, row: Adapter, replaced: str, *, actor: str, comment: str, share: float, testers: Sequence[str]
) -> None:
    """Point requests at an approved adapter: all of them, or a share beside what it is to replace."""
    if share < EVERYBODY:
        _check_loaded(session, replaced)
    _supersede_approved(session, actor)
    move(session, row.id, S.APPROVED, actor=actor, comment=comment, decided_at=now(), replaced=replaced)
    if share == EVERYBODY:
        deploy(session, row.id, actor=actor, comment=comment)
    else:
        deploy(session, replaced, actor=actor, comment=comment, canary=row.id, share=share, testers=testers)


def _check_files(
    database: Database, adapter_id: str, data: Path, signer: Signer | None, report_digest: str | None
) -> None:
    """Read before the database is locked: weights are large."""
    with database.read() as session:
        row = get(session, adapter_id)
        approvable.check(row, deployment(session), signer, report_digest)
    if why := adapters.unfit(row, data):
        raise Conflict(f"adapter {row.id} cannot be approved: {why}", "Put the files back, or run a new cycle.")


def _check_share(share: float, testers: Sequence[str]) -> None:
    if not 0 <= share <= EVERYBODY:
        raise Invalid(f"the share is {share:g}, expected a number from 0 to 1.")
    if share == 0 and not testers:
        raise Invalid("the share is 0 and nobody tests: nobody would get the adapter.", "Name testers, or a share.")
    if share == EVERYBODY and testers:
        raise Invalid("the share is 1, which is everybody: testers mean nothing then.", "Give a share below 1.")


def _ids(session: Session, testers: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(people.find(session, name).id for name in testers))


def _check_loaded(session: Session, adapter_id: str) -> None:
    """Raises Conflict where no bot has loaded what would serve beside a canary: it would be superseded and serve."""
    if adapter_id != BASE and get(session, adapter_id).state == S.APPROVED:
        raise Conflict(
            f"adapter {adapter_id} is approved, and no bot has loaded it yet: no canary can run beside it.",
            f"Wait until {adapter_id} is live, or roll it back.",
        )


def _supersede_approved(session: Session, actor: str) -> None:
    for waiting in session.exec(select(Adapter).where(Adapter.state == S.APPROVED)):
        move(session, waiting.id, S.SUPERSEDED, actor=actor)


def loaded(database: Database, adapter_id: str) -> bool:
    """A bot has loaded a deployed adapter: move `approved → live` or `approved → canary`, once.

    Whatever was live before retires when another one goes live. Returns whether this call was the one that moved it.
    """
    with database.read() as session:
        row = session.get(Adapter, adapter_id)
        if row is None or row.state != S.APPROVED:
            return False
    with database.write() as session:
        row, serving = get(session, adapter_id), deployment(session)
        if row.state != S.APPROVED or adapter_id not in (serving.adapter, serving.canary):
            return False
        if adapter_id == serving.canary:
            move(session, adapter_id, S.CANARY, actor="bot", comment="loaded")
        else:
            retire_live(session, actor="bot")
            move(session, adapter_id, S.LIVE, actor="bot", comment="loaded")
    return True


def retire_live(session: Session, *, actor: str, but: str = "") -> None:
    for other in session.exec(select(Adapter).where(Adapter.state == S.LIVE, Adapter.id != but)):
        gone = adapters.rests_on_erased(other)
        move(session, other.id, S.QUARANTINED if gone else S.RETIRED, actor=actor, comment=ERASED if gone else "")


def change_canary(
    database: Database,
    *,
    actor: str,
    comment: str,
    share: float | None = None,
    testers: Sequence[str] | None = None,
    of: str | None = None,
    approvers: int = 1,
) -> tuple[Deployment, bool]:
    """Give the canary another share or other testers; None leaves them as they are, share 1 completes it.

    With `of` it must be that adapter: another one may have begun since whoever decides looked. Where `approvers` is 2
    or more, a share above the one in force is only noted until so many agree to it and to the testers; those who did
    before count while that is their last word and they are admins.

    Returns what is deployed then, and whether the change was only noted.

    Raises Conflict when no canary runs or another one than `of`, Invalid for a wrong share or without a comment,
    NotFound for an unknown tester.
    """
    need_comment(comment, "changing the share of")
    with database.write() as session:
        row = deployment(session)
        if of not in (None, row.canary):
            runs = f"{row.canary} is" if row.canary else "no canary runs"
            raise Conflict(f"adapter {of} is not the canary any more, {runs}: nothing was changed.")
        if row.canary is None:
            raise Conflict("no canary runs.", "Approve an adapter with a share below 1 to start one.")
        wanted = row.share if share is None else share
        ids = row.testers if testers is None else _ids(session, testers)
        if wanted == EVERYBODY and testers is None:
            ids = []
        _check_share(wanted, ids)
        canary, larger = get(session, row.canary), wanted > row.share
        if larger and adapters.rests_on_erased(canary):
            raise Conflict(f"adapter {canary.id} cannot get a larger share: {ERASED}.", "Roll it back.")
        said: dict[str, Any] = {"actor": actor, "comment": comment, "share": wanted, "testers": ids}
        if larger and approvers > 1 and not _agreed(session, canary, needed=approvers, **said):
            return row, True
        if wanted == EVERYBODY:
            return _complete(session, canary, actor=actor, comment=comment), False
        deploy(session, row.adapter, actor=actor, comment=comment, canary=canary.id, share=wanted, testers=ids)
        return row, False


def _agreed(session: Session, canary: Adapter, *, needed: int, share: float, **said: Any) -> bool:
    """Whether so many people agree to a canary's larger share, or agree to a still larger one."""
    within = approvals.covers(session, canary, needed=needed, share=share, testers=said["testers"])
    return within or approvals.enough(session, canary, needed=needed, share=share, **said)


def _complete(session: Session, row: Adapter, *, actor: str, comment: str) -> Deployment:
    """Give everybody the canary; one that no bot has loaded yet goes live when a bot has.

    It replaces what serves the others now, which may be another one than when it was approved.
    """
    row.replaced = deployment(session).adapter
    session.add(row)
    if row.state == S.CANARY:
        retire_live(session, actor=actor)
        move(session, row.id, S.LIVE, actor=actor, comment=comment, decided_at=now())
    return deploy(session, row.id, actor=actor, comment=comment)
