"""Labelling held-out answers over HTTP, for admins, and letting the gate decide again with what was said."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from bot.api_parts import Admin, Name, Text, WithParts, admin_only
from bot.dossier import logged_case
from store import adapters, case_labels, interventions
from store.errors import NotFound

router = APIRouter(prefix="/adapters", dependencies=[Depends(admin_only)])


class CaseWord(BaseModel):
    """Whether an answer, named by the digest of its text, is right."""

    answer: Name
    value: bool


class Again(BaseModel):
    """Why the gate is to decide again."""

    comment: Text = Field("", max_length=5_000)


@router.get("/{adapter_id}/label-next")
def label_next(
    adapter_id: str, parts: WithParts, case: Annotated[str | None, Query(max_length=100)] = None
) -> dict[str, Any]:
    """The next held-out case to label, or the one named, its answers in an order that tells nothing; how far one is.

    Each answer has the `value` that was said of it, null where nobody did, and `previous` names the case before.
    `looks` says with how many labelled cases the gate decided, `needed` from how many on it may again; null for never.
    """
    with parts.database.read() as session:
        row = adapters.get(session, adapter_id)
        found = case_labels.next_open(session, row)
        told: dict[str, Any] = {"labelled": found.labelled, "cases": found.cases}
        told["looks"] = row.report.get(case_labels.LOOKS, [])
        told["needed"] = case_labels.needed(row.report, found.cases, least=parts.min_labels, said=found.said)
        wanted = case or found.case_id
        told["previous"] = _before(list(found.asked), wanted, adapter_id)
        if wanted is None:
            return {**told, "next": None}
        shown = {"case_id": wanted, **logged_case(session, wanted)}
    answers = [
        {"digest": case_labels.digest_of(text), "text": text, "value": value}
        for text, value in found.asked[wanted].items()
    ]
    return {**told, "next": {**shown, "answers": sorted(answers, key=_digest)}}


def _before(order: list[str], case: str | None, adapter_id: str) -> str | None:
    """The case before one, before the end where that is None; raises NotFound for one that is not asked about."""
    if case is not None and case not in order:
        raise NotFound(f"adapter {adapter_id} was not measured on a case {case}.")
    place = len(order) if case is None else order.index(case)
    return order[place - 1] if place else None


def _digest(answer: dict[str, Any]) -> str:
    return str(answer["digest"])


@router.put("/{adapter_id}/cases/{case_id}/label")
def label_case(adapter_id: str, case_id: Name, body: CaseWord, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Say whether an answer to a held-out question is right."""
    row = case_labels.put(
        parts.database, adapter_id, case_id, answer=body.answer, value=body.value, actor=admin.person.id
    )
    return {"case_id": row.exchange_id, "answer": row.answer_digest, "value": row.value}


@router.post("/{adapter_id}/decide-again")
def decide_again(adapter_id: str, body: Again, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Let the gate decide again on a candidate that it could not tell about."""
    row = interventions.decide_again(
        parts.database, adapter_id, actor=admin.person.id, comment=body.comment, min_labels=parts.min_labels
    )
    return {"cycle_id": row.id, "state": row.state, "step": row.step}
