"""Search over the store's passages: dense and BM25 choose candidates, `ranking` puts them in order.

What can be searched is a `Snapshot` of the store, renewed when the outbox grows; the nearest vectors come from the
`Cache` where that is in step, else they are found exactly.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval import ranking, snapshot
from retrieval.cache import Cache
from retrieval.embedding import Embedder, Vectors
from retrieval.generations import Folder
from retrieval.server import Server
from retrieval.snapshot import Snapshot
from store import chunks
from store.chunks import Passage
from store.database import Database

CANDIDATES = 64
"""From each of dense search and BM25."""
RANKED = 30
"""The best of them by the first blend are measured in full."""
_LOOK_SECONDS = 0.5
_QUICK_SECONDS = 1.0
"""A snapshot that took longer than this is renewed on a thread of its own, while the one before answers."""
_REST = 4
"""Times as long as renewing took, at least, until it is done again."""

Rows = npt.NDArray[np.intp]
Rerank = Callable[[str, list[str]], ranking.Floats]
"""A question and texts to a score in [0, 1] for each."""


@dataclass(frozen=True)
class Hit:
    """A passage that was found: its score in [0, 1] and the measures that made it."""

    passage: Passage
    score: float
    explain: Mapping[str, float]


class Index:
    """What is searchable, kept in step with the store."""

    def __init__(
        self,
        database: Database,
        embedder: Embedder,
        *,
        folder: Path | None,
        dense_weight: float,
        weights: Callable[[], Mapping[str, float]] = lambda: ranking.DEFAULT,
        rerank: Rerank | None = None,
        server: str = "",
    ) -> None:
        """Keep Chroma's cache in a folder, or on the server at a URL; without either every search is exact."""
        self._database = database
        self._embedder = embedder
        self._dense_weight = dense_weight
        self._weights = weights
        self._rerank = rerank
        own = Folder(folder, embedder.name, database.restored()) if folder and not server else None
        home = Server(server, database, embedder.name) if server else own
        self._cache = Cache(database, embedder.name, home) if home is not None and home.owner else None
        self._snapshot: Snapshot | None = None
        self._loading = threading.Lock()
        self._load_seconds = 0.0
        self._looked = 0.0
        self._own_change = False

    def search(self, query: str, k: int, within: set[str] | None = None) -> list[Hit]:
        """The `k` best passages for a query, best first, of the documents `within` (ids) or of all.

        The score is `ranking`'s weighted mean, or the reranker's where there is one.
        """
        passages, measures = self.measured(query, k, within)
        if not passages:
            return []
        scores = blend = ranking.scores(measures, self._weights())
        if self._rerank is not None:
            scores = self._rerank(query, [f"{passage.title}\n{passage.text}" for passage in passages])
        hits = []
        for i in np.argsort(-scores, kind="stable")[:k]:
            explain = dict(zip(ranking.MEASURES, map(float, measures[i]), strict=True)) | {"blend": float(blend[i])}
            if self._rerank is not None:
                explain["rerank"] = float(scores[i])
            hits.append(Hit(passages[i], float(scores[i]), explain))
        return hits

    def measured(
        self, query: str, k: int = RANKED, within: set[str] | None = None
    ) -> tuple[list[Passage], ranking.Floats]:
        """The candidates for a query, at least `k` where there are so many, and their measures (candidates, MEASURES).

        Candidates are the best by `dense_weight` x cosine + the rest x BM25 as a share of the query's word weight.
        """
        self.refresh()
        vector = self._embedder.encode([query])[0]
        now = self._snapshot or self._load()
        if not now.ids:
            return [], np.zeros((0, len(ranking.MEASURES)), dtype=np.float32)
        words = now.words.scores(query)
        among = self._among(now, words, vector, within)
        cosine = np.clip(now.vectors[among] @ vector, 0, 1)
        first = self._dense_weight * cosine + (1 - self._dense_weight) * words[among]
        best = np.argsort(-first, kind="stable")[: max(k, RANKED)]
        asked = ranking.asked(query, now.words.weight)
        rows, headings = among[best], now.titles.scores(query)
        with self._database.read() as session:
            known = chunks.passages(session, [now.ids[i] for i in rows])
        found, passages = [], []
        for row, nearness in zip(rows, cosine[best], strict=True):
            passage = known.get(now.ids[row])
            if passage is not None:
                given = ranking.Known(float(nearness), float(words[row]), float(headings[row]), passage.sentences)
                found.append(ranking.measures(asked, vector, passage.title, passage.text, given))
                passages.append(passage)
        return passages, np.array(found, dtype=np.float32).reshape(-1, len(ranking.MEASURES))

    def _among(self, now: Snapshot, words: ranking.Floats, vector: Vectors, within: set[str] | None) -> Rows:
        """The rows that may be candidates: the best by words and the nearest, or all of a small choice."""
        if within is not None:
            inside = [i for i, document in enumerate(now.documents) if document in within]
            return np.array(inside, dtype=np.intp)
        return np.union1d(_largest(words, CANDIDATES), self._nearest(now, vector))

    def _nearest(self, now: Snapshot, vector: Vectors) -> Rows:
        found = self._cache.nearest(vector, CANDIDATES, event=now.event) if self._cache is not None else None
        if found is None:
            return _largest(now.vectors @ vector, CANDIDATES)
        return np.array([now.at[one] for one in found if one in now.at], dtype=np.intp)

    def changed(self) -> None:
        """This process changed the store: the next search looks at once."""
        self._own_change = True

    def refresh(self) -> None:
        """Take in what changed in the store since the last look, twice a second at most.

        Where that takes long the searches go on with what there was, and find the new in a few seconds.
        """
        since = time.monotonic() - self._looked
        if not self._own_change and since < max(_LOOK_SECONDS, _REST * self._load_seconds):
            return
        if self._snapshot is None or self._load_seconds < _QUICK_SECONDS:
            self._load()
        elif not self._loading.locked():
            threading.Thread(target=self._load, name="snapshot", daemon=True).start()

    def _load(self) -> Snapshot:
        with self._loading:
            self._own_change = False
            self._looked = begun = time.monotonic()
            with self._database.read() as session:
                last = chunks.last_event(session)
            if self._snapshot is None or self._snapshot.event != last:
                self._snapshot = snapshot.read(self._database, self._embedder.name)
                self._load_seconds = time.monotonic() - begun
                if self._cache is not None:
                    self._cache.follow(self._snapshot.event)
            return self._snapshot

    def settle(self) -> None:
        """Wait until Chroma holds what the store holds; raises Unavailable. Nothing to wait for without its folder."""
        event = self._load().event
        if self._cache is not None:
            self._cache.settle(event)

    def rebuild(self) -> None:
        """Make Chroma's cache anew from the store; raises Unavailable."""
        event = self._load().event
        if self._cache is not None:
            self._cache.rebuild(event)

    def verify(self) -> dict[str, int]:
        """How many passages the store has, Chroma has, are in only one of them, and how many do not find themselves.

        Needs the folder: `owner` is 0 when another process has it, and then nothing but the store's are counted.
        """
        now = self._load()
        if self._cache is None:
            return {"owner": 0, "store": len(now.ids)}
        return {"owner": 1, "store": len(now.ids), **self._cache.verify(now.event)}

    def trouble(self) -> str:
        """An empty text, or why searches are exact instead of through Chroma, or do not find every document."""
        slow = self._cache.trouble if self._cache is not None else ""
        hidden = self._snapshot.hidden if self._snapshot is not None else 0
        lost = f"{hidden} documents were embedded by another model and are not found: `python -m retrieval rebuild`."
        return " ".join(one for one in (slow, lost if hidden else "") if one)

    def close(self) -> None:
        """Leave the cache in order for the next process."""
        if self._cache is not None:
            self._cache.close()

    @property
    def owner(self) -> bool:
        """Whether this process feeds the cache."""
        return self._cache is not None


def _largest(values: npt.NDArray[np.floating], count: int) -> Rows:
    """Where the largest values are, those of equal value by their place; in no order."""
    if len(values) <= count:
        return np.arange(len(values))
    least = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > least)
    return np.concatenate([above, np.flatnonzero(values == least)[: count - len(above)]])
