"""Questions that belong together, and the words that mark them out (pure); it knows no log and no model."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from scheduler.report import words_of

Floats = npt.NDArray[np.floating]
TOP_TERMS = 3


def clusters(vectors: Floats, *, near: float) -> list[list[int]]:
    """Rows that belong together, largest cluster first, rows in order; `vectors` are unit, shape (texts, dimensions).

    Average linkage: two clusters are merged while the mean cosine between their rows is at least `near`.
    """
    if len(vectors) < 2:
        return [[row] for row in range(len(vectors))]
    distances = np.clip(1 - np.asarray(vectors, dtype=np.float64) @ vectors.T, 0, 2)
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), method="average")
    found: dict[int, list[int]] = {}
    for row, name in enumerate(fcluster(tree, t=1 - near, criterion="distance")):
        found.setdefault(int(name), []).append(row)
    return sorted(found.values(), key=lambda rows: (-len(rows), rows[0]))


def central(vectors: Floats, rows: Sequence[int]) -> list[int]:
    """The rows of a cluster, those nearest to its middle first."""
    middle = vectors[list(rows)].mean(axis=0)
    return sorted(rows, key=lambda row: (-float(vectors[row] @ middle), row))


def word_counts(texts: Iterable[str]) -> Counter[str]:
    """How many texts have each word."""
    return Counter(word for text in texts for word in words_of(text))


def marking_terms(texts: Sequence[str], every: Counter[str], size: int, *, most: int = TOP_TERMS) -> tuple[str, ...]:
    """The words that most of `texts` have and few others: texts with a word x the log of how rare it is elsewhere.

    `every` are the word counts of all `size` texts, these included.
    """
    inside = word_counts(texts)
    others = size - len(texts)
    rare = {word: math.log((1 + others) / (1 + every[word] - count)) + 1 for word, count in inside.items()}
    ranked = sorted(inside, key=lambda word: (-inside[word] * rare[word], word))
    return tuple(_once(ranked)[:most])


def _once(words: Sequence[str]) -> list[str]:
    """The words without those that only add an ending to an earlier one, or take one off."""
    kept: list[str] = []
    for word in words:
        if not any(word.startswith(other[:5]) and abs(len(word) - len(other)) <= 3 for other in kept):
            kept.append(word)
    return kept
