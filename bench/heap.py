"""Does a trainer slow down? Passes over the same examples, with a cycle's allocator and with glibc's.

python -m bench.heap          about ten minutes; everything else on the machine should be idle

Each training runs in a process of its own, in one thread, on the packaged model. Its examples are of many lengths, as
people's questions are: what is kept of one then leaves a gap that fits no other.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.table import show
from bench.train import BATCH, LORA, RATE, ROOT, SEED
from scheduler.launcher import for_children

WAYS = {"glibc": {"LD_PRELOAD": ""}, "oneTBB, as in a cycle": {}}


def varied(count: int) -> list[dict[str, Any]]:
    """Questions of the handbook over the beginnings of two to four of its pages, 100 to 900 characters each."""
    from bot import prompt

    rng = random.Random(SEED)
    asked = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    pages = [path.read_text() for path in sorted((ROOT / "docs" / "handbook").glob("*.md"))]
    found = []
    for row in rng.sample([row for row in asked if row["passage"]], count):
        some = [page[: rng.randint(100, 900)] for page in rng.sample(pages, rng.randint(2, 4))]
        passages = [{"n": n, "title": "Handbook", "text": text} for n, text in enumerate(some, start=1)]
        found.append({"messages": prompt.messages(row["question"], passages, []), "target": f"{row['answer']} [1]"})
    return found


def child(examples: int, passes: int) -> None:
    """Train, and print what each pass took, the tokens of a pass and the peak memory."""
    from bot.models import PACKAGED_CHAT, chat_model
    from finetune.train import train

    rows, at = varied(examples), [time.monotonic()]
    steps = -(-examples // BATCH)

    def told(progress: dict[str, Any]) -> None:
        if progress["step"] % steps == 0:
            at.append(time.monotonic())

    with tempfile.TemporaryDirectory() as out:
        limits = {"warmup_steps": 0, "batch_size": BATCH, "max_tokens": 2048, "seed": SEED, "threads": 1}
        done = train(
            rows,
            base_model=chat_model(
                PACKAGED_CHAT, models=Path(os.environ.get("RATCHET_MODELS", ROOT / "var" / "models"))
            ),
            out=Path(out),
            learning_rate=RATE,
            epochs=passes,
            progress=told,
            **LORA,
            **limits,
        )
    seconds = [after - before for before, after in zip(at, at[1:], strict=False)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": seconds, "tokens": done.tokens / passes, "peak_mb": peak}))


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.heap", description=__doc__)
    parser.add_argument("--examples", type=int, default=60)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.examples, options.passes)
        return
    rows = []
    for name, other in WAYS.items():
        chosen = ["--child", "--examples", str(options.examples), "--passes", str(options.passes)]
        done = subprocess.run(
            [sys.executable, "-m", "bench.heap", *chosen],
            cwd=ROOT,
            env={**os.environ, **for_children(), **other, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        rates = [found["tokens"] / seconds for seconds in found["seconds"]]
        rows.append(
            {
                "allocator": name,
                "first pass, tokens/s": rates[0],
                "last pass, tokens/s": rates[-1],
                "MB": found["peak_mb"],
            }
        )
    show("heap", rows, examples=options.examples, passes=options.passes)


if __name__ == "__main__":
    main()
