"""How alike texts are in meaning, by vectors of an embedding model that is handed in, each text read once.

Cosines of whole texts, and of their words in context: every word of the one with the word of the other that is most
like it (greedy matching, as in BERTScore, Zhang et al. 2020). It loads no model: `read` comes from whoever wires the
program (`retrieval/embedding.py` has one).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from finetune.wording import STOP_WORDS

KEPT = 2_000
"""As many texts are kept as they were read, the latest used: up to 200 MB."""
LONGEST = 1_500
"""Characters of a text that are read; the embedded model reads fewer."""


class Reading(Protocol):
    """A text as a model reads it: a unit vector of the whole, and one for each word."""

    @property
    def vector(self) -> NDArray[Any]:
        """Shape (dimensions,)."""
        ...

    @property
    def words(self) -> tuple[str, ...]:
        """Lower-case, in order."""
        ...

    @property
    def in_context(self) -> NDArray[Any]:
        """Shape (words, dimensions)."""
        ...


Read = Callable[[list[str]], Sequence[Reading]]


@dataclass(frozen=True)
class Alignment:
    """How far each content word of a text is met by the most similar word of another: cosines, not below 0.

    `weakest` is the mean over the quarter of its words that is met least, `back` over the words of the other text.
    """

    weakest: float
    back: float


class Meaning:
    """Cosines between texts and between their words; safe to share between threads."""

    def __init__(self, read: Read) -> None:
        """`read` gives a `Reading` for each text."""
        self._read = read
        self._kept: OrderedDict[str, tuple[NDArray[np.float32], NDArray[np.float16]]] = OrderedDict()
        self._lock = threading.Lock()

    def alike(self, text: str, others: Sequence[str]) -> float:
        """The largest cosine of a text with any of the others, not below 0; 0 when there is none."""
        if not others:
            return 0.0
        first, *rest = (vector for vector, _ in self._known([text, *others]))
        return max(0.0, float((np.stack(rest) @ first).max()))

    def aligned(self, text: str, other: str) -> Alignment:
        """How a text's content words are met by another text's; all 0 when either has no words."""
        (_, mine), (_, theirs) = self._known([text, other])
        if not len(mine) or not len(theirs):
            return Alignment(0.0, 0.0)
        cosines = np.maximum(0.0, mine.astype(np.float32) @ theirs.astype(np.float32).T)
        met = np.sort(cosines.max(axis=1))
        weakest = met[: max(1, len(met) // 4)]
        return Alignment(float(weakest.mean()), float(cosines.max(axis=0).mean()))

    def _known(self, texts: Sequence[str]) -> list[tuple[NDArray[np.float32], NDArray[np.float16]]]:
        """The vector and the content words' vectors of each text."""
        cut = [one[:LONGEST] for one in texts]
        with self._lock:
            fresh = [one for one in dict.fromkeys(cut) if one not in self._kept]
            if fresh:
                self._kept.update(zip(fresh, map(_content, self._read(fresh)), strict=True))
            found = [self._kept[one] for one in cut]
            for one in cut:
                self._kept.move_to_end(one)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return found


def _content(reading: Reading) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    """A text's vector and those of its words that carry content; of all words where none does."""
    places = [n for n, word in enumerate(reading.words) if word.isalnum() and word not in STOP_WORDS]
    words = reading.in_context[places] if places else reading.in_context
    return np.asarray(reading.vector, np.float32), np.asarray(words, np.float16)
