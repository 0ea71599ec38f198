"""What must hold of an adapter before it can be approved: its state, its report, the gate's signature, the time.

Its files are checked in `store/deployments.py`, before the database is locked.
"""

from datetime import timedelta

from sqlmodel import Session

from store import adapters, cycles
from store.errors import Conflict
from store.models import Adapter, Cycle, Deployment, now
from store.models import AdapterState as S
from store.signing import SIGNATURE, Signer, signed_text


def check(row: Adapter, serving: Deployment, signer: Signer | None, report_digest: str | None) -> None:
    """Raises Conflict, with what to do, where an adapter cannot be approved beside what serves.

    With a `report_digest` its report must be that one: whoever decides has read it.
    """
    if row.state not in (S.AWAITING_APPROVAL, S.CANDIDATE):
        raise Conflict(f"adapter {row.id} is {row.state}: only one that awaits approval can be approved.")
    if row.state == S.CANDIDATE:
        raise Conflict(
            f"adapter {row.id} has not passed the gate.",
            "Run `python -m scheduler once`: only adapters with the verdict promote can be approved.",
        )
    if adapters.rests_on_erased(row):
        raise Conflict(
            f"adapter {row.id} cannot be approved: {adapters.ERASED}.", "Run a cycle: the next one is trained without."
        )
    if report_digest is not None and row.report_digest != report_digest:
        raise Conflict(
            f"the report of adapter {row.id} is another one than you read: it was evaluated again since.",
            "Read it again, then decide.",
        )
    _check_evidence(row, signer)
    if serving.canary is not None:
        raise Conflict(
            f"adapter {serving.canary} is a canary for {serving.share:.0%} of the conversations.",
            "Complete it with share 1 or roll it back, then approve the next one.",
        )


def _check_evidence(row: Adapter, signer: Signer | None) -> None:
    if row.report_digest != adapters.report_digest(row.report):
        raise Conflict(f"the report of adapter {row.id} does not match the digest it was gated with.")
    if signer is not None and not signer.verifies(signed_text(row), row.verdict.get(SIGNATURE, "")):
        raise Conflict(
            f"what the gate signed of adapter {row.id} is not what the database holds now.",
            "After an upgrade, or to be sure, run a cycle: what it trains is evaluated and signed anew.",
        )


def check_in_time(session: Session, row: Adapter, days: float | None) -> None:
    """Raises Conflict for a decision on old figures, also where no scheduler runs that lets adapters expire."""
    cycle = session.get(Cycle, row.cycle_id) if row.cycle_id else None
    if days is not None and cycle is not None and now() - cycles.gated_at(session, cycle) > timedelta(days=days):
        raise Conflict(
            f"adapter {row.id} passed the gate more than {days:g} days ago: its approval has expired.",
            "Run a cycle: what it trains is evaluated on today's log.",
        )
