"""How the watch after a swap does by simulation: harmless adapters rolled back, and how soon a loss is found.

python -m bench.watch            about five minutes on one core
python -m bench.watch --runs 40  fewer windows a row, to try it

What is simulated is the test that runs, `rises` of `scheduler/watch.py`: ratings are drawn before the swap and after,
and it knows no more than these. A live adapter is looked at after every rating, a canary after every twenty of either
side, in the order in which they come. The peer is what one would write first: a 95 % two-proportion interval, looked at
after every rating too.
"""

import argparse
import math
from typing import Any

import numpy as np

from bench.table import show
from scheduler.observed import MOST_OF_ONE, RATINGS_PART
from scheduler.sequential import Floats
from scheduler.watch import ALPHA, LEAST, rises

RUNS = 400
LOSS = 0.1
NEVER = 10**9
BEFORE = (20, 50, 100, 200, 1_000, 5_000)
WINDOW = 800
LEAST_LOOKS = 20
"""A canary is looked at after so many ratings, to save time."""
SPREAD = 0.15
"""How much of the scatter of ratings is between people: the correlation of two ratings of one person."""


def until(before: Floats, seen: Floats, *, alpha: float = ALPHA * RATINGS_PART) -> int:
    """After how many ratings `rises` first says so; NEVER where it does not. It stays with what it has said once."""
    if not _rises(before, seen, alpha):
        return NEVER
    low, high = 0, len(seen)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _rises(before, seen[:middle], alpha) else (middle, high)
    return high


def _rises(before: Floats, seen: Floats, alpha: float) -> bool:
    return rises(list(before > 0), list(seen > 0), beside=False, alpha=alpha)


def peeked(before: Floats, seen: Floats) -> int:
    """Looks until a 95 % normal interval of the difference lies above 0."""
    looks = np.arange(1, len(seen) + 1)
    share, level = np.cumsum(seen) / looks, before.mean()
    spread = np.sqrt(np.maximum(share * (1 - share), 1e-9) / looks + level * (1 - level) / len(before))
    hit = (share - 1.96 * spread > level) & (looks >= LEAST)
    return int(hit.argmax()) + 1 if hit.any() else NEVER


def ratings(random: np.random.Generator, share: float, of: int, *, spread: float = 0.0) -> Floats:
    """Thumbs-down as 1, drawn with a share; with `spread` people differ, each of whom gives MOST_OF_ONE."""
    if not spread:
        return (random.random(of) < share).astype(float)
    known = 1 / spread - 1
    people = random.beta(share * known, (1 - share) * known, math.ceil(of / MOST_OF_ONE))
    return (random.random(of) < np.repeat(people, MOST_OF_ONE)[:of]).astype(float)


def against_the_level(share: float, before: int, *, runs: int, spread: float = 0.0) -> list[dict[str, Any]]:
    """A live adapter against so many ratings of the one before it."""
    random, found = np.random.default_rng(3), {"watch": ([], []), "peer: interval": ([], [])}
    for _ in range(runs):
        level = ratings(random, share, before, spread=spread)
        for place, truth in enumerate((share, share + LOSS)):
            seen = ratings(random, truth, WINDOW, spread=spread)
            found["watch"][place].append(until(level, seen))
            found["peer: interval"][place].append(peeked(level, seen))
    what = f"{before:,} ratings before, {share:.0%}" + (", people differ" if spread else "")
    return [_row(name, what, *looks) for name, looks in found.items() if name == "watch" or before >= 1_000]


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
    rows += [beside(0.3, 0.5, runs=runs, exchanges=1_600), beside(0.3, 0.1, runs=runs, exchanges=3_000)]
    show("watch", rows, runs=runs, loss=LOSS, alpha=ALPHA * RATINGS_PART, window=WINDOW)


if __name__ == "__main__":
    main()
