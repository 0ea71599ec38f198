"""The golden set over HTTP, for admins: which exchanges every candidate is measured on, and adding one.

The set itself is `store/golden.py`. The routes stand under those of `bot/api_admin.py`, which need an admin.
"""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from bot.api_parts import Admin, Text, WithPage, WithParts, listing
from store import golden

router = APIRouter(prefix="/golden")


class Addition(BaseModel):
    """An exchange for the golden set, and why."""

    exchange_id: str = Field(max_length=100)
    comment: Text = Field("", max_length=5_000)


@router.get("")
def list_golden(parts: WithParts, page: WithPage) -> dict[str, Any]:
    """The exchanges of the golden set, in order of id, each with how many evaluations have asked it."""
    with parts.database.read() as session:
        members = golden.looks(session)
    after = [member for member in members if page.cursor is None or member > page.cursor]
    return listing(after[: page.limit + 1], page, lambda member: {"id": member, "evaluations": members[member]})


@router.post("")
def add_golden(body: Addition, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Hold an exchange with an approved answer out of training for ever."""
    golden.add(parts.database, body.exchange_id, actor=admin.person.id, comment=body.comment)
    return {"id": body.exchange_id}
