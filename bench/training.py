"""Training speed on one CPU thread; peer: a plain PEFT loop (fused attention, padded batches, logits of all tokens).

python -m bench.training
"""

import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.table import show
from bot import prompt
from bot.models import PACKAGED_CHAT, chat_model
from finetune import loading
from finetune.passes import choose

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["q_proj", "k_proj", "v_proj"]
ROUNDS, BATCH, BATCHES = 3, 3, 3


def examples(folder: str) -> list[loading.Tokens]:
    """Questions of the handbook with three passages each, as token ids."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    answered = [row for row in rows if row["passage"]]
    pages = {row["document"]: (ROOT / "docs/handbook" / row["document"]).read_text() for row in answered}
    found = []
    for i in range(BATCH * BATCHES):
        some = answered[3 * i : 3 * i + 3]
        passages = [
            {"n": n, "title": row["document"], "text": around(pages[row["document"]], row["passage"])}
            for n, row in enumerate(some, start=1)
        ]
        made = {"messages": prompt.messages(some[0]["question"], passages, []), "target": some[0]["answer"] + " [1]"}
        found.append(loading._tokens(made, tokenizer))
    return found


def around(page: str, passage: str) -> str:
    """About 440 characters of a page around a passage: the mean passage of the handbook."""
    at = page.index(passage)
    return page[max(0, at - 100) : at + 340]


def ours(folder: str, sequences: list[loading.Tokens]) -> float:
    """Seconds of forward and backward over all batches, as `finetune.train` does it."""
    model = loading.load(folder, rank=20, alpha=40, dropout=0.1, target_modules=TARGETS)
    step, _ = choose(model, longest=max(len(one.ids) for one in sequences), seed=1)
    step.add_gradients(sequences[:1], 30)
    begun = time.perf_counter()
    for i in range(0, len(sequences), BATCH):
        step.add_gradients(sequences[i : i + BATCH], 100)
        model.zero_grad(set_to_none=True)
    return time.perf_counter() - begun


def plain(folder: str, sequences: list[loading.Tokens]) -> float:
    """Seconds of the same work in a plain loop: fused attention, padded batches, logits of every token."""
    from peft import LoraConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    config = LoraConfig(r=20, lora_alpha=40, lora_dropout=0.1, target_modules=TARGETS, task_type="CAUSAL_LM")
    model: Any = get_peft_model(base, config).train()
    begun = time.perf_counter()
    for i in range(0, len(sequences), BATCH):
        batch = sequences[i : i + BATCH]
        longest = max(len(one.ids) for one in batch)
        ids = torch.tensor([one.ids + [2] * (longest - len(one.ids)) for one in batch])
        mask = torch.tensor([[1] * len(one.ids) + [0] * (longest - len(one.ids)) for one in batch])
        labels = ids.masked_fill(mask == 0, -100)
        for row, one in enumerate(batch):
            labels[row, : one.answer] = -100
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        model.zero_grad(set_to_none=True)
    return time.perf_counter() - begun


def main() -> None:
    """Measure both, taking turns, and print."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    folder = chat_model(PACKAGED_CHAT, models=Path(os.environ.get("RATCHET_MODELS") or ROOT / "var" / "models"))
    sequences = examples(folder)
    tokens = sum(len(one.ids) for one in sequences)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, run in (("finetune.train", ours), ("peer: plain PEFT loop", plain)):
            best[name] = max(best.get(name, 0.0), tokens / run(folder, sequences))
    rows = [{"what": name, "tokens/s": speed} for name, speed in best.items()]
    rows.append({"what": "ratio", "tokens/s": best["finetune.train"] / best["peer: plain PEFT loop"]})
    show("training", rows, n=len(sequences), tokens=tokens, threads=1, rounds=ROUNDS, model="SmolLM2-135M", rank=20)


if __name__ == "__main__":
    main()
