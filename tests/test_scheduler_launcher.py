"""Claims about child processes: what they are told, what is heard of them, and that they end with their lease."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scheduler import launcher
from store.errors import DatabaseProblem, LostLease

TELLS = """
import json, os
print("loading")
print(json.dumps({"step": 1, "of": 2}))
names = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "LD_PRELOAD", "OWN")
mapped = [line.split()[-1] for line in open("/proc/self/maps") if "tbbmalloc" in line]
print(json.dumps({"nice": os.nice(0), "mapped": mapped, **{name: os.environ.get(name) for name in names}}))
"""
FAILS = "import sys; print('first', file=sys.stderr); sys.exit('the disk is full')"
WAITS = """
import json, os, time
print(json.dumps({"step": 1, "pid": os.getpid()}), flush=True)
time.sleep(60)
"""


def run(folder: Path, code: str, environment: Mapping[str, str] | None = None, heard: Any = None) -> dict[str, Any]:
    (folder / "childs.py").write_text(code)
    return launcher.run(
        ["childs", "work"],
        folder=folder,
        threads=3,
        environment={"PATH": os.environ["PATH"], **(environment or {})},
        renew=heard or (lambda _: None),
        log=folder / "logs" / "child.log",
    )


def test_a_child_is_nice_and_has_its_threads_and_an_allocator_that_keeps_memory_whole(tmp_path: Path) -> None:
    heard: list[Any] = []
    told = run(tmp_path, TELLS, {"OWN": "x"}, heard.append)
    assert (told["nice"], told["OMP_NUM_THREADS"], told["OMP_WAIT_POLICY"], told["OWN"]) == (19, "3", "PASSIVE", "x")
    assert {Path(name).name.split(".so")[0] for name in told["mapped"]} == {"libtbbmalloc", "libtbbmalloc_proxy"}
    assert all("step" in (one or {"step": 1}) for one in heard)


def test_what_our_own_environment_says_wins(tmp_path: Path) -> None:
    mine = {"OMP_WAIT_POLICY": "ACTIVE", "LD_PRELOAD": ""}
    told = run(tmp_path, TELLS, mine)
    assert {name: told[name] for name in mine} == mine and told["mapped"] == []


def test_a_child_that_ends_badly_is_told_by_its_last_words_and_its_log_stays(tmp_path: Path) -> None:
    with pytest.raises(launcher.ChildFailed, match=r"^childs work ended with code 1: the disk is full$"):
        run(tmp_path, FAILS)
    assert (tmp_path / "logs" / "child.log").read_text().splitlines() == ["first", "the disk is full"]


def test_a_child_whose_lease_is_lost_is_killed(tmp_path: Path) -> None:
    pids: list[int] = []

    def lost(progress: dict[str, Any] | None) -> None:
        if progress is not None:
            pids.append(progress["pid"])
            raise LostLease("taken over.")

    with pytest.raises(LostLease):
        run(tmp_path, WAITS, heard=lost)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_child_does_not_outlive_an_error_of_whoever_attends_to_it(tmp_path: Path) -> None:
    pids: list[int] = []

    def heard(told: dict[str, Any] | None) -> None:
        if told is not None:
            pids.append(told["pid"])
            raise ValueError("a fault of ours")

    with pytest.raises(ValueError, match="a fault of ours"):
        run(tmp_path, WAITS, heard=heard)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_child_goes_on_while_the_database_cannot_be_reached(tmp_path: Path) -> None:
    def heard(_: dict[str, Any] | None) -> None:
        raise DatabaseProblem("the database could not be written: it is locked.")

    assert run(tmp_path, TELLS, heard=heard)["nice"] == 19
