"""An answer that one vLLM server writes and, should that one fail, another goes on with from where it was cut.

It does not choose the server (the fleet does) nor knows how a server gets the adapter (the engine does).
"""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from bot.fleet import Fleet, Ticket
from bot.replicas import NotThere, Piece, Replica, ReplicaFailed
from store.errors import RatchetError, Unavailable

_TRIES = 5
_SPARE_TOKENS = 8
"""A cut answer may have a few tokens more when it is read again than it had when it was written."""


class RelayedAnswer:
    """A Generation on one replica after the other; its own thread reads, so that a slow reader holds no slot."""

    def __init__(
        self,
        messages: Sequence[dict[str, str]],
        *,
        fleet: Fleet,
        sampling: dict[str, Any],
        prompt_tokens: int,
        max_tokens: int,
        room: int,
        prepare: Callable[[Replica], str],
        ended: Callable[["RelayedAnswer"], None],
    ) -> None:
        """`prepare` makes a replica ready and gives the model's name there; `ended` is told when all is over.

        `room`: tokens that the context leaves for the answer.
        """
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.finish_reason = "stop"
        self.ticket = Ticket()
        self._messages = list(messages)
        self._sampling = sampling
        self._max_tokens, self._room = max_tokens, room
        self._fleet = fleet
        self._prepare, self._ended = prepare, ended
        self._events: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._connection: socket.socket | None = None
        self._text = ""
        self._skip = ""
        self._before = 0
        self._tries = 0
        self._over = False
        self._thread = threading.Thread(target=self._run, name="answer", daemon=True)
        self._problem: RatchetError | None = Unavailable("the answer broke off.", "Try again.")

    @property
    def position(self) -> int:
        """Its place in the queue, 1 for the next; 0 once it had a slot."""
        return self.ticket.position

    def started(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a slot; whether it has one, or has ended."""
        return self.ticket.begun.wait(timeout)

    def start(self) -> None:
        """Begin to wait for a slot and to read."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until all is over."""
        self._thread.join(timeout)

    def cancel(self) -> None:
        """Stop writing: the connection is closed, on which vLLM gives up within a step."""
        self._cancelled.set()
        self._fleet.give_up(self.ticket)
        self._hang_up()

    def __iter__(self) -> Iterator[str]:
        """The answer's text, piece by piece; raises Unavailable when no replica could finish it."""
        while (text := self._events.get()) is not None:
            yield text
        if self._problem is not None:
            raise self._problem

    def _run(self) -> None:
        try:
            while not (self._over or self._cancelled.is_set()):
                replica = self._fleet.wait(self.ticket)
                if replica is not None:
                    self._write_on(replica)
            self._problem = None
        except RatchetError as problem:
            self._problem = None if self._cancelled.is_set() else problem
        finally:
            self._fleet.leave(self.ticket)
            self._events.put(None)
            self._ended(self)

    def _write_on(self, replica: Replica) -> None:
        try:
            self._read(replica)
        except ReplicaFailed as failure:
            if self._cancelled.is_set():
                return
            self._fleet.failed(replica, failure)
            if self._over:
                return
            self._tries += 1
            if self._tries >= _TRIES:
                raise
            self._cancelled.wait(0.1 * (self._tries - 1))
            self._go_on_elsewhere()

    def _read(self, replica: Replica) -> None:
        model = self._prepare(replica)
        try:
            self._take_all(replica.chat(self._body(model), self._opened))
        except NotThere as gone:  # the replica was restarted since it was last looked at
            replica.models.discard(model)
            raise ReplicaFailed(gone.message, reached=True) from gone
        if not (self._over or self._cancelled.is_set()):
            raise ReplicaFailed(f"{replica.url} cut the answer before its end.", reached=True)

    def _take_all(self, pieces: Generator[Piece]) -> None:
        with contextlib.closing(pieces):
            for piece in pieces:
                if self._cancelled.is_set():
                    return
                self._take(piece)

    def _take(self, piece: Piece) -> None:
        self._skip, text = unrepeated(self._skip, piece.text)
        if piece.tokens is not None and (text or self._over or piece.finish_reason):
            self.completion_tokens = self._before + piece.tokens
        if text:
            self._tries = 0
            self._text += text
            self._events.put(text)
        if piece.finish_reason not in (None, "abort", "error"):
            self.finish_reason, self._over = piece.finish_reason, True

    def _go_on_elsewhere(self) -> None:
        """What was said stays said: the next replica continues it."""
        self._before = self.completion_tokens if self._text.strip() else 0
        if self._left() <= 0:
            self.finish_reason, self._over = "length", True
            return
        self._skip = self._text[len(self._text.rstrip()) :]
        self._fleet.move(self.ticket)

    def _left(self) -> int:
        spare = _SPARE_TOKENS if self._before else 0
        return min(self._max_tokens, self._room - spare) - self._before

    def _body(self, model: str) -> dict[str, Any]:
        body = {
            **self._sampling,
            "model": model,
            "messages": self._messages,
            "max_tokens": self._left(),
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        }
        said = self._text.rstrip()
        if not said:
            return body
        messages = [*self._messages, {"role": "assistant", "content": said}]
        return {**body, "messages": messages, "continue_final_message": True, "add_generation_prompt": False}

    def _opened(self, connection: socket.socket) -> None:
        self._connection = connection
        if self._cancelled.is_set():
            self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):  # it may have ended just now
                self._connection.shutdown(socket.SHUT_RDWR)


def unrepeated(skip: str, text: str) -> tuple[str, str]:
    """Drop from `text` the white space `skip` that ended what was said already: what is left to skip, and the rest.

    A template may cut an answer's last white space off before it is continued.
    """
    same = 0
    while same < min(len(skip), len(text)) and skip[same] == text[same]:
        same += 1
    return (skip[same:] if same == len(text) else ""), text[same:]
