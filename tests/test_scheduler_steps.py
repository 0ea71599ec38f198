"""Claims about what steps share: a step keeps its lease for as long as it works, and no longer."""

import time
from datetime import datetime
from typing import Any

import pytest

from scheduler.steps import renewed
from store import cycles
from store.database import Database
from store.models import CycleStep
from tests.queued import until


@pytest.mark.parametrize("told", [{"questions": 7}, None])
def test_the_lease_is_renewed_while_a_step_works_and_its_progress_shown(
    database: Database, told: dict[str, Any] | None
) -> None:
    cycles.start(database, slot_key="s", first_step="rank", started_by="test")
    claim = cycles.claim(database)
    assert claim is not None
    cycles.renew(database, claim, progress={"before": 1})

    def lease() -> datetime:
        with database.read() as session:
            found = cycles.get(session, claim.cycle_id).lease_until
        assert found is not None
        return found

    begun = lease()
    with renewed(database, claim, told, seconds=0.05):
        until(lambda: lease() > begun)
    after = lease()
    time.sleep(0.2)
    assert lease() == after
    with database.read() as session:
        assert session.get_one(CycleStep, (claim.cycle_id, "rank")).progress == (told or {"before": 1})


def test_a_step_that_another_took_over_goes_on_without_a_lease_and_without_an_error(database: Database) -> None:
    row, _ = cycles.start(database, slot_key="s", first_step="rank", started_by="test")
    claim = cycles.claim(database)
    assert claim is not None
    with renewed(database, claim, seconds=0.02):
        with database.write() as session:
            cycles.get(session, row.id).lease_until = None
        other = cycles.claim(database)
        assert other is not None and other.fence > claim.fence
        time.sleep(0.1)
    with database.read() as session:
        assert cycles.get(session, row.id).fence == other.fence
