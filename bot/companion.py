"""A process beside the bot that is to run as long as it does: started, started again when it ends, and ended."""

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

END_SECONDS = 10.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0


class Companion:
    """A child process and the thread that looks after it; each time it ends it waits twice as long, up to a minute."""

    def __init__(
        self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], first_wait: float = FIRST_WAIT
    ) -> None:
        self._command, self._folder, self._environment = list(command), folder, dict(environment)
        self._wait = first_wait
        self._stop = threading.Event()
        self._child = self._started()
        self._thread = threading.Thread(target=self._look_after, name="companion", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the process, by force where it takes longer than ten seconds."""
        self._stop.set()
        self._child.terminate()
        try:
            self._child.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
        self._thread.join(timeout=END_SECONDS)

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command, cwd=self._folder, env=self._environment)

    def _look_after(self) -> None:
        while True:
            code = self._child.wait()
            if self._stop.is_set():
                return
            said = f"{' '.join(self._command[1:4])} ended with code {code}; it is started again in {self._wait:g} s."
            print(said, file=sys.stderr, flush=True)
            if self._stop.wait(self._wait):
                return
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            self._child = self._started()
            if self._stop.is_set():  # closed in between, when this one was not there to be ended
                self._child.terminate()
