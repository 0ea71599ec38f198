"""Claims about the vector cache: whatever becomes of it, no passage is lost and no answer waits for it."""

import json
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from retrieval import generations
from retrieval.cache import Cache
from retrieval.embedding import Embedder
from retrieval.generations import Mark, read_mark, write_mark
from retrieval.index import Index, _largest
from retrieval.vectors import Vectors
from store import documents
from store.database import Database, restore
from store.documents import Draft
from store.errors import Unavailable
from tests.conftest import ROOT

IN_ORDER = {"owner": 1, "missing": 0, "extra": 0, "missed": 0}
MODEL = "hashed"


class Hashed(Embedder):
    """Unit vectors from a text's hash: quick, the same in every process."""

    def __init__(self) -> None:
        self.name = MODEL

    def encode(self, texts: list[str]) -> Vectors:
        return np.stack([hashed(text) for text in texts])


def hashed(text: str) -> Vectors:
    vector = np.random.default_rng(list(text.encode())).normal(size=32).astype(np.float32)
    return vector / np.linalg.norm(vector)


def fill(database: Database, count: int, *, source: str = "notes") -> str:
    """A document of so many passages, in place of the one of that name."""
    texts = [f"{source} passage number {number} of {count}" for number in range(count)]
    drafts = [Draft("Notes", text, 0, len(text), hashed(text).tobytes()) for text in texts]
    named = {"source": source, "title": "Notes", "media_type": "text/plain", "text": f"{source} {count}"}
    return documents.save(database, **named, drafts=drafts, model=MODEL).id


def opened(folder: Path, database: Database, *, server: str = "") -> Index:
    return Index(database, Hashed(), folder=folder / "index", dense_weight=0.6, server=server)


@pytest.fixture
def filled(tmp_path: Path, database: Database) -> Path:
    """A folder with a generation of 300 passages that was left in order."""
    fill(database, 300)
    index = opened(tmp_path, database)
    assert index.verify() == {**IN_ORDER, "store": 300, "index": 300}
    index.close()
    return tmp_path


def generation(folder: Path) -> Path:
    [found] = (folder / "index").glob("gen-*")
    return found


def broken_sqlite(at: Path) -> None:
    file = at / "chroma" / "chroma.sqlite3"
    file.write_bytes(file.read_bytes()[:5000] + b"\xff" * 20_000)


def without_vectors(at: Path) -> None:
    for folder in (path for path in (at / "chroma").iterdir() if path.is_dir()):
        shutil.rmtree(folder)


def with_fewer(at: Path) -> None:
    connection = sqlite3.connect(at / "chroma" / "chroma.sqlite3")
    connection.execute("DELETE FROM embeddings WHERE id IN (SELECT id FROM embeddings LIMIT 7)")
    connection.commit()
    connection.close()


def emptied(at: Path) -> None:
    shutil.rmtree(at / "chroma")


def unmarked(at: Path) -> None:
    (at / "mark.json").unlink()


def of_another_model(at: Path) -> None:
    mark = read_mark(at)
    assert mark is not None
    write_mark(at, Mark(mark.event, "another", mark.count))


@pytest.mark.parametrize("break_it", [broken_sqlite, with_fewer, emptied, unmarked, of_another_model])
def test_a_generation_that_is_not_in_order_is_made_anew_from_the_store(
    filled: Path, database: Database, break_it: object
) -> None:
    assert generation(filled).name == "gen-1"
    break_it(generation(filled))  # type: ignore[operator]
    index = opened(filled, database)
    assert index.verify() == {**IN_ORDER, "store": 300, "index": 300}
    index.close()
    assert generation(filled).name == "gen-2"


def test_a_generation_that_lost_its_vectors_never_answers_as_whole(filled: Path, database: Database) -> None:
    without_vectors(generation(filled))
    index = opened(filled, database)
    assert index.verify() == {**IN_ORDER, "store": 300, "index": 300}
    index.close()


