"""An answer being written: tokens from the engine's thread, text for the reader."""

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from bot.decoding import Request
from bot.versions import Version
from store.errors import Unavailable

_END = object()


class Answer:
    """A Generation of the embedded engine; the engine's thread delivers tokens, the reader turns them into text."""

    def __init__(self, request: Request, version: Version, tokenizer: Any, stop: Sequence[str]) -> None:
        self.request = request
        self.version = version
        self.prompt_tokens = len(request.prompt)
        self.finish_reason = "stop"
        self.error = ""
        self.position = 0
        self._begun = threading.Event()
        self._tokenizer = tokenizer
        self._stop = [text for text in stop if text]
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sent = 0

    @property
    def completion_tokens(self) -> int:
        """Tokens written so far, the end mark included."""
        return len(self.request.tokens)

    def started(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a slot; whether it has one, or has ended."""
        return self._begun.wait(timeout)

    def begin(self) -> None:
        """It has a slot (engine's thread)."""
        self.position = 0
        self._begun.set()

    def cancel(self) -> None:
        """Stop writing; the slot is free within a step."""
        self.request.cancelled = True

    def deliver(self) -> None:
        """Hand over the tokens written since the last call (engine's thread)."""
        tokens = self.request.tokens
        if len(tokens) > self._sent:
            self._events.put(tokens[self._sent :])
            self._sent = len(tokens)

    def end(self, error: str = "") -> None:
        """No more tokens come (engine's thread)."""
        self.error = error
        self._begun.set()
        self._events.put(_END)

    def __iter__(self) -> Iterator[str]:
        """The answer's text, piece by piece, until it is cancelled; raises Unavailable when the engine failed."""
        ids: list[int] = []
        sent = 0
        while (event := self._events.get()) is not _END and not self.request.cancelled:
            ids += [token for token in event if token not in self.request.end_tokens]
            text = self._tokenizer.decode(ids, skip_special_tokens=True)
            stop = min((at for s in self._stop if (at := text.find(s)) >= 0), default=None)
            safe = self._safe(text) if stop is None else stop
            if safe > sent:
                yield text[sent:safe]
                sent = safe
            if stop is not None:
                self.cancel()
                return
        rest = self._tokenizer.decode(ids, skip_special_tokens=True)[sent:]
        if rest:
            yield rest
        if self.error:
            raise Unavailable(self.error, "Try again.")
        ended = bool(self.request.tokens) and self.request.tokens[-1] in self.request.end_tokens
        self.finish_reason = "stop" if ended or self.request.cancelled else "length"

    def _safe(self, text: str) -> int:
        """How much of `text` can be sent: not half a character, nor what may be the beginning of a stop string."""
        if text.endswith("\ufffd"):
            return len(text.rstrip("\ufffd"))
        longest = max((len(s) for s in self._stop), default=1) - 1
        held = (n for n in range(min(longest, len(text)), 0, -1) if any(s.startswith(text[-n:]) for s in self._stop))
        return len(text) - next(held, 0)


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the model's generation settings and its tokenizer."""
    config = getattr(model.generation_config, "eos_token_id", None)
    found = config if isinstance(config, list) else [config]
    return frozenset(token for token in [*found, tokenizer.eos_token_id] if token is not None)
