"""Training on a GPU: tokens/s of models of random weights, as a share of the card's bf16 matrix rate in the same run.

A token costs about 4 FLOPs per weight with LoRA: frozen weights get no gradients. `python -m bench.train --gpu`
calls it.
"""

import time
from collections.abc import Callable

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from bench.table import show
from finetune.loading import Tokens
from finetune.passes import AutogradPass

SHAPES = {"1.5B": (2048, 8192, 24, 16, 8), "8B": (4096, 14336, 32, 32, 8)}
"""Width, inner width, layers, heads, key heads."""
LENGTH, BATCH, ROUNDS = 1024, 8, 5


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds of one call, the best of some."""
    best = float("inf")
    for _ in range(ROUNDS):
        if device == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return best


def matrix_rate(device: str, size: int = 8192) -> float:
    """FLOP/s of a square bf16 product."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / timed(lambda: left @ right, device)


def training(shape: tuple[int, int, int, int, int], device: str, length: int = LENGTH) -> tuple[float, float]:
    """Tokens/s of forward and backward, and weights outside the embeddings."""
    width, inner, layers, heads, kinds = shape
    config = LlamaConfig(
        vocab_size=32768, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kinds, attn_implementation="sdpa", dtype=torch.bfloat16,
    )  # fmt: skip
    with torch.device(device):
        base = LlamaForCausalLM(config).to(torch.bfloat16)
    weights = float(sum(p.numel() for p in base.model.layers.parameters()))
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "k_proj", "v_proj"], task_type="CAUSAL_LM")
    step = AutogradPass(get_peft_model(base, lora))
    some = [Tokens([(7 * i + n) % 32000 for i in range(length)], length - 64) for n in range(BATCH)]
    return BATCH * length / timed(lambda: step.add_gradients(some, 1000), device), weights


def measure() -> None:
    """Print the table, or say why not."""
    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA GPU on this machine.")
        return
    rate = matrix_rate("cuda")
    rows = []
    for name, shape in SHAPES.items():
        speed, weights = training(shape, "cuda")
        rows.append({"shape": name, "tokens/s": speed, "share of matrix rate %": 400 * speed * weights / rate})
    show("train_gpu", rows, card=torch.cuda.get_device_name(), matrix_tflops=round(rate / 1e12), tokens=BATCH * LENGTH)
