"""Which adapters stand at a cycle's gate: what it trained, and what was registered by hand since the last one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlmodel import col, or_, select

from finetune import card, fits
from scheduler.workbench import Workbench
from store import adapters, cycles
from store.models import Adapter, AdapterState, Cycle, CycleState


def contenders(bench: Workbench, cycle: Cycle) -> list[Adapter]:
    """The adapters that stand at this cycle's gate, its own first; what was registered by hand joins them."""
    _take_registered(bench, cycle)
    with bench.database.read() as session:
        query = select(Adapter).where(Adapter.cycle_id == cycle.id, col(Adapter.state) == AdapterState.CANDIDATE)
        rows = sorted(session.exec(query), key=lambda row: (row.id != cycle.adapter_id, int(row.id[1:])))
        return rows or [adapters.get(session, cycle.adapter_id or "")]


def evaluated(bench: Workbench, done: Mapping[str, Any]) -> Path:
    """The folder of an evaluation's reports: in this data folder, which may have been moved since, else as entered."""
    out = bench.data / done["out"]
    return out if out.is_dir() else bench.data.joinpath("cycles", *out.parts[-2:])


def reports(bench: Workbench, cycle: Cycle) -> dict[str, Path]:
    """The reports of the adapters that stand at a cycle's gate, by adapter.

    Where the gate decides again on the one that it could not tell about, that one stands alone: the others are gone.
    """
    done = cycle.results["evaluate"]
    names = done.get("adapters") or [cycle.adapter_id or ""]
    files = ["candidate.json", *(f"candidate-{number}.json" for number in range(2, len(names) + 1))]
    found = {name: evaluated(bench, done) / file for name, file in zip(names, files, strict=True)}
    return {cycle.adapter_id: found[cycle.adapter_id]} if cycles.undecided(cycle) and cycle.adapter_id else found


def _take_registered(bench: Workbench, cycle: Cycle) -> None:
    """Make what was registered by hand, and no gate has seen yet, this cycle's."""
    base = bench.base_digest()
    with bench.database.write() as session:
        over = select(Cycle.id).where(col(Cycle.state).in_([CycleState.FAILED, CycleState.CANCELLED]))
        free = or_(col(Adapter.cycle_id).is_(None), col(Adapter.cycle_id).in_(over))
        query = select(Adapter).where(Adapter.origin == "registered", Adapter.state == AdapterState.CANDIDATE, free)
        for row in session.exec(query):
            place = adapters.place(row, bench.data)
            if card.base_of(place) != base:
                continue
            row.cycle_id = cycle.id
            session.add(row)
            if why := fits.trouble(place, base_model=bench.base_model, base_folder=Path(bench.base_folder())):
                adapters.move(session, row.id, AdapterState.REJECTED, actor="scheduler", comment=why)
