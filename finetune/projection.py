"""Frozen linear layers that share their input, with their LoRA weights, as one product forward and one backward.

It knows torch and the names of PEFT's LoRA layers, no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear

NAME = "default"


@dataclass
class Passed:
    """What the backward needs: LoRA's input after dropout, the mask (None without dropout), the low-rank values."""

    dropped: torch.Tensor | None
    mask: torch.Tensor | None
    low: torch.Tensor | None


@dataclass
class _Part:
    """One module's LoRA weights in the joint product."""

    down: torch.Tensor
    up: torch.Tensor
    scale: float
    outs: slice
    ranks: slice


class Projection:
    """`x @ W.T + dropout(x) @ A.T @ B.T` for modules side by side; all of them get the same dropout mask."""

    def __init__(self, modules: Sequence[Any]) -> None:
        """Join the modules' weights; the modules then hold views of the joint one, so that nothing is kept twice."""
        frozen = [getattr(module, "base_layer", module) for module in modules]
        self._weight = torch.cat([layer.weight.detach() for layer in frozen])
        ends = [sum(layer.out_features for layer in frozen[:i]) for i in range(len(frozen) + 1)]
        for layer, start, end in zip(frozen, ends[:-1], ends[1:], strict=True):
            layer.weight.data = self._weight[start:end]
        biases = [layer.bias for layer in frozen]
        self._bias = torch.cat([bias.detach() for bias in biases]) if biases[0] is not None else None
        self._drop = max((getattr(m.lora_dropout[NAME], "p", 0.0) for m in modules if _adapted(m)), default=0.0)
        self._parts: list[_Part] = []
        for module, start, end in zip(modules, ends[:-1], ends[1:], strict=True):
            if _adapted(module):
                self._parts.append(self._part(module, slice(start, end)))
        self._down = self._up = self._weight[:0]

    def _part(self, module: Any, outs: slice) -> _Part:
        used = self._parts[-1].ranks.stop if self._parts else 0
        down, up = module.lora_A[NAME].weight, module.lora_B[NAME].weight
        return _Part(down, up, float(module.scaling[NAME]), outs, slice(used, used + len(down)))

    @staticmethod
    def fits(module: Any) -> bool:
        """Whether a module is no LoRA layer, or one of the plain kind."""
        if not hasattr(module, "lora_A"):
            return True
        plain = not module.lora_magnitude_vector and list(module.lora_A) == [NAME]
        return plain and isinstance(module.base_layer, torch.nn.Linear) and module.lora_B[NAME].bias is None

    def refresh(self) -> None:
        """Copy the LoRA parameters into the joint product's factors."""
        if not self._parts:
            return
        self._down = torch.cat([part.down.detach() for part in self._parts]).to(self._weight.dtype)
        up = torch.zeros(len(self._weight), len(self._down))
        for part in self._parts:
            up[part.outs, part.ranks] = part.up.detach() * (part.scale / (1 - self._drop))
        self._up = up.to(self._weight.dtype)

    def __call__(self, x: torch.Tensor, dropout: torch.Generator | None) -> tuple[torch.Tensor, Passed]:
        """The product (tokens, out), and what its backward needs; no dropout without a generator."""
        found = linear(x, self._weight, self._bias)
        if not self._parts:
            return found, Passed(None, None, None)
        mask = _mask(x, self._drop, dropout) if self._drop else None
        dropped = x if mask is None else x * mask
        low = linear(dropped, self._down)
        return found.addmm_(low, self._up.T), Passed(dropped, mask, low)

    def back(self, gradient: torch.Tensor, passed: Passed, *, only_weights: bool = False) -> torch.Tensor:
        """The gradient of x; adds those of the LoRA parameters to their `grad`."""
        found = gradient[:0] if only_weights else gradient @ self._weight
        if passed.low is None or passed.dropped is None:
            return found
        low = gradient @ self._up
        downs, ups = low.T @ passed.dropped, gradient.T @ passed.low
        for part in self._parts:
            _add(part.down, downs[part.ranks])
            _add(part.up, ups[part.outs, part.ranks].float().mul_(part.scale / (1 - self._drop)))
        if only_weights:
            return found
        if passed.mask is None:
            return found.addmm_(low, self._down)
        return found.addcmul_(low @ self._down, passed.mask)


def _adapted(module: Any) -> bool:
    return hasattr(module, "lora_A")


def _add(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        parameter.grad += gradient


def _mask(x: torch.Tensor, rate: float, dropout: torch.Generator | None) -> torch.Tensor:
    """Ones where x is kept; without a generator a constant that undoes the factor for what is dropped.

    Sixteen random bits per value, as torch's own dropout on a CPU takes as long as a matrix product.
    """
    if dropout is None:
        return torch.full_like(x, 1 - rate)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=dropout)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    return (bits >= round(rate * 2**16) - 2**15).to(x.dtype)
