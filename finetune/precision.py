"""What this machine computes in, and how fast it multiplies. It imports torch and the standard library only."""

import time
from collections.abc import Mapping
from typing import Any

import torch

TOKENS_ON_CPU, TOKENS_ON_GPU = 512, 8_192
"""Rows of a product: about what the trainer takes at once."""


def compute_dtype(known: Mapping[str, Any] | None = None) -> torch.dtype:
    """bfloat16 on a GPU and where this processor multiplies it, else float32: imitated it takes four times as long.

    `known` is what torch knows of a processor, this one without it.
    """
    if torch.cuda.is_available():
        return torch.bfloat16
    known = torch.cpu.get_capabilities() if known is None else known
    multiplies = any(known.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    on_cpu = torch.backends.mkldnn.is_available() and multiplies  # type: ignore[no-untyped-call]
    return torch.bfloat16 if on_cpu else torch.float32


def matrix_rate(hidden: int, inner: int, *, threads: int, seconds: float = 0.5) -> float:
    """FLOP/s of activations of width `hidden` times a weight of `hidden` x `inner`, the best of what fits `seconds`."""
    cuda = torch.cuda.is_available()
    rows, device = (TOKENS_ON_GPU, "cuda") if cuda else (TOKENS_ON_CPU, "cpu")
    torch.set_num_threads(threads)
    left = torch.randn(rows, hidden, dtype=compute_dtype(), device=device)
    right = torch.randn(hidden, inner, dtype=compute_dtype(), device=device)
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        begun = time.perf_counter()
        left @ right
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2 * rows * hidden * inner / best
