"""Examples to a LoRA adapter folder, written once: PEFT on a bf16 base, fp32 LoRA weights, loss on answer tokens only.

Sequences run one by one and gradients add up over a batch, so that on a CPU no token is padding and no example sees
another. It imports torch, transformers, peft, safetensors and the standard library only, and reports as JSON lines.
"""

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

Progress = Callable[[dict[str, Any]], None]


class TrainingError(ValueError):
    """Nothing can be trained; the message says what was found and what to do."""


@dataclass(frozen=True)
class Tokens:
    """Token ids of prompt and answer; `answer` is the index of the first answer token."""

    ids: list[int]
    answer: int


@dataclass(frozen=True)
class Trained:
    """What a run came to: optimiser steps, tokens seen, seconds, mean loss per step, examples that were too long."""

    steps: int
    tokens: int
    seconds: float
    losses: list[float]
    too_long: int


def train(
    examples: Sequence[Mapping[str, Any]],
    *,
    base_model: str,
    out: Path,
    rank: int,
    alpha: int,
    dropout: float,
    target_modules: Sequence[str],
    learning_rate: float,
    epochs: int,
    warmup_steps: int,
    batch_size: int,
    max_tokens: int,
    seed: int,
    threads: int,
    start_from: Path | None = None,
    progress: Progress = lambda _: None,
) -> Trained:
    """Train on examples with `messages` and `target` and save the adapter's weights and configuration into `out`.

    `learning_rate` is used as it is; `start_from` continues an adapter (progressive phases). Longer examples than
    `max_tokens` are left out. Raises TrainingError when nothing is left or the model lacks a target module.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    if not tokenizer.chat_template:
        raise TrainingError(f"the tokenizer of {base_model} has no chat template.")
    all_sequences = [_tokenised(example, tokenizer) for example in examples]
    sequences = [sequence for sequence in all_sequences if len(sequence.ids) <= max_tokens]
    if not sequences:
        raise TrainingError(f"none of {len(examples)} examples has at most {max_tokens} tokens.")
    model = _model(base_model, rank, alpha, dropout, target_modules, start_from)
    order = _batches(len(sequences), epochs, batch_size, seed)
    state = _run(model, sequences, order, learning_rate, min(warmup_steps, len(order) // 10), progress)
    model.save_pretrained(str(out))
    return Trained(len(order), state["tokens"], state["seconds"], state["losses"], len(examples) - len(sequences))


def _tokenised(example: Mapping[str, Any], tokenizer: Any) -> Tokens:
    prompt = tokenizer.apply_chat_template(
        example["messages"], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    answer = tokenizer(example["target"], add_special_tokens=False).input_ids
    return Tokens([*prompt, *answer, tokenizer.eos_token_id], len(prompt))


def _model(
    base_model: str, rank: int, alpha: int, dropout: float, targets: Sequence[str], start_from: Path | None
) -> PeftModel:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # On a CPU, torch 2.13's fused attention in bf16 is slower than plain matrix products (bench/training.py).
    attention = "sdpa" if device == "cuda" else "eager"
    base: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base_model, dtype=torch.bfloat16, attn_implementation=attention
    )
    base.to(device)  # type: ignore[arg-type]
    if start_from is not None:
        return PeftModel.from_pretrained(base, str(start_from), is_trainable=True)
    present = {name.split(".")[-1] for name, _ in base.named_modules()}
    missing = [name for name in targets if name not in present]
    if missing:
        raise TrainingError(
            f"{base_model} has no module {', '.join(missing)}: correct target_modules in the task's recipe."
        )
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), task_type="CAUSAL_LM"
    )
    return get_peft_model(base, config, autocast_adapter_dtype=True)


def _batches(count: int, epochs: int, batch_size: int, seed: int) -> list[list[int]]:
    generator = random.Random(seed)
    batches: list[list[int]] = []
    for _ in range(epochs):
        order = list(range(count))
        generator.shuffle(order)
        batches += [order[i : i + batch_size] for i in range(0, count, batch_size)]
    return batches


def _run(
    model: PeftModel,
    sequences: Sequence[Tokens],
    order: Sequence[Sequence[int]],
    learning_rate: float,
    warmup: int,
    progress: Progress,
) -> dict[str, Any]:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, warmup, len(order)))
    model.train()
    begun, tokens, losses = time.monotonic(), 0, list[float]()
    for step, batch in enumerate(order, start=1):
        total = sum(len(sequences[i].ids) - sequences[i].answer for i in batch)
        loss = sum(_backward(model, sequences[i], total) for i in batch)
        if not math.isfinite(loss):
            raise TrainingError(f"the loss became {loss} at step {step}: lower the learning rate of the recipe.")
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += sum(len(sequences[i].ids) for i in batch)
        losses.append(loss)
        seconds = time.monotonic() - begun
        progress(
            {
                "step": step,
                "steps": len(order),
                "loss": round(loss, 4),
                "tokens_per_second": round(tokens / seconds, 1),
                "eta_seconds": round(seconds / step * (len(order) - step)),
                "memory_mb": _memory_mb(),
            }
        )
    return {"tokens": tokens, "seconds": time.monotonic() - begun, "losses": losses}


def _backward(model: PeftModel, sequence: Tokens, total: int) -> float:
    ids = torch.tensor([sequence.ids], device=model.device)
    keep = torch.arange(sequence.answer - 1, len(sequence.ids) - 1, device=model.device)
    logits = model(input_ids=ids, logits_to_keep=keep, use_cache=False).logits[0].float()
    loss = torch.nn.functional.cross_entropy(logits, ids[0, sequence.answer :], reduction="sum") / total
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _rate(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then cosine down to a tenth."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _memory_mb() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20
