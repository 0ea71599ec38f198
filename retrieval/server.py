"""Generations of the vector cache as collections of a Chroma server, shared by every bot that names it.

Each bot feeds what it sees in the outbox: adding the same passage twice changes nothing. A generation counts once its
metadata say that it is ready.
"""

import hashlib
from typing import cast
from urllib.parse import urlsplit

import chromadb
from chromadb.api.client import Client
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings as ChromaSettings
from chromadb.errors import NotFoundError

from retrieval.generations import CONFIGURATION, MISSED_SHARE
from retrieval.vectors import BATCH, ids_of, misses, unit_vectors
from store import chunks
from store.database import Database
from store.errors import Unavailable

_ASKED = 20
"""Passages of each batch that must find themselves."""


class Server:
    """A `Home` on a Chroma server at a URL."""

    owner = True

    def __init__(self, url: str, database: Database, model: str) -> None:
        self._url, self._database, self._model = url, database, model
        self._prefix = f"ratchet-{hashlib.sha256(model.encode()).hexdigest()[:8]}-gen-"
        self._client: Client | None = None

    def open(self) -> tuple[Collection, int] | None:
        """The newest generation that is ready, brought in line with the store's ids; None where there is none."""
        ready = [one for one in self._generations() if (one.metadata or {}).get("ready")]
        if not ready:
            return None
        newest = max(ready, key=self._number)
        event = int((newest.metadata or {})["event"])
        with self._database.read() as session:
            last = chunks.last_event(session)
        self._reconcile(newest)
        return newest, min(event, last)  # a restored store begins with earlier events

    def build(self, database: Database) -> None:
        """Make a generation beside the others, probe it, declare it ready and drop the others."""
        others = self._generations()
        name = f"{self._prefix}{max(map(self._number, others), default=0) + 1}"
        made = self._connected().create_collection(name, embedding_function=None, configuration=CONFIGURATION)
        missed = asked = 0
        with database.read() as session:
            event = chunks.last_event(session)
            for ids, content in chunks.embeddings(session, self._model, batch=BATCH):
                vectors = unit_vectors(ids, content)
                made.upsert(ids=ids, embeddings=vectors)
                asked += len(ids[:_ASKED])
                missed += misses(made, ids[:_ASKED], vectors[:_ASKED])
        if missed > asked * MISSED_SHARE:
            raise Unavailable(f"{missed} passages do not find themselves on {self._url}.")
        self.fed(made, event)
        for one in others:
            self._drop(one.name)

    def fed(self, collection: Collection, event: int) -> None:
        """Note in its metadata what the collection holds."""
        collection.modify(metadata={"ready": True, "event": event, "model": self._model})

    def discard(self) -> None:
        """Drop every generation."""
        for one in self._generations():
            self._drop(one.name)

    def stop(self) -> None:
        """Nothing runs apart from the caller."""

    def close(self, fed: tuple[Collection, int] | None) -> None:
        """Leave the server."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> Client:
        if self._client is None:
            parts = urlsplit(self._url)
            made = chromadb.HttpClient(
                host=parts.hostname or "localhost",
                port=parts.port or (443 if parts.scheme == "https" else 8000),
                ssl=parts.scheme == "https",
                settings=ChromaSettings(anonymized_telemetry=False),
            )
            self._client = cast(Client, made)
        return self._client

    def _generations(self) -> list[Collection]:
        connected = self._connected()
        names = [one.name for one in connected.list_collections()]
        mine = [name for name in names if name.startswith(self._prefix)]
        return [connected.get_collection(name, embedding_function=None) for name in mine]

    def _number(self, collection: Collection) -> int:
        return int(collection.name.removeprefix(self._prefix))

    def _drop(self, name: str) -> None:
        try:
            self._connected().delete_collection(name)
        except (NotFoundError, ValueError):  # another bot was first
            return

    def _reconcile(self, collection: Collection) -> None:
        """Add what is missing and delete what the store no longer has."""
        held, known = ids_of(collection), set[str]()
        with self._database.read() as session:
            for ids, content in chunks.embeddings(session, self._model, batch=BATCH):
                known |= set(ids)
                at = [i for i, one in enumerate(ids) if one not in held]
                if at:
                    collection.upsert(ids=[ids[i] for i in at], embeddings=unit_vectors(ids, content)[at])
        extra = sorted(held - known)
        for start in range(0, len(extra), BATCH):
            collection.delete(ids=extra[start : start + BATCH])
