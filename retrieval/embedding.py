"""Texts to unit vectors with a sentence-transformers model, a LangChain `Embeddings`; pairs to scores, to rerank."""

import threading

import numpy as np
import numpy.typing as npt
import torch
from langchain_core.embeddings import Embeddings
from sentence_transformers import CrossEncoder, SentenceTransformer

from store.errors import Invalid

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


class Reranker:
    """Scores question and passage together with a cross-encoder; loads it on first use, safe to share."""

    def __init__(self, model: str) -> None:
        self._name = model
        self._lock = threading.Lock()
        self._model: CrossEncoder | None = None

    def __call__(self, question: str, texts: list[str]) -> Vectors:
        """A score in [0, 1] for each text, shape (texts,); raises Invalid when the model cannot be loaded or used."""
        with self._lock:
            if self._model is None:
                self._model = self._loaded()
            found = self._model.predict(
                [(question, text) for text in texts], activation_fn=torch.nn.Sigmoid(), show_progress_bar=False
            )
        return np.asarray(found, dtype=np.float32)

    def _loaded(self) -> CrossEncoder:
        try:
            model: CrossEncoder = CrossEncoder(self._name, device="cuda" if torch.cuda.is_available() else "cpu")
        except (OSError, ValueError) as error:
            raise Invalid(
                f"the reranker {self._name} cannot be loaded: {error}", "Set retrieval.reranker to a folder or hub id."
            ) from error
        if model.num_labels != 1:
            raise Invalid(f"the reranker {self._name} gives {model.num_labels} scores, expected one.")
        return model
