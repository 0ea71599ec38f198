"""Text to passages that keep headings, lists, tables and code fences whole (pure).

A passage is always exactly `text[start:end]` of its document. What stands elsewhere but belongs to it, the headings
above it, the page it is on, the header of a table that had to be cut, is in its title path.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from langchain_text_splitters import Language, RecursiveCharacterTextSplitter

from retrieval import blocks

PAGE_BREAK = "\f"
"""Stands between the pages of a paged document's text."""
PAGED = "application/pdf"
STRUCTURED = {"text/markdown", "text/html", "text/csv", "application/docx"}
"""Media types whose text is kept as markdown."""
CODE = "text/x-"
HEADER_LENGTH = 200
_HEADING = re.compile(r"^(#{1,6})[ \t]+(\S.*)")
_PROSE = ["\n\n", "\n", ". ", " ", ""]
_SENTENCE_END = re.compile(r"(?:[.!?][\"')\]]*\s+|\n)")


@dataclass(frozen=True)
class Piece:
    """A stretch of a document: its title path, its text and character offsets into the document."""

    title: str
    text: str
    start: int
    end: int


def split(text: str, *, title: str, media_type: str, limit: int) -> list[Piece]:
    """The passages of a text, at most `limit` characters each; what fits is never cut: fence, table, item, paragraph.

    Passages overlap by a sentence only where a single paragraph was too long and had to be cut.
    """
    pieces: list[Piece] = []
    for names, start, end in _sections(text, media_type):
        path = " > ".join([title, *(name for name in names if name != title)])
        pieces.extend(_cut(text, path, list(_spans(text, start, end, media_type, limit)), limit))
    return pieces


def _sections(text: str, media_type: str) -> list[tuple[tuple[str, ...], int, int]]:
    if media_type in STRUCTURED:
        return _under_headings(text)
    if media_type == PAGED:
        return _pages(text)
    return [((), 0, len(text))]


def _under_headings(text: str) -> list[tuple[tuple[str, ...], int, int]]:
    """Heading path, start and end of the text under each heading; one with nothing under it is itself a text."""
    found: list[tuple[tuple[str, ...], int, int]] = []
    path: list[tuple[int, str]] = []
    start = begun = 0

    def end(at: int, level: int) -> None:
        alone = bool(path) and level <= path[-1][0] and not text[start:at].strip()
        names = tuple(name for _, name in (path[:-1] if alone else path))
        found.append((names, begun if alone else start, at))

    for line in blocks.lines(text, 0, len(text)):
        heading = None if line.fence else _HEADING.match(text[line.start : line.end].rstrip("\n"))
        if heading:
            level = len(heading.group(1))
            end(line.start, level)
            named = heading.group(2).rstrip().rstrip("#").rstrip()
            path = [*[entry for entry in path if entry[0] < level], (level, named)]
            start, begun = line.end, line.start
    end(len(text), 0)
    return found


def _pages(text: str) -> list[tuple[tuple[str, ...], int, int]]:
    found: list[tuple[tuple[str, ...], int, int]] = []
    start = 0
    for number, page in enumerate(text.split(PAGE_BREAK), start=1):
        found.append(((f"page {number}",), start, start + len(page)))
        start += len(page) + len(PAGE_BREAK)
    return found


def _spans(text: str, start: int, end: int, media_type: str, limit: int) -> Iterator[blocks.Span]:
    """What a passage is made of, in order: spans of at most `limit` characters."""
    if media_type.startswith(CODE):
        yield from _parts(text, start, end, limit, _code_separators(media_type.removeprefix(CODE)))
        return
    for block in blocks.fences(text, start, end):
        if block.length <= limit:
            yield block
        elif block.fence:
            yield from _parts(text, block.start, block.end, limit, _PROSE)
        else:
            for unit in blocks.units(text, block.start, block.end, limit):
                yield from [unit] if unit.length <= limit else _sentences(text, unit, limit)


def _cut(text: str, title: str, spans: list[blocks.Span], limit: int) -> list[Piece]:
    """Spans to passages, as many spans in each as fit; one that begins inside a table is titled by its header."""
    found: list[Piece] = []
    first = 0
    for i in range(len(spans)):
        if i + 1 == len(spans) or spans[i + 1].end - spans[first].start > limit:
            header = spans[first].header
            path = f"{title} > {header[:HEADER_LENGTH]}" if header else title
            found.extend(_piece(text, path, spans[first].start, spans[i].end))
            first = i + 1
    return found


def _sentences(text: str, unit: blocks.Span, limit: int) -> Iterator[blocks.Span]:
    """A paragraph that is too long, cut between sentences; each part begins with the last sentence before it."""
    lap = limit // 5
    for part in _parts(text, unit.start, unit.end, limit - lap, _PROSE):
        start = _last_sentence(text, max(unit.start, part.start - lap), part.start) if part.start > unit.start else None
        yield blocks.Span(part.start if start is None else start, part.end, header=unit.header)


def _last_sentence(text: str, earliest: int, end: int) -> int | None:
    """Where the sentence that ends at `end` begins; None when that is before `earliest`."""
    before = text[earliest:end].rstrip()
    ends = [match.end() for match in _SENTENCE_END.finditer(before)]
    return earliest + ends[-1] if ends else None


def _parts(text: str, start: int, end: int, limit: int, separators: list[str]) -> Iterator[blocks.Span]:
    """A stretch cut at the first separator that makes parts short enough, else at the next; nothing is lost."""
    if end - start <= limit:
        yield blocks.Span(start, end)
        return
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=limit,
        chunk_overlap=0,
        separators=separators,
        keep_separator="end" if separators is _PROSE else "start",
        strip_whitespace=False,
    )
    for part in splitter.split_text(text[start:end]):
        yield blocks.Span(start, start + len(part))
        start += len(part)


def _code_separators(language: str) -> list[str]:
    """Where a language's source is best cut: before classes and functions, else between lines."""
    found: list[str] = []
    if language in {one.value for one in Language}:
        with suppress(ValueError):  # a language that the library names and knows no separators of
            found = RecursiveCharacterTextSplitter.get_separators_for_language(Language(language))
    return [*(one for one in found if one.strip()), "\n\n", "\n", " ", ""]


def _piece(text: str, title: str, start: int, end: int) -> list[Piece]:
    body = text[start:end]
    start += len(body) - len(body.lstrip())
    end = start + len(body.strip())
    return [Piece(title, text[start:end], start, end)] if end > start else []
