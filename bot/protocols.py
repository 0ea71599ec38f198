"""What the bot asks of whatever writes its answers; no model library is needed to know it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol


class Generation(Protocol):
    """An answer being written: iterate over its text; then the counts and the finish reason are known.

    While it waits for a slot, `position` is its place in the queue (1 is next); 0 once it has one. `started` waits up
    to `timeout` seconds for that.
    """

    prompt_tokens: int
    finish_reason: str

    @property
    def completion_tokens(self) -> int: ...

    @property
    def position(self) -> int: ...

    def started(self, timeout: float) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def cancel(self) -> None: ...


class Engine(Protocol):
    """What the bot needs of a model: the embedded engine (`bot/engine.py`), or a server behind the same calls."""

    name: str
    context_tokens: int

    def stream(
        self,
        messages: Sequence[dict[str, str]],
        *,
        adapter: str,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Generation: ...

    def count(self, messages: Sequence[dict[str, str]]) -> int: ...

    def load(self, adapter: str, folder: Path, *, digest: str) -> None: ...

    def unload(self, adapter: str) -> None: ...

    def loaded(self) -> list[str]: ...

    def healthy(self) -> str: ...

    def close(self) -> None: ...
