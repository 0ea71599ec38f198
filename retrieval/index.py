"""Search over the store's chunks: dense through Chroma and BM25 choose candidates, `ranking` puts them in order.

The store is the truth and Chroma a cache: its folder holds a `clean` mark only after an orderly end, and is made anew
from the store whenever the mark is missing or does not match. One process owns the folder; others score the stored
embeddings exactly.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import chromadb
import numpy as np
import numpy.typing as npt
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings as ChromaSettings
from filelock import FileLock, Timeout

from retrieval import ranking
from retrieval.embedding import Embedder, Vectors
from retrieval.words import Words
from store import documents
from store.database import Database
from store.documents import Passage

CANDIDATES = 64
"""From each of Chroma and BM25."""
RANKED = 30
"""The best of them by the first blend are measured in full."""
_BATCH = 1_000
_LOOK_SECONDS = 0.5


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
        folder: Path,
        dense_weight: float,
        weights: Callable[[], Mapping[str, float]] = lambda: ranking.DEFAULT,
        rerank: Rerank | None = None,
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._folder = folder
        self._dense_weight = dense_weight
        self._weights = weights
        self._rerank = rerank
        self._lock = threading.Lock()
        self._owner = self._own()
        self._collection: Collection | None = None
        self._chunks: list[Passage] = []
        self._at: dict[str, int] = {}
        self._vectors: Vectors = np.zeros((0, 1), dtype=np.float32)
        self._words = self._titles = Words([])
        self._event = -1
        self._looked = 0.0

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
        with self._lock:
            if not self._chunks:
                return [], np.zeros((0, len(ranking.MEASURES)), dtype=np.float32)
            words = self._words.scores(query)
            among = self._among(words, vector, within)
            cosine = np.clip(self._vectors[among] @ vector, 0, 1)
            first = self._dense_weight * cosine + (1 - self._dense_weight) * words[among]
            best = np.argsort(-first, kind="stable")[: max(k, RANKED)]
            asked = ranking.asked(query, self._words.weight)
            rows, headings = among[best], self._titles.scores(query)
            passages = [self._chunks[i] for i in rows]
        with self._database.read() as session:
            parts = documents.part_vectors(session, [passage.id for passage in passages])
        known = [
            ranking.Known(float(a), float(b), float(c), parts.get(passage.id))
            for a, b, c, passage in zip(cosine[best], words[rows], headings[rows], passages, strict=True)
        ]
        found = [
            ranking.measures(asked, vector, one.title, one.text, what)
            for one, what in zip(passages, known, strict=True)
        ]
        return passages, np.array(found, dtype=np.float32).reshape(-1, len(ranking.MEASURES))

    def _among(self, words: ranking.Floats, vector: Vectors, within: set[str] | None) -> Rows:
        """The rows that may be candidates: the best by words and the nearest, or all of a small choice."""
        if within is not None:
            inside = [i for i, chunk in enumerate(self._chunks) if chunk.document_id in within]
            return np.array(inside, dtype=np.intp)
        likely = np.argsort(-words, kind="stable")[:CANDIDATES]
        return np.unique(np.concatenate([likely, self._nearest(vector)]))

    def _nearest(self, vector: Vectors) -> Rows:
        if self._collection is None:
            return np.argsort(-(self._vectors @ vector), kind="stable")[:CANDIDATES]
        found = self._collection.query(query_embeddings=[vector.tolist()], n_results=CANDIDATES, include=[])
        return np.array([self._at[i] for i in found["ids"][0] if i in self._at], dtype=np.intp)

    def changed(self) -> None:
        """This process changed the store: the next search looks at once."""
        self._looked = -_LOOK_SECONDS

    def refresh(self) -> None:
        """Take in what changed in the store since the last look; looks at most twice a second."""
        with self._lock:
            if time.monotonic() - self._looked < _LOOK_SECONDS:
                return
            self._looked = time.monotonic()
            with self._database.read() as session:
                last = documents.last_event(session)
                if last == self._event:
                    return
                rows = list(documents.searchable(session, self._embedder.name))
                events = documents.events(session, after=max(self._event, 0), limit=1_000_000)
            self._load(rows, last, {event.chunk_id for event in events})

    def _load(self, rows: list[tuple[Passage, bytes]], last: int, changed: set[str]) -> None:
        self._chunks = [passage for passage, _ in rows]
        self._at = {chunk.id: i for i, chunk in enumerate(self._chunks)}
        if self._chunks:
            self._vectors = np.stack([np.frombuffer(embedding, dtype="<f4") for _, embedding in rows])
            rows.clear()
        self._words = Words([f"{chunk.title}\n{chunk.text}" for chunk in self._chunks])
        self._titles = Words([chunk.title for chunk in self._chunks])
        if self._owner is not None:
            if self._collection is None:
                self._open(last)
            else:
                self._apply(changed)
        self._event = last

    def _own(self) -> FileLock | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(self._folder / "owner.lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock

    @property
    def _mark(self) -> Path:
        return self._folder / "clean.json"

    def _open(self, last: int) -> None:
        expected = {"event": last, "model": self._embedder.name, "chunks": len(self._chunks)}
        clean = self._mark.exists() and json.loads(self._mark.read_text()) == expected
        self._mark.unlink(missing_ok=True)
        if clean:
            self._collection = _collection(self._folder / "chroma")
        else:
            self._rebuild()

    def _rebuild(self) -> None:
        shutil.rmtree(self._folder / "chroma", ignore_errors=True)
        self._collection = _collection(self._folder / "chroma")
        self._upsert([chunk.id for chunk in self._chunks])

    def _apply(self, changed: set[str]) -> None:
        assert self._collection is not None
        gone = [i for i in changed if i not in self._at]
        for start in range(0, len(gone), _BATCH):
            self._collection.delete(ids=gone[start : start + _BATCH])
        self._upsert([i for i in changed if i in self._at])

    def _upsert(self, ids: list[str]) -> None:
        assert self._collection is not None
        for start in range(0, len(ids), _BATCH):
            some = ids[start : start + _BATCH]
            self._collection.upsert(ids=some, embeddings=self._vectors[[self._at[i] for i in some]])

    def verify(self) -> dict[str, int]:
        """How many chunks the store has, Chroma has, and how many chunks do not find themselves.

        Needs the folder: `owner` is 0 when another process has it, and then nothing else is counted.
        """
        self.refresh()
        with self._lock:
            if self._collection is None:
                return {"owner": 0, "store": len(self._chunks)}
            missed = 0
            for start in range(0, len(self._chunks), _BATCH):
                some = self._chunks[start : start + _BATCH]
                found = self._collection.query(
                    query_embeddings=self._vectors[start : start + _BATCH], n_results=3, include=["distances"]
                )
                distances = found["distances"] or []
                missed += sum(
                    chunk.id not in ids and not (near and near[0] < 1e-5)
                    for chunk, ids, near in zip(some, found["ids"], distances, strict=True)
                )
            counts = {"owner": 1, "store": len(self._chunks), "index": self._collection.count(), "missed": missed}
        return counts

    def close(self) -> None:
        """Leave the folder in order for the next process."""
        with self._lock:
            if self._owner is not None and self._collection is not None:
                state = {"event": self._event, "model": self._embedder.name, "chunks": len(self._chunks)}
                self._mark.write_text(json.dumps(state))
            if self._owner is not None:
                self._owner.release()

    @property
    def owner(self) -> bool:
        """Whether this process owns the folder."""
        return self._owner is not None


def _collection(folder: Path) -> Collection:
    client = chromadb.PersistentClient(str(folder), settings=ChromaSettings(anonymized_telemetry=False))
    return client.get_or_create_collection("chunks", embedding_function=None, metadata={"hnsw:space": "cosine"})
