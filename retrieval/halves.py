"""Passages and their sentences to unit vectors, in half precision where the processor computes in it.

It is several times faster there and moves a cosine by about 0.001, less than keeping sentences as int8 does. A question
is one short text and is embedded as ever.
"""

import threading
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from retrieval.embedding import Vectors

FAST = frozenset({"amx_bf16", "avx512_bf16"})
"""What a processor says that multiplies bfloat16 matrices; others only imitate it, slowly."""
SMALLEST, LARGEST = 8, 64
"""Texts in a pass: few of a small document, whose texts differ in length and would be padded to the longest."""


def computes_in_halves(described: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processor multiplies bfloat16; no where it does not say."""
    try:
        lines = described.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not FAST.isdisjoint(flags)


class HalfEncoder:
    """Embeds texts in bfloat16; loads the model on first use, safe to share between threads."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._model: SentenceTransformer | None = None

    def __call__(self, texts: list[str]) -> Vectors:
        """The embeddings of `texts`: shape (texts, dimensions), float32, unit length."""
        with self._lock:
            if self._model is None:
                self._model = SentenceTransformer(self._folder, model_kwargs={"dtype": "bfloat16"})
            size = min(max(len(texts) // 4, SMALLEST), LARGEST)
            found = self._model.encode(texts, show_progress_bar=False, batch_size=size)
        vectors = np.asarray(found, dtype=np.float32)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return np.asarray(vectors / lengths, dtype=np.float32)


def half_encoder(folder: str) -> HalfEncoder | None:
    """A faster encoder with the model in a folder, or None where this machine has none."""
    return HalfEncoder(folder) if computes_in_halves() else None
