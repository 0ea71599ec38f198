"""Loss and gradients of a Llama-like model with LoRA weights on a CPU, forward and backward written out.

It gives what transformers, PEFT and autograd give within rounding (`agrees` checks that before it is used), in about
half the time: projections that share their input are one product, LoRA runs in the base's dtype with one dropout mask
per input, attention skips what the causal mask hides, the last layer works on the tokens that the loss looks at, and
nothing is computed for frozen weights. Several sequences share the products and never see each other. It knows no
optimizer and no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import embedding, linear, silu

from finetune.projection import Passed, Projection
from finetune.spans import Placed, Span

FAMILIES = ("llama", "mistral", "qwen2")
LOGITS_AT_ONCE = 256


@dataclass
class _Saved:
    """What a layer's backward needs of its forward."""

    normed: tuple[torch.Tensor, torch.Tensor]
    qkv: Passed
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    weights: list[torch.Tensor]
    out: Passed
    normed_again: tuple[torch.Tensor, torch.Tensor]
    pair: Passed
    gate_up: torch.Tensor
    down: Passed


def fits(model: Any) -> bool:
    """Whether a PEFT model is of a kind that is written out here and lies on a CPU."""
    config = model.config
    if model.device.type != "cpu" or config.model_type not in FAMILIES:
        return False
    layers = model.base_model.model.model.layers
    return (
        config.hidden_act == "silu"
        and not getattr(config, "use_sliding_window", getattr(config, "sliding_window", None))
        and not any(hasattr(layer.self_attn, "q_norm") for layer in layers)
        and all(Projection.fits(module) for module in model.modules())
    )


class LlamaStep:
    """The pass over a PEFT model's weights; gradients are added to its LoRA parameters' `grad`."""

    def __init__(self, model: Any, *, seed: int, recompute: bool = False) -> None:
        """`recompute` keeps a layer's input only and runs its forward again in the backward: less memory, slower."""
        inner = model.base_model.model
        config = model.config
        self._body, self._head = inner.model, inner.lm_head.weight.detach()
        self._layers = [_Layer(layer) for layer in self._body.layers]
        self._epsilon = float(config.rms_norm_eps)
        self._kinds = int(config.num_key_value_heads)
        self._group = int(config.num_attention_heads) // self._kinds
        self._recompute = recompute
        self.generator = torch.Generator().manual_seed(seed)
        self.refresh()

    def refresh(self) -> None:
        """Take over the LoRA parameters' values; to be called after each change of them."""
        for layer in self._layers:
            for projection in layer.all():
                projection.refresh()

    def random_state(self) -> torch.Tensor:
        """Where the dropout's random numbers are."""
        return self.generator.get_state()

    def set_random_state(self, state: torch.Tensor) -> None:
        """Go on from there."""
        self.generator.set_state(state)

    @torch.no_grad()
    def add_gradients(self, sequences: Sequence[Any], total: int, *, learn: bool = True) -> float:
        """The summed loss of the answers' tokens of `sequences` (with `ids` and `answer`) over `total`.

        With `learn` there is dropout, and gradients are added.
        """
        placed = Placed(sequences, self._body)
        dropout = self.generator if learn else None
        x = embedding(placed.ids, self._body.embed_tokens.weight)
        kept: list[tuple[torch.Tensor, torch.Tensor | None, _Saved | None]] = []
        for index, layer in enumerate(self._layers):
            last = index == len(self._layers) - 1
            state = self.generator.get_state() if self._recompute else None
            after, saved = self._forward(layer, x, placed, last=last, dropout=dropout)
            if learn:
                kept.append((x if self._recompute else x[:0], state, None if self._recompute else saved))
            x = after
        loss, gradient = self._loss(x, placed.targets, total, learn=learn)
        for index in reversed(range(len(kept))):
            before, state, again = kept.pop()
            gradient = self._back_again(index, before, state, again, gradient, placed)
        return loss

    def _back_again(
        self,
        index: int,
        before: torch.Tensor,
        state: torch.Tensor | None,
        saved: _Saved | None,
        gradient: torch.Tensor,
        placed: Placed,
    ) -> torch.Tensor:
        last = index == len(self._layers) - 1
        if saved is None and state is not None:
            here = self.generator.get_state()
            self.generator.set_state(state)
            saved = self._forward(self._layers[index], before, placed, last=last, dropout=self.generator)[1]
            self.generator.set_state(here)
        assert saved is not None
        return self._backward(self._layers[index], saved, gradient, placed, last=last, first=index == 0)

    def _loss(self, x: torch.Tensor, targets: torch.Tensor, total: int, *, learn: bool) -> tuple[float, torch.Tensor]:
        hidden, normed = _norm(x, self._body.norm.weight, self._epsilon)
        loss, parts = 0.0, []
        for rows, wanted in zip(torch.split(hidden, LOGITS_AT_ONCE), torch.split(targets, LOGITS_AT_ONCE), strict=True):
            logits = linear(rows, self._head).float()
            highest = logits.logsumexp(-1, keepdim=True)
            loss += float((highest - logits.gather(1, wanted[:, None])).sum()) / total
            if learn:
                shares = logits.sub_(highest).exp_()
                shares[torch.arange(len(wanted)), wanted] -= 1
                parts.append(shares.div_(total).to(x.dtype) @ self._head)
        return loss, _norm_back(torch.cat(parts), normed, self._body.norm.weight) if learn else x

    def _forward(
        self, layer: "_Layer", x: torch.Tensor, placed: Placed, *, last: bool, dropout: torch.Generator | None
    ) -> tuple[torch.Tensor, _Saved]:
        hidden, normed = _norm(x, layer.norm_in, self._epsilon)
        fused, qkv = layer.qkv(hidden, dropout)
        query, key, value = self._heads(fused, placed, last)
        mixed, weights = self._attend(query, key, value, placed.spans(last))
        attended, out = layer.out(mixed, dropout)
        x = attended.add_(x[placed.wanted] if last else x)
        hidden, again = _norm(x, layer.norm_out, self._epsilon)
        gate_up, pair = layer.pair(hidden, dropout)
        gate, up = gate_up.chunk(2, -1)
        product, down = layer.down(silu(gate).mul_(up), dropout)
        saved = _Saved(normed, qkv, query, key, value, weights, out, again, pair, gate_up, down)
        return product.add_(x), saved

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
        return _turn(query, cos[:, None], sin[:, None]), _turn(key, placed.cos, placed.sin), value.contiguous()

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

    def _backward(
        self, layer: "_Layer", saved: _Saved, gradient: torch.Tensor, placed: Placed, *, last: bool, first: bool
    ) -> torch.Tensor:
        """The gradient of a layer's input from that of its output."""
        through = layer.down.back(gradient, saved.down)
        gate, up = saved.gate_up.chunk(2, -1)
        both = torch.empty_like(saved.gate_up)
        half = gate.shape[1]
        torch.mul(through, silu(gate), out=both[:, half:])
        both[:, :half] = torch.ops.aten.silu_backward(through.mul_(up), gate)
        gradient = gradient + _norm_back(layer.pair.back(both, saved.pair), saved.normed_again, layer.norm_out)
        fused = self._attend_back(layer.out.back(gradient, saved.out), saved, placed, last)
        hidden = layer.qkv.back(fused, saved.qkv, only_weights=first)
        if first:
            return gradient
        back = _norm_back(hidden, saved.normed, layer.norm_in)
        return back.index_add_(0, placed.wanted, gradient) if last else back.add_(gradient)

    def _attend_back(self, gradient: torch.Tensor, saved: _Saved, placed: Placed, last: bool) -> torch.Tensor:
        kinds, count, group, size = saved.query.shape
        mixed = gradient.view(count, kinds, group, size).transpose(0, 1).contiguous()
        asked = torch.empty_like(saved.query)
        key, value = (torch.zeros(saved.key.shape) for _ in range(2))
        blocks = iter(saved.weights)
        for span in placed.spans(last):
            tokens = slice(span.start, span.start + span.length)
            for _, end, rows in span.blocks():
                weights, ahead = next(blocks), slice(span.start, span.start + end)
                outer = mixed[:, rows].reshape(kinds, -1, size)
                value[:, ahead] += torch.bmm(weights.transpose(1, 2), outer)
                scores = torch.bmm(outer, saved.value[:, tokens][:, :end].transpose(1, 2))
                scores = torch._softmax_backward_data(scores, weights, -1, weights.dtype).mul_(size**-0.5)
                asked[:, rows] = torch.bmm(scores, saved.key[:, ahead]).view(kinds, -1, group, size)
                key[:, ahead] += torch.bmm(scores.transpose(1, 2), saved.query[:, rows].reshape(kinds, -1, size))
        return self._fused(asked, key.to(asked.dtype), value, placed, last)

    def _fused(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, placed: Placed, last: bool
    ) -> torch.Tensor:
        """Gradients of turned queries, turned keys and values as that of the fused projection's output."""
        kinds, count, group, size = query.shape
        cos, sin = placed.turned(last)
        fused = query.new_zeros(key.shape[1], kinds * (group + 2) * size)
        asked = _turn(query, cos[:, None], -sin[:, None]).transpose(0, 1).reshape(count, -1)
        fused[placed.wanted if last else slice(None), : asked.shape[1]] = asked
        rest = fused[:, asked.shape[1] :].view(-1, 2, kinds, size)
        rest[:, 0] = _turn(key, placed.cos, -placed.sin).transpose(0, 1)
        rest[:, 1] = value.transpose(0, 1)
        return fused


