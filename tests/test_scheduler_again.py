"""Claims about a gate that decides again: on what it could not tell about alone, wherever the reports lie now."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler import entrants, trials
from scheduler.workbench import Workbench
from store import adapters
from store.models import AdapterState
from tests.test_scheduler_trials import evaluated, finalists
from tests.test_scheduler_trials import work as work


def test_an_adapter_that_was_rejected_does_not_stand_at_the_gate_that_decides_again(work: Workbench) -> None:
    row, claim, (first, second) = finalists(work, 2)
    evaluated(work, [0.0, 0.25])
    with work.database.write() as session:
        adapters.move(session, second.id, AdapterState.REJECTED, actor="gate", comment="not_enough_evidence")
    row.results["gate"] = {"verdict": "not_enough_evidence", "winner": {"adapter": first.id, "why": "The best."}}
    row.plan["variants"] = [{"name": "way 0"}, {"name": "way 1"}]
    after = trials.decide(work, claim, row)
    assert after.values == {"adapter_id": first.id}
    assert after.result["winner"] == {"adapter": first.id, "variant": "way 0", "why": "The best."}
    with work.database.read() as session:
        assert adapters.get(session, second.id).verdict == {}


def test_what_is_evaluated_anew_stands_at_the_gate_with_all_its_rivals(work: Workbench) -> None:
    row, _, (first, second) = finalists(work, 2)
    row.results["gate"] = {"verdict": "promote"}
    assert list(entrants.reports(work, row)) == [first.id, second.id]


@pytest.mark.parametrize("entered", ["cycles/{}/evaluation-1", "/gone/cycles/{}/evaluation-1"])
def test_reports_are_found_in_a_data_folder_that_was_moved(work: Workbench, tmp_path: Path, entered: str) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.25])
    moved = tmp_path / "moved"
    shutil.copytree(work.data, moved / "cycles" / row.id / "evaluation-1")
    (moved / "held_out.jsonl").touch()
    row.results["evaluate"]["out"] = entered.format(row.id)
    assert trials.decide(replace(work, data=moved), claim, row).values == {"adapter_id": only.id}
