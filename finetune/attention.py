"""Attention of a written-out pass over sequences that share it: turned, mixed, and the way back.

`Blocks` is for CPUs: it skips what the causal mask hides. `Padded` is for GPUs: torch's fused kernels over padded
sequences; nothing hides the padding, which comes after all that may look at it. Both take the joint product of q, k and
v (tokens, (heads + 2 * key heads) * size) and give mixed values (queries, heads * size), queries being all tokens or,
in the last layer, those that the loss looks at.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention

from finetune.pieces import Pieces, turn
from finetune.spans import Placed, Span


class Attention(Protocol):
    """What the pass asks of either."""

    def forward(self, fused: torch.Tensor, placed: Placed, *, last: bool) -> tuple[torch.Tensor, Any]:
        """Mixed values, and what the backward needs."""

    def backward(self, gradient: torch.Tensor, kept: Any, placed: Placed, *, last: bool) -> torch.Tensor:
        """The gradient of the joint product."""


class Blocks:
    """Some queries at a time against the keys up to them."""

    def __init__(self, *, heads: int, kinds: int) -> None:
        self._kinds, self._group = kinds, heads // kinds

    def forward(self, fused: torch.Tensor, placed: Placed, *, last: bool) -> tuple[torch.Tensor, Any]:
        """See `Attention`."""
        query, key, value = self._heads(fused, placed, last)
        mixed, weights = self._attend(query, key, value, placed.spans(last))
        return mixed, (query, key, value, weights)

    def _heads(
        self, fused: torch.Tensor, placed: Placed, last: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Turned queries (key heads, queries, group, size), turned keys and values (key heads, tokens, size)."""
        size = fused.shape[1] // (self._kinds * (self._group + 2))
        asked = self._kinds * self._group * size
        query = fused[:, :asked]
        query = (query[placed.wanted] if last else query).view(-1, self._kinds, self._group, size).transpose(0, 1)
        key, value = fused[:, asked:].view(len(fused), 2, self._kinds, size).permute(1, 2, 0, 3)
        cos, sin = placed.turned(last)
        return turn(query, cos[:, None], sin[:, None]), turn(key, placed.cos, placed.sin), value.contiguous()

    def _attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, spans: Sequence[Span]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Mixed values (queries, heads * size) and each block's weights; queries come multiplied by nothing."""
        kinds, count, group, size = query.shape
        mixed, weights = torch.empty_like(query), []
        for span in spans:
            keys, values = key[:, span.start :][:, : span.length], value[:, span.start :][:, : span.length]
            for at, end, rows in span.blocks():
                asked = query[:, rows].reshape(kinds, -1, size)
                scores = torch.bmm(asked, keys[:, :end].transpose(1, 2)).mul_(size**-0.5)
                scores[:, :, at:] += _hidden(end - at, group, scores.dtype)
                weights.append(torch.softmax(scores, -1))
                mixed[:, rows] = torch.bmm(weights[-1], values[:, :end]).view(kinds, -1, group, size)
        return mixed.transpose(0, 1).reshape(count, -1), weights

    def backward(self, gradient: torch.Tensor, kept: Any, placed: Placed, *, last: bool) -> torch.Tensor:
        """See `Attention`."""
        query, keys, values, all_weights = kept
        kinds, count, group, size = query.shape
        mixed = gradient.view(count, kinds, group, size).transpose(0, 1).contiguous()
        asked = torch.empty_like(query)
        key, value = (torch.zeros(keys.shape) for _ in range(2))
        blocks = iter(all_weights)
        for span in placed.spans(last):
            tokens = slice(span.start, span.start + span.length)
            for _, end, rows in span.blocks():
                weights, ahead = next(blocks), slice(span.start, span.start + end)
                outer = mixed[:, rows].reshape(kinds, -1, size)
                value[:, ahead] += torch.bmm(weights.transpose(1, 2), outer)
                scores = torch.bmm(outer, values[:, tokens][:, :end].transpose(1, 2))
                scores = torch._softmax_backward_data(scores, weights, -1, weights.dtype).mul_(size**-0.5)
                asked[:, rows] = torch.bmm(scores, keys[:, ahead]).view(kinds, -1, group, size)
                key[:, ahead] += torch.bmm(scores.transpose(1, 2), query[:, rows].reshape(kinds, -1, size))
        return self._fused(asked, key.to(asked.dtype), value, placed, last)

    def _fused(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, placed: Placed, last: bool
    ) -> torch.Tensor:
        """Gradients of turned queries, turned keys and values as that of the joint product."""
        kinds, count, group, size = query.shape
        cos, sin = placed.turned(last)
        fused = query.new_zeros(key.shape[1], kinds * (group + 2) * size)
        asked = turn(query, cos[:, None], -sin[:, None]).transpose(0, 1).reshape(count, -1)
        fused[placed.wanted if last else slice(None), : asked.shape[1]] = asked
        rest = fused[:, asked.shape[1] :].view(-1, 2, kinds, size)
        rest[:, 0] = turn(key, placed.cos, -placed.sin).transpose(0, 1)
        rest[:, 1] = value.transpose(0, 1)
        return fused


class Padded:
    """All sequences at once, padded behind to the longest one, by torch's fused attention and its autograd."""

    def __init__(self, pieces: Pieces, *, heads: int, kinds: int) -> None:
        # What cuBLAS wants to be told before it adds up in one order, where no fused kernel takes the shape.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._pieces, self._heads, self._kinds = pieces, heads, kinds

    def forward(self, fused: torch.Tensor, placed: Placed, *, last: bool) -> tuple[torch.Tensor, Any]:
        """See `Attention`."""
        parts = self._pieces.heads_of(fused, placed.grid, placed.cos, placed.sin, self._heads, self._kinds)
        inputs = tuple(part.transpose(1, 2).requires_grad_() for part in parts)
        with torch.enable_grad(), _same_each_time():
            query, key, value = inputs
            grouped = self._heads != self._kinds
            mixed = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped)
        found = mixed.detach().transpose(1, 2).reshape(placed.grid.numel(), -1)
        return found.index_select(0, placed.asked if last else placed.places), (inputs, mixed)

    def backward(self, gradient: torch.Tensor, kept: Any, placed: Placed, *, last: bool) -> torch.Tensor:
        """See `Attention`."""
        inputs, mixed = kept
        outer = self._pieces.widened(gradient, *(placed.asked_grid if last else (placed.grid, placed.there)))
        with _same_each_time():
            outer = outer.view(*outer.shape[:2], self._heads, -1).transpose(1, 2)
            found = torch.autograd.grad(mixed, inputs, outer)
        parts = (part.transpose(1, 2) for part in found)
        return self._pieces.heads_back(*parts, placed.places, (placed.cos, placed.sin))


@contextmanager
def _same_each_time() -> Iterator[None]:
    """Let the fused kernels add up in one order: the same weights from the same run, also after an interruption."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _hidden(count: int, group: int, dtype: torch.dtype) -> torch.Tensor:
    """What is added to scores (count * group, count) of a block with itself: minus infinity ahead of each query."""
    ahead = torch.full((count, count), float("-inf"), dtype=dtype).triu_(1)
    return ahead.repeat_interleave(group, 0)
