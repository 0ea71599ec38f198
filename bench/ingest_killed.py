"""What kill -9 does to ingesting: a process is killed at random moments, and in the end store and index are compared.

Started by `python -m bench.ingest --kill 50`. Store, index and library are the real ones; the embedder is not: a text's
vector is drawn from its hash, so that embedding takes next to no time and the kills fall on writing.
"""

import hashlib
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from bench.table import show
from retrieval.embedding import Embedder, Vectors
from retrieval.index import Index
from retrieval.library import Library
from store import documents
from store.database import Database, open_database

DIMENSIONS, PER_FILE = 384, 20
LONGEST_SECONDS = 2.0
"""Between the first write of a process and its end."""
READY_SECONDS = 900.0
_FORK = multiprocessing.get_context("fork")


class HashEmbedder(Embedder):
    """Each text's vector is drawn from its SHA-256; needs no model."""

    def __init__(self) -> None:
        super().__init__("", name="hash")

    def encode(self, texts: list[str]) -> Vectors:
        """Unit vectors of shape (texts, DIMENSIONS), float32."""
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") for text in texts]
        drawn = np.array([np.random.default_rng(seed).standard_normal(DIMENSIONS, dtype=np.float32) for seed in seeds])
        return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True)
class Killed:
    """What was found after the last kill; `ready` are the seconds until each start could search.

    `whole` are those until the index was compared with the store, passage by passage.
    """

    kills: int
    chunks: int
    missing: int
    missed: int
    broken: int
    ready: list[float]
    whole: float


def content(file: int, revision: int = 0) -> bytes:
    """A markdown file of PER_FILE passages; those of a later revision differ in every second one."""
    parts = [
        f"## Part {part}\n\nNote {file}.{part} of revision {revision if part % 2 else 0}. It says nothing else.\n"
        for part in range(PER_FILE)
    ]
    return f"# File {file}\n\n{''.join(parts)}".encode()


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Database, Index, Library]]:
    """The library in a folder; closed in order, unless the process is killed before."""
    database = open_database(f"sqlite:///{folder}/bench.db")
    embedder = HashEmbedder()
    index = Index(database, embedder, folder=folder / "index", dense_weight=0.6)
    yield database, index, Library(database, embedder, index, chunk_characters=1_000, min_score=0.0)
    index.close()
    database.close()


def live(folder: Path, files: int, seed: int, said: Connection) -> None:
    """One process: search once, ingest the files, say so, and go on with changed ones until it is killed."""
    begun = time.perf_counter()
    draw = random.Random(seed)
    with opened(folder) as (_, index, library):
        library.search("note", 1)
        said.send(time.perf_counter() - begun)
        for file in range(files):
            library.add_file(name=f"{file}.md", content=content(file))
            index.refresh()
        said.send("all")
        for revision in range(1, 1_000_000):
            changed = draw.randrange(files)
            library.add_file(name=f"{changed}.md", content=content(changed, revision))
            index.refresh()


def killed(folder: Path, *, kills: int, chunks: int, seed: int) -> Killed:
    """Kill a process `kills` times while the library grows to `chunks`, the last time when it is full; then look."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    files = -(-chunks // PER_FILE)
    ready = []
    for kill in range(1, kills + 1):
        last = kill == kills
        ready.append(_one_life(folder, files if last else -(-files * kill // kills), draw, full=last))
    return _looked(folder, files, kills, ready)


def _one_life(folder: Path, files: int, draw: random.Random, *, full: bool) -> float:
    """Start a process and kill it at a random moment, `full`: once all files are in; seconds until it could search."""
    mine, its = _FORK.Pipe()
    process = _FORK.Process(target=live, args=(folder, files, draw.randrange(2**30), its))
    process.start()
    its.close()
    ready = float(_heard(mine))
    if full:
        _heard(mine)
    time.sleep(draw.uniform(0, LONGEST_SECONDS))
    process.kill()
    process.join()
    assert process.exitcode == -9, f"the process ended by itself ({process.exitcode})"
    return ready


def _heard(said: Connection) -> Any:
    """What a process says; raises TimeoutError when it says nothing."""
    if not said.poll(READY_SECONDS):
        raise TimeoutError("the process said nothing.")
    return said.recv()


def _looked(folder: Path, files: int, kills: int, ready: list[float]) -> Killed:
    """Start once more, in a process of its own, and see what index and store hold."""
    mine, its = _FORK.Pipe()
    process = _FORK.Process(target=_look, args=(folder, files, its))
    process.start()
    its.close()
    seconds, whole, counts, broken = _heard(mine)
    process.join()
    return Killed(kills, counts["store"], counts["missing"], counts["missed"], broken, [*ready, seconds], whole)


def _look(folder: Path, files: int, said: Connection) -> None:
    begun = time.perf_counter()
    with opened(folder) as (database, index, library):
        library.search("note", 1)
        seconds = time.perf_counter() - begun
        counts = index.verify()
        whole = time.perf_counter() - begun
        said.send((seconds, whole, counts, _broken(database, files)))


def _broken(database: Database, files: int) -> int:
    """How many documents are not whole: absent, or without exactly their passages."""
    with database.read() as session:
        counts = {row.source: count for row, count in documents.present(session, limit=files + 1)}
    return sum(counts.get(f"{file}.md") != PER_FILE for file in range(files))


def main(kills: int, chunks: int) -> None:
    """Measure, print and keep in bench/results/ingest_killed.json."""
    with tempfile.TemporaryDirectory() as folder:
        found = killed(Path(folder) / "data", kills=kills, chunks=chunks, seed=11)
    row = {
        "kills": found.kills,
        "passages": found.chunks,
        "missing in the index": found.missing,
        "self-query misses": found.missed,
        "broken documents": found.broken,
        "ready again s": found.ready[-1],
        "slowest start s": max(found.ready),
        "verified s": found.whole,
    }
    show("ingest_killed", [row], dimensions=DIMENSIONS)
