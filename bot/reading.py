"""A question over a passage as a small causal language model reads it: its state where the question ends.

Half way up the layers that state tells whether the model has found an answer (a linear probe reads it, Alain and Bengio
2016); what it is worth is the business of `finetune/enough.py`. The model only reads: it judges no answer.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bot.probe import computes_bfloat16

Floats = NDArray[np.float64]
LAYER = 18
"""The state after so many of the packaged model's 30 layers; those above are not computed."""
LONGEST = 3_000
"""Characters of a passage that are read."""
BATCH = 8


class States:
    """Reads pairs; loads the model on first use, safe to share between threads."""

    def __init__(self, folder: str) -> None:
        """`folder` holds the packaged chat model: the probe was fitted to its states alone."""
        self._folder = folder
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """The states of (question, passage): shape (pairs, width)."""
        with self._lock:
            model, tokenizer = self._loaded = self._loaded or self._load()
            asked = [
                tokenizer(f"{passage[:LONGEST]}\n\nQuestion: {question}", add_special_tokens=False)["input_ids"]
                for question, passage in pairs
            ]
            order = sorted(range(len(asked)), key=lambda one: len(asked[one]))
            found = np.zeros((len(asked), model.config.hidden_size))
            for start in range(0, len(order), BATCH):
                part = order[start : start + BATCH]
                found[part] = _last(model, tokenizer, [asked[one] for one in part])
        return found

    def _load(self) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415, seconds that only reading needs

        fast = torch.cuda.is_available() or computes_bfloat16()
        dtype = torch.bfloat16 if fast else torch.float32
        model: Any = AutoModel.from_pretrained(self._folder, dtype=dtype).eval()
        model.layers, model.norm = model.layers[:LAYER], torch.nn.Identity()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return model.to(device), AutoTokenizer.from_pretrained(self._folder)


def _last(model: Any, tokenizer: Any, rows: Sequence[list[int]]) -> Floats:
    """The state of each row's last token."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), tokenizer.eos_token_id)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    ends = torch.tensor([len(row) for row in rows])
    seen = (torch.arange(longest)[None] < ends[:, None]).long()
    with torch.inference_mode():
        states = model(input_ids=ids.to(model.device), attention_mask=seen.to(model.device), use_cache=False)
    last = states.last_hidden_state[torch.arange(len(rows)), (ends - 1).to(model.device)]
    return np.asarray(last.float().cpu().numpy(), dtype=np.float64)
