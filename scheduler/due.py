"""Is a cycle due? Cron expressions in UTC, as pure functions of the present moment.

It knows no clock and no scheduler: what ticks passes `now`, and `last`, the latest time that a slot was taken or the
schedule was changed.
"""

from datetime import UTC, datetime, timedelta

from croniter import CroniterError, croniter

FIELDS = 5
FRESH = timedelta(minutes=5)
"""How late a slot may be found due when nothing is known of earlier ones."""


def slot(cron: str, now: datetime, last: datetime | None) -> str | None:
    """The key of the latest due time after `last` and not after `now`, such as "2026-11-22T02:00Z"; else None.

    Slots that were missed while nothing ran come to one, the latest. Without `last` (a first start, nothing was
    missed) only a slot of the last minutes is due. Raises ValueError for an invalid expression.
    """
    latest = _previous(cron, now)
    since = last if last is not None else now.astimezone(UTC) - FRESH
    return slot_key(latest) if latest is not None and latest > since else None


def next_times(cron: str, now: datetime, n: int) -> list[datetime]:
    """The next `n` due times after `now`, UTC; raises ValueError for an invalid expression."""
    times = _times(cron, now.astimezone(UTC))
    return [times.get_next(datetime).astimezone(UTC) for _ in range(n)]


def slot_key(moment: datetime) -> str:
    """A due time as a key that is the same in every process."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def _previous(cron: str, now: datetime) -> datetime | None:
    # croniter looks strictly before its start, and a slot of this very minute is due.
    start = now.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    try:
        found: datetime = _times(cron, start).get_prev(datetime)
    except CroniterError:
        return None
    return found.astimezone(UTC)


def _times(cron: str, start: datetime) -> croniter:
    if len(cron.split()) != FIELDS:
        raise ValueError(f'the schedule is "{cron}", expected the five fields of cron, such as "0 2 * * *".')
    try:
        croniter(cron, start).get_next(datetime)
    except (CroniterError, ValueError, KeyError) as error:
        raise ValueError(f'the schedule is "{cron}", expected cron fields such as "0 2 * * *": {error}') from error
    return croniter(cron, start)
