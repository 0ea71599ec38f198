"""Chat over HTTP: OpenAI's chat completions, streamed or not.

It knows OpenAI's format of questions and the limits; answering itself is `bot/chat.py`.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from bot.api_answers import MODEL, EventStream, WholeAnswer
from bot.api_parts import AnyCaller, Name, Text, WithParts
from bot.auth import Caller
from bot.events import MAX_QUESTION, Question, Started
from store.errors import Invalid, NotFound, TooLarge
from store.models import Person

MAX_PASSAGES = 100
MAX_STOPS, MAX_STOP_LENGTH = 16, 200
router = APIRouter(prefix="/v1")


class TextPart(BaseModel):
    """A part of a message; only text is read."""

    type: Literal["text"]
    text: Text


def _only_text(content: Any) -> Any:
    """The content of a message; raises ValueError for a part that is no text."""
    parts = content if isinstance(content, list) else []
    kinds = [str(part["type"])[:40] for part in parts if isinstance(part, dict) and part.get("type", "text") != "text"]
    if kinds:
        raise ValueError(f'a part is of type "{kinds[0]}": images, sounds and files are not read, only text is')
    return content


class Message(BaseModel):
    """One OpenAI message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Text | list[TextPart] | None, BeforeValidator(_only_text)] = None

    def plain(self) -> dict[str, str]:
        """Role and text; `developer` is OpenAI's newer word for `system`."""
        content = self.content or ""
        text = content if isinstance(content, str) else "\n".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class Metadata(BaseModel):
    """What Ratchet reads of OpenAI's metadata; its values may be strings.

    `replaces` is the id of the exchange that is asked again or edited: the new one becomes its sibling.
    """

    conversation_id: Name | None = None
    replaces: Name | None = None
    train: bool | None = None


class GivenPassage(BaseModel):
    """A passage to answer from instead of searching."""

    title: Text = Field("", max_length=1_000)
    text: Text = Field(min_length=1)


class Extra(BaseModel):
    """Ratchet's own part of a request."""

    passages: list[GivenPassage] | None = Field(None, max_length=MAX_PASSAGES)


class StreamOptions(BaseModel):
    """OpenAI's options of a stream."""

    include_usage: bool = False


def _few(stop: str | list[str] | None) -> str | list[str] | None:
    """The stop strings; raises ValueError for too many or too long ones, each of which is looked for in every step."""
    texts = [stop] if isinstance(stop, str) else stop or []
    if len(texts) > MAX_STOPS or any(len(text) > MAX_STOP_LENGTH for text in texts):
        found = f"found {len(texts)}, the longest of {max(map(len, texts))}"
        raise ValueError(f"at most {MAX_STOPS} strings of at most {MAX_STOP_LENGTH} characters each are taken, {found}")
    return stop


class ChatRequest(BaseModel):
    """What is read of an OpenAI chat completion request; other fields are ignored."""

    messages: list[Message] = Field(min_length=1, max_length=1_000)
    model: Name = MODEL
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stop: Annotated[Text | list[Text] | None, AfterValidator(_few)] = None
    n: int | None = Field(None, ge=1, le=1)
    user: Name | None = None
    metadata: Metadata | None = None
    ratchet: Extra | None = None


def asked_for(body: ChatRequest, caller: AnyCaller, parts: WithParts) -> Person:
    """Whom the request is for."""
    return parts.access.person_for(caller, body.user)


AskedFor = Annotated[Person, Depends(asked_for)]


async def one_slot(caller: AnyCaller, parts: WithParts, person: AskedFor) -> AsyncIterator[None]:
    """Count the request against the limits of key and person until its answer has been sent."""
    with parts.access.slot(caller, person):
        yield


@router.get("/models")
def models() -> dict[str, Any]:
    """The one model there is; which adapter answers is the deployment's matter."""
    return {
        "object": "list",
        "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "ratchet"}],
        "next": None,
    }


@router.post("/chat/completions", dependencies=[Depends(one_slot)])
def complete(body: ChatRequest, caller: AnyCaller, parts: WithParts, person: AskedFor) -> Response:
    """Answer a question from the documents."""
    events = parts.chat.answer(_question(body, caller, person))
    first = next(events)
    assert isinstance(first, Started)
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return EventStream(events, first, with_usage=with_usage)
    return WholeAnswer(events, first)


def _question(body: ChatRequest, caller: Caller, person: Person) -> Question:
    if body.model != MODEL:
        raise NotFound(f'there is no model "{body.model}".', f'Use the model "{MODEL}"; GET /v1/models lists it.')
    messages = [message.plain() for message in body.messages]
    given = body.ratchet.passages if body.ratchet is not None else None
    length = sum(len(message["content"]) for message in messages) + sum(len(passage.text) for passage in given or [])
    if length > MAX_QUESTION:
        raise TooLarge(
            f"messages and passages have {length} characters, at most {MAX_QUESTION} are read.", "Shorten them."
        )
    if messages[-1]["role"] == "user" and not messages[-1]["content"].strip():
        raise Invalid("the question is empty.", "Write a question in the last message.")
    metadata = body.metadata or Metadata()
    return Question(
        person=person,
        messages=messages,
        conversation_id=metadata.conversation_id,
        replaces=metadata.replaces,
        given=None if given is None else [{"title": passage.title, "text": passage.text} for passage in given],
        trainable=metadata.train is not False and (given is None or "given_passages" in caller.scopes),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
    )
