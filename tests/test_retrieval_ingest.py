"""Claims about ingesting again: an unchanged file costs nothing, other rules or bytes are noticed, Ctrl-C is safe."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlmodel import col, select

from retrieval.index import Index
from retrieval.ingest import Counts, found_under, ingest
from retrieval.library import RULES, Library
from retrieval.loaders import DEFAULT_LIMITS, Limits, load
from store import documents
from store.database import Database, open_database
from store.errors import Invalid, TooLarge
from store.models import Chunk, Document
from tests.conftest import ROOT
from tests.queued import WordEmbedder
from tests.test_retrieval_loaders import AARE, PAGE, pdf, word

BLIND = Limits(characters=0, pages=0)
"""Under these no file can be read: what is still taken was recognised."""
FILES = {"rivers.pdf": pdf(AARE), "rivers.docx": word(), "page.html": PAGE.encode(), "a.md": AARE.encode()}


@pytest.fixture
def index(tmp_path: Path, database: Database) -> Iterator[Index]:
    index = Index(database, WordEmbedder(), folder=tmp_path / "index", dense_weight=0.5)
    yield index
    index.close()


class OtherModel(WordEmbedder):
    """The same vectors under another model's name."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "other words"


def library(
    database: Database, index: Index, limits: Limits = DEFAULT_LIMITS, *, characters: int = 1_000, other: bool = False
) -> Library:
    embedder = OtherModel() if other else WordEmbedder()
    return Library(database, embedder, index, chunk_characters=characters, min_score=0.1, limits=limits)


def recognised(library: Library, name: str, content: bytes) -> bool:
    """Whether a library that can read nothing takes a file all the same."""
    library.limits = BLIND
    try:
        _, created = library.add_file(name=name, content=content)
    except (Invalid, TooLarge) as error:
        assert "at most 0" in error.message or "more than 0" in error.message
        return False
    assert not created
    return True


@pytest.mark.parametrize("name", FILES)
def test_an_unchanged_file_is_recognised_without_being_read(database: Database, index: Index, name: str) -> None:
    first, created = library(database, index).add_file(name=name, content=FILES[name])
    again, renewed = library(database, index, BLIND).add_file(name=name, content=FILES[name])
    assert (again.id, created, renewed) == (first.id, True, False)
    assert not recognised(library(database, index), name, FILES[name] + b" ")


def test_recognising_a_file_looks_at_no_passage_and_writes_nothing(database: Database, index: Index) -> None:
    library(database, index).add_file(name="a.md", content=FILES["a.md"])
    said: list[str] = []
    for engine in (database._reader, database._writer):
        event.listen(engine, "before_cursor_execute", lambda *arguments: said.append(arguments[2]))
    assert recognised(library(database, index), "a.md", FILES["a.md"])
    assert said and not [one for one in said if "chunk" in one or not one.startswith(("SELECT", "BEGIN"))]


@pytest.mark.parametrize("changes", [{"characters": 300}, {"other": True}], ids=["chunk_characters", "model"])
def test_other_rules_read_the_file_again(database: Database, index: Index, changes: dict[str, int]) -> None:
    content = "\n\n".join(f"{AARE} And so on, paragraph {n}." for n in range(40)).encode()
    library(database, index).add_file(name="a.md", content=content)
    assert not recognised(library(database, index, **changes), "a.md", content)  # type: ignore[arg-type]
    assert library(database, index, **changes).add_file(name="a.md", content=content)[1]  # type: ignore[arg-type]
    assert recognised(library(database, index, **changes), "a.md", content)  # type: ignore[arg-type]
    assert not recognised(library(database, index), "a.md", content)


def test_a_newer_version_of_the_rules_reads_the_file_again(database: Database, index: Index) -> None:
    document, _ = library(database, index).add_file(name="a.md", content=FILES["a.md"])
    assert document.rules.startswith(RULES)
    with database.write() as session:
        session.get_one(Document, document.id).rules = document.rules.replace(RULES, "rules 0")
    assert not recognised(library(database, index), "a.md", FILES["a.md"])
    assert library(database, index).add_file(name="a.md", content=FILES["a.md"]) == (document, False)
    assert recognised(library(database, index), "a.md", FILES["a.md"])


def test_a_document_of_an_older_version_is_read_once_more(database: Database, index: Index) -> None:
    document, _ = library(database, index).add_file(name="a.md", content=FILES["a.md"])
    with database.write() as session:
        row = session.get_one(Document, document.id)
        row.file_digest = row.rules = ""
    assert not recognised(library(database, index), "a.md", FILES["a.md"])
    assert not library(database, index).add_file(name="a.md", content=FILES["a.md"])[1]
    assert recognised(library(database, index), "a.md", FILES["a.md"])


