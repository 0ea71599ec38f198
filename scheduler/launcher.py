"""Where heavy steps run: a child process at the lowest priority, its progress read line by line."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from store.errors import DatabaseProblem, RatchetError

RENEW_SECONDS = 10.0
ALLOCATOR = ("libtbbmalloc.so.2", "libtbbmalloc_proxy.so.2")
"""oneTBB's, from the package `tbb`: glibc's own keeps freed tensors of many sizes in ever smaller pieces, so that a
trainer looks for a place among them ever longer (`bench/heap.py`)."""
GPU = Path("/dev/nvidiactl")


def for_children() -> dict[str, str]:
    """What a child's environment has where ours says nothing of it.

    No other allocator where tensors lie on a GPU, nor from a folder whose name the loader would read as several.
    """
    files = [Path(sys.prefix) / "lib" / name for name in ALLOCATOR]
    there = all(file.exists() for file in files) and not GPU.exists() and not set(" :") & set(sys.prefix)
    return {"OMP_WAIT_POLICY": "PASSIVE", **({"LD_PRELOAD": ":".join(map(str, files))} if there else {})}


class ChildFailed(RatchetError):
    """A child process ended badly; the message ends with its last words."""

    status = 500
    type = "child_failed"


def run(
    arguments: list[str],
    *,
    folder: Path,
    threads: int,
    environment: Mapping[str, str],
    renew: Callable[[dict[str, Any] | None], None],
    log: Path,
) -> dict[str, Any]:
    """Run `python -m …` in the checkout `folder` and return the last JSON object it printed.

    Its threads sleep while they wait for each other: beside a busy program, spinning would take the cores from the very
    thread that is waited for (`bench/threads.py`). Every JSON line with a `step` is handed to `renew`, which is also
    called every 10 s without one; when `renew` raises anything but DatabaseProblem the child is killed. Raises
    ChildFailed when it exits badly; its errors are kept in `log`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env={**for_children(), **environment, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=_lowest_priority,  # noqa: PLW1509, it only calls nice
        )
        latest: dict[str, Any] = {}
        reader = threading.Thread(target=_read, args=(child, latest), daemon=True)
        reader.start()
        _attend(child, reader, latest, renew)
    if child.returncode != 0:
        words = log.read_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise ChildFailed(f"{arguments[0]} {arguments[1]} ended with code {child.returncode}: {words[0][:500]}")
    return latest


def _attend(
    child: "subprocess.Popen[str]",
    reader: threading.Thread,
    latest: dict[str, Any],
    renew: Callable[[dict[str, Any] | None], None],
) -> None:
    shown: dict[str, Any] = {}
    waited = 0.0
    try:
        while reader.is_alive():
            reader.join(timeout=0.5)
            waited += 0.5
            if latest != shown or waited >= RENEW_SECONDS:
                shown, waited = dict(latest), 0.0
                with suppress(DatabaseProblem):  # the lease outlives several of these
                    renew(shown if "step" in shown else None)
        child.wait()
    finally:  # whatever ends us early: nobody would attend to the child, and another attempt begins its own
        if child.poll() is None:
            child.kill()
            child.wait()


def _read(child: "subprocess.Popen[str]", latest: dict[str, Any]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("{"):
            found = json.loads(line)
            latest.clear()
            latest.update(found)


def _lowest_priority() -> None:
    os.nice(19)
