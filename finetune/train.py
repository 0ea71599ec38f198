"""Examples to a LoRA adapter folder, written once: PEFT on a bf16 base, fp32 LoRA weights, loss on answer tokens only.

The same examples, settings and seed give the same weights on the same machine, also when the run was killed and went
on from its checkpoint. It and its parts import torch, transformers, peft, safetensors, the standard library and
`store/turns.py` only.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from finetune.alone import Alone
from finetune.errors import TrainingError as TrainingError
from finetune.loading import Tokens, fingerprint, load, tokenised
from finetune.loop import AVERAGED, Loop, Progress, State
from finetune.passes import choose


@dataclass(frozen=True)
class Trained:
    """What a run came to: optimiser steps, tokens seen, seconds, mean loss per step, examples that were too long.

    `held_out` is (step, mean loss per answer token) at each look; the weights are those of `best_step`, the last look
    that was not clearly worse than the best.
    """

    steps: int
    tokens: int
    seconds: float
    losses: list[float]
    too_long: int
    held_out: list[tuple[int, float]]
    best_step: int


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
    held_out: Sequence[Mapping[str, Any]] = (),
    start_from: Path | None = None,
    checkpoints: Path | None = None,
    checkpoint_seconds: float = 60.0,
    memory_mb: int = 0,
    qlora: bool = False,
    progress: Progress = lambda _: None,
    spread: Alone | None = None,
) -> Trained:
    """Train on examples with `messages` and `target` and save the adapter's weights and configuration into `out`.

    The second pass sees an example's first of `other_orders` where it has any, the third its second, and so on.
    `learning_rate` is used as it is; `start_from` continues an adapter (progressive phases). Longer examples than
    `max_tokens` are left out. What is saved is a running mean of the weights; with `held_out` examples the training
    ends when its loss on them rises by more than a tenth, and the last one before that is kept. With a file
    `checkpoints` a killed run goes on there. `memory_mb` is what activations may take, 0 what is free; `spread` is this
    process among several. Raises TrainingError when nothing is left to train on or the model lacks a target module.
    """
    spread = spread or Alone()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    sequences = _some(examples, base_model, max_tokens)
    watched = [orders[0] for orders in _short(held_out, base_model, max_tokens)] if held_out else []
    lora: dict[str, Any] = {"rank": rank, "alpha": alpha, "dropout": dropout, "target_modules": list(target_modules)}
    model = load(base_model, **lora, start_from=start_from, qlora=qlora)
    every = [one for orders in sequences for one in orders]
    longest = max(len(one.ids) for one in [*every, *watched])
    step, tokens = choose(model, longest=longest, seed=seed + 1_000 * spread.rank, memory_mb=memory_mb)
    batches = _batches(sequences, epochs, batch_size, seed)
    loop = Loop(
        step,
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        batches,
        watched,
        learning_rate=learning_rate,
        warmup=min(warmup_steps, len(batches) // 10),
        tokens=tokens,
        progress=progress,
        spread=spread,
    )
    if checkpoints is not None:
        run = {**lora, "rate": learning_rate, "epochs": epochs, "batch": batch_size, "warmup": warmup_steps}
        run |= {"seed": seed, "qlora": qlora, "processes": spread.size, "averaged": AVERAGED}
        loop.keep(checkpoints, fingerprint([*every, *watched], base_model, start_from, **run), checkpoint_seconds)
    state = loop.run()
    if spread.main:
        model.save_pretrained(str(out))
    return _trained(state, too_long=len(examples) - len(sequences))


def _trained(state: State, *, too_long: int) -> Trained:
    return Trained(state.step, state.tokens, state.seconds, state.losses, too_long, state.held_out, state.best_step())


def _some(examples: Sequence[Mapping[str, Any]], base_model: str, max_tokens: int) -> list[list[Tokens]]:
    found = _short(examples, base_model, max_tokens)
    if not found:
        raise TrainingError(f"none of {len(examples)} examples has at most {max_tokens} tokens.")
    return found


def _short(examples: Sequence[Mapping[str, Any]], base_model: str, max_tokens: int) -> list[list[Tokens]]:
    """The examples whose every order is short enough."""
    found = tokenised(examples, base_model)
    return [orders for orders in found if max(len(one.ids) for one in orders) <= max_tokens]


def _batches(sequences: Sequence[Sequence[Tokens]], epochs: int, batch_size: int, seed: int) -> list[list[Tokens]]:
    """The examples shuffled anew in each pass, each in that pass's order of its passages.

    One of weight 0.7 is seen in about 70 % of the passes.
    """
    generator = random.Random(seed)
    batches: list[list[Tokens]] = []
    for number in range(epochs):
        seen = [orders for orders in sequences if orders[0].weight >= 1 or generator.random() < orders[0].weight]
        if not seen and number == 0:
            seen = list(sequences)
        generator.shuffle(seen)
        given = [orders[number % len(orders)] for orders in seen]
        batches += [given[i : i + batch_size] for i in range(0, len(given), batch_size)]
    return batches
