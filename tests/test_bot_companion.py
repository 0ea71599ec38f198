"""Claims about the process beside the bot: it is started again when it ends, and ends with the bot."""

import os
import sys
from pathlib import Path

from bot.companion import Companion
from tests.queued import until

COUNTS = "import os, pathlib, sys; pathlib.Path(f'{os.getpid()}.began').touch(); sys.exit(3)"
STAYS = "import os, pathlib, time; pathlib.Path(f'{os.getpid()}.began').touch(); time.sleep(60)"


def companion(folder: Path, code: str) -> Companion:
    command = [sys.executable, "-c", code]
    return Companion(command, folder=folder, environment=dict(os.environ), first_wait=0.01)


def began(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.began")]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_ended_is_started_again_until_the_bot_ends(tmp_path: Path) -> None:
    beside = companion(tmp_path, COUNTS)
    until(lambda: len(began(tmp_path)) >= 3)
    beside.close()
    count = len(began(tmp_path))
    until(lambda: not any(alive(pid) for pid in began(tmp_path)))
    assert len(began(tmp_path)) <= count + 1


def test_a_process_that_runs_is_left_alone_and_ends_with_the_bot(tmp_path: Path) -> None:
    beside = companion(tmp_path, STAYS)
    until(lambda: len(began(tmp_path)) == 1)
    [pid] = began(tmp_path)
    assert alive(pid)
    beside.close()
    assert not alive(pid) and len(began(tmp_path)) == 1
