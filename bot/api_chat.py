"""Chat over HTTP: OpenAI's chat completions, streamed or not.

It knows OpenAI's format; answering itself is `bot/chat.py`.
"""

import json
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Literal

import anyio
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field
from starlette.concurrency import iterate_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from bot.api_parts import AnyCaller, Name, Parts, Text, WithParts, one_slot
from bot.auth import Caller
from bot.chat import MAX_QUESTION, Ended, Question, Started, Token
from store.errors import Invalid, NotFound, RatchetError, TooLarge

MODEL = "ratchet"
MAX_PASSAGES = 100
Event = Started | Token | Ended
router = APIRouter(prefix="/v1")


class TextPart(BaseModel):
    """A part of a message; only text is read."""

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """One OpenAI message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart] | None = None

    def plain(self) -> dict[str, str]:
        """Role and text; `developer` is OpenAI's newer word for `system`."""
        content = self.content or ""
        text = content if isinstance(content, str) else "\n".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class Metadata(BaseModel):
    """What Ratchet reads of OpenAI's metadata; its values may be strings."""

    conversation_id: Name | None = None
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


class ChatRequest(BaseModel):
    """What is read of an OpenAI chat completion request; other fields are ignored."""

    messages: list[Message] = Field(min_length=1, max_length=1_000)
    model: Name = MODEL
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = None
    stop: Text | list[Text] | None = None
    n: int | None = Field(None, ge=1, le=1)
    user: Name | None = None
    metadata: Metadata | None = None
    ratchet: Extra | None = None


class EventStream(StreamingResponse):
    """A stream of server-sent events whose answer is stopped when the client goes away."""

    def __init__(self, events: Iterator[Event], first: Event, *, with_usage: bool) -> None:
        super().__init__(_lines(events, first, with_usage), media_type="text/event-stream")
        self.headers["X-Accel-Buffering"] = "no"
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; end the answer whatever happens."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_close, self._events)


@router.get("/models")
def models() -> dict[str, Any]:
    """The one model there is; which adapter answers is the deployment's matter."""
    return {
        "object": "list",
        "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "ratchet"}],
        "next": None,
    }


@router.post("/chat/completions", dependencies=[Depends(one_slot)])
def complete(body: ChatRequest, caller: AnyCaller, parts: WithParts) -> Response:
    """Answer a question from the documents."""
    events = parts.chat.answer(_question(body, caller, parts))
    first = next(events)
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return EventStream(events, first, with_usage=with_usage)
    *_, ended = events
    assert isinstance(ended, Ended)
    message = {"role": "assistant", "content": ended.answer, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": ended.finish_reason, "logprobs": None}
    head = _head(ended.exchange_id, "chat.completion")
    return JSONResponse({**head, "choices": [choice], "usage": _usage(ended), "ratchet": _ratchet(ended)})


def _question(body: ChatRequest, caller: Caller, parts: Parts) -> Question:
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
        person=parts.access.person_for(caller, body.user),
        messages=messages,
        conversation_id=metadata.conversation_id,
        given=None if given is None else [{"title": passage.title, "text": passage.text} for passage in given],
        trainable=metadata.train is not False and (given is None or "given_passages" in caller.scopes),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed,
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
    )


async def _lines(events: Iterator[Event], first: Event, with_usage: bool) -> AsyncIterator[str]:
    assert isinstance(first, Started)
    head = _head(first.exchange_id, "chat.completion.chunk")
    start = {name: getattr(first, name) for name in ("exchange_id", "conversation_id", "adapter", "passages")}
    yield _data({**head, "choices": [_delta({"role": "assistant", "content": ""})], "ratchet_start": start})
    try:
        async for event in iterate_in_threadpool(events):
            if isinstance(event, Token):
                yield _data({**head, "choices": [_delta({"content": event.text})]})
            elif isinstance(event, Ended):
                usage = {"usage": _usage(event)} if with_usage else {}
                last = _delta({}, event.finish_reason)
                yield _data({**head, "choices": [last], **usage, "ratchet": _ratchet(event)})
    except RatchetError as error:
        yield _data({"error": {"type": error.type, "message": error.message, "hint": error.hint}})
        return
    yield "data: [DONE]\n\n"


def _close(events: Iterator[Event]) -> None:
    if isinstance(events, Generator):
        events.close()


def _data(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _head(exchange_id: str, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{exchange_id}", "object": kind, "created": int(time.time()), "model": MODEL}


def _usage(ended: Ended) -> dict[str, int]:
    total = ended.prompt_tokens + ended.completion_tokens
    return {
        "prompt_tokens": ended.prompt_tokens,
        "completion_tokens": ended.completion_tokens,
        "total_tokens": total,
    }


def _ratchet(ended: Ended) -> dict[str, Any]:
    names = ("exchange_id", "conversation_id", "adapter", "passages", "citations", "declined")
    return {name: getattr(ended, name) for name in names}
