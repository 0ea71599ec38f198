"""Over HTTP: one's own conversations, one's consent to training, and deleting what one said.

It decides who may do what; the rows are `store/conversations.py`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bot import api_views
from bot.api_parts import AnyCaller, Text, WithPage, WithParts, listing
from store import conversations, exchanges
from store.errors import NotFound
from store.models import Conversation, Role

router = APIRouter(prefix="/v1")


class ConversationChange(BaseModel):
    """Another title, or whether the conversation may be trained on; what is null stays as it is."""

    title: Text | None = Field(None, max_length=conversations.MAX_TITLE)
    train: bool | None = None


class Consent(BaseModel):
    """Whether one's chats may be used for training."""

    consent: bool


@router.get("/conversations")
def list_conversations(
    caller: AnyCaller, parts: WithParts, page: WithPage, q: Annotated[Text, Query(max_length=200)] = ""
) -> dict[str, Any]:
    """The caller's conversations, newest first; with `q`, those in which it was said."""
    with parts.database.read() as session:
        rows = conversations.page(session, caller.person.id, limit=page.limit + 1, before=page.cursor, text=q)
    return listing(rows, page, api_views.conversation)


@router.get("/conversations/{conversation_id}")
def show_conversation(conversation_id: str, caller: AnyCaller, parts: WithParts) -> dict[str, Any]:
    """One of the caller's conversations with its exchanges, oldest first."""
    with parts.database.read() as session:
        row = session.get(Conversation, conversation_id)
        if row is None or (row.person_id != caller.person.id and not caller.has(Role.REVIEWER)):
            raise NotFound(f"no conversation {conversation_id}.")
        found = exchanges.page(session, limit=1_000, conversation_id=conversation_id)
    return {**api_views.conversation(row), "exchanges": [api_views.exchange(logged) for logged in reversed(found)]}


@router.patch("/conversations/{conversation_id}")
def change_conversation(
    conversation_id: str, body: ConversationChange, caller: AnyCaller, parts: WithParts
) -> dict[str, Any]:
    """Rename one of the caller's conversations, or say whether it may be trained on."""
    row = conversations.change(
        parts.database, conversation_id, person_id=caller.person.id, title=body.title, trainable=body.train
    )
    return api_views.conversation(row)


@router.delete("/conversations/{conversation_id}")
def delete_conversation(conversation_id: str, caller: AnyCaller, parts: WithParts) -> dict[str, Any]:
    """Delete one of the caller's conversations; adapters trained on it are flagged."""
    return {"id": conversation_id, **conversations.remove(parts.database, conversation_id, person_id=caller.person.id)}


@router.get("/me")
def who_am_i(caller: AnyCaller) -> dict[str, Any]:
    """The caller: name, role, how they came in, and whether their chats may be used for training."""
    return api_views.me(caller.person, via=caller.via)


@router.put("/me")
def change_me(body: Consent, caller: AnyCaller, parts: WithParts) -> dict[str, Any]:
    """Say whether one's chats may be used for training; no takes out everything said so far."""
    return api_views.me(conversations.consent(parts.database, caller.person.id, agrees=body.consent), via=caller.via)


@router.delete("/me/data")
def delete_my_data(caller: AnyCaller, parts: WithParts) -> dict[str, Any]:
    """Delete every conversation and rating of the caller; the account stays, adapters trained on it are flagged."""
    return conversations.remove_all(parts.database, caller.person.id)
