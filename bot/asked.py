"""What is asked of admins: to agree to what others want of an adapter, and to answer for one that is watched.

It decides nothing: who counts is `store/approvals.py`.
"""

from collections.abc import Sequence
from typing import Any

from sqlmodel import Session

from store import adapters, approvals, cycles, people
from store.models import Adapter, AuditEntry, Cycle, CycleState, Deployment

LONGEST_REASON = 300


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


def watch_asks(session: Session, serving: Deployment, open_cycles: Sequence[Cycle]) -> list[dict[str, Any]]:
    """What the watch asks of what is deployed, as sentences; of a watch that `failed` it may be tried again."""
    asked = [
        (one, said)
        for one in open_cycles
        if one.state == CycleState.WATCHING and (said := cycles.asks(session, one.id))
    ]
    deployed = [one for one in (serving.adapter, serving.canary) if one is not None]
    failed = [(one, _unwatched(one)) for one in cycles.failed_watches(session, deployed)]
    return [
        {
            "cycle_id": one.id,
            "adapter": one.adapter_id,
            "sentence": said,
            "canary": one.adapter_id == serving.canary,
            "failed": one.state == CycleState.FAILED,
        }
        for one, said in failed + asked
    ]


def _unwatched(cycle: Cycle) -> str:
    """That nobody looks after an adapter, with the first line of what went wrong."""
    why = next(iter(cycle.error.strip().splitlines()), "it said nothing")[:LONGEST_REASON].rstrip(". ")
    return f"the watch of {cycle.adapter_id} failed ({why}): try again, or roll it back."
