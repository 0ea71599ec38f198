"""Tokens per second and time to first token at 1 and 8 streams; peers in the same run, same weights, same prompts.

python -m bench.serve [--rounds N]

Peers: transformers' `generate` one by one and in padded batches of 8, and a vLLM server (see bench/peers.py). Every
prompt is asked once by each system, so that nothing but the system message can come from a cache.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from bench import peers
from bench.table import draw, show
from bot import prompt
from bot.engine import TransformersEngine
from bot.models import PACKAGED_CHAT, chat_model
from store.models import BASE

ROOT = Path(__file__).resolve().parent.parent
TOKENS, STREAMS, ALONE = 64, 8, 6
Messages = list[dict[str, str]]
Ask = Callable[[Messages], Iterator[int]]
"""Yields whenever text comes, at last the number of tokens written."""


def prompts(count: int) -> list[Messages]:
    """Questions over three handbook passages each, as the bot asks them, all different."""
    pages = [page.read_text() for page in sorted((ROOT / "docs/handbook").glob("*.md"))]
    passages = [text[i : i + 600] for text in pages for i in range(0, len(text) - 600, 300)]
    asked = ["What does this say?", "How is this done?", "What must I know here?", "Explain this in a few sentences."]
    found = []
    for i in range(count):
        three = [{"n": n, "title": "Handbook", "text": passages[(31 * i + 7 * n) % len(passages)]} for n in (1, 2, 3)]
        found.append(prompt.messages(asked[i % len(asked)], three, []))
    return found


def measured(ask: Ask, asked: Sequence[Messages], *, streams: int) -> dict[str, Any]:
    """Tokens per second in all, prompts included, and the first text's delay, by `streams` people at once."""

    def one(messages: Messages) -> tuple[float, int]:
        begun, first, tokens = time.perf_counter(), None, 0
        for piece in ask(messages):
            first = first or time.perf_counter() - begun
            tokens = piece
        return first or 0.0, tokens

    begun = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        results = list(pool.map(one, asked))
    seconds = time.perf_counter() - begun
    delays = sorted(first for first, _ in results)
    return {
        "streams": streams,
        "tokens/s": sum(tokens for _, tokens in results) / seconds,
        "first text p50 s": statistics.median(delays),
        "first text p95 s": delays[round(0.95 * (len(delays) - 1))],
    }


def engine_asks(engine: TransformersEngine) -> Ask:
    """The embedded engine as a peer."""

    def ask(messages: Messages) -> Iterator[int]:
        answer = engine.stream(messages, adapter=BASE, max_tokens=TOKENS)
        for _ in answer:
            yield 0
        yield answer.completion_tokens

    return ask


def generate_row(engine: TransformersEngine, asked: Sequence[Messages], *, batch: int) -> dict[str, Any]:
    """transformers' generate; it streams nothing, so that the first text is the whole answer."""
    model = engine._versions.base
    tokens, seconds = peers.generated(model, engine.tokenizer, asked, batch=batch, tokens=TOKENS)
    return {
        "streams": 8 if batch > 1 else 1,
        "tokens/s": tokens / seconds,
        "first text p50 s": "-",
        "first text p95 s": "-",
    }


def main() -> None:
    """Measure all and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="prompts per stream")
    rounds = parser.parse_args().rounds
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = chat_model(PACKAGED_CHAT, models=Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models"))
    each = ALONE + STREAMS * rounds
    asked = prompts(2 * each + 1)
    warm, alone, crowd, again = asked[:1], asked[1 : ALONE + 1], asked[ALONE + 1 : each + 1], asked[each + 1 :]
    engine = TransformersEngine(folder, threads=2)
    systems: list[tuple[str, Ask]] = [("engine", engine_asks(engine))]
    rows: list[dict[str, Any]] = []

    def measure(name: str, ask: Ask) -> None:
        measured(ask, warm, streams=1)
        for group, streams in ((alone, 1), (crowd, STREAMS)):
            rows.append({"what": name, **measured(ask, group, streams=streams)})

    for name, ask in systems:
        measure(name, ask)
    memory = psutil.Process().memory_info().rss / 2**20
    rows.append({"what": "generate, one by one", **generate_row(engine, alone, batch=1)})
    rows.append({"what": "generate, padded batches", **generate_row(engine, crowd, batch=STREAMS)})
    if peers.vllm_command() is None:
        print("vLLM is not measured: set RATCHET_VLLM to a virtual environment that has it.")
    else:
        with peers.vllm(folder, slots=STREAMS, context=2048) as address:
            measure("vLLM", lambda messages: peers.asked_of(address, messages, tokens=TOKENS))
        alone, crowd = again[:ALONE], again[ALONE:]
        measure("engine, again", systems[0][1])
    engine.close()
    draw("serve", rows, label=["what", "streams"], value="tokens/s")
    show("serve", rows, tokens_per_answer=TOKENS, prompts=len(asked), memory_mb=round(memory), threads=2)


if __name__ == "__main__":
    main()
