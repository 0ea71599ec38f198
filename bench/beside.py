"""Time to first text while a trainer works on the same cores: own process, one thread, niced, as a cycle runs it.

python -m bench.beside

Run it with nothing else on the machine and with ordinary priority; the same prompts are asked before and beside.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.serve import ROOT, engine_asks, measured, prompts
from bench.table import show
from bot.engine import TransformersEngine
from bot.models import PACKAGED_CHAT, chat_model

QUESTIONS, TRAINER_STARTS = 12, 25.0


@contextmanager
def training() -> Iterator[None]:
    """A trainer at work; raises RuntimeError when it ends before it was measured beside."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [
        "nice",
        "-n",
        "19",
        sys.executable,
        "-m",
        "bench.train",
        "--child",
        "finetune.train",
        "--examples",
        "300",
        "--out",
        tempfile.mkdtemp(),
    ]
    quiet = subprocess.DEVNULL
    trainer = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet)
    time.sleep(TRAINER_STARTS)
    try:
        yield
        if trainer.poll() is not None:
            raise RuntimeError("the trainer ended before the measurement did.")
    finally:
        trainer.terminate()
        trainer.wait(timeout=30)


def main() -> None:
    """Measure alone and beside, and print."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = chat_model(PACKAGED_CHAT, models=Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models"))
    engine = TransformersEngine(folder, threads=2)
    asked = prompts(2 * QUESTIONS + 1)
    ask = engine_asks(engine)
    measured(ask, asked[:1], streams=1)
    rows: list[dict[str, Any]] = [{"what": "alone", **measured(ask, asked[1 : QUESTIONS + 1], streams=1)}]
    with training():
        rows.append({"what": "training beside", **measured(ask, asked[QUESTIONS + 1 :], streams=1)})
    engine.close()
    growth = rows[1]["first text p95 s"] / rows[0]["first text p95 s"]
    show("beside", rows, questions=QUESTIONS, growth_of_p95=round(growth, 2), threads=2)


if __name__ == "__main__":
    main()
