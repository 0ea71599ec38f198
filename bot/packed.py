"""A decoder of the Llama family on a CPU: weights packed once for the processor, few operations per layer.

The same numbers as transformers' module within rounding; `packed` checks that on a probe before it is used. LoRA
weights may stay beside the packed ones (`Deltas`) where a merged copy does not fit the memory. It knows no requests.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding, scaled_dot_product_attention
from transformers import PreTrainedModel

from bot import kernels
from bot.forward import Span
from bot.pool import Pool, bits

FAMILIES = frozenset({"llama", "mistral", "qwen2"})
ROPES = frozenset({"default", "linear", "llama3"})
PROBE = 24
_ALONE = threading.Lock()
"""One pass at a time in a process: two would fight for the same cores, and for the kernels' threads."""
TOLERANCE = {torch.bfloat16: 0.2, torch.float32: 1e-3}
"""Mean difference of the probe's log-probabilities that is rounding; bfloat16 itself is 0.1 away from float32."""


class Linear:
    """One or several linear layers side by side, packed; called with (tokens, in), gives (tokens, out)."""

    def __init__(self, layers: Sequence[torch.nn.Linear]) -> None:
        weight = torch.cat([layer.weight.detach() for layer in layers])
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, 8)
        self.outs, self.width = [layer.out_features for layer in layers], layers[0].in_features
        biases: list[torch.Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        self._bias = torch.cat(biases).detach() if biases else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return found


@dataclass(frozen=True)
class Delta:
    """A low-rank addition to a Linear: down (in, rank), up (rank, out), already scaled."""

    down: torch.Tensor
    up: torch.Tensor


@dataclass
class _Layer:
    linears: dict[str, Linear]
    norm_in: kernels.Array
    norm_out: kernels.Array
    deltas: dict[str, Delta]


PARTS = {
    "qkv": ("self_attn", ("q_proj", "k_proj", "v_proj")),
    "o": ("self_attn", ("o_proj",)),
    "pair": ("mlp", ("gate_proj", "up_proj")),
    "down": ("mlp", ("down_proj",)),
}
"""The four packed products of a layer and the modules that they are made of."""


class PackedForward:
    """One version of the model; versions share a pool and every weight that they have in common with `beside`.

    `beside` is the base: it keeps its module, so that the weights it shares are known by identity.
    """

    lookahead = True

    def __init__(self, model: PreTrainedModel, pool: Pool, *, beside: "PackedForward | None" = None) -> None:
        config = model.config
        self.pool = pool
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

    def with_deltas(self, factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> "PackedForward | None":
        """The same weights with low-rank additions by module name: A (rank, in) and B (out, rank), scaled.

        None when a name or a shape is not one of this model's.
        """
        made = object.__new__(PackedForward)
        made.__dict__.update(self.__dict__)
        left = dict(factors)
        dtype = self._embedding.dtype
        made._layers = []
        for index, layer in enumerate(self._layers):
            deltas = {}
            for part, linear in layer.linears.items():
                parent, names = PARTS[part]
                pairs = [left.pop(f"model.layers.{index}.{parent}.{name}", None) for name in names]
                if any(pair is not None for pair in pairs):
                    deltas[part] = _side_by_side(pairs, linear.outs, linear.width, dtype)
            if any(delta is None for delta in deltas.values()):
                return None
            made._layers.append(_Layer(layer.linears, layer.norm_in, layer.norm_out, deltas))  # type: ignore[arg-type]
        return None if left else made

    def _linear(self, layers: Sequence[torch.nn.Linear]) -> Linear:
        key = tuple(id(layer.weight) for layer in layers)
        found = self._shared.get(key) or Linear(layers)
        if self._model is not None:
            self._shared[key] = found
        return found

    def _layer(self, layer: Any) -> _Layer:
        linears = {
            part: self._linear([getattr(getattr(layer, parent), name) for name in names])
            for part, (parent, names) in PARTS.items()
        }
        norms = (layer.input_layernorm.weight.detach(), layer.post_attention_layernorm.weight.detach())
        return _Layer(linears, bits(norms[0]), bits(norms[1]), {})

    def take(self, prompt: list[int]) -> tuple[int, int] | None:
        """A slot for a prompt, and how many of its tokens are known there."""
        return self.pool.take(self, prompt)

    def release(self, slot: int) -> None:
        """Give a slot back; its content stays for prompts that begin alike."""
        self.pool.release(slot)

    @torch.inference_mode()
    def run(self, spans: Sequence[Span]) -> torch.Tensor:
        """Logits (wanted tokens, vocabulary), float32, in the order of the spans; long spans come last."""
        steps = _Steps(spans)
        with _ALONE:
            kernels.threads(torch.get_num_threads())
            x = embedding(steps.tokens, self._embedding)
            space = _Space(x, self._heads * self._size, self._layers[0].linears["down"].width)
            delta = torch.zeros_like(x)
            for index, layer in enumerate(self._layers):
                delta = self._one_layer(layer, index, delta, space, steps)
            last = _Space(x[steps.wanted], 0, 0)
            kernels.add_norm(last.x_bits, bits(delta[steps.wanted]), self._norm, self._epsilon, last.normed_bits)
            logits = self._head(last.normed).float()
        for span in spans:
            self.pool.filled(span.slot, span.start, span.tokens)
        return logits

    def _one_layer(
        self, layer: _Layer, index: int, delta: torch.Tensor, space: "_Space", steps: "_Steps"
    ) -> torch.Tensor:
        """Adds what the layer before gave, and gives what is to be added next."""
        kernels.add_norm(space.x_bits, bits(delta), layer.norm_in, self._epsilon, space.normed_bits)
        fused = _apply(layer, "qkv", space.normed).view(len(space.x), -1, self._size)
        self._attention(fused, index, space, steps)
        delta = _apply(layer, "o", space.attended)
        kernels.add_norm(space.x_bits, bits(delta), layer.norm_out, self._epsilon, space.normed_bits)
        kernels.gate(bits(_apply(layer, "pair", space.normed)), space.gated_bits)
        return _apply(layer, "down", space.gated)

    def _attention(self, fused: torch.Tensor, index: int, space: "_Space", steps: "_Steps") -> None:
        """Attention of all tokens: single ones by the kernel, chunks of prompts by torch."""
        raw, single = bits(fused), steps.single
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
        self.attended, self.gated = x.new_empty(len(x), attended), x.new_empty(len(x), gated)
        self.x_bits, self.normed_bits, self.gated_bits = bits(self.x), bits(self.normed), bits(self.gated)


class _Steps:
    """Where each token of a pass stands; short spans come first, long ones, chunks of prompts, after them."""

    LONG = 17
    """Spans of this many tokens and more go through torch's attention, which is made for many."""

    def __init__(self, spans: Sequence[Span]) -> None:
        lengths = [len(span.tokens) for span in spans]
        self.tokens = torch.tensor([token for span in spans for token in span.tokens])
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


def _apply(layer: _Layer, part: str, x: torch.Tensor) -> torch.Tensor:
    found = layer.linears[part](x)
    delta = layer.deltas.get(part)
    return found if delta is None else torch.addmm(found, x @ delta.down, delta.up)


def _side_by_side(
    pairs: Sequence[tuple[torch.Tensor, torch.Tensor] | None], outs: Sequence[int], width: int, dtype: torch.dtype
) -> Delta | None:
    """The additions of several modules as one: each writes its own columns; None when a shape does not fit."""
    present = [(pair, at) for pair, at in zip(pairs, range(len(outs)), strict=True) if pair is not None]
    if any(a.shape[1] != width or b.shape != (outs[at], a.shape[0]) for (a, b), at in present):
        return None
    up = torch.zeros(sum(a.shape[0] for (a, _), _ in present), sum(outs))
    row = 0
    for (a, b), at in present:
        up[row : row + a.shape[0], sum(outs[:at]) : sum(outs[: at + 1])] = b.T
        row += a.shape[0]
    down = torch.cat([a for (a, _), _ in present]).T
    return Delta(down.to(dtype).contiguous(), up.to(dtype).contiguous())


def head_size(config: Any) -> int:
    """Numbers per attention head of a model's configuration."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _tables(body: Any, *, context: int) -> tuple[kernels.Array, kernels.Array]:
    positions = torch.arange(context)[None]
    cos, sin = body.rotary_emb(torch.zeros(1, 1, 1), positions)
    return cos[0].contiguous().numpy(), sin[0].contiguous().numpy()


def fits(model: PreTrainedModel) -> bool:
    """Whether a model is of a kind that this module computes."""
    config: Any = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return (
        config.model_type in FAMILIES
        and model.device.type == "cpu"
        and model.dtype in TOLERANCE
        and config.hidden_act == "silu"
        and rope in ROPES
        and not getattr(config, "sliding_window", None)
        and not getattr(config, "mlp_bias", False)
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


def pool_for(model: PreTrainedModel, *, slots: int, context: int) -> Pool:
    """An empty pool in the model's shape."""
    config: Any = model.config
    return Pool(
        slots=slots,
        layers=config.num_hidden_layers,
        heads=config.num_key_value_heads,
        context=context,
        size=head_size(config),
        dtype=model.dtype,
    )


@torch.inference_mode()
def agrees(model: PreTrainedModel, forward: PackedForward) -> bool:
    """Whether packed and module give the same log-probabilities on a probe, within rounding."""
    tokens = [(7919 * i + 13) % model.config.vocab_size for i in range(PROBE)]
    taken = forward.take(tokens)
    if taken is None:
        return False
    slot, _ = taken
    found = forward.run([Span(slot, 0, tokens[:-2], wanted=1)])
    found = torch.cat([found, forward.run([Span(slot, PROBE - 2, tokens[-2:], wanted=2)])])
    forward.release(slot)
    logits = model(input_ids=torch.tensor([tokens]), logits_to_keep=3).logits[0].float()
    gap = (torch.log_softmax(found, -1) - torch.log_softmax(logits, -1)).abs().mean()
    return bool(gap <= TOLERANCE[model.dtype])