class _Layer:
    """A decoder layer's four products and two norms."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = Projection([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = Projection([attention.o_proj])
        self.pair = Projection([mlp.gate_proj, mlp.up_proj])
        self.down = Projection([mlp.down_proj])
        self.norm_in = layer.input_layernorm.weight.detach()
        self.norm_out = layer.post_attention_layernorm.weight.detach()

    def all(self) -> list[Projection]:
        return [self.qkv, self.out, self.pair, self.down]


def _norm(
    x: torch.Tensor, weight: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """RMS norm; also the normed values before the weight, and what each row was multiplied by."""
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
    scale = square.div_(x.shape[-1]).add_(epsilon).rsqrt_()
    normed = torch.mul(x, scale, out=torch.empty_like(x))
    return normed * weight, (normed, scale)


def _norm_back(gradient: torch.Tensor, saved: tuple[torch.Tensor, torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    normed, scale = saved
    inner = (gradient * weight).float()
    wide = normed.float()
    along = torch.linalg.vecdot(inner, wide).div_(-normed.shape[-1])[:, None]
    return inner.addcmul_(wide, along).mul_(scale).to(gradient.dtype)


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions: pairs of the two halves of the last axis turned; contiguous."""
    turned = torch.empty(x.shape, dtype=x.dtype)
    low, high = x.chunk(2, -1)
    first, second = turned.chunk(2, -1)
    torch.mul(low, cos, out=first)
    first.addcmul_(high, sin, value=-1)
    torch.mul(high, cos, out=second)
    second.addcmul_(low, sin)
    return turned


def _hidden(count: int, group: int, dtype: torch.dtype) -> torch.Tensor:
    """What is added to scores (count * group, count) of a block with itself: minus infinity ahead of each query."""
    ahead = torch.full((count, count), float("-inf"), dtype=dtype).triu_(1)
    return ahead.repeat_interleave(group, 0)
