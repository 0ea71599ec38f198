"""What lies between a layer's matrix products, forward and backward: norms, turned positions, the gate, dropout.

On a CPU plain torch calls that reuse memory. On a GPU, where each call reads and writes all values once more, torch
compiles each piece into one kernel where it can (Triton and a C compiler); else it runs as it is written.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import silu

_EVENLY, _MIX, _MIX_AGAIN = -1640531535, -2048144789, -1028477387
"""Odd factors that scatter a number's bits (Knuth's golden ratio and MurmurHash3's), as 32-bit integers."""


def norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """RMS norm; also the normed values before the weight, and what each row was multiplied by."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
    scale = square.div_(x.shape[-1]).add_(epsilon).rsqrt_()
    normed = torch.mul(x, scale, out=torch.empty_like(x))
    return normed * weight, normed, scale


def norm_back(gradient: torch.Tensor, normed: torch.Tensor, scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The gradient of `norm`'s x."""
    inner = (gradient * weight).float()
    wide = normed.float()
    along = torch.linalg.vecdot(inner, wide).div_(-normed.shape[-1])[:, None]
    return inner.addcmul_(wide, along).mul_(scale).to(gradient.dtype)


def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions: pairs of the two halves of the last axis turned; contiguous."""
    turned = torch.empty(x.shape, dtype=x.dtype)
    low, high = x.chunk(2, -1)
    first, second = turned.chunk(2, -1)
    torch.mul(low, cos, out=first)
    first.addcmul_(high, sin, value=-1)
    torch.mul(high, cos, out=second)
    second.addcmul_(low, sin)
    return turned


def gate(gate_up: torch.Tensor) -> torch.Tensor:
    """silu of the first half of the last axis, times the second."""
    first, second = gate_up.chunk(2, -1)
    return silu(first).mul_(second)


def gate_back(gradient: torch.Tensor, gate_up: torch.Tensor) -> torch.Tensor:
    """The gradient of `gate_up`; overwrites `gradient`."""
    first, second = gate_up.chunk(2, -1)
    both = torch.empty_like(gate_up)
    half = first.shape[1]
    torch.mul(gradient, silu(first), out=both[:, half:])
    both[:, :half] = torch.ops.aten.silu_backward(gradient.mul_(second), first)
    return both


def draw(x: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
    """Ones where dropout keeps x: sixteen random bits per value, as torch's own takes as long as a matrix product."""
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    return (bits >= round(rate * 2**16) - 2**15).to(x.dtype)


def drop(x: torch.Tensor, drawn: torch.Tensor, rate: float) -> torch.Tensor:
    """x where it is kept, else zero."""
    return x * drawn


def drop_back(into: torch.Tensor, gradient: torch.Tensor, drawn: torch.Tensor, rate: float) -> torch.Tensor:
    """The gradient where x was kept, added to `into`."""
    return into.addcmul_(gradient, drawn)


