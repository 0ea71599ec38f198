"""The slots of the packed engine: keys and values of answers, shared by all versions, and what past ones still hold.

A slot that is free keeps its content, so that a prompt that begins like an earlier one of the *same* model object
reads only the rest. Another version never sees it. It knows no model.
"""

import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel


@dataclass
class _Slot:
    owner: "weakref.ref[object] | None" = None
    tokens: list[int] = field(default_factory=list)
    busy: bool = False
    used: int = 0


class Pool:
    """Keys and values: per layer (slots, key/value heads, context tokens, head size); `bits` is the same memory."""

    def __init__(self, *, slots: int, layers: int, heads: int, context: int, size: int, dtype: torch.dtype) -> None:
        shape = (slots, heads, context, size)
        self.keys = [torch.zeros(shape, dtype=dtype) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype) for _ in range(layers)]
        self.bits = [(bits(k), bits(v)) for k, v in zip(self.keys, self.values, strict=True)]
        self._slots = [_Slot() for _ in range(slots)]
        self._clock = 0

    def take(self, owner: object, prompt: list[int]) -> tuple[int, int] | None:
        """A free slot for a prompt of `owner` and how many of its tokens it holds already; None when all are busy.

        At least one token is left to be read, for its logits.
        """
        free = [i for i, slot in enumerate(self._slots) if not slot.busy]
        if not free:
            return None
        shared = {
            i: common(slot.tokens, prompt, limit=len(prompt) - 1)
            for i, slot in enumerate(self._slots)
            if slot.owner is not None and slot.owner() is owner
        }
        best = max(shared, key=lambda i: shared[i], default=free[0])
        known = shared.get(best, 0)
        mostly = 2 * known >= len(self._slots[best].tokens)
        chosen = best if best in free and mostly else self._oldest(free)
        if chosen != best and known:
            self._copy(best, chosen, known)
        self._clock += 1
        self._slots[chosen] = _Slot(weakref.ref(owner), prompt[:known], busy=True, used=self._clock)
        return chosen, known

    def filled(self, slot: int, start: int, tokens: list[int]) -> None:
        """A slot now holds `tokens` from position `start`, and nothing after them."""
        held = self._slots[slot].tokens
        del held[start:]
        held += tokens

    def release(self, slot: int) -> None:
        """Give a slot back; what it holds can be shared until another prompt takes it."""
        self._slots[slot].busy = False

    def _oldest(self, free: list[int]) -> int:
        return min(free, key=lambda i: self._slots[i].used)

    def _copy(self, source: int, target: int, length: int) -> None:
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :length] = tensor[source, :, :length]


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


def head_size(config: Any) -> int:
    """Numbers per attention head of a model's configuration."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def bits(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """A CPU tensor's memory as the kernels read it: bfloat16 as uint16."""
    found: npt.NDArray[Any] = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def common(a: list[int], b: list[int], *, limit: int) -> int:
    """How many tokens two lists begin with in common, at most `limit`."""
    size = min(len(a), len(b), limit)
    if size <= 0:
        return 0
    differ: npt.NDArray[np.intp] = np.flatnonzero(np.asarray(a[:size]) != np.asarray(b[:size]))
    return int(differ[0]) if len(differ) else size
