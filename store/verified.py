"""Answers that a reviewer wrote or approved, as they may be shown to others who ask the same (reading only)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, or_, select

from store import answers, staleness
from store.models import Adapter, Exchange, Feedback, Person, Role

MOST = 5_000
"""Approved answers that are looked through, the newest first."""


@dataclass(frozen=True)
class VerifiedAnswer:
    """A question with the answer that a reviewer stands behind, without its citation markers.

    A follow-up question is what was searched for, the turns before it included: by itself it asks of anything.
    """

    exchange_id: str
    question: str
    answer: str


def changed_at(session: Session) -> datetime | None:
    """When feedback last changed: what was read before is out of date."""
    return session.exec(select(func.max(Feedback.updated_at))).one()


def approved(session: Session, *, most: int = MOST) -> list[VerifiedAnswer]:
    """All approved answers, newest first, of exchanges whose person agreed; those that decline are left out."""
    query = _query().order_by(col(Feedback.updated_at).desc()).limit(most)
    return [
        VerifiedAnswer(
            exchange.id, exchange.search_query or exchange.question, answers.without_citations(feedback.correction)
        )
        for exchange, feedback in session.exec(query)
        if not answers.declined(feedback.correction)
    ]


def still(session: Session, exchange_id: str) -> bool:
    """Whether an answer is approved now and everything that it rests on can still be retrieved."""
    found = session.exec(_query().where(Exchange.id == exchange_id)).first()
    if found is None:
        return False
    exchange, feedback = found
    cited = set(answers.cited_numbers(feedback.correction))
    basis = [passage for passage in exchange.passages if not cited or passage["n"] in cited]
    return not staleness.among(session, basis)


def passed_by(session: Session, adapter_id: str, exchange_id: str) -> bool:
    """Whether an adapter answers that question by itself, as its evaluation found."""
    row = session.get(Adapter, adapter_id)
    return bool(row is not None and row.report.get("verified", {}).get(exchange_id))


def _query() -> Any:
    written = or_(col(Feedback.approved_by).is_not(None), Person.role != Role.CHAT)
    query = select(Exchange, Feedback).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id))
    query = query.join(Person, col(Person.id) == col(Feedback.person_id), isouter=True)
    return query.where(Feedback.correction != "", col(Exchange.trainable).is_(True), written)