def test_what_changed_since_an_orderly_end_is_taken_in_without_building_anew(filled: Path, database: Database) -> None:
    fill(database, 20, source="more")
    documents.remove(database, fill(database, 1, source="gone"))
    index = opened(filled, database)
    assert index.verify() == {**IN_ORDER, "store": 320, "index": 320}
    fill(database, 5, source="more")
    index.changed()
    assert index.verify() == {**IN_ORDER, "store": 305, "index": 305}
    index.close()
    assert generation(filled).name == "gen-1"


def test_after_a_backup_was_restored_the_cache_is_made_anew(filled: Path, database: Database, tmp_path: Path) -> None:
    """The events of the restored store begin where the backup was made: the cache's own say nothing of them."""
    database.backup(tmp_path / "copy.db")
    documents.remove(database, fill(database, 40, source="later"))
    index = opened(filled, database)
    index.settle()
    index.close()
    database.close()
    restore(database.url, tmp_path / "copy.db")
    fill(database, 20, source="fresh")
    index = opened(filled, database)
    assert index.verify() == {**IN_ORDER, "store": 320, "index": 320}
    index.close()
    assert generation(filled).name == "gen-2"


def test_searches_are_the_same_while_the_cache_is_built_and_after(tmp_path: Path, database: Database) -> None:
    fill(database, 60)
    index = opened(tmp_path, database)
    before = [hit.passage.id for hit in index.search("notes passage number 7 of 60", 5)]
    index.settle()
    assert index._cache is not None
    assert index._cache.nearest(hashed("x"), 5, event=0) is not None
    assert [hit.passage.id for hit in index.search("notes passage number 7 of 60", 5)] == before
    index.close()


def test_a_passage_that_was_just_added_is_found_before_the_cache_has_it(filled: Path, database: Database) -> None:
    index = opened(filled, database)
    index.settle()
    fill(database, 1, source="brandnew")
    index.changed()
    assert index.search("brandnew passage number 0 of 1", 1)[0].passage.text == "brandnew passage number 0 of 1"
    index.close()


def test_a_removed_passage_is_not_shown_even_from_an_older_snapshot(filled: Path, database: Database) -> None:
    index = opened(filled, database)
    asked = "notes passage number 3 of 300"
    [hit] = index.search(asked, 1)
    documents.remove(database, hit.passage.document_id)
    assert index.search(asked, 1) == []
    index.close()


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process or its children may grow over 4 kB, as on a disk that is nearly full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_build_that_fails_is_said_and_searches_go_on(tmp_path: Path, database: Database) -> None:
    fill(database, 20)
    with no_room():
        index = opened(tmp_path, database)
        with pytest.raises(Unavailable, match="disk I/O error"):
            index.settle()
    assert "disk I/O error" in index.trouble()
    assert index.search("notes passage number 7 of 20", 1)[0].passage.text == "notes passage number 7 of 20"
    index.close()


def test_what_a_killed_build_left_behind_is_cleared_away(filled: Path, database: Database) -> None:
    (filled / "index" / "building-dead" / "chroma").mkdir(parents=True)
    index = opened(filled, database)
    index.rebuild()
    index.close()
    assert sorted(path.name for path in (filled / "index").iterdir() if path.is_dir()) == ["gen-2"]


def test_a_builder_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    locked = sqlite3.connect(tmp_path / "locked.db", isolation_level=None)
    locked.execute("BEGIN EXCLUSIVE")
    command = [sys.executable, "-m", "retrieval.generations", "build"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=ROOT, stderr=subprocess.DEVNULL)
    assert child.stdin is not None
    job = {"folder": str(tmp_path / "aside"), "url": f"sqlite:///{tmp_path}/locked.db", "model": MODEL}
    child.stdin.write(json.dumps(job).encode() + b"\n")
    child.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=3)
    child.stdin.close()
    assert child.wait(timeout=60) == 3
    locked.close()


