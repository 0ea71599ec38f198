"""Vectors of the texts that the judge's benchmark reads, embedded once and kept under var/bench."""

import hashlib
from typing import Any

import numpy as np

from bench.retrieval_sets import CACHE
from bot.models import PACKAGED_EMBEDDING, embedding_model
from retrieval.embedding import Embedder

FILE = CACHE / "judge-vectors.npz"
BATCH = 256


class Kept:
    """`encode` with a memory on disk; call `save` at the end."""

    def __init__(self) -> None:
        self._embedder = Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)
        self._rows: dict[str, Any] = {}
        if FILE.exists():
            kept = np.load(FILE)
            self._rows = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    def encode(self, texts: list[str]) -> Any:
        """Unit vectors, shape (texts, dimensions)."""
        keys = [hashlib.sha256(text.encode()).hexdigest()[:20] for text in texts]
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._rows}
        for start in range(0, len(fresh), BATCH):
            part = dict(sorted(fresh.items(), key=lambda one: len(one[1]))[start : start + BATCH])
            self._rows.update(zip(part, self._embedder.encode(list(part.values())).astype(np.float16), strict=True))
        return np.stack([self._rows[key] for key in keys]).astype(np.float32)

    def save(self) -> None:
        """Write what is new."""
        FILE.parent.mkdir(parents=True, exist_ok=True)
        keys = list(self._rows)
        np.savez(FILE, keys=np.array(keys), vectors=np.stack([self._rows[key] for key in keys]))
