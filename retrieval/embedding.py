"""Texts to unit vectors with a sentence-transformers model; a LangChain `Embeddings`."""

import threading

import numpy as np
import numpy.typing as npt
import torch
from langchain_core.embeddings import Embeddings
from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]


class Embedder(Embeddings):
    """Embeds texts; loads the model on first use, safe to share between threads."""

    def __init__(self, folder: str, *, name: str) -> None:
        self.name = name
        self._folder = folder
        self._lock = threading.Lock()
        self._model: SentenceTransformer | None = None

    def encode(self, texts: list[str]) -> Vectors:
        """The embeddings of `texts`: shape (texts, dimensions), float32, unit length."""
        with self._lock:
            if self._model is None:
                device = "cuda" if torch.cuda.is_available() else "cpu"
                self._model = SentenceTransformer(self._folder, device=device)
            vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False, batch_size=64)
        return np.asarray(vectors, dtype=np.float32)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self.encode(texts).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]
