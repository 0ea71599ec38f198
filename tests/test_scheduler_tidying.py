"""Claims about what old cycles and killed trainings leave: it goes, and what tells of them or may serve stays."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from scheduler import tidying
from scheduler.dataset_files import write_rows
from scheduler.workbench import Workbench
from store import adapters, deployments
from store.database import Database
from store.models import AdapterState, Cycle, now
from tests.test_scheduler_forgotten import example
from tests.test_scheduler_workbench import bench


@pytest.fixture
def work(database: Database, tmp_path: Path) -> Workbench:
    return bench(database, tmp_path)


def test_the_datasets_of_old_cycles_go_and_what_tells_of_them_stays(database: Database, work: Workbench) -> None:
    states = ["done", "failed", "awaiting_approval", "done", "done"]
    for number, state in enumerate(states):
        with database.write() as session:
            at = now() - timedelta(days=9 - number)
            session.add(Cycle(id=f"cy_{number}", slot_key=str(number), state=state, created_at=at))
        folder = work.data / "cycles" / f"cy_{number}"
        write_rows(folder / "data-4" / "train.jsonl", [example(number)])
        write_rows(folder / "data-4" / "variant-0" / "phase-0.jsonl", [example(number)])
        (folder / "data-4" / "funnel.json").write_text("{}")
        (folder / "checkpoints").mkdir()

    def left() -> list[str]:
        return sorted({path.parts[-3] for path in work.data.rglob("train.jsonl")})

    tidying.tidy(replace(work, keep_datasets=0))
    assert len(left()) == len(states)
    tidying.tidy(replace(work, keep_datasets=2))
    assert left() == ["cy_2", "cy_3", "cy_4"]
    assert not list((work.data / "cycles" / "cy_0").rglob("*.jsonl"))
    assert [path.name for path in (work.data / "cycles" / "cy_0").iterdir()] == ["data-4"]
    assert len(list(work.data.rglob("funnel.json"))) == len(states)


def published(work: Workbench, name: str, *, state: AdapterState, cycle_id: str) -> None:
    """An adapter of a cycle with its folder and that of a phase."""
    for path in (name, f"{name}-phase-1"):
        (work.data / "adapters" / path).mkdir(parents=True)
    folder = str(work.data / "adapters" / name)
    row = adapters.create(work.database, actor="test", cycle_id=cycle_id, folder=folder)
    with work.database.write() as session:
        found = adapters.get(session, row.id)
        found.state = state
        session.add(found)


def test_weights_that_were_refused_go_with_their_cycle_and_those_that_served_stay(
    database: Database, work: Workbench
) -> None:
    for number in range(2):
        with database.write() as session:
            at = now() - timedelta(days=9 - number)
            session.add(Cycle(id=f"cy_{number}", slot_key=str(number), state="done", created_at=at))
    published(work, "v1-7", state=AdapterState.REJECTED, cycle_id="cy_0")
    published(work, "v2-7", state=AdapterState.RETIRED, cycle_id="cy_0")
    published(work, "v3-8", state=AdapterState.REJECTED, cycle_id="cy_1")
    tidying.tidy(replace(work, keep_datasets=0))
    assert len(list((work.data / "adapters").iterdir())) == 6
    tidying.tidy(replace(work, keep_datasets=1))
    left = sorted(path.name for path in (work.data / "adapters").iterdir())
    assert left == ["v2-7", "v2-7-phase-1", "v3-8", "v3-8-phase-1"]


def test_the_weights_of_what_is_deployed_stay_whatever_its_state(database: Database, work: Workbench) -> None:
    for number in range(2):
        with database.write() as session:
            at = now() - timedelta(days=9 - number)
            session.add(Cycle(id=f"cy_{number}", slot_key=str(number), state="done", created_at=at))
    for name in ("v1-7", "v2-7", "v3-7"):
        published(work, name, state=AdapterState.SUPERSEDED, cycle_id="cy_0")
    with database.write() as session:
        deployments.deploy(session, "v1", actor="test", comment="x", canary="v2", share=0.1)
    tidying.tidy(replace(work, keep_datasets=1))
    left = sorted(path.name for path in (work.data / "adapters").iterdir())
    assert left == ["v1-7", "v1-7-phase-1", "v2-7", "v2-7-phase-1"]


def test_what_killed_trainings_left_goes_and_nothing_else(work: Workbench) -> None:
    published(work, "v1-7", state=AdapterState.LIVE, cycle_id="cy_0")
    adapters.create(work.database, actor="test", cycle_id="cy_1")
    left = ["v1-5.work", "v1-7.work", "v2-9", "v2-9-phase-1", "v2-9.tried", "mine", "starter", "v2-9.bak"]
    for name in left:
        (work.data / "adapters" / name).mkdir()
    tidying.tidy(replace(work, keep_datasets=30))
    found = sorted(path.name for path in (work.data / "adapters").iterdir())
    assert found == ["mine", "starter", "v1-7", "v1-7-phase-1", "v2-9.bak"]
