"""Twenty hot swaps of a running bot under eight constant streams, and what the people at the streams notice of it.

python -m bench.swap [--swaps N] [--dtype float32]

Everything real: store, registry, deployment row, `bot/live.py`, engine. Adapters of random weights are approved in
turn while eight people ask on. Then every answer is compared with that of a cold engine with the adapter that the
exchange names (float32: word for word; bfloat16: the first token's log-probabilities).
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from bench.serve import prompts
from bench.table import draw, show
from bot.engine import TransformersEngine
from bot.live import Live
from bot.models import PACKAGED_CHAT, chat_model
from finetune import card
from store import adapters, deployments
from store.database import Database, open_database
from store.errors import RatchetError
from store.models import BASE, AdapterState

ROOT = Path(__file__).resolve().parent.parent
TOKENS, STREAMS, VERSIONS = 48, 8, 4
Messages = list[dict[str, str]]


@dataclass
class Asked:
    """One answer: by which adapter, when its pieces came."""

    messages: Messages
    adapter: str
    began: float
    text: str = ""
    times: list[float] = field(default_factory=list)
    error: str = ""


def adapter_folder(model_folder: str, target: Path, *, seed: int, base_digest: str) -> str:
    """Publish a rank-16 adapter of random weights that changes what the model says; returns its digest."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    config = LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "k_proj", "v_proj"])
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    with tempfile.TemporaryDirectory() as made:
        adapted.save_pretrained(made)
        return card.adopt(Path(made), target, base_model="packaged", base_digest=base_digest, facts={"rank": 16})


def approved(database: Database, folder: Path, digest: str) -> str:
    """Take an adapter through the registry up to its approval; returns its id."""
    serving = _serving(database)
    row = adapters.create(database, actor="bench", folder=str(folder), digest=digest, compared_with=serving)
    with database.write() as session:
        report: dict[str, Any] = {}
        adapters.move(session, row.id, AdapterState.CANDIDATE, actor="bench")
        adapters.move(
            session,
            row.id,
            AdapterState.AWAITING_APPROVAL,
            actor="bench",
            report=report,
            report_digest=adapters.report_digest(report),
        )
    deployments.approve(database, row.id, actor="bench", comment="bench")
    return row.id


def _serving(database: Database) -> str:
    with database.read() as session:
        return deployments.deployment(session).adapter


class People:
    """Eight people who ask one question after another, each a different one every time."""

    def __init__(self, engine: TransformersEngine, live: Live, database: Database, asked: list[Messages]) -> None:
        self.done: list[Asked] = []
        self.first_by: dict[str, float] = {}
        self._engine, self._live, self._database, self._asked = engine, live, database, asked
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(i,), daemon=True) for i in range(STREAMS)]

    def start(self) -> None:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish the answers under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self, person: int) -> None:
        turn = 0
        while not self._stop.is_set():
            messages = self._asked[(person * 7 + turn) % len(self._asked)]
            self.done.append(self._one(messages))
            turn += 1

    def _one(self, messages: Messages) -> Asked:
        asked = Asked(messages, self._live.adapter, time.monotonic())
        try:
            for piece in self._engine.stream(messages, adapter=asked.adapter, max_tokens=TOKENS):
                asked.times.append(time.monotonic())
                self.first_by.setdefault(asked.adapter, asked.times[-1])
                asked.text += piece
        except RatchetError as error:
            asked.error = error.message
        return asked


def gaps(done: list[Asked], *, during: list[tuple[float, float]] | None) -> list[float]:
    """Seconds between two pieces of text; only those that touch one of the intervals, or all."""
    found = []
    for asked in done:
        for before, after in zip(asked.times, asked.times[1:], strict=False):
            if during is None or any(before <= end and after >= begin for begin, end in during):
                found.append(after - before)
    return sorted(found)


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return values[round(0.99 * (len(values) - 1))] if values else 0.0


def first_logprob(engine: TransformersEngine, asked: Asked, adapter: str) -> float:
    """The log-probability of the answer's first token under an adapter."""
    found = engine.logprobs(asked.messages, asked.text[:40], adapter=adapter)
    return found[0] if found else 0.0


