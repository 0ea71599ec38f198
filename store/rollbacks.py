"""Taking an adapter back: rollbacks, adapters of another base model set aside, broken ones quarantined.

What is deployed otherwise changes in `store/deployments.py`.
"""

from sqlmodel import Session

from store import cycles
from store.adapters import ERASED, get, move, need_comment, once_live, rests_on_erased
from store.database import Database
from store.deployments import deploy, deployment, retire_live
from store.errors import Conflict, Invalid
from store.models import BASE, Adapter, Deployment, now
from store.models import AdapterState as S


def rollback(
    database: Database, *, actor: str, comment: str, to: str | None = None, of: str | None = None
) -> Deployment:
    """Take the deployed adapter back and return to the one it replaced, or to `to` (`base` is always possible).

    While a canary runs it is the canary that is taken back, and what serves the others stays; `to` ends it as well.
    With `of` only that adapter is taken back: what serves beside a canary too, and the canary goes on then. An empty
    name, as of a field that was left empty, names none.

    Raises Conflict when the base already serves, the target never was live, or `of` is not deployed; NotFound for an
    unknown adapter; Invalid without a comment, or with both `to` and `of`.
    """
    need_comment(comment, "rolling back")
    to, of = to or None, of or None
    if to is not None and of is not None:
        raise Invalid(
            f"found both: return to {to}, and take {of} back.", "Name the one to return to, or the one to take back."
        )
    with database.write() as session:
        row = deployment(session)
        if of is not None and get(session, of).id not in (row.canary, row.adapter):
            raise Conflict(f"adapter {of} is not deployed any more: there is nothing to roll back.")
        if row.canary is not None and of == row.adapter:
            return _from_under_canary(session, row, actor=actor, comment=comment)
        if row.canary is not None and to in (None, row.adapter):
            return _end_canary(session, row, actor=actor, comment=comment)
        if row.adapter == BASE and to in (None, BASE):
            raise Conflict("the base model serves already: there is nothing to roll back.")
        target = to or _before(session, row.adapter)
        if target == row.adapter:
            raise Conflict(f"{target} serves already.")
        if target != BASE and not _was_live(session, target):
            raise Conflict(
                f"adapter {target} is {get(session, target).state}: only one that was live can come back.",
                "Run a cycle: what it trains can be approved.",
            )
        if target != BASE and rests_on_erased(get(session, target)):
            raise Conflict(f"adapter {target} cannot come back: {ERASED}.")
        if row.canary is not None:
            _take(session, row.canary, actor=actor, comment=comment)
        if row.adapter != BASE and get(session, row.adapter).state in (S.LIVE, S.APPROVED):
            _take(session, row.adapter, actor=actor, comment=comment)
        return _return_to(session, target, actor=actor, comment=comment)


def _take(session: Session, adapter_id: str, *, actor: str, comment: str) -> None:
    """Take an adapter back: it may return, unless it rests on what an erased person said."""
    gone = rests_on_erased(get(session, adapter_id))
    move(session, adapter_id, S.QUARANTINED if gone else S.ROLLED_BACK, actor=actor, comment=comment)


def _end_canary(session: Session, row: Deployment, *, actor: str, comment: str) -> Deployment:
    _take(session, row.canary or "", actor=actor, comment=comment)
    return deploy(session, row.adapter, actor=actor, comment=comment)


def _from_under_canary(session: Session, row: Deployment, *, actor: str, comment: str) -> Deployment:
    target = _before(session, row.adapter)
    _take(session, row.adapter, actor=actor, comment=comment)
    return _return_beside(session, row, target, actor=actor, comment=comment)


def _before(session: Session, adapter_id: str) -> str:
    """What an adapter replaced, or what that one did: none that was itself taken back, is out of use or must be."""
    target = get(session, adapter_id).replaced
    while target != BASE and not _may_return(get(session, target)):
        target = get(session, target).replaced
    return target


def _may_return(row: Adapter) -> bool:
    return row.state in (S.LIVE, S.RETIRED) and not rests_on_erased(row)


def _was_live(session: Session, adapter_id: str) -> bool:
    """Whether an adapter can serve again; it is still live when the one that replaced it was never loaded.

    Of those taken back only one that was live: what was a canary, or was never loaded, nobody gave to everybody.
    """
    state = get(session, adapter_id).state
    return state in (S.LIVE, S.RETIRED) or (state == S.ROLLED_BACK and bool(once_live(session, [adapter_id])))


def _return_to(session: Session, target: str, *, actor: str, comment: str) -> Deployment:
    """Deploy what was live once; one that was taken back itself is watched anew, from now on."""
    retire_live(session, actor=actor, but=target)
    if target != BASE and get(session, target).state == S.ROLLED_BACK:
        move(session, target, S.LIVE, actor=actor, comment=comment, decided_at=now())
        cycles.watch_again(session, target)
    elif target != BASE and get(session, target).state != S.LIVE:
        move(session, target, S.LIVE, actor=actor, comment=comment)
    return deploy(session, target, actor=actor, comment=comment)


def set_aside(database: Database, adapter_id: str, *, actor: str, comment: str) -> None:
    """Take an adapter back that this base model cannot take: the base serves, or what serves beside a canary.

    That is no fault of the adapter's: a rollback to it brings it back. Nothing is done where it is not deployed.
    """
    with database.write() as session:
        row = deployment(session)
        if row.canary == adapter_id:
            _end_canary(session, row, actor=actor, comment=comment)
        elif row.adapter == adapter_id:
            _take(session, adapter_id, actor=actor, comment=comment)
            _return_beside(session, row, BASE, actor=actor, comment=comment)


def quarantine(database: Database, adapter_id: str, *, actor: str, comment: str) -> None:
    """Take an adapter out of use for good and note why; if it is deployed, what served before it serves alone.

    A canary of another adapter goes on beside what is returned to.
    """
    with database.write() as session:
        row, serving = get(session, adapter_id), deployment(session)
        if row.state == S.QUARANTINED:
            return
        move(session, adapter_id, S.QUARANTINED, actor=actor, comment=comment, note=f"{row.note} {comment}".strip())
        if serving.canary == adapter_id:
            deploy(session, serving.adapter, actor=actor, comment=comment)
        elif serving.adapter == adapter_id:
            _return_beside(session, serving, _before(session, adapter_id), actor=actor, comment=comment)


def _return_beside(session: Session, row: Deployment, target: str, *, actor: str, comment: str) -> Deployment:
    """Return to `target`; a canary goes on beside it."""
    canary, share, testers = row.canary, row.share, row.testers
    back = _return_to(session, target, actor=actor, comment=comment)
    back.canary, back.share, back.testers = canary, share, testers
    session.add(back)
    return back
