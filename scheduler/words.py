"""The words of texts as hashed features: dense for learning, packed bytes for keeping, sparse for many (pure)."""

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import sparse

WORD_BINS = 2048
_WORD = re.compile(r"[^\W_]+(?:'\w+)?|[?!.]")
_PAIR = np.dtype([("bin", "<u2"), ("value", "<f4")])
PAIR_BYTES = _PAIR.itemsize


def packed(text: str) -> bytes:
    """The features of one text as pairs of bin and value, 6 bytes each; unit length, empty for no words."""
    counts: Counter[int] = Counter()
    for gram, weight in _grams(_WORD.findall(text.lower())):
        counts[zlib.crc32(gram.encode()) % WORD_BINS] += weight
    length = sum(counts.values()) ** 0.5
    return np.array([(place, count**0.5 / length) for place, count in sorted(counts.items())], dtype=_PAIR).tobytes()


def sparse_features(rows: Sequence[bytes]) -> sparse.csr_matrix:
    """Packed features as a sparse matrix, shape (texts, WORD_BINS), float32."""
    pairs = np.frombuffer(b"".join(rows), dtype=_PAIR)
    ends = np.cumsum([0, *(len(row) // PAIR_BYTES for row in rows)])
    values = pairs["value"].astype(np.float32)
    return sparse.csr_matrix((values, pairs["bin"].astype(np.int32), ends), shape=(len(rows), WORD_BINS))


def word_features(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Hashed words, word pairs and opening words of texts: shape (texts, WORD_BINS), unit length or zero."""
    found: npt.NDArray[np.float64] = sparse_features([packed(text) for text in texts]).toarray().astype(np.float64)
    return found


def _grams(words: list[str]) -> list[tuple[str, int]]:
    opening = ["^" + " ".join(words[:size]) for size in (1, 2, 3) if len(words) >= size]
    grams = [*words, *(f"{one} {two}" for one, two in pairwise(words)), *("$" + word for word in words[-1:])]
    return [(gram, 2) for gram in opening] + [(gram, 1) for gram in grams]
