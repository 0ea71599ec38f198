"""Claims about how what people ask changes: weeks begin on Mondays, and drift is told from chance."""

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from scheduler import planning
from scheduler.trends import Dated, chance_index, drift, monday, reading, stability, weeks
from store import cycles, labels
from store.database import Database
from store.models import CycleState
from tests.test_scheduler_workbench import bench
from tests.test_store_staleness import asked

NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)


def dated(label: str, days: float = 0, rating: str | None = None) -> Dated:
    return Dated(NOW - timedelta(days=days), label, rating)


def test_a_week_begins_at_midnight_utc_on_monday_whatever_the_zone_of_the_time() -> None:
    assert monday(NOW) == datetime(2026, 11, 16, tzinfo=UTC)
    assert monday(NOW.astimezone(timezone(timedelta(hours=2)))) == datetime(2026, 11, 16, tzinfo=UTC)


def test_weeks_count_shares_and_satisfaction_per_task_and_leave_no_week_out() -> None:
    first, empty, last = weeks([dated("a", 14, "up"), dated("a", 0, "up"), dated("a", 0, "down"), dated("b")])
    assert (first.exchanges, empty.exchanges, last.exchanges) == (1, 0, 3)
    assert empty.tasks == {} and empty.satisfaction is None
    assert (last.tasks["a"].count, last.tasks["a"].share, last.tasks["a"].satisfaction) == (
        2,
        pytest.approx(2 / 3),
        0.5,
    )
    assert last.tasks["b"].satisfaction is None and last.satisfaction == 0.5


def test_no_exchange_has_no_weeks() -> None:
    assert weeks([]) == ()


def test_the_index_is_the_published_sum_over_smoothed_shares() -> None:
    index = stability(Counter(a=60, b=40), Counter(a=20, b=80))
    p, q = (60.5 / 101, 40.5 / 101), (20.5 / 101, 80.5 / 101)
    assert index == pytest.approx(sum((new - old) * math.log(new / old) for old, new in zip(p, q, strict=True)))


def test_the_same_distribution_has_no_index_and_a_new_task_has_a_finite_one() -> None:
    assert stability(Counter(a=5, b=5), Counter(a=5, b=5)) == 0
    assert 0.25 < stability(Counter(a=50), Counter(a=25, b=25)) < math.inf


@pytest.mark.parametrize(
    ("index", "chance", "said"),
    [(0.09, 0.0, "stable"), (0.2, 0.05, "moderate"), (0.3, 0.05, "strong"), (0.3, 0.4, "within chance")],
)
def test_an_index_reads_as_usual_unless_so_few_exchanges_shift_that_far_by_chance(
    index: float, chance: float, said: str
) -> None:
    assert reading(index, chance) == said


def test_when_nothing_changed_about_one_sample_in_twenty_is_over_the_chance_index() -> None:
    draw = np.random.default_rng(3)
    over = 0
    for _ in range(400):
        before, after = (Counter(draw.choice(["a", "b", "c", "d"], size=size).tolist()) for size in (300, 80))
        over += stability(before, after) > chance_index(4, 300, 80)
    assert 0.02 <= over / 400 <= 0.09


def test_drift_splits_at_the_cycle_and_moves_add_up() -> None:
    rows = [dated("a", 9)] * 30 + [dated("b", 9)] * 10 + [dated("b", 1)] * 20 + [dated("c", 1)] * 20
    found = drift(rows, NOW - timedelta(days=5))
    assert found is not None and (found.before, found.after, found.reading) == (40, 40, "strong")
    assert found.grew == {"c": 0.5, "b": 0.25} and found.shrank == {"a": -0.75}


def test_the_report_compares_with_the_latest_cycle_that_is_done_and_with_no_other(
    database: Database, tmp_path: Path
) -> None:
    work = replace(bench(database, tmp_path), taxonomy="t", recipes={})

    def ask(task: str) -> None:
        row = asked(database)
        labels.save(database, [labels.Found(row.id, task, 1.0, {})], taxonomy="t")

    ask("a")
    first, _ = cycles.start(database, slot_key="1", first_step="collect", started_by="test")
    ask("b")
    assert planning.report_now(work)["drift"] is None
    claim = cycles.claim(database)
    assert claim is not None
    cycles.finish_step(database, claim, result={}, next_step=None, state=CycleState.DONE)
    cycles.start(database, slot_key="2", first_step="collect", started_by="test")
    found = planning.report_now(work)
    assert found["drift"]["since"] == first.created_at.isoformat()
    assert (found["drift"]["before"], found["drift"]["after"], found["drift"]["grew"]) == (1, 1, {"b": 1.0})
    assert "Drift since the last cycle" in found["text"] and len(found["weeks"]) == 1
