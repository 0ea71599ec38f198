"""Claims about when a cycle is due."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from scheduler.due import next_times, slot, slot_key

NIGHTLY = "0 2 * * *"
NIGHT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "last", "expected"),
    [
        (NIGHT + timedelta(seconds=30), NIGHT - timedelta(days=1), "2026-11-22T02:00Z"),
        (NIGHT, NIGHT - timedelta(days=1), "2026-11-22T02:00Z"),
        (NIGHT - timedelta(seconds=1), NIGHT - timedelta(days=1), None),
        (NIGHT + timedelta(hours=9), NIGHT, None),
        (NIGHT + timedelta(hours=9), NIGHT - timedelta(days=1), "2026-11-22T02:00Z"),
        (NIGHT + timedelta(seconds=20), None, "2026-11-22T02:00Z"),
        (NIGHT + timedelta(hours=9), None, None),
    ],
    ids=["in time", "on the second", "too early", "taken", "late", "first start in time", "first start later"],
)
def test_a_slot_is_due_once_from_its_minute_on(now, last, expected):
    assert slot(NIGHTLY, now, last) == expected


def test_missed_slots_come_to_one():
    assert slot("0 * * * *", NIGHT + timedelta(minutes=10), NIGHT - timedelta(days=3)) == "2026-11-22T02:00Z"


def test_a_slot_that_was_taken_is_not_due_again_at_any_second_of_its_minute():
    assert [slot(NIGHTLY, NIGHT + timedelta(seconds=s), NIGHT) for s in (0, 1, 59)] == [None] * 3


def test_two_processes_in_different_zones_name_the_same_slot():
    here = NIGHT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert slot(NIGHTLY, here, NIGHT - timedelta(days=1)) == slot(NIGHTLY, NIGHT, NIGHT - timedelta(days=1))
    assert slot_key(here) == "2026-11-22T02:00Z"


def test_next_times_follow_in_order_and_in_utc():
    found = next_times("30 3 * * 1", NIGHT, 3)
    assert [time.isoformat() for time in found] == [
        "2026-11-23T03:30:00+00:00",
        "2026-11-30T03:30:00+00:00",
        "2026-12-07T03:30:00+00:00",
    ]
    assert next_times(NIGHTLY, NIGHT, 1) == [NIGHT + timedelta(days=1)]


@pytest.mark.parametrize(
    "cron", ["", "nightly", "0 2 * *", "* * * * * *", "61 2 * * *", "0 0 30 2 *", "0 2 * * someday"]
)
def test_an_invalid_schedule_is_a_sentence_that_quotes_it(cron):
    with pytest.raises(ValueError, match="the schedule is ") as caught:
        slot(cron, NIGHT, None)
    assert f'"{cron}"' in str(caught.value)
    assert "0 2 * * *" in str(caught.value)
    with pytest.raises(ValueError, match="the schedule is "):
        next_times(cron, NIGHT, 1)
