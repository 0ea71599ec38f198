"""Claims about retrieval: pieces point into their text, one text is one document, the index is what the store says."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.embedding import Embedder
from retrieval.files import files_under
from retrieval.index import Index
from retrieval.library import Library
from retrieval.passages import split
from retrieval.words import Words
from store import documents
from store.database import Database
from store.errors import Invalid, NotFound
from tests.conftest import ROOT

RIVER = "The river Aare is 288 kilometres long. It rises in the Bernese Alps and joins the Rhine at Koblenz."
BREAD = "Bake the bread for forty minutes at 220 degrees. Let it cool on a rack before you cut it."
FENCE = "```python\ndef first():\n    return 1\n\n\ndef second():\n    return 2\n```"
WORDS = "Some words of prose that fill the page. "


def library_in(folder: Path, database: Database, embedder: Embedder) -> tuple[Library, Index]:
    index = Index(database, embedder, folder=folder / "index", dense_weight=0.6)
    return Library(database, embedder, index, chunk_characters=300, min_score=0.12), index


@pytest.fixture
def index(tmp_path: Path, database: Database, embedder: Embedder) -> Iterator[Index]:
    index = Index(database, embedder, folder=tmp_path / "index", dense_weight=0.6)
    yield index
    index.close()


@pytest.fixture
def library(database: Database, embedder: Embedder, index: Index) -> Library:
    return Library(database, embedder, index, chunk_characters=300, min_score=0.12)


def found(library: Library, query: str) -> list[str]:
    """The texts found for a query, after the half second in which the index does not look."""
    time.sleep(0.55)
    return [passage["text"] for passage in library.search(query, 5)]


# passages


@pytest.mark.parametrize("before", range(0, 400, 37))
def test_a_code_fence_that_fits_stays_whole(before: int) -> None:
    text = f"# Title\n\n{(WORDS * 10)[:before]}\n\n{FENCE}\n\n{WORDS * 8}\n\n{FENCE}\n"
    pieces = split(text, title="Title", media_type="text/markdown", limit=200)
    assert sum(piece.text.count(FENCE) for piece in pieces) == 2


@pytest.mark.parametrize(
    "text",
    [
        f"# Title\n\n{WORDS * 20}\n\n## Part\n\n{FENCE}\n\n### Deep\n\n- one\n- two\n\n{WORDS * 3}",
        f"{WORDS * 30}\n\n\n   {WORDS}\n",
        f"No heading\n\n```\nnever closed\n\n{WORDS * 12}",
        "x" * 1000,
        "Zürich 🎟️\n\n" * 60,
    ],
)
def test_offsets_point_into_the_text_and_no_word_is_lost(text: str) -> None:
    pieces = split(text, title="Title", media_type="text/markdown", limit=200)
    assert all(text[piece.start : piece.end] == piece.text and len(piece.text) <= 200 for piece in pieces)
    assert all(one.end <= two.start for one, two in zip(pieces, pieces[1:], strict=False))
    headings = ("# Title", "## Part", "### Deep")
    bare = "".join("".join(line.split()) for line in text.splitlines() if line not in headings)
    assert "".join("".join(piece.text.split()) for piece in pieces) == bare


def test_a_piece_is_titled_by_its_headings_and_a_hash_in_code_is_none() -> None:
    text = "# Guide\n\nStart.\n\n## Set up\n\n```\n# not a heading\n```\n\n### Linux\n\nRun it.\n\n## Use\n\nGo."
    pieces = split(text, title="Guide", media_type="text/markdown", limit=200)
    assert [piece.title for piece in pieces] == ["Guide", "Guide > Set up", "Guide > Set up > Linux", "Guide > Use"]


def test_words_score_between_nothing_and_one() -> None:
    words = Words([RIVER, BREAD])
    scores = words.scores("How long is the river Aare?")
    assert 0.2 < scores[0] <= 1 and scores[1] == 0
    assert list(words.scores("zzz")) == [0, 0] and list(Words([]).scores("river")) == []


# files


def test_a_binary_file_is_refused_with_a_sentence(library: Library) -> None:
    with pytest.raises(Invalid, match=r"notes\.txt: the file is binary, expected text"):
        library.add_file(name="notes.txt", content=b"PK\x03\x04\x00\x00")
    with pytest.raises(Invalid, match=r"empty\.md: the file holds no text"):
        library.add_file(name="empty.md", content=b" \n")
    with pytest.raises(Invalid, match=r"movie\.mp4"):
        library.add_file(name="movie.mp4", content=b"\x00")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_is_read_in_the_usual_encodings(library: Library, encoding: str) -> None:
    document, _ = library.add_file(name="städte.txt", content="Zürich\r\nBern".encode(encoding))
    assert document.text == "Zürich\nBern"


def test_hidden_files_are_passed_over_and_missing_paths_named(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / ".git").mkdir(parents=True)
    for name in ("b.md", "a.md", ".git/config"):
        (folder / name).write_text("x")
    assert [path.name for path in files_under([folder])] == ["a.md", "b.md"]
    with pytest.raises(Invalid, match="none does not exist"):
        list(files_under([tmp_path / "none"]))


# library and index


def test_the_best_passage_comes_first_and_nothing_relevant_is_a_result(library: Library) -> None:
    library.add_text(source="river.md", title="The Aare", text=RIVER)
    library.add_text(source="bread.md", title="Bread", text=BREAD)
    assert found(library, "How long is the river Aare?")[0] == RIVER
    assert found(library, "How hot must the oven be to bake?")[0] == BREAD
    assert found(library, "quarterly tax declaration xyzzy") == []


def test_the_same_file_twice_is_one_document(library: Library, database: Database) -> None:
    first, new = library.add_file(name="river.md", content=RIVER.encode())
    again, renewed = library.add_file(name="river.md", content=RIVER.encode())
    copy, copied = library.add_file(name="copy.md", content=RIVER.encode())
    assert (new, renewed, copied) == (True, False, False)
    assert first.id == again.id == copy.id
    with database.read() as session:
        assert len(documents.present(session)) == 1


def test_a_changed_file_retires_the_chunks_that_vanished_and_keeps_the_others(
    library: Library, database: Database
) -> None:
    kept, gone, new = f"## One\n\n{RIVER}\n\n", f"## Two\n\n{BREAD}\n\n", "## Two\n\nCheese ripens for nine weeks.\n"
    first, _ = library.add_file(name="notes.md", content=(kept + gone).encode())
    assert BREAD in found(library, "How hot must the oven be to bake bread?")
    with database.read() as session:
        before = {chunk.text: chunk.id for chunk in documents.live_chunks(session)}
    changed, _ = library.add_file(name="notes.md", content=(kept + new).encode())
    with database.read() as session:
        after = {chunk.text: chunk.id for chunk in documents.live_chunks(session)}
    assert changed.id == first.id and after[RIVER] == before[RIVER] and BREAD not in after
    assert BREAD not in found(library, "How hot must the oven be to bake bread?")
    assert found(library, "How long does cheese ripen?")[0] == "Cheese ripens for nine weeks."


def test_passages_that_only_moved_are_shown_where_they_are_now(library: Library, database: Database) -> None:
    library.add_file(name="river.md", content=RIVER.encode())
    found(library, "river Aare")
    document, _ = library.add_file(name="river.md", content=f"\n\n{RIVER}\n".encode())
    found(library, "river Aare")
    [passage] = library.search("river Aare", 5)
    assert document.text[passage["start"] : passage["end"]] == RIVER == passage["text"]


def test_a_removed_document_is_not_found(library: Library, database: Database) -> None:
    twice = f"## One\n\n{RIVER}\n\n## Two\n\n{RIVER}\n"
    river, _ = library.add_file(name="river.md", content=twice.encode())
    library.add_text(source="bread.md", title="Bread", text=BREAD)
    assert RIVER in found(library, "How long is the river Aare?")
    library.remove(river.id)
    assert RIVER not in found(library, "How long is the river Aare?")
    with pytest.raises(NotFound, match=f"no document {river.id}"):
        library.remove(river.id)
    again, new = library.add_file(name="river.md", content=twice.encode())
    assert (again.id, new) == (river.id, True)
    assert RIVER in found(library, "How long is the river Aare?")


def test_store_and_index_agree_after_any_change(library: Library, index: Index, database: Database) -> None:
    kept = [library.add_text(source=f"{n}.txt", title=f"Note {n}", text=f"{WORDS} number {n}.")[0] for n in range(5)]
    found(library, "prose")
    library.remove(kept[0].id)
    library.add_text(source="1.txt", title="Note 1", text="Something else entirely.")
    assert index.verify() == {"owner": 1, "store": 4, "index": 4, "missing": 0, "extra": 0, "missed": 0}


UNCLEAN = """
import os, sys
from pathlib import Path
from bot.models import PACKAGED_EMBEDDING, embedding_model
from retrieval.embedding import Embedder
from store.database import open_database
from tests.test_retrieval import BREAD, library_in
database = open_database(sys.argv[1])
embedder = Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)
library, index = library_in(Path(sys.argv[2]), database, embedder)
if sys.argv[3] == "dies":
    library.add_text(source="bread.md", title="Bread", text=BREAD)
    library.search("bread", 1)
    os._exit(9)
import json
print(json.dumps({"owner": index.owner, "found": library.search("How long is the river Aare?", 2)}))
"""


def second_process(tmp_path: Path, how: str) -> "subprocess.CompletedProcess[str]":
    arguments = [sys.executable, "-c", UNCLEAN, f"sqlite:///{tmp_path}/fresh.db", str(tmp_path), how]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_second_process_searches_without_the_folder(tmp_path: Path, library: Library) -> None:
    library.add_text(source="river.md", title="The Aare", text=RIVER)
    mine = library.search("How long is the river Aare?", 2)
    other = second_process(tmp_path, "searches")
    assert other.returncode == 0, other.stderr
    said = json.loads(other.stdout.splitlines()[-1])
    assert said == {"owner": False, "found": mine}


def test_the_retriever_gives_the_passages_as_langchain_documents(library: Library) -> None:
    library.add_text(source="river.md", title="The Aare", text=RIVER)
    [document] = library.retriever(2).invoke("How long is the river Aare?")
    assert document.page_content == RIVER and document.metadata["n"] == 1
