"""Answers that took long, kept for whoever asks next: a large log is not counted anew for each look at a page."""

import time
from collections.abc import Callable, Hashable
from typing import Any

LONG = 2.0
"""Seconds from which on an answer is kept; quicker ones are made anew each time."""
TIMES = 10
"""It is kept for so many times as long as it took."""

Answer = dict[str, Any]


class Kept:
    """The latest answers that took long, one for each name; for one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[Hashable, tuple[Hashable, float, Answer]] = {}

    def clear(self) -> None:
        """Keep none of them."""
        self._known.clear()

    def of(self, name: Hashable, moment: Hashable, make: Callable[[], Answer]) -> Answer:
        """The answer of that name, made anew unless one of the same `moment` is kept; errors are not kept."""
        kept_at, until, answer = self._known.get(name, (None, 0.0, {}))
        if kept_at == moment and self._clock() < until:
            return answer
        begun = self._clock()
        answer = make()
        took = self._clock() - begun
        if took >= LONG and "error" not in answer:
            self._known[name] = (moment, self._clock() + TIMES * took, answer)
        return answer