def _fused_norm(
    x: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    wide = x.float()
    scale = wide.square().mean(-1, keepdim=True).add(epsilon).rsqrt()
    normed = (wide * scale).to(x.dtype)
    return normed * weight, normed, scale


def _fused_norm_back(
    gradient: torch.Tensor, normed: torch.Tensor, scale: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    inner, wide = (gradient * weight).float(), normed.float()
    return ((inner - wide * (inner * wide).mean(-1, keepdim=True)) * scale).to(gradient.dtype)


def _fused_gate(gate_up: torch.Tensor) -> torch.Tensor:
    first, second = (half.float() for half in gate_up.chunk(2, -1))
    return (first * torch.sigmoid(first) * second).to(gate_up.dtype)


def _fused_gate_back(gradient: torch.Tensor, gate_up: torch.Tensor) -> torch.Tensor:
    first, second = (half.float() for half in gate_up.chunk(2, -1))
    share = torch.sigmoid(first)
    slope = gradient * second * share * (1 + first * (1 - share))
    return torch.cat([slope, gradient * first * share], -1).to(gate_up.dtype)


def _draw_seed(x: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
    return torch.empty(1, dtype=torch.int32, device=x.device).random_(generator=generator)


def _kept(x: torch.Tensor, seed: torch.Tensor, rate: float) -> torch.Tensor:
    """Where dropout keeps x: a hash of each value's place and the seed, so that no mask has to be kept."""
    place = torch.arange(x.numel(), dtype=torch.int32, device=x.device).view(x.shape)
    mixed = place * _EVENLY + seed
    mixed = (mixed ^ ((mixed >> 16) & 0xFFFF)) * _MIX
    mixed = (mixed ^ ((mixed >> 13) & 0x7FFFF)) * _MIX_AGAIN
    mixed = mixed ^ ((mixed >> 16) & 0xFFFF)
    return (mixed & 0x7FFFFFFF) >= round(rate * 2**31)


def _fused_drop(x: torch.Tensor, seed: torch.Tensor, rate: float) -> torch.Tensor:
    return torch.where(_kept(x, seed, rate), x, 0.0)


def _fused_drop_back(into: torch.Tensor, gradient: torch.Tensor, seed: torch.Tensor, rate: float) -> torch.Tensor:
    return into + torch.where(_kept(gradient, seed, rate), gradient, 0.0)


def heads_of(
    fused: torch.Tensor, grid: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, heads: int, kinds: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Turned queries, turned keys and values (sequences, longest, heads or key heads, size) of the joint product.

    `grid` (sequences, longest) says which row stands there; beyond a sequence's end it is any.
    """
    every = fused.view(len(fused), heads + 2 * kinds, -1)[grid]
    near, far = (table[grid][:, :, None] for table in (cos, sin))
    low, high = every[:, :, : heads + kinds].chunk(2, -1)
    turned = torch.cat([low * near - high * far, high * near + low * far], -1)
    value = every[:, :, heads + kinds :].contiguous()
    return turned[:, :, :heads].contiguous(), turned[:, :, heads:].contiguous(), value


def heads_back(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, places: torch.Tensor, turns: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """The gradient of the joint product from those of `heads_of`; `places` (tokens) says where in the grid each is."""
    cos, sin = (table[:, None] for table in turns)
    query, key, value = (part.flatten(0, 1)[places] for part in (query, key, value))
    low, high = torch.cat([query, key], 1).chunk(2, -1)
    turned = torch.cat([low * cos + high * sin, high * cos - low * sin], -1)
    return torch.cat([turned, value], 1).flatten(1)


def widened(rows: torch.Tensor, grid: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Rows at their places in a grid, zeros where none is there."""
    return torch.where(there[:, :, None], rows[grid], 0.0)


@dataclass(frozen=True)
class Pieces:
    """The functions that a pass calls."""

    norm: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = norm
    norm_back: Callable[..., torch.Tensor] = norm_back
    gate: Callable[..., torch.Tensor] = gate
    gate_back: Callable[..., torch.Tensor] = gate_back
    draw: Callable[..., torch.Tensor] = draw
    drop: Callable[..., torch.Tensor] = drop
    drop_back: Callable[..., torch.Tensor] = drop_back
    heads_of: Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = heads_of
    heads_back: Callable[..., torch.Tensor] = heads_back
    widened: Callable[..., torch.Tensor] = widened


FUSED = Pieces(
    norm=_fused_norm,
    norm_back=_fused_norm_back,
    gate=_fused_gate,
    gate_back=_fused_gate_back,
    draw=_draw_seed,
    drop=_fused_drop,
    drop_back=_fused_drop_back,
)
"""What is compiled: it reuses no memory, which a compiler sees to by itself."""


def compiled() -> Pieces:
    """The pieces as one kernel each, compiled when they are first called."""
    made = {name: torch.compile(piece) for name, piece in vars(FUSED).items() if name != "draw"}
    return replace(FUSED, **made)


def pieces_for(device: torch.device) -> Pieces:
    """The pieces made for a GPU: compiled where a small one can be compiled, and on a CPU not."""
    if device.type == "cpu":
        return FUSED
    found = compiled()
    try:
        found.gate(torch.ones(2, 4, device=device))
    except RuntimeError:  # torch's for all that goes wrong in a compiler
        return FUSED
    return found
