"""What was said before in a conversation: which one a request continues, its turns, its title, its adapter."""

import hashlib
import json
from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from store.columns import new_id
from store.database import Database
from store.errors import NotFound
from store.models import Conversation, Exchange

MAX_TITLE = 80


def history_digest(person_id: str, messages: Iterable[dict[str, str]]) -> str:
    """What a conversation without an id is recognised by: person, and the turns up to our last answer."""
    turns = [[m["role"], m["content"].strip()] for m in messages if m["role"] in ("user", "assistant")]
    return hashlib.sha256(json.dumps([person_id, turns]).encode()).hexdigest()


def find_conversation(
    database: Database,
    *,
    person_id: str,
    conversation_id: str | None,
    messages: Sequence[dict[str, str]],
    replaces: str | None = None,
) -> tuple[str, str | None]:
    """The conversation that `messages` continue and the exchange before them: (conversation id, parent id or None).

    Without an id the history decides; no match gives the id of a new conversation, which `begin` enters with its first
    exchange. `replaces` names the exchange that is asked again or edited: the new one becomes its sibling. Raises
    NotFound for an unknown id.
    """
    if replaces is not None:
        return _beside(database, replaces, person_id)
    answered = max((i + 1 for i, m in enumerate(messages) if m["role"] == "assistant"), default=0)
    with database.read() as session:
        if conversation_id is not None:
            found = session.get(Conversation, conversation_id)
            if found is None or found.person_id != person_id:
                raise NotFound(f"no conversation {conversation_id}.", "Leave conversation_id out to start a new one.")
            return found.id, _last_exchange(session, found.id)
        if answered:
            digest = history_digest(person_id, messages[:answered])
            query = select(Exchange).where(Exchange.history_digest == digest).order_by(col(Exchange.created_at).desc())
            parent = session.exec(query.limit(1)).first()
            if parent is not None:
                return parent.conversation_id, parent.id
    return new_id("co"), None


def _beside(database: Database, exchange_id: str, person_id: str) -> tuple[str, str | None]:
    with database.read() as session:
        row = session.get(Exchange, exchange_id)
    if row is None or row.person_id != person_id:
        raise NotFound(f"no exchange {exchange_id}.", "Leave `replaces` out to ask a new question.")
    return row.conversation_id, row.parent_id


def _last_exchange(session: Session, conversation_id: str) -> str | None:
    query = select(Exchange.id).where(Exchange.conversation_id == conversation_id)
    return session.exec(query.order_by(col(Exchange.created_at).desc()).limit(1)).first()


def pinned(database: Database, conversation_id: str) -> str | None:
    """The adapter that answered in a conversation last."""
    with database.read() as session:
        found = session.get(Conversation, conversation_id)
        return None if found is None else found.pinned_adapter


def title_of(messages: Sequence[dict[str, str]]) -> str:
    """What a conversation is called until somebody renames it: the beginning of its first question."""
    return next((m["content"] for m in messages if m["role"] == "user"), "").strip()[:MAX_TITLE]


def turns(session: Session, exchange_id: str | None, *, characters: int | None = None) -> list[dict[str, str]]:
    """The questions and answers up to and including an exchange, oldest first; the newest that fit in `characters`."""
    found: list[dict[str, str]] = []
    room = float("inf") if characters is None else characters
    while exchange_id is not None:
        exchange = session.get(Exchange, exchange_id)
        if exchange is None:
            break
        if exchange.answer:
            room -= len(exchange.question) + len(exchange.answer)
            if room < 0:
                break
            found[:0] = [
                {"role": "user", "content": exchange.question},
                {"role": "assistant", "content": exchange.answer},
            ]
        exchange_id = exchange.parent_id
    return found
