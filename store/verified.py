"""Answers that a reviewer wrote or approved, as they may be shown to others who ask the same (reading only)."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, String, cast, extract
from sqlmodel import Session, col, func, or_, select

from store import answers, documents, staleness
from store.models import Adapter, Exchange, Feedback

MOST = 5_000
"""Approved answers that are looked through, the newest first."""

State = tuple[Any, ...]


@dataclass(frozen=True)
class VerifiedAnswer:
    """A question with the answer that a reviewer stands behind, without its citation markers.

    A follow-up question is what was searched for, the turns before it included: by itself it asks of anything.
    `digest` is that of question and answer as they were written.
    """

    exchange_id: str
    question: str
    answer: str
    digest: str
    changed_at: datetime


def state(session: Session) -> State:
    """How many answers are approved and the sum of when each last changed: while they are the same, so are the answers.

    The newest time alone would not tell, as a clock may have been ahead. SQLite counts whole seconds since 1970; their
    fraction is summed beside them.
    """
    at = col(Feedback.updated_at)
    sums = [func.sum(extract("epoch", at))]
    if session.get_bind().dialect.name == "sqlite":
        sums.append(func.sum(cast(func.substr(cast(at, String), len("2026-01-01 00:00:00.") + 1), Integer)))
    return tuple(session.exec(_query(func.count(), func.max(at), *sums)).one())


def approved(session: Session) -> list[VerifiedAnswer]:
    """All approved answers, newest first, of exchanges whose person agreed; those that decline are left out."""
    found = (_read(exchange, feedback) for exchange, feedback in session.exec(_newest(Exchange, Feedback)))
    return [one for one in found if one is not None]


def standing(session: Session, exchange_id: str) -> VerifiedAnswer | None:
    """The answer as it is approved now; None where it is not any more, or what it rests on cannot be retrieved.

    One over a verified answer rests on that, which must stand itself, with the text that was shown.
    """
    waiting: list[tuple[str, str | None]] = [(exchange_id, None)]
    found: dict[str, VerifiedAnswer] = {}
    while waiting:
        key, shown = waiting.pop()
        if key not in found:
            row = session.exec(_query(Exchange, Feedback).where(Exchange.id == key)).first()
            answer = None if row is None else _read(*row)
            basis = [] if row is None else _basis(*row)
            if answer is None or staleness.among(session, basis):
                return None
            found[key] = answer
            waiting += [(passage["verified"], passage["digest"]) for passage in basis if passage.get("verified")]
        if shown not in (None, documents.text_digest(found[key].answer)):
            return None
    return found[exchange_id]


def passed_by(session: Session, adapter_id: str, answer: VerifiedAnswer) -> bool:
    """Whether an adapter gives that very answer by itself, as its evaluation found.

    An evaluation keeps the digest of what was approved then; an older one kept none, and holds for what has not changed
    since its adapter was made.
    """
    row = session.get(Adapter, adapter_id)
    kept = row.report.get("verified", {}).get(answer.exchange_id) if row is not None else None
    if row is None or not kept:
        return False
    return answer.changed_at <= row.created_at if kept is True else bool(kept == answer.digest)


def digest_of(exchange: Exchange, feedback: Feedback) -> str:
    """What an evaluation keeps of an approved answer that an adapter passed: another text is another answer."""
    text = json.dumps([_asked(exchange), feedback.correction])
    return hashlib.sha256(text.encode()).hexdigest()


def _asked(exchange: Exchange) -> str:
    return exchange.search_query or exchange.question


def _basis(exchange: Exchange, feedback: Feedback) -> list[dict[str, Any]]:
    """The passages that a correction cites; all that were shown where it cites none of them."""
    numbers = answers.cited_numbers(feedback.correction)
    return [passage for passage in exchange.passages if passage["n"] in numbers] or exchange.passages


def _read(exchange: Exchange, feedback: Feedback) -> VerifiedAnswer | None:
    if answers.declined(feedback.correction):
        return None
    text = answers.without_citations(feedback.correction)
    return VerifiedAnswer(exchange.id, _asked(exchange), text, digest_of(exchange, feedback), feedback.updated_at)


def _newest(*columns: Any) -> Any:
    return _query(*columns).order_by(col(Feedback.updated_at).desc(), col(Exchange.id)).limit(MOST)


def _query(*columns: Any) -> Any:
    reviewed = or_(col(Feedback.approved_by).is_not(None), col(Feedback.by_reviewer))
    query = select(*columns).select_from(Exchange).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id))
    return query.where(Feedback.correction != "", col(Exchange.trainable).is_(True), reviewed)
