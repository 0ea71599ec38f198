"""Adapters over HTTP, for admins: what was measured, approving, canaries, rolling back, and blind previews.

Deciding is `store/deployments.py`; previews are answered by `bot/preview.py`. Every route needs an admin.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from bot import api_views
from bot.api_parts import Admin, Name, Parts, Text, WithPage, WithParts, admin_only, listing
from bot.dossier import dossier
from store import adapters, approvals, deployments, people, previews, rollbacks, staleness
from store.models import Adapter, Deployment

MAX_TESTERS = 100
router = APIRouter(prefix="/v1/admin", dependencies=[Depends(admin_only)])
Testers = Annotated[list[Name], Field(max_length=MAX_TESTERS)]


class Decision(BaseModel):
    """Why an adapter is rejected."""

    comment: Text = Field("", max_length=5_000)


class Approval(Decision):
    """Why an adapter is approved, and for whom: a share of the conversations, and people by name.

    With the `report_digest` of what was read it is refused where the report is another one by now.
    """

    share: float = deployments.EVERYBODY
    testers: Testers = []
    report_digest: Name | None = None


class CanaryChange(Decision):
    """Another share or other testers of the canary; what is null stays as it is, share 1 completes it.

    With `of` it is refused where another adapter is the canary by now.
    """

    share: float | None = None
    testers: Testers | None = None
    of: Name | None = None


class Rollback(Decision):
    """Why, and to which adapter, null is the one before; or which one is taken back, while that is deployed."""

    to: Name | None = None
    of: Name | None = None


class NewPreview(BaseModel):
    """A question for an adapter and what serves."""

    question: Text = Field(max_length=20_000)
    adapter: Name


class Choice(Decision):
    """Which answer is better: A, B or tie."""

    choice: Name


@router.get("/adapters")
def list_adapters(
    parts: WithParts, page: WithPage, state: Annotated[str | None, Query(max_length=30)] = None
) -> dict[str, Any]:
    """Adapters, newest first, of one state or all; `was_live` of those that answered everybody once."""
    with parts.database.read() as session:
        rows = adapters.page(session, limit=page.limit + 1, before=page.cursor, state=state)
        once = adapters.once_live(session, [row.id for row in rows])
    return listing(rows, page, lambda row: {**api_views.adapter(row), "was_live": row.id in once})


@router.get("/adapters/{adapter_id}")
def show_adapter(adapter_id: str, parts: WithParts) -> dict[str, Any]:
    """One adapter with its evaluation, the gate's verdict, and how many examples rest on what changed or went."""
    with parts.database.read() as session:
        row = adapters.get(session, adapter_id)
        rests = api_views.trained(staleness.trained_on(session, row.lineage))
        return {**api_views.adapter(row), **rests, "was_live": bool(adapters.once_live(session, [row.id]))}


@router.get("/adapters/{adapter_id}/dossier")
def show_dossier(adapter_id: str, parts: WithParts) -> dict[str, Any]:
    """Everything to decide on: what changed, on which data, each rule of the gate, wins and losses, cost, digests."""
    with parts.database.read() as session:
        return dossier(session, adapter_id, signer=parts.signer, approvers=parts.approvers, data=parts.data)


@router.post("/adapters/{adapter_id}/approve")
def approve_adapter(adapter_id: str, body: Approval, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Deploy an adapter that passed the gate, to everybody or as a canary; or agree, where a second person must.

    Its files must be those that were evaluated.
    """
    row = deployments.approve(
        parts.database,
        adapter_id,
        actor=admin.person.id,
        comment=body.comment,
        share=body.share,
        testers=body.testers,
        approvers=parts.approvers,
        signer=parts.signer,
        days=parts.approval_days,
        data=parts.data,
        report_digest=body.report_digest,
    )
    with parts.database.read() as session:
        missing = approvals.missing(session, row, needed=parts.approvers)
    return {**api_views.adapter(row), "approvals_missing": missing}


@router.post("/adapters/{adapter_id}/reject")
def reject_adapter(adapter_id: str, body: Decision, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Refuse an adapter."""
    row = adapters.reject(parts.database, adapter_id, actor=admin.person.id, comment=body.comment)
    return api_views.adapter(row)


@router.post("/canary")
def change_canary(body: CanaryChange, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Give the canary another share or other testers, or complete it; or agree to that, where more people must."""
    row, noted = deployments.change_canary(
        parts.database,
        actor=admin.person.id,
        comment=body.comment,
        share=body.share,
        testers=body.testers,
        of=body.of,
        approvers=parts.approvers,
    )
    with parts.database.read() as session:
        canary = session.get(Adapter, row.canary) if noted else None
        missing = approvals.missing(session, canary, needed=parts.approvers) if canary is not None else 0
    return {**_deployed(parts, row), "approvals_missing": missing}


@router.post("/rollback")
def roll_back(body: Rollback, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Take the canary back, else return to the adapter before, or to the one named; `of` is taken back alone."""
    row = rollbacks.rollback(parts.database, actor=admin.person.id, comment=body.comment, to=body.to, of=body.of)
    return _deployed(parts, row)


def _deployed(parts: Parts, row: Deployment) -> dict[str, Any]:
    with parts.database.read() as session:
        return api_views.deployment(row, people.names(session, row.testers))


@router.post("/previews")
def preview(body: NewPreview, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Let an adapter and what serves answer a question over the same passages, in an order that is not told."""
    return api_views.preview(parts.previewer.answer(body.question, body.adapter, admin.person.id))


@router.post("/previews/{preview_id}/choice")
def choose(preview_id: str, body: Choice, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Say which answer is better and see which was whose."""
    row = previews.choose(parts.database, preview_id, choice=body.choice, comment=body.comment, actor=admin.person.id)
    return api_views.preview(row)


@router.get("/previews")
def list_previews(
    parts: WithParts, page: WithPage, adapter: Annotated[str | None, Query(max_length=100)] = None
) -> dict[str, Any]:
    """Previews, newest first, with a tally of what was preferred."""
    with parts.database.read() as session:
        rows = previews.page(session, limit=page.limit + 1, before=page.cursor, adapter_id=adapter)
        return {**listing(rows, page, api_views.preview), "tally": previews.tally(session, adapter)}
