"""What old cycles and killed trainings left goes: datasets, checkpoints, weights that cannot serve any more.

Funnels, reports and the registry's rows stay, and every adapter that was deployed once.
"""

import re
import shutil
from collections.abc import Sequence

from sqlmodel import col, select

from scheduler.steps import folder
from scheduler.workbench import Workbench
from store import deployments
from store.adapters import FOLDER
from store.models import Adapter, AdapterState, Cycle, CycleState

ENDED = (CycleState.DONE, CycleState.FAILED, CycleState.CANCELLED)
REFUSED = (AdapterState.REJECTED, AdapterState.SUPERSEDED, AdapterState.EXPIRED)
"""States that no adapter leaves to serve."""
_MADE = re.compile(r"(v\d+-\d+)(-phase-\d+)?(\.work|\.tried)?")
"""The folders that a cycle's trainings make: an adapter's, its phases', and what is under way."""


def tidy(bench: Workbench) -> None:
    """Delete what killed trainings left, and what all ended cycles but the newest `keep_datasets` did; 0 keeps theirs.

    For a step of the one running cycle, before it trains.
    """
    _left_over(bench)
    if not bench.keep_datasets:
        return
    with bench.database.read() as session:
        newest = select(Cycle.id).where(col(Cycle.state).in_(ENDED)).order_by(col(Cycle.created_at).desc())
        old = session.exec(newest.offset(bench.keep_datasets)).all()
    for cycle_id in old:
        for path in folder(bench, cycle_id).rglob("*.jsonl"):
            path.unlink()
        shutil.rmtree(folder(bench, cycle_id) / "checkpoints", ignore_errors=True)
    _weights(bench, old)


def _weights(bench: Workbench, old: Sequence[str]) -> None:
    """Delete the folders of adapters of these cycles that were refused, never of what is deployed."""
    with bench.database.read() as session:
        row = deployments.deployment(session)
        query = select(Adapter.cycle_id, Adapter.folder).where(col(Adapter.state).in_(REFUSED), Adapter.folder != "")
        rows = session.exec(query.where(col(Adapter.id).not_in([row.adapter, row.canary or row.adapter]))).all()
    for cycle_id, name in rows:
        if cycle_id in old:
            made = bench.data / FOLDER / name.rpartition("/")[2]
            for path in [made, *made.parent.glob(f"{made.name}-phase-*")]:
                shutil.rmtree(path, ignore_errors=True)


def _left_over(bench: Workbench) -> None:
    """Delete the folders of trainings that no row of the registry came of."""
    with bench.database.read() as session:
        kept = {name.rpartition("/")[2] for name in session.exec(select(Adapter.folder))}
    for path in (bench.data / FOLDER).glob("*"):
        made = _MADE.fullmatch(path.name)
        if made and (made.group(1) not in kept or made.group(3)):
            shutil.rmtree(path, ignore_errors=True)
