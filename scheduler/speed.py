"""What to expect of the trainer before it ever ran here: measured once, in a thread, so that a page need not wait."""

import sys
import threading
from collections.abc import Callable

SOON_SECONDS = 3.0
"""How long an answer to a page may wait for it: with what else is counted, an answer must come within ten."""


class Speed:
    """A speed in tokens per second that takes long to measure; `guess` stands for it until then."""

    def __init__(self, measure: Callable[[], float], *, guess: float) -> None:
        self._measure, self._found = measure, guess
        self._begin, self._done = threading.Lock(), threading.Event()
        self._begun = False

    def known(self) -> float:
        """The measured speed; waits for it."""
        return self._after(None)

    def soon(self) -> float:
        """The measured speed where it is known soon, else the guess; it is measured on."""
        return self._after(SOON_SECONDS)

    def _after(self, seconds: float | None) -> float:
        with self._begin:
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._run, name="speed", daemon=True).start()
        self._done.wait(seconds)
        return self._found

    def _run(self) -> None:
        try:
            self._found = self._measure()
        except (OSError, ValueError, RuntimeError) as error:
            print(f"the trainer's speed is not known, {self._found:g} tokens/s stand for it: {error}", file=sys.stderr)
        finally:
            self._done.set()
