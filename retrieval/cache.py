"""Nearest neighbours through Chroma, as a cache of the store: a thread opens, builds and feeds it from the outbox.

While it is not in step it says so, and the caller scores the stored vectors exactly. Nothing here is needed to answer.
"""

import threading
from typing import Protocol

import httpx
from chromadb.api.models.Collection import Collection
from chromadb.errors import ChromaError
from sqlalchemy.exc import SQLAlchemyError

from retrieval.vectors import BATCH, Vectors, ids_of, misses, unit_vectors
from store import chunks
from store.database import Database
from store.errors import RatchetError, Unavailable

RETRY_SECONDS = 30.0
CALM_SECONDS = 1.0
"""How long a change waits for more of them, unless somebody waits for it."""
TROUBLE = (ChromaError, RatchetError, SQLAlchemyError, httpx.HTTPError, ValueError, OSError)
"""What Chroma, its server, the store and the disk raise."""


class Home(Protocol):
    """Where generations of the cache live: a folder of this process, or a server."""

    def open(self) -> tuple[Collection, int] | None:
        """The newest sound generation and the outbox event up to which it is fed; None where there is none."""

    def build(self, database: Database) -> None:
        """Make a new generation from the store, aside, and put it in the place of the others."""

    def fed(self, collection: Collection, event: int) -> None:
        """The collection holds everything up to an event."""

    def discard(self) -> None:
        """Trust no generation any more."""

    def stop(self) -> None:
        """End what is under way."""

    def close(self, fed: tuple[Collection, int] | None) -> None:
        """Leave everything in order."""


class Cache:
    """The cache and its thread; safe to share between threads."""

    def __init__(self, database: Database, model: str, home: Home, *, retry_seconds: float = RETRY_SECONDS) -> None:
        self._database, self._model, self._home = database, model, home
        self._retry_seconds = retry_seconds
        self._hurry = 0
        self._wanted = self._event = -1
        self._collection: Collection | None = None
        self._using = threading.Lock()
        self._wake = threading.Condition()
        self._closed = False
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="vector cache", daemon=True)
        self._thread.start()

    def nearest(self, vector: Vectors, count: int, *, event: int) -> list[str] | None:
        """The ids of the nearest passages, best first; None while it is busy or does not hold the store at `event`."""
        if self._event < event or not self._using.acquire(blocking=False):
            return None
        try:
            if self._collection is None:
                return None
            return self._collection.query(query_embeddings=[vector.tolist()], n_results=count, include=[])["ids"][0]
        except TROUBLE as error:
            self._lost(error)
            return None
        finally:
            self._using.release()

    def follow(self, event: int) -> None:
        """The store is at this event now: take in what is new, aside."""
        with self._wake:
            self._wanted = event
            self._wake.notify_all()

    def settle(self, event: int) -> None:
        """Wait until it holds the store at `event`; raises Unavailable with what went wrong."""
        self.follow(event)
        with self._wake:
            self._hurry, self._error = self._hurry + 1, ""
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._event >= event or self._error or self._closed)
            self._hurry -= 1
            if self._event < event:
                raise Unavailable(f"the vector index is not in order: {self._error or 'closed'}.")

    @property
    def trouble(self) -> str:
        """An empty text, or why searches are scored without it."""
        return self._error

    def rebuild(self, event: int) -> None:
        """Make a new generation, whatever the present one is like, and wait for it; raises Unavailable."""
        with self._using:
            self._home.discard()
            self._collection, self._event = None, -1
        self.settle(event)

    def verify(self, event: int) -> dict[str, int]:
        """Ids that the store has and the cache lacks (`missing`), the other way round (`extra`), and `missed`:
        passages that do not find themselves; once it holds the store at `event`. Raises Unavailable.
        """
        self.settle(event)
        try:
            return self._verified()
        except TROUBLE as error:  # another bot has made a new generation, perhaps
            with self._using:
                self._lost(error)
        self.settle(event)
        return self._verified()

    def _verified(self) -> dict[str, int]:
        with self._using, self._database.read() as session:
            if self._collection is None:
                raise Unavailable(f"the vector index is not in order: {self._error}.")
            held = ids_of(self._collection)
            missed, known = 0, set[str]()
            for ids, vectors in chunks.embeddings(session, self._model, batch=BATCH):
                known |= set(ids)
                missed += misses(self._collection, ids, unit_vectors(ids, vectors))
        return {"index": len(held), "missing": len(known - held), "extra": len(held - known), "missed": missed}

    def close(self) -> None:
        """Stop feeding; the next process begins where this one ended."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._home.stop()
        self._thread.join(timeout=60)
        with self._using:
            self._home.close((self._collection, self._event) if self._collection is not None else None)
            self._collection = None

    def _lost(self, error: Exception) -> None:
        self._error = str(error) or type(error).__name__
        self._collection, self._event = None, -1
        self.follow(self._wanted)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._wanted > self._event or self._closed)
                self._wake.wait_for(lambda: self._hurry or self._closed, timeout=CALM_SECONDS)
                if self._closed:
                    return
                wanted = self._wanted
            try:
                self._feed(wanted)
            except TROUBLE as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._using:
            self._lost(error)
        with self._wake:
            self._wake.notify_all()
            self._wake.wait_for(lambda: self._hurry or self._closed, timeout=self._retry_seconds)

    def _feed(self, wanted: int) -> None:
        """Bring the cache to an event: open or build it first where it is not, then apply what happened since."""
        if self._collection is None:
            opened = self._home.open()
            if opened is None:
                self._home.build(self._database)
                opened = self._home.open()
            if opened is None:
                raise Unavailable("a new index does not pass its probe.")
            with self._using:
                self._collection, self._event = opened
        collection = self._collection
        if collection is not None and self._event < wanted and not self._apply(collection, wanted):
            return
        with self._using:
            if self._collection is not None:
                self._event, self._error = max(self._event, wanted), ""
        with self._wake:
            self._wake.notify_all()

    def _apply(self, collection: Collection, wanted: int) -> bool:
        """Apply what happened up to an event; false when closed before all of it was."""
        with self._database.read() as session:
            changed = chunks.changed_between(session, self._event, wanted)
        for start in range(0, len(changed), BATCH):
            if self._closed:
                return False
            self._apply_some(collection, changed[start : start + BATCH])
        self._home.fed(collection, wanted)
        return True

    def _apply_some(self, collection: Collection, some: list[str]) -> None:
        with self._database.read() as session:
            found = list(chunks.embeddings(session, self._model, batch=BATCH, among=some))
        live = {one for ids, _ in found for one in ids}
        gone = [one for one in some if one not in live]
        with self._using:
            if gone:
                collection.delete(ids=gone)
            for ids, vectors in found:
                collection.upsert(ids=ids, embeddings=unit_vectors(ids, vectors))
