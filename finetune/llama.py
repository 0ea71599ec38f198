"""Loss and gradients of a Llama-like model with LoRA weights, forward and backward written out.

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
from torch.nn.functional import embedding, linear

from finetune.attention import Attention, Blocks, Padded
from finetune.pieces import Pieces, pieces_for
from finetune.projection import Passed, Projection
from finetune.spans import Placed

FAMILIES = ("llama", "mistral", "qwen2")
LOGITS_AT_ONCE = 256


@dataclass
class _Saved:
    """What a layer's backward needs of its forward."""

    normed: list[torch.Tensor]
    qkv: Passed
    attended: Any
    out: Passed
    normed_again: list[torch.Tensor]
    pair: Passed
    gate_up: torch.Tensor
    down: Passed


def fits(model: Any) -> bool:
    """Whether a PEFT model is of a kind that is written out here, not in 4 bits."""
    config = model.config
    if config.model_type not in FAMILIES or not all(p.is_floating_point() for p in model.parameters()):
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

    def __init__(self, model: Any, *, seed: int, recompute: bool = False, fused: bool | None = None) -> None:
        """`recompute` keeps a layer's input only and runs its forward again in the backward: less memory, slower.

        `fused` takes the pieces and the attention that are made for a GPU; without a word, where the model lies on one.
        """
        inner = model.base_model.model
        config = model.config
        self._body, self._head = inner.model, inner.lm_head.weight.detach()
        self._device = self._head.device
        fused = self._device.type != "cpu" if fused is None else fused
        self._pieces = pieces_for(self._device) if fused else Pieces()
        self._layers = [_Layer(layer, self._pieces) for layer in self._body.layers]
        self._epsilon = float(config.rms_norm_eps)
        heads = {"heads": int(config.num_attention_heads), "kinds": int(config.num_key_value_heads)}
        self._attention: Attention = Padded(self._pieces, **heads) if fused else Blocks(**heads)
        self._recompute = recompute
        self.generator = torch.Generator(self._device).manual_seed(seed)
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
        placed = Placed(sequences, self._body, self._device)
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
        return float(loss)

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

    def _loss(
        self, x: torch.Tensor, targets: torch.Tensor, total: int, *, learn: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, *normed = self._pieces.norm(x, self._body.norm.weight, self._epsilon)
        loss, parts = torch.zeros((), device=x.device), []
        for rows, wanted in zip(torch.split(hidden, LOGITS_AT_ONCE), torch.split(targets, LOGITS_AT_ONCE), strict=True):
            logits = linear(rows, self._head).float()
            highest = logits.logsumexp(-1, keepdim=True)
            loss += (highest - logits.gather(1, wanted[:, None])).sum() / total
            if learn:
                shares = logits.sub_(highest).exp_()
                shares[torch.arange(len(wanted), device=x.device), wanted] -= 1
                parts.append(shares.div_(total).to(x.dtype) @ self._head)
        if not learn:
            return loss, x
        return loss, self._pieces.norm_back(torch.cat(parts), *normed, self._body.norm.weight)

    def _forward(
        self, layer: "_Layer", x: torch.Tensor, placed: Placed, *, last: bool, dropout: torch.Generator | None
    ) -> tuple[torch.Tensor, _Saved]:
        hidden, *normed = self._pieces.norm(x, layer.norm_in, self._epsilon)
        fused, qkv = layer.qkv(hidden, dropout)
        mixed, attended = self._attention.forward(fused, placed, last=last)
        added, out = layer.out(mixed, dropout)
        x = added.add_(x[placed.wanted] if last else x)
        hidden, *again = self._pieces.norm(x, layer.norm_out, self._epsilon)
        gate_up, pair = layer.pair(hidden, dropout)
        product, down = layer.down(self._pieces.gate(gate_up), dropout)
        saved = _Saved(normed, qkv, attended, out, again, pair, gate_up, down)
        return product.add_(x), saved

    def _backward(
        self, layer: "_Layer", saved: _Saved, gradient: torch.Tensor, placed: Placed, *, last: bool, first: bool
    ) -> torch.Tensor:
        """The gradient of a layer's input from that of its output."""
        both = self._pieces.gate_back(layer.down.back(gradient, saved.down), saved.gate_up)
        hidden = layer.pair.back(both, saved.pair)
        gradient = gradient + self._pieces.norm_back(hidden, *saved.normed_again, layer.norm_out)
        mixed = layer.out.back(gradient, saved.out)
        fused = self._attention.backward(mixed, saved.attended, placed, last=last)
        hidden = layer.qkv.back(fused, saved.qkv, only_weights=first)
        if first:
            return gradient
        back = self._pieces.norm_back(hidden, *saved.normed, layer.norm_in)
        return back.index_add_(0, placed.wanted, gradient) if last else back.add_(gradient)


class _Layer:
    """A decoder layer's four products and two norms."""

    def __init__(self, layer: Any, pieces: Pieces) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = Projection([attention.q_proj, attention.k_proj, attention.v_proj], pieces)
        self.out = Projection([attention.o_proj], pieces)
        self.pair = Projection([mlp.gate_proj, mlp.up_proj], pieces)
        self.down = Projection([mlp.down_proj], pieces)
        self.norm_in = layer.input_layernorm.weight.detach()
        self.norm_out = layer.post_attention_layernorm.weight.detach()

    def all(self) -> list[Projection]:
        return [self.qkv, self.out, self.pair, self.down]
