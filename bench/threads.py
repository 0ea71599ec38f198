"""How a trainer's threads wait for each other: asleep, as a cycle's do, or spinning; alone, and beside a busy program.

python -m bench.threads       about five minutes; everything else on the machine should be idle

Each training runs in a process of its own at the lowest priority, on the packaged model. The busy program is one
thread of the same priority that never rests.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.table import show
from bench.train import OURS, ROOT

WAITS = {"asleep": "PASSIVE", "spinning": "ACTIVE"}
NICE = ["nice", "-n", "19", sys.executable]


@contextmanager
def busy() -> Iterator[None]:
    """Somebody else at work on one core."""
    other = subprocess.Popen([*NICE, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.terminate()
        other.wait()


def tokens_per_second(*, threads: int, waiting: str, examples: int) -> float:
    """Train once; raises RuntimeError when the training failed."""
    with tempfile.TemporaryDirectory() as out:
        command = [*NICE, "-m", "bench.train", "--child", OURS, "--examples", str(examples), "--out", out]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": WAITS[waiting]}
        done = subprocess.run(
            [*command, "--threads", str(threads)],
            cwd=ROOT,
            env=environment | {"HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"the training ended with code {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return float(found["tokens"] / found["seconds"])


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.threads", description=__doc__)
    parser.add_argument("--examples", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    ways = [(1, "asleep"), (2, "asleep"), (2, "spinning")]
    best: dict[tuple[int, str], dict[str, Any]] = {
        way: {"threads": way[0], "waiting": way[1], "alone, tokens/s": 0.0, "beside one, tokens/s": 0.0} for way in ways
    }
    for _ in range(options.rounds):
        for threads, waiting in ways:
            row = best[threads, waiting]
            chosen = {"threads": threads, "waiting": waiting, "examples": options.examples}
            row["alone, tokens/s"] = max(row["alone, tokens/s"], tokens_per_second(**chosen))
            with busy():
                row["beside one, tokens/s"] = max(row["beside one, tokens/s"], tokens_per_second(**chosen))
    show("threads", list(best.values()), examples=options.examples, rounds=options.rounds)


if __name__ == "__main__":
    main()
