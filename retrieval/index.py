"""Search over the store's chunks: dense through Chroma, BM25 beside it, one blended score.

The store is the truth and Chroma a cache: its folder holds a `clean` mark only after an orderly end, and is made anew
from the store whenever the mark is missing or does not match. One process owns the folder; others score the stored
embeddings exactly.
"""

import json
import shutil
import threading
import time
from pathlib import Path

import chromadb
import numpy as np
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings as ChromaSettings
from filelock import FileLock, Timeout

from retrieval.embedding import Embedder, Vectors
from retrieval.words import Words
from store import documents
from store.database import Database
from store.models import Chunk

CANDIDATES = 64
_BATCH = 1_000
_LOOK_SECONDS = 0.5


class Index:
    """What is searchable, kept in step with the store."""

    def __init__(self, database: Database, embedder: Embedder, *, folder: Path, dense_weight: float) -> None:
        self._database = database
        self._embedder = embedder
        self._folder = folder
        self._dense_weight = dense_weight
        self._lock = threading.Lock()
        self._owner = self._own()
        self._collection: Collection | None = None
        self._chunks: list[Chunk] = []
        self._at: dict[str, int] = {}
        self._vectors: Vectors = np.zeros((0, 1), dtype=np.float32)
        self._words = Words([])
        self._event = -1
        self._looked = 0.0

    def search(self, query: str, k: int) -> list[tuple[Chunk, float]]:
        """The `k` best chunks for a query with their scores in [0, 1], best first.

        The score is `dense_weight` x cosine + the rest x BM25 as a share of the query's word weight.
        """
        self.refresh()
        vector = self._embedder.encode([query])[0]
        with self._lock:
            if not self._chunks:
                return []
            words = self._words.scores(query)
            likely = np.argsort(-words, kind="stable")[:CANDIDATES]
            chosen = np.unique(np.concatenate([likely, self._nearest(vector)]))
            cosine = np.clip(self._vectors[chosen] @ vector, 0, 1)
            scores = self._dense_weight * cosine + (1 - self._dense_weight) * words[chosen]
            best = np.argsort(-scores, kind="stable")[:k]
            return [(self._chunks[chosen[i]], float(scores[i])) for i in best]

    def _nearest(self, vector: Vectors) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
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
                self._chunks = [
                    chunk for chunk in documents.live_chunks(session) if chunk.embedding_model == self._embedder.name
                ]
                events = documents.events(session, after=max(self._event, 0), limit=1_000_000)
            self._load(last, {event.chunk_id for event in events})

    def _load(self, last: int, changed: set[str]) -> None:
        self._at = {chunk.id: i for i, chunk in enumerate(self._chunks)}
        if self._chunks:
            self._vectors = np.stack([np.frombuffer(chunk.embedding, dtype="<f4") for chunk in self._chunks])
        self._words = Words([f"{chunk.title}\n{chunk.text}" for chunk in self._chunks])
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
