"""Learned weights of retrieval over HTTP, for admins: what was measured, approving, rejecting, rolling back.

Deciding is `store/rankings.py`. The routes stand under those of `bot/api_admin.py`, which need an admin.
"""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from bot.api_parts import Admin, Text, WithPage, WithParts, listing
from bot.api_views import moment
from store import rankings
from store.models import Ranking

router = APIRouter(prefix="/rankings")
_SHOWN = (
    *("id", "state", "weights", "metrics", "verdict", "digest", "compared_with", "previous", "cycle_id", "comment"),
)


class Decision(BaseModel):
    """Why weights are approved, rejected or taken back."""

    comment: Text = Field("", max_length=5_000)


@router.get("")
def list_rankings(parts: WithParts, page: WithPage) -> dict[str, Any]:
    """Learned weights, newest first, and the id of those in force, null for the default."""
    with parts.database.read() as session:
        rows = rankings.page(session, limit=page.limit + 1, before=page.cursor)
        current = rankings.in_force(session)
    return {**listing(rows, page, view), "in_force": current.id if current is not None else None}


@router.post("/rollback")
def roll_back(body: Decision, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Take the weights in force back and return to those before; null is the default."""
    before = rankings.rollback(parts.database, actor=admin.person.id, comment=body.comment)
    return {"in_force": before or None}


@router.post("/{ranking_id}/approve")
def approve_ranking(ranking_id: str, body: Decision, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Put weights in force that passed the gate; every search uses them within a second where they are learned."""
    return view(rankings.approve(parts.database, ranking_id, actor=admin.person.id, comment=body.comment))


@router.post("/{ranking_id}/reject")
def reject_ranking(ranking_id: str, body: Decision, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Refuse weights."""
    return view(rankings.reject(parts.database, ranking_id, actor=admin.person.id, comment=body.comment))


def view(row: Ranking) -> dict[str, Any]:
    """Learned weights and everything that was decided about them, as JSON."""
    return {
        **{name: getattr(row, name) for name in _SHOWN},
        "reasons": row.verdict.get("reasons", []),
        "created_at": moment(row.created_at),
        "decided_at": moment(row.decided_at),
    }
