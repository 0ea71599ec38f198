"""How fast this machine trains a model: one pass over made-up tokens, timed. It writes nothing."""

import time
from collections.abc import Sequence

import torch

from finetune.loading import Tokens, load
from finetune.passes import choose

LENGTH, ANSWER = 400, 40
"""Tokens of a sequence, and those of them that are learned from: about what examples have."""
MOST = 4_000
"""Tokens of the pass at most; on a CPU two sequences are enough."""
ON_CPU = 2 * LENGTH


def training_rate(base_model: str, modules: Sequence[str], *, rank: int, threads: int) -> float:
    """Tokens per second of training LoRA on these modules; the second of two passes counts, when all is compiled.

    Raises TrainingError for modules that the model lacks.
    """
    torch.set_num_threads(threads)
    model = load(base_model, rank=rank, alpha=2 * rank, dropout=0.0, target_modules=modules)
    step, tokens = choose(model, longest=LENGTH, seed=0)
    most = ON_CPU if model.device.type == "cpu" else MOST
    some = [_made_up(int(model.config.vocab_size), seed) for seed in range(max(1, min(tokens, most) // LENGTH))]
    for _ in range(2):
        begun = time.monotonic()
        step.add_gradients(some, ANSWER * len(some))
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        took = time.monotonic() - begun
    return LENGTH * len(some) / took


def _made_up(vocabulary: int, seed: int) -> Tokens:
    drawn = torch.randint(vocabulary, (LENGTH,), generator=torch.Generator().manual_seed(seed))
    return Tokens(drawn.tolist(), LENGTH - ANSWER)
