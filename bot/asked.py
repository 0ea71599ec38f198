"""What admins have asked for of an adapter that too few people agree to yet, for the others to see and agree to.

It decides nothing: who counts is `store/approvals.py`.
"""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from store import adapters, approvals, people
from store.models import Adapter, AuditEntry, Deployment


def asked_for(
    session: Session, serving: Deployment, waiting: Sequence[Adapter], *, approvers: int, me: str
) -> list[dict[str, Any]]:
    """The approvals and the larger shares of the canary that wait for more people, the newest of each adapter first.

    `mine` says whether the caller, by id, is among those who ask, `canary` whether it is a larger share of that one.
    """
    if approvers < 2:
        return []
    found = [(row, agreed) for row in waiting for agreed in approvals.open_terms(session, row, needed=approvers)]
    if serving.canary is not None:
        canary = adapters.get(session, serving.canary)
        larger = approvals.open_terms(session, canary, needed=approvers, above=serving.share)
        found += [(canary, agreed) for agreed in larger]
    shown = [(row.id == serving.canary, _shown(session, row, agreed, me)) for row, agreed in found]
    return [{**one, "canary": canary, "missing": approvers - len(one["by"])} for canary, one in shown]


def _shown(session: Session, row: Adapter, agreed: list[AuditEntry], me: str) -> dict[str, Any]:
    share, testers = approvals.terms_of(agreed[0])
    names = people.names(session, [*testers, *(entry.actor for entry in agreed)])
    return {
        "adapter": row.id,
        "share": share,
        "testers": sorted(names.get(one, one) for one in testers),
        "by": [{"name": names.get(one.actor, one.actor), "comment": one.comment} for one in agreed],
        "mine": any(entry.actor == me for entry in agreed),
    }
