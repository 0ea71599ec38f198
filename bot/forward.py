"""One pass of a model over tokens of several answers, with their keys and values kept between passes.

`ModuleForward` runs any transformers causal model with full attention, on any device. `bot/packed.py` is the same for
decoders of the Llama family on a CPU, faster. Neither knows requests, sampling or adapters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from bot.pool import head_size
from store.errors import Unavailable


@dataclass(frozen=True)
class Span:
    """Tokens of one answer in a row, the first at position `start`; logits of the last `wanted` come back."""

    slot: int
    start: int
    tokens: list[int]
    wanted: int = 1


class Forward(Protocol):
    """What a batch needs of a model; slots hold the keys and values of one answer each."""

    lookahead: bool
    """Whether several tokens of an answer in one pass cost less than one pass each."""

    @property
    def family(self) -> object:
        """What versions have in common that can share a pass."""

    def take(self, prompt: list[int]) -> tuple[int, int] | None: ...

    def run(self, spans: Sequence[Span]) -> torch.Tensor: ...

    def run_all(self, parts: "Sequence[Part]") -> list[torch.Tensor]: ...

    def release(self, slot: int) -> None: ...


Part = tuple[Forward, Sequence[Span]]
"""What one version does in a pass that several may share."""


class _Store(Cache):
    """Keys and values of all rows; implements what transformers' models call on a cache.

    Shapes: per layer (rows, key/value heads, context tokens, head size).
    """

    def __init__(self, model: PreTrainedModel, *, slots: int, context: int) -> None:
        config = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        shape = (slots, heads, context, head_size(config))
        self.keys = [
            torch.zeros(shape, dtype=model.dtype, device=model.device) for _ in range(config.num_hidden_layers)
        ]
        self.values = [torch.zeros_like(key) for key in self.keys]
        self.layers: list[Any] = []
        self.row: int | None = None
        self.start = 0
        self.positions = torch.zeros(0, dtype=torch.long)
        self.index = torch.zeros(0, dtype=torch.long)
        self.length = 0

    def fill(self, row: int, start: int) -> None:
        """The next forward pass writes a chunk of one row's prompt from position `start`."""
        self.row, self.start = row, start

    def step(self, positions: torch.Tensor) -> None:
        """The next forward pass writes one token for each of the first rows at `positions`."""
        self.row, self.positions = None, positions
        self.index = torch.arange(len(positions), device=positions.device)
        self.length = int(positions.max()) + 1

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        if self.row is not None:
            end = self.start + key_states.shape[2]
            keys[self.row, :, self.start : end] = key_states[0]
            values[self.row, :, self.start : end] = value_states[0]
            return keys[self.row : self.row + 1, :, :end], values[self.row : self.row + 1, :, :end]
        rows = key_states.shape[0]
        keys[self.index, :, self.positions] = key_states[:, :, 0]
        values[self.index, :, self.positions] = value_states[:, :, 0]
        return keys[:rows, :, : self.length], values[:rows, :, : self.length]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row's first `length` tokens into another row."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.start if self.row is not None else self.length - 1


class ModuleForward:
    """Any transformers causal model; answers being written keep the first rows, so that a step reads a dense block."""

    lookahead = False

    def __init__(self, model: PreTrainedModel, *, slots: int, context: int) -> None:
        self.model = model
        self._store = _Store(model, slots=slots, context=context)
        self._free = list(range(slots))
        self._rows: list[int] = []
        self._filled: dict[int, int] = {}

    def take(self, prompt: list[int]) -> tuple[int, int] | None:
        """A slot for a prompt, and how many of its tokens are known there: none."""
        if not self._free:
            return None
        slot = self._free.pop()
        self._rows.append(slot)
        self._filled[slot] = 0
        return slot, 0

    @torch.inference_mode()
    def run(self, spans: Sequence[Span]) -> torch.Tensor:
        """Logits (wanted tokens, vocabulary), float32, in the order of the spans."""
        singles = [span for span in spans if len(span.tokens) == 1 and span.start > 0]
        found = dict(zip(map(id, singles), self._step(singles), strict=True)) if singles else {}
        return torch.cat([found[id(span)] if id(span) in found else self._fill(span) for span in spans])

    @property
    def family(self) -> object:
        """Itself: a module runs alone."""
        return self

    def run_all(self, parts: Sequence[Part]) -> list[torch.Tensor]:
        """The logits of each part, one after the other."""
        return [forward.run(spans) for forward, spans in parts]

    def release(self, slot: int) -> None:
        """Give a slot back; the last row takes its place."""
        row = self._rows.index(slot)
        last = self._rows.pop()
        if last != slot:
            self._rows[row] = last
            self._store.move(len(self._rows), row, self._filled[last])
        del self._filled[slot]
        self._free.append(slot)

    def _fill(self, span: Span) -> torch.Tensor:
        device, end = self.model.device, span.start + len(span.tokens)
        positions = torch.arange(span.start, end, device=device)
        mask = torch.arange(end, device=device)[None, :] <= positions[:, None]
        self._store.fill(self._rows.index(span.slot), span.start)
        self._filled[span.slot] = end
        inputs = torch.tensor([span.tokens], device=device)
        return self._forward(inputs, positions[None], mask[None, None], span.wanted)[0]

    def _step(self, spans: Sequence[Span]) -> list[torch.Tensor]:
        """One token for each span; rows between them that only wait read a token too, which nothing looks at."""
        device = self.model.device
        by_row = {self._rows.index(span.slot): span for span in spans}
        idle = [Span(slot, self._filled[slot], [0]) for slot in self._rows[: max(by_row) + 1]]
        asked = [by_row.get(row, waiting) for row, waiting in enumerate(idle)]
        positions = torch.tensor([span.start for span in asked], device=device)
        self._store.step(positions)
        mask = torch.arange(self._store.length, device=device)[None, :] <= positions[:, None]
        inputs = torch.tensor([span.tokens for span in asked], device=device)
        logits = self._forward(inputs, positions[:, None], mask[:, None, None], 1)
        for span in spans:
            self._filled[span.slot] = span.start + 1
        rows = {span.slot: row for row, span in by_row.items()}
        return [logits[rows[span.slot]] for span in spans]

    def _forward(self, inputs: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, wanted: int) -> torch.Tensor:
        bias = torch.zeros(mask.shape, dtype=self.model.dtype, device=mask.device)
        bias.masked_fill_(~mask, torch.finfo(self.model.dtype).min)
        output = self.model(
            input_ids=inputs,
            position_ids=positions,
            attention_mask=bias,
            past_key_values=self._store,
            use_cache=True,
            logits_to_keep=wanted,
        )
        logits: torch.Tensor = output.logits[:, -wanted:].float()
        return logits


def scored(forward: Forward, prompt: list[int], target: list[int]) -> list[float]:
    """The natural-log probability of each token of `target` after a prompt; raises Unavailable without a free slot."""
    taken = forward.take(prompt)
    if taken is None:
        raise Unavailable("every slot is busy.", "Try again in a moment.")
    slot, known = taken
    span = Span(slot, known, [*prompt[known:], *target[:-1]], wanted=len(target))
    logits = forward.run([span])
    forward.release(slot)
    wanted = torch.tensor(target, device=logits.device)[:, None]
    found: list[float] = torch.log_softmax(logits, -1).gather(1, wanted)[:, 0].tolist()
    return found
