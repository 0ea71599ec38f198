"""How long answers take of late and how many wait or are being written: when a refused client may come again."""

import math
import threading
import time
from collections import deque

RECENT = 20
LONGEST_SECONDS = 600


class Pace:
    """Counts the answers of one bot; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._writing = 0
        self._seconds: deque[float] = deque(maxlen=RECENT)

    def retry_after(self) -> int:
        """Whole seconds, at least 1, after which those who wait now will have been answered."""
        with self._lock:
            return estimate(self._waiting, self._writing, list(self._seconds))

    def queued(self) -> "Stay":
        """One more answer waits."""
        return Stay(self)

    def _count(self, *, waiting: int = 0, writing: int = 0, seconds: float | None = None) -> None:
        with self._lock:
            self._waiting += waiting
            self._writing += writing
            if seconds is not None:
                self._seconds.append(seconds)


class Stay:
    """One answer's stay, first in the queue and then in a slot."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._begun: float | None = None
        pace._count(waiting=1)

    def begin(self) -> None:
        """It has a slot."""
        if self._begun is None:
            self._begun = time.monotonic()
            self._pace._count(waiting=-1, writing=1)

    def end(self) -> None:
        """It has ended, written or not."""
        if self._begun is None:
            self._pace._count(waiting=-1)
        else:
            self._pace._count(writing=-1, seconds=time.monotonic() - self._begun)


def estimate(waiting: int, writing: int, seconds: list[float]) -> int:
    """The seconds until `waiting` answers are written, `writing` at once, at the mean of `seconds` each (pure)."""
    if not seconds:
        return 1
    each = sum(seconds) / len(seconds)
    return min(LONGEST_SECONDS, max(1, math.ceil(each * (waiting + 1) / max(1, writing))))
