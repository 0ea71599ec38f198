"""People's own conversations: listing, searching, renaming, deleting, and whether they may be trained on.

It decides nothing about who may ask; `bot/api_conversations.py` does.
"""

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, delete, or_, select, update

from store import audit, paging, requests, staleness
from store.database import Database
from store.errors import Invalid, NotFound
from store.models import (
    Adapter,
    CaseLabel,
    Conversation,
    Embedding,
    Exchange,
    ExchangePassage,
    Feedback,
    JudgeLabel,
    Label,
    Person,
    Preview,
    TaughtAnswer,
)

MAX_TITLE = 200
_AT_ONCE = 500


def page(
    session: Session, person_id: str, *, limit: int, before: str | None = None, text: str = ""
) -> list[Conversation]:
    """Somebody's conversations, newest first; with `text`, those whose title, questions or answers hold it."""
    query = select(Conversation).where(Conversation.person_id == person_id)
    if text.strip():
        words = text.strip()
        said = select(Exchange.conversation_id).where(Exchange.person_id == person_id, _holds(words))
        query = query.where(
            or_(col(Conversation.title).icontains(words, autoescape=True), col(Conversation.id).in_(said))
        )
    return list(session.exec(paging.newest(session, query, Conversation, limit=limit, before=before)))


def _holds(words: str) -> ColumnElement[bool]:
    found = (col(part).icontains(words, autoescape=True) for part in (Exchange.question, Exchange.answer))
    return or_(*found)


def owned(session: Session, conversation_id: str, person_id: str) -> Conversation:
    """Somebody's own conversation; raises NotFound for another person's too."""
    row = session.get(Conversation, conversation_id)
    if row is None or row.person_id != person_id:
        raise NotFound(f"no conversation {conversation_id}.")
    return row


def change(
    database: Database,
    conversation_id: str,
    *,
    person_id: str,
    title: str | None = None,
    trainable: bool | None = None,
) -> Conversation:
    """Rename a conversation, or say whether it may be trained on; None leaves it as it is.

    Taking it out also takes out what was said in it so far; putting it back in holds for what is said from then on.
    Raises NotFound, or Invalid for an empty or over-long title.
    """
    with database.write() as session:
        row = owned(session, conversation_id, person_id)
        if title is not None:
            row.title = _title(title)
        if trainable is not None:
            row.trainable = trainable
            if not trainable:
                keep_out(session, col(Exchange.conversation_id) == conversation_id)
        session.add(row)
    return row


def _title(text: str) -> str:
    title = " ".join(text.split())
    if not title or len(title) > MAX_TITLE:
        raise Invalid(f"the title has {len(title)} characters, expected 1 to {MAX_TITLE}.")
    return title


def keep_out(session: Session, which: ColumnElement[bool]) -> None:
    """Take logged exchanges out of everything that is trained on or measured."""
    session.execute(update(Exchange).where(which).values(trainable=False))


def consent(database: Database, person_id: str, *, agrees: bool) -> Person:
    """Keep whether somebody's chats may be trained on; no takes out all that they said so far."""
    with database.write() as session:
        row = session.get_one(Person, person_id)
        row.consent = agrees
        session.add(row)
        if not agrees:
            keep_out(session, col(Exchange.person_id) == person_id)
        audit.record(
            session, actor=person_id, action="consent.given" if agrees else "consent.withdrawn", subject=row.id
        )
    return row


def remove(database: Database, conversation_id: str, *, person_id: str) -> dict[str, int]:
    """Delete a conversation with all that was said in it; adapters trained on it are flagged. Raises NotFound."""
    with database.write() as session:
        row = owned(session, conversation_id, person_id)
        ids = list(session.exec(select(Exchange.id).where(Exchange.conversation_id == conversation_id)))
        counts = {"exchanges": len(ids), "adapters_flagged": flag_adapters(session, set(ids))}
        forget(session, ids)
        session.delete(row)
        audit.record(session, actor=person_id, action="conversation.deleted", subject=conversation_id, details=counts)
    return counts


def remove_all(database: Database, person_id: str) -> dict[str, int]:
    """Delete everything somebody said; their account stays. Adapters trained on it are flagged."""
    with database.write() as session:
        ids = list(session.exec(select(Exchange.id).where(Exchange.person_id == person_id)))
        counts = {"exchanges": len(ids), "adapters_flagged": flag_adapters(session, set(ids))}
        forget(session, ids)
        forget_feedback(session, person_id)
        session.exec(delete(Preview).where(col(Preview.person_id) == person_id))
        session.exec(delete(Conversation).where(col(Conversation.person_id) == person_id))
        audit.record(session, actor=person_id, action="data.deleted", subject=person_id, details=counts)
    return counts


def forget(session: Session, exchange_ids: list[str]) -> None:
    """Delete exchanges and every row that hangs on them; the scheduler takes them out of its files."""
    requests.forget(session, exchange_ids)
    for start in range(0, len(exchange_ids), _AT_ONCE):
        ids = exchange_ids[start : start + _AT_ONCE]
        for table in (Label, JudgeLabel, CaseLabel, TaughtAnswer, Feedback, ExchangePassage, Embedding):
            session.exec(delete(table).where(col(table.exchange_id).in_(ids)))
        session.exec(delete(Exchange).where(col(Exchange.id).in_(ids)))


def forget_feedback(session: Session, person_id: str) -> None:
    """Delete what somebody said of answers, other people's too; the scheduler takes these out of its files.

    A correction that somebody else wrote of an answer that they had rated stays without the rating, with what its
    author said beside it.
    """
    said = col(Feedback.person_id) == person_id
    rated = col(Feedback.rated_by) == person_id
    requests.forget(session, session.exec(select(Feedback.exchange_id).where(or_(said, rated))).all())
    session.exec(delete(Feedback).where(said))
    for row in session.exec(select(Feedback).where(rated)):
        row.rating, row.rated_by, row.rated_at = None, None, None
        if not row.correction:  # Of a corrected one they are by who corrected, or by who asked.
            row.reasons, row.comment = [], ""
        session.add(row)


def flag_adapters(session: Session, exchange_ids: set[str]) -> int:
    """Note in the lineage of adapters which of their examples were deleted; returns how many adapters that are."""
    flagged = 0
    for adapter in session.exec(select(Adapter)):
        gone = sorted(exchange_ids & {learned for learned, _ in staleness.learned_from(adapter.lineage)})
        if gone:
            deleted = sorted({*adapter.lineage.get("deleted", []), *gone})
            adapter.lineage = {**adapter.lineage, "deleted": deleted}
            session.add(adapter)
            flagged += 1
    return flagged