def test_a_copy_under_another_name_is_the_same_document_unread(database: Database, index: Index) -> None:
    first, _ = library(database, index).add_file(name="a.html", content=FILES["page.html"])
    copy, created = library(database, index, BLIND).add_file(name="b.html", content=FILES["page.html"])
    assert (copy.id, created) == (first.id, False)
    other, created = library(database, index).add_file(name="b.txt", content=FILES["page.html"])
    assert other.id != first.id and created


def test_a_file_that_became_a_copy_gives_up_its_own_document(database: Database, index: Index) -> None:
    mine = library(database, index)
    first, _ = mine.add_file(name="a.md", content=b"One text.")
    second, _ = mine.add_file(name="b.md", content=b"Another text.")
    assert mine.add_file(name="b.md", content=b"One text.") == (first, False)
    with database.read() as session:
        assert [row.id for row, _ in documents.present(session)] == [first.id] != [second.id]


def test_a_removed_document_is_read_again(database: Database, index: Index) -> None:
    mine = library(database, index)
    document, _ = mine.add_file(name="a.md", content=FILES["a.md"])
    mine.remove(document.id)
    again, created = mine.add_file(name="a.md", content=FILES["a.md"])
    assert (again.id, created) == (document.id, True)


def run(library: Library, folder: Path) -> Counts:
    return ingest(library, found_under([folder]), root=folder, done=lambda name: None)


def test_size_and_time_of_a_file_are_not_trusted(database: Database, index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    file = folder / "a.md"
    file.write_text("It is 288 km long.")
    assert run(library(database, index), folder).new == 1
    stat = file.stat()
    file.write_text("It is 295 km long.")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run(library(database, index), folder).new == 1
    os.utime(file, ns=(1, 1))
    assert run(library(database, index), folder).unchanged == 1


def test_a_skipped_file_is_tried_again(database: Database, index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(pdf("One.", "Two.", "Three."))
    for _ in range(2):
        assert len(run(library(database, index, Limits(pages=2)), folder).skipped) == 1
    assert run(library(database, index, Limits(pages=3)), folder).new == 1


# what hangs, and Ctrl-C


def test_a_parser_that_does_not_end_is_ended_and_the_run_goes_on(
    database: Database, index: Index, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.html").write_bytes(b"<p>one</p>" * 2_000_000)
    (folder / "b.md").write_text(AARE)
    counts = run(library(database, index, Limits(seconds=1)), folder)
    assert counts.new == 1 and len(counts.skipped) == 1
    assert counts.skipped[0].startswith("a.html: ")
    assert "more than 1 seconds" in counts.skipped[0] or "too much time or memory" in counts.skipped[0]


WAITS = """
import signal, sys
from retrieval import loaders
signal.alarm(60)
loaders.load("a.html", sys.stdin.buffer.read(), loaders.Limits(seconds=2))
"""


def test_a_parser_that_waits_for_ever_is_ended_after_the_time_limit(tmp_path: Path) -> None:
    """A parser that sleeps uses no processor time: only the clock can end it."""
    package = tmp_path / "markdownify.py"
    package.write_text("import time\ntime.sleep(600)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", WAITS], input=b"<p>x</p>", cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert b"a.html: reading it takes more than 2 seconds." in done.stderr
    assert load("a.html", b"<p>x</p>").text == "x"


def test_ctrl_c_leaves_what_was_done_and_a_sentence(tmp_path: Path) -> None:
    folder, data = tmp_path / "docs", tmp_path / "data"
    for made in (folder, data):
        made.mkdir()
    for n in range(400):
        (folder / f"{n}.md").write_text("\n\n".join(f"{AARE} Part {part} of note {n}. " * 4 for part in range(20)))
    environment = {**os.environ, "RATCHET_DATA": str(data)}
    command = [sys.executable, "-m", "retrieval", "ingest", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (data / "ratchet.db").exists() or len(present(data)) < 3:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and said.splitlines()[-1] == "stopped; whatever was done is kept."
    assert "Traceback" not in said
    kept = present(data)
    assert 3 <= len(kept) < 400
    for document, chunks in kept.items():
        whole = (folder / Path(document).name).read_text()
        assert chunks and all(whole[start:end] == text for text, start, end in chunks)
        assert sum(text.count(AARE) for text, _, _ in chunks) >= whole.count(AARE)


def present(data: Path) -> dict[str, list[tuple[str, int, int]]]:
    """Text, start and end of the live passages of each present document, by source."""
    database = open_database(f"sqlite:///{data}/ratchet.db")
    with database.read() as session:
        query = select(Document.source, Chunk.text, Chunk.start, Chunk.end)
        query = query.join(Chunk, col(Chunk.document_id) == col(Document.id)).where(col(Chunk.retired_at).is_(None))
        found: dict[str, list[tuple[str, int, int]]] = {}
        for source, *place in session.exec(query):
            found.setdefault(source, []).append((place[0], place[1], place[2]))
    database.close()
    return found
