"""What the steps of a cycle share: how it goes on after one, its lease, where its files are, its child processes."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scheduler import launcher
from scheduler.workbench import Workbench
from store import cycles
from store.database import Database
from store.errors import DatabaseProblem, LostLease
from store.models import Cycle, CycleState, Outcome

RENEW_SECONDS = 10.0


@dataclass(frozen=True)
class Next:
    """How a cycle goes on after a step."""

    result: dict[str, Any]
    step: str | None = None
    state: CycleState = CycleState.RUNNING
    outcome: Outcome | None = None
    values: dict[str, Any] = field(default_factory=dict)


Body = Callable[[Workbench, cycles.Claim, Cycle], Next | None]


def folder(bench: Workbench, cycle_id: str) -> Path:
    """Where a cycle keeps its data and logs."""
    return bench.data / "cycles" / cycle_id


@contextmanager
def renewed(
    database: Database,
    claim: cycles.Claim,
    progress: Mapping[str, Any] | None = None,
    *,
    seconds: float = RENEW_SECONDS,
) -> Iterator[None]:
    """Keep the lease and show the progress while the block runs: over a large log a step takes longer than a lease."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(seconds):
            try:
                cycles.renew(database, claim, progress=None if progress is None else dict(progress))
            except LostLease:
                return
            except DatabaseProblem:  # perhaps there the next time; the lease outlives several of these
                continue

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def child(bench: Workbench, claim: cycles.Claim, command: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run a command of `finetune` on a job file; its progress renews the lease."""
    path = folder(bench, claim.cycle_id) / f"{command}-{claim.fence}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(job))
    return launcher.run(
        ["finetune", command, "--job", str(path)],
        folder=bench.checkout,
        threads=bench.threads,
        environment=bench.environment,
        renew=lambda progress: cycles.renew(bench.database, claim, progress=progress),
        log=path.with_suffix(".log"),
    )
