"""Generations of the vector cache in a folder: built aside and probed by processes of their own, swapped by rename.

Embedded Chroma is not crash-safe: a folder that a killed process was writing can take down whoever opens it. So one
process owns the folder; a generation `gen-N` counts only with a mark that an orderly end leaves and when a process of
its own has opened it and found what the mark says.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import chromadb
import numpy as np
from chromadb.api.client import Client
from chromadb.api.collection_configuration import CreateCollectionConfiguration
from chromadb.api.models.Collection import Collection
from chromadb.config import Settings as ChromaSettings
from filelock import FileLock, Timeout

from retrieval.vectors import BATCH, PROBES, misses, unit_vectors
from store import chunks
from store.database import Database
from store.errors import Unavailable

COLLECTION = "chunks"
CONFIGURATION: CreateCollectionConfiguration = {
    "hnsw": {"space": "cosine", "max_neighbors": 24, "ef_construction": 150, "ef_search": 150}
}
"""With Chroma's own 16 / 100 / 100, 24 of 10,000 passages among 100,000 did not find themselves; with these, none."""
PROBE_SECONDS = 120
MISSED_SHARE = 0.01
"""Of the passages asked for, as many may be missed: the search is approximate."""
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Mark:
    """What an orderly end says of a generation: the outbox event up to which it is fed, its model and passages.

    `restored` is the store's, whose events begin anew with each restore of a backup (`Database.restored`).
    """

    event: int
    model: str
    count: int
    restored: int = 0


