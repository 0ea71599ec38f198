"""What a Chroma collection of passages holds, and whether they find themselves in it."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from chromadb.api.models.Collection import Collection

BATCH = 1_000
"""Passages that go to or come from Chroma at once."""
PROBES = 200
"""Passages that must find themselves before a generation is used."""

Vectors = npt.NDArray[np.float32]


def unit_vectors(ids: list[str], content: bytes) -> Vectors:
    """Stored vectors one after the other as an array, shape (ids, dimensions)."""
    return np.frombuffer(content, dtype="<f4").reshape(len(ids), -1)


def ids_of(collection: Collection) -> set[str]:
    """Every id that a collection holds."""
    return {one for ids in _pages(lambda at: collection.get(include=[], limit=BATCH, offset=at)["ids"]) for one in ids}


def _pages(page: Callable[[int], list[str]]) -> Iterator[list[str]]:
    at = 0
    while ids := page(at):
        yield ids
        at += len(ids)


def misses(collection: Collection, ids: list[str], vectors: Vectors) -> int:
    """How many passages are not among the three nearest to their own vector; an equal vector in their place counts."""
    if not ids:
        return 0
    found = collection.query(query_embeddings=vectors, n_results=3, include=["distances"])
    distances = found["distances"] or []
    pairs = zip(ids, found["ids"], distances, strict=True)
    return sum(one not in near and not (far and far[0] < 1e-5) for one, near, far in pairs)
