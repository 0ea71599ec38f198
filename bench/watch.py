"""How the watch after a swap does by simulation: harmless adapters rolled back, and how soon a loss is found.

python -m bench.watch            about ten minutes on one core
python -m bench.watch --runs 40  fewer windows a row, to try it

What is simulated is the test that runs, `rises` of `scheduler/watch.py`: ratings are drawn before the swap and after,
and it knows no more than these. A live adapter is looked at after every rating, a canary after every twenty of either
side, in the order in which they come. The peer is what one would write first: a 95 % two-proportion interval, looked at
after every rating too. Where days differ the second peer is the same test that takes them as alike.
"""

import argparse
import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from bench.table import show
from scheduler.days import ALIKE, Days, Observation, begins
from scheduler.observed import MOST_OF_ONE, RATINGS_PART
from scheduler.sequential import SMALLEST
from scheduler.watch import ALPHA, LEAST, rises
from scheduler.watch import BEFORE as BEFORE_SWAP

RUNS = 400
LOSS = 0.1
NEVER = 10**9
BEFORE = (20, 50, 100, 200, 1_000, 5_000)
WATCH, DAYS_ALIKE, PEER = WAYS = ("watch", "watch, days taken as alike", "peer: interval")
WINDOW = 800
LEAST_LOOKS = 20
"""A canary is looked at after so many ratings, to save time."""
SPREAD = 0.15
"""How much of the scatter of ratings is between people: the correlation of two ratings of one person."""

Rows = Sequence[Observation]


def until(before: Rows, seen: Rows, *, alpha: float = ALPHA * RATINGS_PART, known: Days | None = None) -> int:
    """After how many ratings `rises` first says so; NEVER where it does not. It stays with what it has said once.

    How much days differ is told by those before, or `known`.
    """
    days = Days.of(before) if known is None else known
    if not _rises(before, seen, alpha, days):
        return NEVER
    low, high = 0, len(seen)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _rises(before, seen[:middle], alpha, days) else (middle, high)
    return high


def _rises(before: Rows, seen: Rows, alpha: float, days: Days) -> bool:
    others, mine = ([one.shows for one in rows] for rows in (before, seen))
    return rises(others, mine, beside=False, alpha=alpha, days=days, begins=begins(seen))


def peeked(before: Rows, seen: Rows) -> int:
    """Looks until a 95 % normal interval of the difference lies above 0."""
    looks = np.arange(1, len(seen) + 1)
    share, level = np.cumsum([one.shows for one in seen]) / looks, np.mean([one.shows for one in before])
    spread = np.sqrt(np.maximum(share * (1 - share), 1e-9) / looks + level * (1 - level) / len(before))
    hit = (share - 1.96 * spread > level) & (looks >= LEAST)
    return int(hit.argmax()) + 1 if hit.any() else NEVER


def ratings(
    random: np.random.Generator, share: float, of: int, *, a_day: float, spread: float = 0.0, apart: float = 0.0
) -> Rows:
    """Thumbs-down drawn with a share, so many a day; of each person MOST_OF_ONE in a row.

    With `spread` people differ (the correlation of two of their ratings), with `apart` days do (standard deviation).
    """
    days, people = np.arange(of) // max(1, a_day), np.arange(of) // MOST_OF_ONE
    level = np.clip(random.normal(share, apart, int(days.max()) + 1), SMALLEST, 1 - SMALLEST) if apart else None
    shares = np.full(of, share) if level is None else level[days.astype(int)]
    if spread:
        known = 1 / spread - 1
        shares = random.beta(share * known, (1 - share) * known, math.ceil(of / MOST_OF_ONE))[people]
    start = date(2026, 1, 1)
    return [
        Observation(bool(yes), str(person), start + timedelta(days=float(day)))
        for yes, person, day in zip(random.random(of) < shares, people, days, strict=True)
    ]


def against_the_level(
    share: float, before: int, *, runs: int, spread: float = 0.0, apart: float = 0.0
) -> list[dict[str, Any]]:
    """A live adapter against so many ratings of the one before it, on as many days as the watch looks back."""
    random, a_day = np.random.default_rng(3), before / BEFORE_SWAP.days
    found: dict[str, tuple[list[int], list[int]]] = {name: ([], []) for name in WAYS}
    for _ in range(runs):
        level = ratings(random, share, before, a_day=a_day, spread=spread, apart=apart)
        for place, truth in enumerate((share, share + LOSS)):
            seen = ratings(random, truth, WINDOW, a_day=a_day, spread=spread, apart=apart)
            found[WATCH][place].append(until(level, seen))
            if apart:
                found[DAYS_ALIKE][place].append(until(level, seen, known=ALIKE))
            if before >= 1_000:
                found[PEER][place].append(peeked(level, seen))
    what = f"{before:,} ratings before, {share:.0%}" + (", people differ" if spread else "")
    what += f", days differ by {100 * apart:.0f} points" if apart else ""
    return [_row(name, what, *looks) for name, looks in found.items() if looks[0]]


def beside(share: float, canary: float, *, runs: int, exchanges: int) -> dict[str, Any]:
    """A canary of such a share of the ratings, in the order in which they come."""
    random, found = np.random.default_rng(3), ([], [])
    for _ in range(runs):
        for place, truth in enumerate((share, share + LOSS)):
            mine = random.random(exchanges) < canary
            bad = random.random(exchanges) < np.where(mine, truth, share)
            found[place].append(_looked(bad, mine))
    return _row("watch", f"canary of {canary:.0%}, {share:.0%}", *found)


def _looked(bad: Any, mine: Any) -> int:
    for look in range(LEAST_LOOKS, len(bad) + 1, LEAST_LOOKS):
        others, seen = bad[:look][~mine[:look]].tolist(), bad[:look][mine[:look]].tolist()
        if rises(others, seen, beside=True, alpha=ALPHA * RATINGS_PART):
            return look
    return NEVER


def _row(what: str, compared: str, same: list[int], worse: list[int]) -> dict[str, Any]:
    middle = float(np.median(worse))
    return {
        "what": what,
        "compared with": compared,
        "rolled back for nothing": float(np.mean(np.array(same) < NEVER)),
        "loss found": float(np.mean(np.array(worse) < NEVER)),
        "ratings until then, median": middle if middle < NEVER else "not in the window",
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="of a row")
    runs = parser.parse_args().runs
    rows = [row for before in BEFORE for row in against_the_level(0.3, before, runs=runs)]
    rows += [row for share in (0.1, 0.2, 0.4) for row in against_the_level(share, 5_000, runs=runs)]
    rows += [row for before in (100, 5_000) for row in against_the_level(0.3, before, runs=runs, spread=SPREAD)]
    rows += [
        row
        for before in (1_000, 5_000, 15_000)
        for apart in (0.03, 0.05)
        for row in against_the_level(0.3, before, runs=runs, apart=apart)
    ]
    rows += [beside(0.3, 0.5, runs=runs, exchanges=1_600), beside(0.3, 0.1, runs=runs, exchanges=3_000)]
    show("watch", rows, runs=runs, loss=LOSS, alpha=ALPHA * RATINGS_PART, window=WINDOW)


if __name__ == "__main__":
    main()
