"""Texts and their words to unit vectors (sentence-transformers, a LangChain `Embeddings`); pairs to scores."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from langchain_core.embeddings import Embeddings
from sentence_transformers import CrossEncoder, SentenceTransformer
from transformers import BatchEncoding

from store.errors import Invalid

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Read:
    """A text as the model reads it.

    `vector` is its embedding, shape (dimensions,); `in_context` holds a vector for each of its `words`, shape (words,
    dimensions): the last layer but one, the mean of a word's pieces. All are of unit length, float32. Words beyond what
    the model reads are missing.
    """

    vector: Vectors
    words: tuple[str, ...]
    in_context: Vectors


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
            model = self._loaded()
            vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False, batch_size=64)
        return np.asarray(vectors, dtype=np.float32)

    def read(self, texts: list[str]) -> list[Read]:
        """The embeddings of `texts` and of their words in context, in one pass; for models with a fast tokenizer."""
        with self._lock:
            model: Any = self._loaded()
            encoder, pooling = model[0].auto_model, model[1]
            longest = model.max_seq_length
            given = model.tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
            with torch.inference_mode():
                on_device = {name: value.to(model.device) for name, value in given.items()}
                layers = encoder(**on_device, output_hidden_states=True).hidden_states
                pooled = pooling({"token_embeddings": layers[-1], "attention_mask": on_device["attention_mask"]})
        vectors, words = _unit(pooled["sentence_embedding"]), layers[-2].cpu()
        return [Read(vectors[place], *_words(text, given, place, words[place])) for place, text in enumerate(texts)]

    def _loaded(self) -> SentenceTransformer:
        if self._model is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._model = SentenceTransformer(self._folder, device=device)
        return self._model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self.encode(texts).tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def _unit(vectors: torch.Tensor) -> Vectors:
    return np.asarray(torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy(), dtype=np.float32)


def _words(text: str, given: BatchEncoding, place: int, layer: torch.Tensor) -> tuple[tuple[str, ...], Vectors]:
    """The words of a text, lower-case, each with the mean vector of its pieces."""
    pieces: dict[int, list[int]] = {}
    for token, word in enumerate(given.word_ids(place)):
        if word is not None:
            pieces.setdefault(word, []).append(token)
    spans = [given.word_to_chars(place, word) for word in pieces]
    means = [layer[tokens].mean(dim=0) for tokens in pieces.values()]
    made = _unit(torch.stack(means)) if means else np.zeros((0, layer.shape[-1]), np.float32)
    return tuple(text[span.start : span.end].lower() for span in spans), made


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
