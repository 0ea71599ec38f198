"""An answer as OpenAI's clients see it: one JSON object, or a stream of server-sent events; stopped when they leave.

It knows OpenAI's format of answers; the questions are `bot/api_chat.py`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from bot.events import Ended, Event, Queued, Started, Token
from store.errors import RatchetError

MODEL = "ratchet"


class EventStream(StreamingResponse):
    """A stream of server-sent events whose answer is stopped when the client goes away."""

    def __init__(self, events: Iterator[Event], first: Started, *, with_usage: bool) -> None:
        super().__init__(_lines(events, first, with_usage), media_type="text/event-stream")
        self.headers["X-Accel-Buffering"] = "no"
        self._events = events
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; end the answer whatever happens."""
        try:
            async with _stopping(self._first, receive):
                await self.stream_response(send)
        finally:
            await _close(self._events)


class WholeAnswer(Response):
    """One JSON answer that is stopped when the client goes away before it is written."""

    def __init__(self, events: Iterator[Event], first: Started) -> None:
        super().__init__()
        self._events = events
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for the answer, then send it; end it whatever happens."""
        try:
            async with _stopping(self._first, receive):
                ended = await run_in_threadpool(_last, self._events)
            await JSONResponse(_whole(ended))(scope, receive, send)
        finally:
            await _close(self._events)


@asynccontextmanager
async def _stopping(first: Started, receive: Receive) -> AsyncIterator[None]:
    """Stop an answer, waiting or being written, as soon as its client is gone.

    The reading thread is never abandoned: once stopped, the answer ends by itself within a step.
    """

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        first.stop()

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


async def _close(events: Iterator[Event]) -> None:
    if isinstance(events, Generator):
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(events.close)


def _last(events: Iterator[Event]) -> Ended:
    *_, ended = events
    assert isinstance(ended, Ended)
    return ended


async def _lines(events: Iterator[Event], first: Started, with_usage: bool) -> AsyncIterator[str]:
    head = _head(first.exchange_id, "chat.completion.chunk")
    start = {name: getattr(first, name) for name in ("exchange_id", "conversation_id", "adapter", "passages", "cut")}
    yield _data({**head, "choices": [_delta({"role": "assistant", "content": ""})], "ratchet_start": start})
    try:
        async for event in iterate_in_threadpool(events):
            if isinstance(event, Token):
                yield _data({**head, "choices": [_delta({"content": event.text})]})
            elif isinstance(event, Queued):
                waiting = {"ratchet_queue": {"position": event.position}}
                yield _data({**head, "choices": [_delta({})], **waiting})  # a client may read choices[0] of any chunk
            elif isinstance(event, Ended):
                usage = {"usage": _usage(event)} if with_usage else {}
                last = _delta({}, event.finish_reason)
                yield _data({**head, "choices": [last], **usage, "ratchet": _ratchet(event)})
    except RatchetError as error:
        yield _data({"error": {"type": error.type, "message": error.message, "hint": error.hint}})
        return
    yield "data: [DONE]\n\n"


def _whole(ended: Ended) -> dict[str, Any]:
    message = {"role": "assistant", "content": ended.answer, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": ended.finish_reason, "logprobs": None}
    head = _head(ended.exchange_id, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(ended), "ratchet": _ratchet(ended)}


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
    names = ("exchange_id", "conversation_id", "adapter", "passages", "cut", "citations", "declined")
    return {name: getattr(ended, name) for name in names}
