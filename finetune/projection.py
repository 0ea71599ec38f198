"""Frozen linear layers that share their input, with their LoRA weights, as one product forward and one backward.

It knows torch and the names of PEFT's LoRA layers, no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear

from finetune.pieces import Pieces

NAME = "default"


@dataclass
class Passed:
    """What the backward needs: LoRA's input after dropout, what dropout drew (None without), the low-rank values."""

    dropped: torch.Tensor | None
    drawn: torch.Tensor | None
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
    """`x @ W.T + dropout(x) @ A.T @ B.T` for modules side by side; all of them get the same dropout."""

    def __init__(self, modules: Sequence[Any], pieces: Pieces | None = None) -> None:
        """Join the modules' weights; the modules then hold views of the joint one, so that nothing is kept twice."""
        self._pieces = pieces or Pieces()
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
        up = torch.zeros(len(self._weight), len(self._down), device=self._weight.device)
        for part in self._parts:
            up[part.outs, part.ranks] = part.up.detach() * (part.scale / (1 - self._drop))
        self._up = up.to(self._weight.dtype)

    def __call__(self, x: torch.Tensor, dropout: torch.Generator | None) -> tuple[torch.Tensor, Passed]:
        """The product (tokens, out), and what its backward needs; no dropout without a generator."""
        found = linear(x, self._weight, self._bias)
        if not self._parts:
            return found, Passed(None, None, None)
        dropped, drawn = x, None
        if self._drop and dropout is not None:
            drawn = self._pieces.draw(x, self._drop, dropout)
            dropped = self._pieces.drop(x, drawn, self._drop)
        elif self._drop:
            dropped = x * (1 - self._drop)
        low = linear(dropped, self._down)
        return found.addmm_(low, self._up.T), Passed(dropped, drawn, low)

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
        if passed.drawn is None:
            return found.addmm_(low, self._down)
        return self._pieces.drop_back(found, low @ self._down, passed.drawn, self._drop)


def _adapted(module: Any) -> bool:
    return hasattr(module, "lora_A")


def _add(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        parameter.grad += gradient
