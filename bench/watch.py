"""How the watch after a swap does by simulation: harmless adapters rolled back, and how soon a loss is found.

python -m bench.watch

Ratings are drawn with a known share of thumbs-down; the watch looks after every one (`scheduler/sequential.py`). The
peer is what one would write first: a 95 % two-proportion interval, looked at after every rating too.
"""

import math
from typing import Any

import numpy as np

from bench.table import show
from scheduler.sequential import Floats, paths_of_level, paths_of_others
from scheduler.watch import ALPHA, RATINGS_PART

RUNS = 400
LOSS = 0.1
NEVER = 10**9


def first(paths: Floats) -> Floats:
    """The number of looks until the evidence was enough in each run."""
    hit = paths >= math.log(1 / (ALPHA * RATINGS_PART))
    return np.where(hit.any(axis=-1), hit.argmax(axis=-1) + 1, NEVER)


def peeked(seen: Floats, level: float) -> Floats:
    """Looks until a 95 % normal interval of the share so far lies above the level."""
    looks = np.arange(1, seen.shape[-1] + 1)
    share = np.cumsum(seen, axis=-1) / looks
    low = share - 1.96 * np.sqrt(np.maximum(share * (1 - share), 1e-9) / looks)
    hit = (low > level) & (looks >= 20)
    return np.where(hit.any(axis=-1), hit.argmax(axis=-1) + 1, NEVER)


def against_the_level(share: float, window: int) -> list[dict[str, Any]]:
    """A live adapter against the level before it."""
    random = np.random.default_rng(3)
    same = (random.random((RUNS, window)) < share).astype(float)
    worse = (random.random((RUNS, window)) < share + LOSS).astype(float)
    rows = []
    for what, test in (
        ("watch", lambda x: first(paths_of_level(x, share))),
        ("peer: interval", lambda x: peeked(x, share)),
    ):
        rows.append(_row(what, f"level {share:.0%}", test(same), test(worse), 1))
    return rows


def against_the_others(share: float, size: int, blocks: int) -> dict[str, Any]:
    """A canary beside `size` times as many ratings of what serves the others."""
    random = np.random.default_rng(3)
    others = (random.random((RUNS, blocks * size)) < share).astype(float)
    same, worse = ((random.random((RUNS, blocks)) < p).astype(float) for p in (share, share + LOSS))
    found = [first(paths_of_others(others, mine)) for mine in (same, worse)]
    return _row("watch", f"canary of {1 / (size + 1):.0%}, {share:.0%}", *found, size + 1)


def _row(what: str, compared: str, same: Floats, worse: Floats, each: int) -> dict[str, Any]:
    return {
        "what": what,
        "compared with": compared,
        "rolled back for nothing": float((same < NEVER).mean()),
        "loss found": float((worse < NEVER).mean()),
        "ratings until then, median": float(np.median(worse) * each) if np.median(worse) < NEVER else "never",
    }


def main() -> None:
    """Measure, print and keep."""
    rows = [row for share in (0.2, 0.3, 0.4) for row in against_the_level(share, 600)]
    rows += [against_the_others(0.3, 1, 600), against_the_others(0.3, 9, 300)]
    show("watch", rows, runs=RUNS, loss=LOSS, alpha=ALPHA * RATINGS_PART)


if __name__ == "__main__":
    main()
