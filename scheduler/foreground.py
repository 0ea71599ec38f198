"""A cycle worked on in the foreground: a bar for each step, and what came of it at the end."""

import argparse
import json
import threading
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from scheduler import commands, cycle, jobs
from scheduler.workbench import Workbench
from store import cycles
from store.errors import Invalid
from store.models import Cycle, CycleState


def once(bench: Workbench, options: argparse.Namespace) -> None:
    """Start a cycle and work on it until it waits or has ended; raises Invalid where it failed."""
    row = jobs.start_now(bench, "command", strategy=options.strategy, comment=options.comment)
    columns = (
        TextColumn("{task.description:40}"),
        BarColumn(),
        TextColumn("{task.fields[shown]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=options.json) as bar:
        task = bar.add_task("starting", total=None, shown="")
        row = _work_off(bench, row.id, lambda name, progress: _advance(bar, task, name, progress))
    if options.json:
        print(json.dumps(commands.shown(row)))
    else:
        print(commands.summary(row))
    if row.state == CycleState.FAILED:
        raise Invalid(f"the cycle failed in its step {row.step}: {row.error.splitlines()[0]}")


def _work_off(bench: Workbench, cycle_id: str, show: Any) -> Cycle:
    """Work on a cycle until it waits or has ended; another scheduler may do some of its steps."""
    stop = threading.Event()
    watcher = threading.Thread(target=_follow, args=(bench, cycle_id, show, stop), daemon=True)
    watcher.start()
    try:
        while True:
            claim = cycles.claim(bench.database, cycle_id=cycle_id)
            if claim is not None and claim.step != "watch":
                cycle.work(bench, claim)
            with bench.database.read() as session:
                row = cycles.get(session, cycle_id)
            if row.state != CycleState.RUNNING:
                return row
            if claim is None:
                stop.wait(0.5)
    finally:
        stop.set()
        watcher.join()


def _follow(bench: Workbench, cycle_id: str, show: Any, stop: Any) -> None:
    while not stop.wait(0.5):
        with bench.database.read() as session:
            steps = cycles.steps(session, cycle_id)
        if steps:
            show(steps[-1].name, steps[-1].progress)


def _advance(bar: Progress, task: Any, name: str, progress: dict[str, Any]) -> None:
    shown = ""
    if "loss" in progress:
        shown = (
            f"loss {progress['loss']:.2f}, {progress['tokens_per_second']:.0f} tok/s, {progress['eta_seconds']} s left"
        )
    bar.update(task, description=name, completed=progress.get("step", 0), total=progress.get("steps"), shown=shown)
