"""Tokens per second at 1 and 8 streams and memory; peers in the same run: `generate` one by one, and padded batches.

python -m bench.serving
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from bench.table import show
from bot import prompt
from bot.engine import TransformersEngine
from bot.models import PACKAGED_CHAT, chat_model
from store.models import BASE

ROOT = Path(__file__).resolve().parent.parent
TOKENS, STREAMS = 48, 8
Messages = list[dict[str, str]]


def prompts() -> list[Messages]:
    """Eight prompts of three handbook passages each."""
    pages = sorted((ROOT / "docs/handbook").glob("*.md"))
    found = []
    for i in range(STREAMS):
        passages = [
            {"n": n, "title": page.stem, "text": page.read_text()[400:840]}
            for n, page in enumerate(pages[3 * i : 3 * i + 3], start=1)
        ]
        found.append(prompt.messages("Tell me everything that these passages say.", passages, []))
    return found


def streamed(engine: TransformersEngine, asked: Sequence[Messages]) -> float:
    """Tokens per second in all, prompts included."""
    begun = time.perf_counter()
    answers = [engine.stream(one, adapter=BASE, max_tokens=TOKENS) for one in asked]
    for answer in answers:
        "".join(answer)
    seconds = time.perf_counter() - begun
    return sum(answer.completion_tokens for answer in answers) / seconds


def generated(engine: TransformersEngine, asked: Sequence[Messages], *, batch: int) -> float:
    """Tokens per second of transformers' `generate` over padded batches."""
    model: Any = engine._models[BASE]
    tokenizer = engine.tokenizer
    tokenizer.padding_side = "left"
    begun, tokens = time.perf_counter(), 0
    for i in range(0, len(asked), batch):
        inputs = tokenizer.apply_chat_template(
            list(asked[i : i + batch]),
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
        )
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False)
        written = output[:, inputs["input_ids"].shape[1] :]
        tokens += int((written != tokenizer.pad_token_id).sum())
    return tokens / (time.perf_counter() - begun)


def main() -> None:
    """Measure all and print."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    folder = chat_model(PACKAGED_CHAT, models=Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models"))
    engine = TransformersEngine(folder, threads=2)
    asked = prompts()
    streamed(engine, asked[:1])
    one = streamed(engine, asked[:1])
    eight = streamed(engine, asked)
    rows: list[dict[str, Any]] = [
        {"what": "engine, 1 stream", "tokens/s": one},
        {"what": "engine, 8 streams", "tokens/s": eight},
        {"what": "peer: generate, 1 prompt", "tokens/s": generated(engine, asked[:1], batch=1)},
        {"what": "peer: generate, 8 prompts one by one", "tokens/s": generated(engine, asked, batch=1)},
        {"what": "peer: generate, one padded batch of 8", "tokens/s": generated(engine, asked, batch=8)},
    ]
    memory = psutil.Process().memory_info().rss / 2**20
    engine.close()
    show("serving", rows, tokens_per_answer=TOKENS, prompts="3 passages", memory_mb=round(memory), threads=2)


if __name__ == "__main__":
    main()