def compared(cold: TransformersEngine, engine: TransformersEngine, done: list[Asked], dtype: str) -> dict[str, Any]:
    """How answers given under way differ from a cold engine's."""
    if dtype == "float32":
        streams = [cold.stream(asked.messages, adapter=asked.adapter, max_tokens=TOKENS) for asked in done]
        mixed = sum("".join(stream) != asked.text for stream, asked in zip(streams, done, strict=True))
        return {"answers compared": len(done), "answers unlike a cold engine's": mixed}
    names = sorted(set(cold.loaded()) & set(engine.loaded()))
    sample = [asked for asked in done if asked.adapter in names][-24:]
    found: dict[str, list[float]] = {"warm against cold": [], "cold, read in other chunks": [], "between adapters": []}
    for asked in sample:
        first = {name: first_logprob(cold, asked, name) for name in names}
        own = first[asked.adapter]
        found["warm against cold"].append(abs(first_logprob(engine, asked, asked.adapter) - own))
        found["cold, read in other chunks"].append(abs(first_logprob(cold, asked, asked.adapter) - own))
        found["between adapters"] += [abs(value - own) for name, value in first.items() if name != asked.adapter]
    return {
        f"first-token log-prob, {name}, {figure}": value
        for name, values in found.items()
        for figure, value in (("mean", statistics.mean(values)), ("max", max(values)))
        if values
    }


def main() -> None:
    """Swap, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.swap", description=__doc__)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = chat_model(PACKAGED_CHAT, models=Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models"))
    with tempfile.TemporaryDirectory() as scratch:
        rows, facts = swapped(folder, Path(scratch), swaps=options.swaps, dtype=options.dtype)
    show(f"swap_{options.dtype}", rows, **facts)


def swapped(folder: str, scratch: Path, *, swaps: int, dtype: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The whole run; rows of the table and facts beside it."""
    database = open_database(f"sqlite:///{scratch}/bench.db")
    engine = TransformersEngine(folder, dtype=dtype, threads=2)
    folders = [scratch / f"a{i}" for i in range(VERSIONS)]
    digests = [adapter_folder(folder, path, seed=i, base_digest=engine.base_digest) for i, path in enumerate(folders)]
    live = Live(database, engine)
    people = People(engine, live, database, prompts(60))
    process = psutil.Process()
    people.start()
    time.sleep(20)
    steady_until = time.monotonic()
    approvals: list[tuple[str, float]] = []
    memory = []
    for i in range(swaps):
        at = time.monotonic()
        approvals.append((approved(database, folders[i % VERSIONS], digests[i % VERSIONS]), at))
        while live.adapter != approvals[-1][0]:
            time.sleep(0.05)
        time.sleep(4)
        memory.append(process.memory_info().rss / 2**20)
    people.stop()
    done = people.done
    steady = [asked for asked in done if asked.times and asked.times[-1] < steady_until]
    delays = [people.first_by[name] - at for name, at in approvals if name in people.first_by]
    around = [(at, at + 3) for _, at in approvals]
    result = {
        "swaps": swaps,
        "answers": len(done),
        "lost": sum(bool(asked.error) for asked in done),
        "p99 gap steady ms": 1000 * p99(gaps(steady, during=None)),
        "p99 gap in a swap ms": 1000 * p99(gaps(done, during=around)),
        "approve to first text median s": statistics.median(delays or [0.0]),
        "approve to first text max s": max(delays, default=0.0),
        "memory after 2 swaps MB": round(memory[min(1, len(memory) - 1)]),
        "memory half way MB": round(memory[len(memory) // 2]),
        "memory at the end MB": round(memory[-1]),
    }
    cold = TransformersEngine(folder, dtype=dtype, threads=2, queue_limit=len(done))
    for name, _ in approvals:
        with database.read() as session:
            row = adapters.get(session, name)
        if name in {asked.adapter for asked in done}:
            cold.load(name, Path(row.folder), digest=row.digest)
    sample = done[:: max(1, len(done) // 60)]
    result |= compared(cold, engine, sample if dtype == "float32" else done, dtype)
    live.close()
    engine.close()
    cold.close()
    database.close()
    rows = [{"what": name, "value": value} for name, value in result.items()]
    gap_rows = [row for row in rows if "gap" in row["what"]]
    draw(f"swap_{dtype}", gap_rows, label=["what"], value="value")
    return rows, {"dtype": dtype, "streams": STREAMS, "base": BASE}


if __name__ == "__main__":
    main()
