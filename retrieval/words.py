"""BM25 over passages, scaled to [0, 1] by the best score that the question could reach."""

from collections.abc import Iterable, Iterator
from itertools import islice

import bm25s
import numpy as np
import numpy.typing as npt
import Stemmer

K1, B = 1.2, 0.75
_BATCH = 1_000


class Words:
    """A BM25 index of texts (Lucene's formula, English stemming, through the library bm25s)."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        self._counts: dict[str, int] = {}
        tokens, known = [], dict[str, str]()
        for words in self._tokens(texts):
            tokens.append([known.setdefault(word, word) for word in words])
            for word in set(words):
                self._counts[word] = self._counts.get(word, 0) + 1
        self._size = len(tokens)
        self._index = bm25s.BM25(k1=K1, b=B, method="lucene") if self._counts else None
        if self._index is not None:
            self._index.index(tokens, show_progress=False)

    def _tokens(self, texts: Iterable[str]) -> Iterator[list[str]]:
        """The stems of each text, a batch at a time, so that only one batch of texts is in memory."""
        rest = iter(texts)
        while some := list(islice(rest, _BATCH)):
            yield from bm25s.tokenize(
                some, stopwords="en", stemmer=self._stemmer, return_ids=False, show_progress=False
            )

    def scores(self, question: str) -> npt.NDArray[np.float32]:
        """A score for each text in [0, 1]: the share of the question's word weight (IDF) that BM25 finds in it."""
        nothing = np.zeros(self._size, dtype=np.float32)
        [words] = self._tokens([question])
        bound = sum(self.weight(word) for word in words)
        known = [word for word in words if word in self._counts]
        if self._index is None or not known:
            return nothing
        found: npt.NDArray[np.float32] = np.asarray(self._index.get_scores(known), dtype=np.float32)
        found = found / bound
        return found.clip(0, 1)

    def weight(self, stem: str) -> float:
        """How much a stem says: its inverse document frequency, the greater the rarer; greatest when unknown."""
        count = self._counts.get(stem, 0)
        return float(np.log1p((self._size - count + 0.5) / (count + 0.5)))
