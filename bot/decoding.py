"""Continuous batching for one set of weights: prompts are admitted in chunks while other answers are being written.

Rows 0..n-1 of one key/value store are the answers under way; a row that ends is filled with the last one, so that
every step reads one dense block. It works on any transformers causal model with full attention. It knows nothing of
adapters, text or threads.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

PREFILL_TOKENS = 256


@dataclass
class Request:
    """One answer to be written: prompt token ids in, token ids out."""

    prompt: list[int]
    max_tokens: int
    end_tokens: frozenset[int]
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    tokens: list[int] = field(default_factory=list)
    filled: int = 0
    cancelled: bool = False
    generator: torch.Generator | None = None

    @property
    def length(self) -> int:
        """Prompt and answer tokens so far."""
        return len(self.prompt) + len(self.tokens)


class _Store(Cache):
    """Keys and values of all rows; implements what transformers' models call on a cache.

    Shapes: per layer (rows, key/value heads, context tokens, head size).
    """

    def __init__(self, model: PreTrainedModel, *, slots: int, context: int) -> None:
        config = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (slots, heads, context, size)
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


class Batch:
    """The answers under way on one model."""

    def __init__(self, model: PreTrainedModel, *, slots: int, context: int) -> None:
        self.model = model
        self.slots = slots
        self.context = context
        self.rows: list[Request] = []
        self._store = _Store(model, slots=slots, context=context)
        self._filling: Request | None = None

    @property
    def idle(self) -> bool:
        """Nothing is being read or written."""
        return not self.rows and self._filling is None

    @property
    def free(self) -> bool:
        """Another prompt can be admitted now."""
        return self._filling is None and len(self.rows) < self.slots

    def admit(self, request: Request) -> None:
        """Begin to read a prompt; it joins the rows when it is read."""
        if request.temperature > 0:
            request.generator = torch.Generator(device=self.model.device)
            request.generator.manual_seed(request.seed) if request.seed is not None else request.generator.seed()
        self._filling = request

    @torch.inference_mode()
    def advance(self) -> list[Request]:
        """Read one chunk of a waiting prompt, then write one token for every row; returns the requests that ended."""
        ended = []
        if self._filling is not None and self._filling.cancelled:
            ended, self._filling = [self._filling], None
        if self._filling is not None:
            self._fill(self._filling)
        if any(not self._over(row) for row in self.rows):
            self._step()
        return ended + self._sweep()

    def _fill(self, request: Request) -> None:
        start, row = request.filled, len(self.rows)
        chunk = request.prompt[start : start + PREFILL_TOKENS]
        end = start + len(chunk)
        device = self.model.device
        positions = torch.arange(start, end, device=device)
        mask = torch.arange(end, device=device)[None, :] <= positions[:, None]
        self._store.fill(row, start)
        logits = self._forward(torch.tensor([chunk], device=device), positions[None], mask[None, None])
        request.filled = end
        if end == len(request.prompt):
            self._filling = None
            self.rows.append(request)
            request.tokens.append(self._choose(logits[0], request))

    def _step(self) -> None:
        device = self.model.device
        positions = torch.tensor([row.length - 1 for row in self.rows], device=device)
        self._store.step(positions)
        mask = torch.arange(self._store.length, device=device)[None, :] <= positions[:, None]
        inputs = torch.tensor([[row.tokens[-1]] for row in self.rows], device=device)
        logits = self._forward(inputs, positions[:, None], mask[:, None, None])
        greedy = logits.argmax(-1).tolist()
        for i, row in enumerate(self.rows):
            if not self._over(row):
                row.tokens.append(greedy[i] if row.temperature <= 0 else self._choose(logits[i], row))

    def _forward(self, inputs: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        bias = torch.zeros(mask.shape, dtype=self.model.dtype, device=mask.device)
        bias.masked_fill_(~mask, torch.finfo(self.model.dtype).min)
        output = self.model(
            input_ids=inputs,
            position_ids=positions,
            attention_mask=bias,
            past_key_values=self._store,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def _choose(self, logits: torch.Tensor, request: Request) -> int:
        if request.temperature <= 0:
            return int(logits.argmax())
        probabilities = torch.softmax(logits / request.temperature, -1)
        if request.top_p < 1:
            ordered, index = probabilities.sort(descending=True)
            ordered[ordered.cumsum(-1) - ordered > request.top_p] = 0
            probabilities = torch.zeros_like(probabilities).scatter(0, index, ordered)
        return int(torch.multinomial(probabilities, 1, generator=request.generator))

    def _over(self, request: Request) -> bool:
        tokens = request.tokens
        return (
            request.cancelled
            or len(tokens) >= request.max_tokens
            or tokens[-1] in request.end_tokens
            or request.length >= self.context
        )

    def _sweep(self) -> list[Request]:
        ended = []
        for i in reversed(range(len(self.rows))):
            if self._over(self.rows[i]):
                ended.append(self.rows[i])
                last = self.rows.pop()
                if i < len(self.rows):
                    self._store.move(len(self.rows), i, last.length)
                    self.rows[i] = last
                self._shift_filling()
        return ended

    def _shift_filling(self) -> None:
        if self._filling is not None and self._filling.filled:
            self._store.move(len(self.rows) + 1, len(self.rows), self._filling.filled)
