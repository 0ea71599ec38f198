"""Linear layers packed for the processor, one for several modules side by side, applied to rows of several versions.

Rows whose versions share a layer go through it in one product. It knows no attention and no requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bot import kernels
from bot.low_rank import Delta

SIZES = (1, 2, 4, 6, 8, 12, 16, 32, 64, 96, 128, 160, 192, 224, 256)
PARTS = {
    "qkv": ("self_attn", ("q_proj", "k_proj", "v_proj")),
    "o": ("self_attn", ("o_proj",)),
    "pair": ("mlp", ("gate_proj", "up_proj")),
    "down": ("mlp", ("down_proj",)),
}
"""The four packed products of a layer and the modules that they are made of."""


class Linear:
    """One or several linear layers side by side, packed; called with (tokens, in), gives (tokens, out)."""

    def __init__(self, layers: Sequence[torch.nn.Linear], delta: Delta | None = None) -> None:
        """Pack the layers' weights, with a low-rank addition when one is given."""
        self.outs, self.width = [layer.out_features for layer in layers], layers[0].in_features
        weight = torch.cat([layer.weight.detach() for layer in layers])
        if delta is not None:
            weight = torch.addmm(weight.float(), delta.up.T, delta.down.T).to(weight.dtype)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, 8)
        biases: list[torch.Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        self._bias = torch.cat(biases).detach() if biases else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return found


@dataclass
class Layer:
    """A decoder layer of one version: its products by name, its norms, and low-rank additions that stay beside."""

    linears: dict[str, Linear]
    norm_in: kernels.Array
    norm_out: kernels.Array
    deltas: dict[str, Delta]


@dataclass(frozen=True)
class Rows:
    """The rows of a pass that belong to one version: `count` from `start` on."""

    start: int
    count: int

    @property
    def padded(self) -> slice:
        """These rows and as many after them as the next size has."""
        return slice(self.start, self.start + rounded(self.count))

    @property
    def own(self) -> slice:
        """These rows alone."""
        return slice(self.start, self.start + self.count)


def rounded(count: int) -> int:
    """The next number of tokens that passes have: oneDNN makes a kernel for each, which takes many milliseconds."""
    return next((size for size in SIZES if size >= count), -(-count // SIZES[-1]) * SIZES[-1])


def apply(layers: Sequence[Layer], rows: Sequence[Rows], part: str, x: torch.Tensor) -> torch.Tensor:
    """A part of a layer over all rows, each with the weights of its version; `layers` and `rows` go together."""
    linears = [layer.linears[part] for layer in layers]
    if all(linear is linears[0] for linear in linears):
        found = linears[0](x)
    else:
        found = x.new_zeros(len(x), sum(linears[0].outs))
        for linear, some in zip(linears, rows, strict=True):
            found[some.own] = linear(x[some.padded])[: some.count]
    for layer, some in zip(layers, rows, strict=True):
        delta = layer.deltas.get(part)
        if delta is not None:
            found[some.own].addmm_(x[some.own] @ delta.down, delta.up)
    return found


def modules(layer: Any, part: str) -> list[torch.nn.Linear]:
    """The modules of a transformers layer that a part packs."""
    parent, names = PARTS[part]
    return [getattr(getattr(layer, parent), name) for name in names]