class Folder:
    """A `Home` in a folder that this process owns, if it came first."""

    def __init__(self, folder: Path, model: str, restored: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._model, self._restored = folder, model, restored
        self._client: Client | None = None
        self._at: Path | None = None
        self._probed: Path | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = FileLock(str(folder / "owner.lock"), timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            self.owner = False
        else:
            self.owner = True

    def open(self) -> tuple[Collection, int] | None:
        """The newest generation whose mark and probe are in order; its mark is taken away while it is open."""
        self._leave()
        found = self._newest()
        mark = read_mark(found) if found is not None else None
        if found is None or mark is None or (mark.model, mark.restored) != (self._model, self._restored):
            return None
        if found != self._probed and not self._sound(found):
            return None
        self._probed = None
        (found / "mark.json").unlink()
        self._client, self._at = client(found), found
        return self._client.get_collection(COLLECTION, embedding_function=None), mark.event

    def build(self, database: Database) -> None:
        """Make a generation aside; raises Unavailable when that fails."""
        self._leave()
        aside = self._folder / f"building-{uuid4().hex[:8]}"
        for left in self._folder.glob("building-*"):
            shutil.rmtree(left, ignore_errors=True)
        job = {"folder": str(aside), "url": database.url, "model": self._model}
        self._run("build", job, seconds=None)
        self._run("probe", {"folder": str(aside)}, seconds=PROBE_SECONDS)
        old = [path for path in self._folder.iterdir() if path.is_dir() and path != aside]
        self._probed = self._folder / f"gen-{self._number() + 1}"
        aside.rename(self._probed)
        _sync(self._folder)
        for path in old:
            shutil.rmtree(path, ignore_errors=True)

    def fed(self, collection: Collection, event: int) -> None:
        """Nothing to be noted: only an orderly end marks a generation."""

    def discard(self) -> None:
        """Take away every mark."""
        self._leave()
        for mark in self._folder.glob("gen-*/mark.json"):
            mark.unlink()

    def stop(self) -> None:
        """End the process that builds or probes."""
        child = self._child
        if child is not None:
            child.kill()

    def close(self, fed: tuple[Collection, int] | None) -> None:
        """Mark what was open as orderly left, and let the next process in."""
        if fed is not None and self._at is not None:
            mark = Mark(fed[1], self._model, fed[0].count(), self._restored)
            at = self._at
            self._leave()
            write_mark(at, mark)
        if self.owner:
            self._lock.release()

    def _leave(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = self._at = None

    def _number(self) -> int:
        found = [path.name.removeprefix("gen-") for path in self._folder.glob("gen-*")]
        return max((int(name) for name in found if name.isdigit()), default=0)

    def _newest(self) -> Path | None:
        path = self._folder / f"gen-{self._number()}"
        return path if path.is_dir() else None

    def _sound(self, folder: Path) -> bool:
        try:
            self._run("probe", {"folder": str(folder)}, seconds=PROBE_SECONDS)
        except Unavailable:
            return False
        return True

    def _run(self, what: str, job: dict[str, Any], *, seconds: float | None) -> None:
        """Let a process of its own do it, at low priority; it ends when this one does, however that is."""
        command = [sys.executable, "-m", "retrieval.generations", what]
        log = self._folder / "children.log"
        with log.open("w") as said:
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, cwd=_ROOT)
            self._child = child
            try:
                _tell(child, job)
                child.wait(timeout=seconds)
            except (subprocess.TimeoutExpired, OSError) as error:
                raise Unavailable(f"the vector index: {what} failed: {error}") from error
            finally:
                self._child = None
                child.kill()
                child.communicate()
        if child.returncode != 0:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Unavailable(f"the vector index: {what} ended with {child.returncode}: {' '.join(last)}")


def _tell(child: "subprocess.Popen[bytes]", job: dict[str, Any]) -> None:
    """Hand over the job; the pipe stays open, so that the child notices when this process is gone."""
    assert child.stdin is not None
    child.stdin.write(json.dumps(job).encode() + b"\n")
    child.stdin.flush()


def client(folder: Path) -> Client:
    """Embedded Chroma in a folder."""
    settings = ChromaSettings(anonymized_telemetry=False)
    return cast(Client, chromadb.PersistentClient(str(folder / "chroma"), settings=settings))


def read_mark(folder: Path) -> Mark | None:
    """A generation's mark; None where there is none that can be read."""
    try:
        return Mark(**json.loads((folder / "mark.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_mark(folder: Path, mark: Mark) -> None:
    """Mark a generation as orderly left, on disk before this returns."""
    part = folder / "mark.part"
    with part.open("w") as file:
        json.dump(asdict(mark), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / "mark.json")
    _sync(folder)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def build(folder: Path, url: str, model: str) -> None:
    """Make a generation from the store in an empty folder, and mark it."""
    database, opened = Database(url), client(folder)
    try:
        collection = opened.create_collection(COLLECTION, embedding_function=None, configuration=CONFIGURATION)
        with database.read() as session:
            event = chunks.last_event(session)
            for ids, vectors in chunks.embeddings(session, model, batch=BATCH):
                collection.add(ids=ids, embeddings=unit_vectors(ids, vectors))
        count, restored = collection.count(), database.restored()
    finally:
        opened.close()
        database.close()
    write_mark(folder, Mark(event, model, count, restored))


def probe(folder: Path) -> None:
    """Open a generation and raise Unavailable unless it holds what its mark says and passages find themselves."""
    mark, opened = read_mark(folder), client(folder)
    try:
        collection = opened.get_collection(COLLECTION, embedding_function=None)
        if mark is None or collection.count() != mark.count:
            raise Unavailable(f"it holds {collection.count()} passages, its mark says {mark}.")
        some = collection.get(limit=PROBES, include=["embeddings"])
        missed = misses(collection, some["ids"], np.asarray(some["embeddings"], dtype=np.float32))
        if missed > len(some["ids"]) * MISSED_SHARE:
            raise Unavailable(f"{missed} of {len(some['ids'])} passages do not find themselves.")
    finally:
        opened.close()


def main() -> None:
    """What a child process does: a job as a line on stdin, whose end says that nobody waits any more."""
    os.nice(10)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.argv[1] == "build":
        build(Path(job["folder"]), job["url"], job["model"])
    else:
        probe(Path(job["folder"]))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(3)


if __name__ == "__main__":
    main()
