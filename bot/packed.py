"""A decoder of the Llama family on a CPU: weights packed once for the processor, few operations per layer.

The same numbers as transformers' module within rounding; `bot/probe.py` checks that before it is used. LoRA weights
may stay beside the packed ones where a merged copy does not fit the memory. It knows no requests.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding, scaled_dot_product_attention
from transformers import PreTrainedModel

from bot import kernels
from bot.forward import Forward, Part, Span
from bot.linear import PARTS, SIZES, Layer, Linear, Rows, apply, modules, rounded
from bot.low_rank import Delta, Factors, side_by_side
from bot.pool import Pool, bits, head_size

_ALONE = threading.Lock()
"""One pass at a time in a process: two would fight for the same cores, and for the kernels' threads."""


Run = Callable[[Callable[[], list[Layer]]], list[Layer]]
AT_ONCE = 8
"""Layers merged between two steps: about 30 ms."""


class PackedForward:
    """One version of the model; versions share a pool and every weight that they have in common with `beside`.

    `beside` is the base: it keeps its module, so that the weights it shares are known by identity.
    """

    lookahead = True

    def __init__(self, model: PreTrainedModel, pool: Pool, *, beside: "PackedForward | None" = None) -> None:
        config = model.config
        self.pool = pool
        self.family = object()
        self._heads, self._kinds = config.num_attention_heads, config.num_key_value_heads
        self._size = head_size(config)
        self._epsilon = float(config.rms_norm_eps)
        body: Any = model.model
        self._embedding: torch.Tensor = body.embed_tokens.weight.detach()
        self._norm = bits(body.norm.weight.detach())
        self._model = None if beside else model
        self._shared: dict[tuple[int, ...], Linear] = beside._shared if beside else {}
        self._head = self._linear([model.lm_head])
        self._layers = [self._layer(layer) for layer in body.layers]
        self._tables: tuple[kernels.Array, kernels.Array] = (
            beside._tables if beside else _tables(body, context=pool.keys[0].shape[2])
        )

    def adapted(self, factors: Factors, *, merge: bool, run: Run) -> "PackedForward | None":
        """This base with an adapter: merged into packed copies of what it changes, or beside the base's own weights.

        A few layers at a time are made by `run`, so that a busy engine can do it between two steps. None when a name or
        a shape is not one of this model's.
        """
        made = object.__new__(PackedForward)
        made.__dict__.update(self.__dict__)
        left = dict(factors)
        deltas = [self._deltas(left, index, layer) for index, layer in enumerate(self._layers)]
        fitting = [delta for delta in deltas if delta is not None]
        if left or len(fitting) < len(deltas):
            return None
        made._layers = []
        for first in range(0, len(self._layers), AT_ONCE):
            made._layers += run(partial(self._some, range(first, first + AT_ONCE), fitting, merge))
        return made

    def _some(self, indexes: range, deltas: list[dict[str, Delta]], merge: bool) -> list[Layer]:
        return [self._with(index, deltas[index], merge) for index in indexes if index < len(deltas)]

    def _deltas(self, left: Factors, index: int, layer: Layer) -> dict[str, Delta] | None:
        """The additions to one layer, taken out of what is left; None when a shape does not fit."""
        found = {}
        for part, linear in layer.linears.items():
            parent, names = PARTS[part]
            pairs = [left.pop(f"model.layers.{index}.{parent}.{name}", None) for name in names]
            if any(pair is not None for pair in pairs):
                delta = side_by_side(pairs, linear.outs, linear.width)
                if delta is None:
                    return None
                found[part] = delta
        return found

    def _with(self, index: int, deltas: dict[str, Delta], merge: bool) -> Layer:
        layer = self._layers[index]
        if not merge:
            beside = {part: delta.to(self._embedding.dtype) for part, delta in deltas.items()}
            return Layer(layer.linears, layer.norm_in, layer.norm_out, beside)
        body: Any = self._model
        own = {part: Linear(modules(body.model.layers[index], part), delta) for part, delta in deltas.items()}
        return Layer({**layer.linears, **own}, layer.norm_in, layer.norm_out, {})

    def _linear(self, layers: Sequence[torch.nn.Linear]) -> Linear:
        key = tuple(id(layer.weight) for layer in layers)
        found = self._shared.get(key) or Linear(layers)
        if self._model is not None:
            self._shared[key] = found
        return found

    def _layer(self, layer: Any) -> Layer:
        linears = {part: self._linear(modules(layer, part)) for part in PARTS}
        norms = (layer.input_layernorm.weight.detach(), layer.post_attention_layernorm.weight.detach())
        return Layer(linears, bits(norms[0]), bits(norms[1]), {})

    @torch.inference_mode()
    def warm(self) -> None:
        """Make the kernels of all sizes, so that no answer waits for them."""
        for size in SIZES:
            head = [self._head] if size <= 16 else []
            for product in [*head, *self._layers[0].linears.values()]:
                product(self._embedding.new_zeros(size, product.width))

    def take(self, prompt: list[int]) -> tuple[int, int] | None:
        """A slot for a prompt, and how many of its tokens are known there."""
        return self.pool.take(self, prompt)

    def release(self, slot: int) -> None:
        """Give a slot back; its content stays for prompts that begin alike."""
        self.pool.release(slot)

    def run(self, spans: Sequence[Span]) -> torch.Tensor:
        """Logits (wanted tokens, vocabulary), float32, in the order of the spans; long spans come last."""
        return self.run_all([(self, spans)])[0]

    @torch.inference_mode()
    def run_all(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """One pass over the spans of several versions of this family; each part's logits.

        Rows of all versions share every product that no adapter changed. Long spans may be in the last part only.
        """
        forwards = [_packed(forward, self.family) for forward, _ in parts]
        sizes = [sum(len(span.tokens) for span in spans) for _, spans in parts]
        rows = [Rows(sum(sizes[:i]), size) for i, size in enumerate(sizes)]
        steps = _Steps([span for _, spans in parts for span in spans], rows)
        with _ALONE:
            kernels.threads(torch.get_num_threads())
            x = embedding(steps.tokens, self._embedding)
            space = _Space(x, self._heads * self._size, self._layers[0].linears["down"].width)
            delta = torch.zeros_like(x)
            for index in range(len(self._layers)):
                delta = self._one_layer([one._layers[index] for one in forwards], index, delta, space, steps)
            last = _Space(x[steps.wanted], 0, 0)
            kernels.add_norm(last.x_bits, bits(delta[steps.wanted]), self._norm, self._epsilon, last.normed_bits)
            logits = self._head(last.normed).float()
        for _, spans in parts:
            for span in spans:
                self.pool.filled(span.slot, span.start, span.tokens)
        return list(torch.split(logits, [sum(span.wanted for span in spans) for _, spans in parts]))

    def _one_layer(
        self, layers: Sequence[Layer], index: int, delta: torch.Tensor, space: "_Space", steps: "_Steps"
    ) -> torch.Tensor:
        """Adds what the layer before gave, and gives what is to be added next."""
        norms, rows = layers[0], steps.rows
        kernels.add_norm(space.x_bits, bits(delta), norms.norm_in, self._epsilon, space.normed_bits)
        fused = apply(layers, rows, "qkv", space.normed).view(len(space.x), -1, self._size)
        self._attention(fused, index, space, steps)
        delta = apply(layers, rows, "o", space.attended)
        kernels.add_norm(space.x_bits, bits(delta), norms.norm_out, self._epsilon, space.normed_bits)
        kernels.gate(bits(apply(layers, rows, "pair", space.normed)), space.gated_bits)
        return apply(layers, rows, "down", space.gated)

    def _attention(self, fused: torch.Tensor, index: int, space: "_Space", steps: "_Steps") -> None:
        """Attention of all tokens: single ones by the kernel, chunks of prompts by torch."""
        raw, single = bits(fused)[: steps.count], steps.single
        kernels.rotate(raw, *self._tables, steps.positions, self._heads + self._kinds)
        out = space.attended.view(len(fused), self._heads, self._size)
        if single:
            keys, values = self.pool.bits[index]
            kernels.attend(raw[:single], keys, values, steps.slots, steps.positions, bits(out)[:single])
        for at, span, mask in steps.chunks:
            part = fused[at : at + len(span.tokens)].transpose(0, 1)
            out[at : at + len(span.tokens)] = self._chunk(part, index, span, mask)

    def _chunk(self, part: torch.Tensor, index: int, span: Span, mask: torch.Tensor) -> torch.Tensor:
        """Store a chunk's keys and values and attend; part (all heads, tokens, size) -> (tokens, heads, size)."""
        end, kinds = span.start + len(span.tokens), self._heads + self._kinds
        keys, values = self.pool.keys[index][span.slot], self.pool.values[index][span.slot]
        keys[:, span.start : end], values[:, span.start : end] = part[self._heads : kinds], part[kinds:]
        found = scaled_dot_product_attention(
            part[None, : self._heads], keys[None, :, :end], values[None, :, :end], attn_mask=mask, enable_gqa=True
        )
        return found[0].transpose(0, 1)


class _Space:
    """The work arrays of one pass, as tensors and as the kernels read them."""

    def __init__(self, x: torch.Tensor, attended: int, gated: int) -> None:
        self.x, self.normed = x, torch.empty_like(x)
        self.attended, self.gated = x.new_zeros(len(x), attended), x.new_empty(len(x), gated)
        self.x_bits, self.normed_bits, self.gated_bits = bits(self.x), bits(self.normed), bits(self.gated)


class _Steps:
    """Where each token of a pass stands; short spans come first, long ones, chunks of prompts, after them."""

    LONG = 17
    """Spans of this many tokens and more go through torch's attention, which is made for many."""

    def __init__(self, spans: Sequence[Span], rows: Sequence[Rows]) -> None:
        self.rows = rows
        lengths = [len(span.tokens) for span in spans]
        tokens = [token for span in spans for token in span.tokens]
        self.count = len(tokens)
        padded = rounded(max(some.padded.stop for some in rows))
        self.tokens = torch.tensor(tokens + [0] * (padded - self.count))
        if any(a >= self.LONG > b for a, b in zip(lengths, lengths[1:], strict=False)):
            raise ValueError("long spans come last in a pass.")
        self.positions = np.concatenate([np.arange(s.start, s.start + n) for s, n in zip(spans, lengths, strict=True)])
        self.slots = np.repeat([span.slot for span in spans], lengths)
        ends = np.cumsum(lengths)
        self.single = int(sum(n for n in lengths if n < self.LONG))
        self.chunks = [
            (int(end) - n, span, _mask(span))
            for span, n, end in zip(spans, lengths, ends, strict=True)
            if n >= self.LONG
        ]
        self.wanted = [int(end) - k for span, end in zip(spans, ends, strict=True) for k in range(span.wanted, 0, -1)]


def _mask(span: Span) -> torch.Tensor:
    end = span.start + len(span.tokens)
    return torch.arange(end)[None, :] <= torch.arange(span.start, end)[:, None]


def _packed(forward: Forward, family: object) -> PackedForward:
    if not isinstance(forward, PackedForward) or forward.family is not family:
        raise ValueError("only versions of one base can share a pass.")
    return forward


def _tables(body: Any, *, context: int) -> tuple[kernels.Array, kernels.Array]:
    positions = torch.arange(context)[None]
    cos, sin = body.rotary_emb(torch.zeros(1, 1, 1), positions)
    return cos[0].contiguous().numpy(), sin[0].contiguous().numpy()
