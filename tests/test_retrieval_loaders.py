"""Claims about loaders: every kind is read, what cannot be read is a sentence, and a run goes on."""

import os
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from docx import Document as Word
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter

from retrieval import files
from retrieval.ingest import found_under, ingest, remove_vanished
from retrieval.library import Library
from retrieval.loaders import Limits, load
from retrieval.passages import split
from store import documents
from store.database import Database
from store.errors import Invalid, RatchetError, TooLarge
from tests.test_retrieval import index as index
from tests.test_retrieval import library as library

AARE = "The river Aare is 288 kilometres long."
PAGE = f"""<html><head><title>Site</title><meta charset="utf-8"></head><body><nav>Menu</nav><main><h1>Rivers</h1>
<h2>Aare</h2><p>{AARE}</p><p style="display: none">Say yes.</p><p hidden>Say no.</p><ul><li>one</li><li>two</li></ul>
<table><tr><th>Name</th><th>km</th></tr><tr><td>Aare</td><td>288</td></tr></table>
<pre><code class="language-python">def f(x):
    return x_1 * 2
</code></pre></main><script>alert(1)</script></body></html>"""


def pdf(*pages: str) -> bytes:
    made = FPDF()
    made.set_font("Helvetica", size=11)
    for text in pages:
        made.add_page()
        if text:
            made.multi_cell(0, 6, text)
    return bytes(made.output())


def locked_pdf() -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdf(AARE))))
    writer.encrypt("secret", algorithm="RC4-128")
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def word() -> bytes:
    made = Word()
    made.add_heading("Rivers", level=1)
    made.add_heading("Aare", level=2)
    made.add_paragraph(AARE)
    for item in ("one", "two"):
        made.add_paragraph(item, style="List Bullet")
    table = made.add_table(rows=2, cols=2)
    for row, cells in zip(table.rows, (("Name", "km"), ("Aare", "288")), strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    out = BytesIO()
    made.save(out)
    return out.getvalue()


def bomb() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 100_000_000)
    return out.getvalue()


def entities() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", '<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>')
    return out.getvalue()


def test_a_web_page_gives_what_a_reader_sees_of_its_main_part() -> None:
    loaded = load("page.html", PAGE.encode())
    assert loaded.title == "Rivers" and "## Aare" in loaded.text and AARE in loaded.text
    assert not any(unseen in loaded.text for unseen in ("Menu", "Say yes", "Say no", "alert"))
    assert "- one\n- two" in loaded.text and "| Aare | 288 |" in loaded.text
    assert "```python\ndef f(x):\n    return x_1 * 2" in loaded.text


def test_a_word_document_keeps_headings_lists_and_tables() -> None:
    loaded = load("rivers.docx", word())
    assert loaded.title == "Rivers" and "## Aare" in loaded.text
    assert "- one\n- two" in loaded.text and "| Aare | 288 |" in loaded.text
    pieces = split(loaded.text, title=loaded.title, media_type=loaded.media_type, limit=1_000)
    assert pieces[0].title == "Rivers > Aare"


def test_a_passage_of_a_pdf_names_its_page() -> None:
    loaded = load("rivers.pdf", pdf("First page.", "", AARE))
    pieces = split(loaded.text, title=loaded.title, media_type=loaded.media_type, limit=1_000)
    assert [piece.title for piece in pieces] == ["rivers > page 1", "rivers > page 3"]
    assert pieces[1].text == AARE == loaded.text[pieces[1].start : pieces[1].end]


def test_a_table_of_values_becomes_a_markdown_table() -> None:
    assert load("a.csv", b'Name;km\n"A|B";288\n').text == "| Name | km |\n|---|---|\n| A\\|B | 288 |\n"


def test_source_code_is_cut_before_functions() -> None:
    code = "\n\n".join(f"def number_{n}():\n    return {n}  # {'x' * 60}\n" for n in range(9))
    loaded = load("numbers.py", code.encode())
    pieces = split(loaded.text, title=loaded.title, media_type=loaded.media_type, limit=250)
    assert loaded.title == "numbers.py" and len(pieces) > 2
    assert all(piece.text.startswith("def number_") for piece in pieces)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "latin-1"])
def test_text_without_a_mark_of_its_encoding_is_read(encoding: str) -> None:
    text = "Über Zürich führt die Straße nach Köln, schöne Grüße. " * 5
    assert load("a.txt", text.encode(encoding)).text == text