KILLED = """
import sys
from pathlib import Path
from store.database import Database
from tests.test_retrieval_cache import fill, opened
database = Database(sys.argv[1])
index = opened(Path(sys.argv[2]), database)
index.settle()
print("ready", flush=True)
for number in range(10_000):
    fill(database, 50, source=f"part {number}")
    index.changed()
    index.settle()
"""


def test_a_process_killed_while_it_feeds_the_cache_loses_nothing(filled: Path, database: Database) -> None:
    arguments = [sys.executable, "-c", KILLED, database.url, str(filled)]
    child = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"ready\n"
    time.sleep(1)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    index = opened(filled, database)
    counts = index.verify()
    index.close()
    assert counts["store"] > 300
    assert counts == {**IN_ORDER, "store": counts["store"], "index": counts["store"]}


def test_the_largest_values_are_chosen_by_value_then_by_place() -> None:
    values = np.array([0.1, 0.5, 0.5, 0.9, 0.5, 0.0], dtype=np.float32)
    assert sorted(_largest(values, 3).tolist()) == [1, 2, 3]
    assert sorted(_largest(values, 9).tolist()) == [0, 1, 2, 3, 4, 5]
    assert _largest(values[:0], 3).tolist() == []


# a Chroma server


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "chroma"), "run", "--port", str(port), "--host", "127.0.0.1"]
    quiet = subprocess.DEVNULL
    folder = tmp_path_factory.mktemp("server")
    child = subprocess.Popen([*command, "--path", str(folder)], stdout=quiet, stderr=quiet)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    child.terminate()
    child.wait(timeout=20)


def test_bots_share_a_server_and_each_feeds_what_it_sees(chroma: str, tmp_path: Path, database: Database) -> None:
    fill(database, 100)
    one = opened(tmp_path, database, server=chroma)
    assert one.verify() == {**IN_ORDER, "store": 100, "index": 100}
    other = opened(tmp_path, database, server=chroma)
    assert other.verify() == {**IN_ORDER, "store": 100, "index": 100}
    fill(database, 30)
    for index in (one, other):
        assert index.verify() == {**IN_ORDER, "store": 30, "index": 30}
    one.rebuild()
    asked = "notes passage number 7 of 30"
    assert {index.search(asked, 1)[0].passage.text for index in (one, other)} == {asked}
    assert other.verify() == {**IN_ORDER, "store": 30, "index": 30}
    one.close()
    other.close()


def test_a_server_that_lost_or_kept_too_much_is_brought_in_line(
    chroma: str, tmp_path: Path, database: Database
) -> None:
    fill(database, 50)
    one = opened(tmp_path, database, server=chroma)
    one.settle()
    cache = one._cache
    assert isinstance(cache, Cache) and cache._collection is not None
    held = cache._collection.get(limit=3, include=[])["ids"]
    cache._collection.delete(ids=held)
    cache._collection.upsert(ids=["ch_unknown"], embeddings=[hashed("unknown")])
    assert one.verify() == {**IN_ORDER, "store": 50, "index": 48, "missing": 3, "extra": 1, "missed": 3}
    one.close()
    again = opened(tmp_path, database, server=chroma)
    assert again.verify() == {**IN_ORDER, "store": 50, "index": 50}
    again.close()


def test_a_server_that_does_not_answer_delays_no_search(tmp_path: Path, database: Database) -> None:
    fill(database, 20)
    index = opened(tmp_path, database, server="http://127.0.0.1:9")
    assert index.search("notes passage number 7 of 20", 1)[0].passage.text == "notes passage number 7 of 20"
    with pytest.raises(Unavailable, match="not in order"):
        index.settle()
    assert index.trouble()
    index.close()


def test_a_probe_wants_what_the_mark_says(filled: Path) -> None:
    at = generation(filled)
    generations.probe(at)
    write_mark(at, Mark(1, MODEL, 299))
    with pytest.raises(Unavailable, match="300 passages, its mark says"):
        generations.probe(at)
