"""One answer while it is written: its wait in the queue, its text so far, and the way to stop it from outside."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bot.events import Queued, Token
from bot.pace import Stay
from bot.protocols import Generation

QUEUE_LOOK_SECONDS = 0.2


@dataclass
class Writing:
    """What is known of an answer while it is written; `started` is on the monotonic clock."""

    generation: Generation
    stay: Stay
    started: float
    timings: dict[str, float]
    stopped: threading.Event = field(default_factory=threading.Event)
    text: str = ""
    finish_reason: str = "stop"
    usage: dict[str, int] = field(default_factory=dict)

    def stop(self) -> None:
        """End the answer within a step, or take it out of the queue; may be called from any thread."""
        self.stopped.set()
        self.generation.cancel()

    def waited(self) -> Iterator[Queued]:
        """Wait for a slot, saying when the position changes and, once that was said, that the wait is over."""
        said = 0
        while not self.stopped.is_set() and not self.generation.started(QUEUE_LOOK_SECONDS):
            position = self.generation.position
            if position not in (0, said):
                said = position
                yield Queued(position)
        if self.stopped.is_set():
            return
        self.stay.begin()
        if said:
            yield Queued(0)

    def tokens(self, chunks: Iterator[Any]) -> Iterator[Token]:
        """The answer's text as it comes, from LangChain's chunks; the last of them carries the counts."""
        try:
            for chunk in chunks:
                if chunk.usage_metadata is not None:
                    self.usage = dict(chunk.usage_metadata)
                    self.finish_reason = chunk.response_metadata.get("finish_reason", "stop")
                elif chunk.content:
                    text = str(chunk.content) if self.text else str(chunk.content).lstrip()
                    if not text:
                        continue
                    self.timings.setdefault("first_token_ms", 1000 * (time.monotonic() - self.started))
                    self.text += text
                    yield Token(text)
        finally:
            chunks.close()  # type: ignore[attr-defined]

    def end(self) -> None:
        """Nothing more comes."""
        self.generation.cancel()
        self.stay.end()