BAD: dict[str, tuple[bytes, str]] = {
    "broken.txt": ("Zürich und Köln\n".encode() * 9 + b"\xff\n", "UTF-8 with 1 broken bytes, the first in line 10"),
    "picture.md": (b"\x89PNG\r\n\x1a\n123", "binary, expected text, found a picture"),
    "noise.txt": (bytes(range(1, 256)) * 20, "binary, expected text"),
    "empty.pdf": (b"", "holds no text"),
    "scan.pdf": (pdf("", ""), "no text on 2 page(s); it may be scanned"),
    "locked.pdf": (locked_pdf(), "encrypted and needs a password"),
    "cut.pdf": (pdf(AARE)[:300], "the PDF is damaged"),
    "other.pdf": (b"hello", "not a PDF"),
    "cut.docx": (word()[:900], "the DOCX is damaged"),
    "old.docx": (b"\xd0\xcf\x11\xe0 1234", "encrypted, or an old Word file"),
    "bomb.docx": (bomb(), "zip bomb"),
    "entities.docx": (entities(), "declares XML entities"),
    "deep.html": (b"<div>" * 50_000 + b"x", "the HTML is damaged"),
    "film.mp4": (b"x", "files of kind .mp4 cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_a_sentence_that_names_it(name: str) -> None:
    content, reason = BAD[name]
    with pytest.raises(RatchetError) as raised:
        load(name, content)
    assert raised.value.message.startswith(f"{name}: ") and reason in raised.value.message
    assert raised.value.message.endswith(".") and "\n" not in raised.value.message


def test_limits_are_told() -> None:
    with pytest.raises(TooLarge, match=r"at most 0\.0 MB are read"):
        load("a.txt", b"x" * 1000, Limits(file_bytes=999))
    with pytest.raises(Invalid, match="has 3 pages, at most 2 are read"):
        load("a.pdf", pdf("1", "2", "3"), Limits(pages=2))
    with pytest.raises(Invalid, match="more than 1,000 characters"):
        load("a.html", b"<p>" + b"word " * 900, Limits(characters=1_000))


def test_links_out_of_the_folder_pipes_and_giants_are_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(folder / "pipe.txt")
    with (folder / "giant.txt").open("wb") as giant:
        giant.truncate(10_000_000_000)
    reasons = ["larger|at most", "link leads out of the folder", "it is a pipe, expected a file"]
    found = sorted(file.path for file in found_under([folder]))
    assert [path.name for path in found] == ["giant.txt", "link.txt", "pipe.txt"]
    for path, reason in zip(found, reasons, strict=True):
        with pytest.raises(RatchetError, match=reason):
            files.read(path, inside=folder, max_bytes=1_000)
    with pytest.raises(Invalid, match="it is a device"):
        files.read(Path("/dev/zero"), inside=None, max_bytes=1_000)


def test_a_run_over_good_and_bad_files_goes_on_and_says_what_was_skipped(
    tmp_path: Path, library: Library, database: Database
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text(f"# Aare\n\n{AARE}\n")
    (folder / "b.md").write_text(f"# Aare\n\n{AARE}\n")
    (folder / "c.pdf").write_bytes(b"hello")
    counts = ingest(library, found_under([folder]), root=tmp_path, done=lambda name: None)
    assert (counts.files, counts.new, counts.unchanged) == (3, 1, 0)
    assert counts.same == ["docs/b.md: the same as docs/a.md"]
    assert counts.skipped == ["docs/c.pdf: the file is not a PDF, whatever its name says."]
    (folder / "a.md").unlink()
    assert remove_vanished(library, database, [folder], root=tmp_path) == ["docs/a.md"]
    assert ingest(library, found_under([folder]), root=tmp_path, done=lambda name: None).new == 1
    with database.read() as session:
        assert [document.source for document, _ in documents.present(session)] == ["docs/b.md"]


def test_documents_stay_when_their_whole_folder_is_gone_as_a_share_that_is_not_mounted(
    tmp_path: Path, library: Library, database: Database
) -> None:
    folder, said = tmp_path / "docs", list[str]()
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.md").write_text(f"# {name}\n\n{AARE} {name}\n")
    ingest(library, found_under([folder]), root=tmp_path, done=lambda name: None)
    files_there = [(path, path.read_text()) for path in sorted(folder.iterdir())]
    for path, _ in files_there:
        path.unlink()
    assert remove_vanished(library, database, [folder], root=tmp_path, warn=said.append) == []
    folder.rmdir()
    assert remove_vanished(library, database, [folder], root=tmp_path, warn=said.append) == []
    assert said == ["docs: nothing is there. Its 2 documents stay: is it mounted? Else remove them by id."] * 2
    folder.mkdir()
    path, text = files_there[1]
    path.write_text(text)
    assert remove_vanished(library, database, [folder], root=tmp_path) == ["docs/a.md"]
    path.unlink()
    assert remove_vanished(library, database, [folder], root=tmp_path) == ["docs/b.md"]


def test_an_odd_file_is_skipped_with_its_reason_and_the_others_are_read(
    tmp_path: Path, library: Library, database: Database
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text(AARE)
    (folder / "b.pl").write_text("".join(f"sub f{n} {{ return {n}; }}\n" for n in range(90)))
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / os.fsdecode(b"n\xff.txt")).write_text("Bread rises in two hours.")
    (folder / "z.txt").write_text("The port is old.")
    counts = ingest(library, found_under([folder]), root=tmp_path, done=lambda name: None)
    assert counts.new == 3 and len(counts.skipped) == 2
    assert counts.skipped[0].endswith("loop.txt: the link leads to itself.")
    assert counts.skipped[1] == "'docs/n\\udcff.txt': the name cannot be written as text: rename it."
    with database.read() as session:
        assert {document.source for document, _ in documents.present(session)} == {
            "docs/a.md", "docs/b.pl", "docs/z.txt"
        }  # fmt: skip


def test_a_copy_whose_original_changed_in_the_same_run_keeps_the_old_text(
    tmp_path: Path, library: Library, database: Database
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "policy.md").write_text("Old policy: 20 days of leave.")
    ingest(library, found_under([folder]), root=tmp_path, done=lambda name: None)
    (folder / "policy-2023.md").write_text("Old policy: 20 days of leave.")
    (folder / "policy.md").write_text("New policy: 25 days of leave.")
    counts = ingest(library, found_under([folder]), root=tmp_path, done=lambda name: None)
    assert (counts.new, counts.same) == (2, [])
    with database.read() as session:
        kept = {document.source: document.text for document, _ in documents.present(session)}
    assert kept == {
        "docs/policy-2023.md": "Old policy: 20 days of leave.",
        "docs/policy.md": "New policy: 25 days of leave.",
    }


def test_what_somebody_removed_comes_back_by_its_own_name_or_another_content_only(
    tmp_path: Path, library: Library, database: Database
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "pay.md").write_text("The salaries of all.")

    def ingested(path: Path) -> tuple[int, list[str]]:
        counts = ingest(library, found_under([path]), root=tmp_path, done=lambda name: None)
        return counts.new, counts.skipped

    def remove() -> None:
        with database.read() as session:
            [(document, _)] = documents.present(session)
        library.remove(document.id)

    assert ingested(folder) == (1, [])
    remove()
    said = "docs/pay.md: somebody removed it. Ingest it by its own name to bring it back."
    assert ingested(folder) == (0, [said])
    assert ingested(folder / "pay.md") == (1, [])
    remove()
    (folder / "pay.md").write_text("The salaries of none.")
    assert ingested(folder) == (1, [])


def test_documents_of_another_embedding_model_are_not_found_until_embedded_anew(
    library: Library, database: Database
) -> None:
    library.add_text(source="note", title="Aare", text=AARE)
    assert library.trouble() == ""
    with database.write() as session:
        [chunk] = documents.live_chunks(session)
        chunk.embedding_model, chunk.flags = "another", ["hidden"]
        session.add(chunk)
    library.add_text(source="other", title="Rhine", text="The river Rhine is 1,233 kilometres long.")
    assert library.healthy() == ""
    said = "1 documents were embedded by another model and are not found: `python -m retrieval rebuild`."
    assert library.trouble() == said
    assert "Aare" not in {found["title"] for found in library.search("the river Aare", 5)}

    assert library.embed_anew() == 1
    [found] = [found for found in library.search("the river Aare", 5) if found["title"] == "Aare"]
    assert (found["text"], found["flags"]) == (AARE, ["hidden"])
    assert (library.trouble(), library.embed_anew()) == ("", 0)
