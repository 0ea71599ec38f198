"""Training on a GPU: tokens/s of models of random weights, as a share of the card's bf16 matrix rate in the same run.

A token costs about 4 FLOPs per weight with LoRA: frozen weights get no gradients. The peer is the same PEFT model by
autograd, as transformers trains it.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from bench.table import show
from finetune.llama import LlamaStep
from finetune.loading import Tokens
from finetune.passes import GPU_TOKENS, AutogradPass, Pass, answer_tokens, cut

SHAPES = {"1.5B": (2048, 8192, 24, 16, 8), "8B": (4096, 14336, 32, 32, 8)}
"""Width, inner width, layers, heads, key heads."""
TARGETS = {
    "q, k, v": ["q_proj", "k_proj", "v_proj"],
    "all linear": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
SHORTEST, LONGEST, ANSWER = 256, 1024, 64
VOCABULARY, ROUNDS = 32768, 3
OURS, PEER = "finetune", "transformers and PEFT by autograd"


def timed(work: Callable[[], object], device: str, rounds: int = ROUNDS) -> float:
    """Seconds of one call, the best of some; the first one warms up."""
    best = float("inf")
    for number in range(rounds + 1):
        if device == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun) if number else best
    return best


def matrix_rate(device: str, size: int = 8192) -> float:
    """FLOP/s of a square bf16 product."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / timed(lambda: left @ right, device, 12)


def model_of(
    shape: tuple[int, int, int, int, int], targets: Sequence[str], device: str, *, vocabulary: int = VOCABULARY
) -> tuple[Any, int]:
    """A model of random weights, with LoRA weights on the `targets`, and its weights outside the embeddings."""
    width, inner, layers, heads, kinds = shape
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kinds, attn_implementation="sdpa", dtype=torch.bfloat16,
    )  # fmt: skip
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        base = LlamaForCausalLM(config).to(torch.bfloat16)
    torch.set_default_dtype(torch.float32)
    weights = sum(p.numel() for p in base.model.layers.parameters())
    if not targets:
        return base, weights
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.1, target_modules=list(targets), task_type="CAUSAL_LM")
    return get_peft_model(base, lora), weights


def sequences(tokens: int) -> list[Tokens]:
    """Random sequences of lengths as a RAG prompt has them, that fill a batch of so many tokens about."""
    chance = random.Random(1)
    made: list[Tokens] = []
    while (left := tokens - sum(len(one.ids) for one in made)) >= SHORTEST:
        length = min(left, chance.randrange(SHORTEST, LONGEST + 1))
        made.append(Tokens([chance.randrange(VOCABULARY) for _ in range(length)], length - ANSWER))
    return made


def speed(step: Pass, batch: Sequence[Tokens], device: str, at_once: int) -> float:
    """Tokens/s of forward and backward over a batch in passes of so many tokens; raises OutOfMemoryError."""
    total, passes = answer_tokens(batch), cut(batch, at_once)
    taken = timed(lambda: [step.add_gradients(some, total) for some in passes], device)
    return sum(len(one.ids) for one in batch) / taken


def measured(shape: str, targets: str, way: str, rate: float) -> dict[str, Any]:
    """A row of the table; the peer takes half of the tokens at once where all do not fit."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model, weights = model_of(SHAPES[shape], TARGETS[targets], "cuda")
    step: Pass = LlamaStep(model, seed=1) if way == OURS else AutogradPass(model)
    batch = sorted(sequences(GPU_TOKENS), key=lambda one: len(one.ids))
    at_once, found = GPU_TOKENS, 0.0
    while not found:
        try:
            found = speed(step, batch, "cuda", at_once)
        except torch.OutOfMemoryError:
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
            at_once //= 2
    return {
        "model": shape,
        "LoRA on": targets,
        "by": way,
        "tokens/s": found,
        "share of the matrix rate %": 400 * found * weights / rate,
        "peak GB": torch.cuda.max_memory_allocated() / 1e9,
        "tokens at once": at_once,
    }


def measure() -> None:
    """Print the table, or say why not."""
    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA GPU on this machine.")
        return
    rate = matrix_rate("cuda")
    rows: list[dict[str, Any]] = []
    for shape in SHAPES:
        for targets in TARGETS:
            for way in (OURS, PEER):
                rows.append(measured(shape, targets, way, rate))
                print(rows[-1], flush=True)
    card = torch.cuda.get_device_name()
    show("train_gpu", rows, card=card, torch=torch.__version__, matrix_tflops=round(rate / 1e12))


if __name__ == "__main__":
    measure()
