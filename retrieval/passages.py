"""Text to passages that keep headings, paragraphs and code fences whole (pure)."""

import re
from dataclasses import dataclass

from langchain_text_splitters import RecursiveCharacterTextSplitter

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_FENCE = re.compile(r"^\s*(```|~~~)")


@dataclass(frozen=True)
class Piece:
    """A stretch of a document: its title path, its text and character offsets into the document."""

    title: str
    text: str
    start: int
    end: int


def split(text: str, *, title: str, media_type: str, limit: int) -> list[Piece]:
    """The passages of a text, at most about `limit` characters each; a code fence is cut only when longer than that."""
    sections = _sections(text) if media_type == "text/markdown" else [((), 0, len(text))]
    pieces: list[Piece] = []
    for headings, start, end in sections:
        names = [name for name in headings if name != title]
        pieces.extend(_cut(text, " > ".join([title, *names]), start, end, limit))
    return pieces


def _sections(text: str) -> list[tuple[tuple[str, ...], int, int]]:
    """Heading path, start and end of the text under each heading."""
    found: list[tuple[tuple[str, ...], int, int]] = []
    path: list[tuple[int, str]] = []
    start = position = 0
    fenced = False
    for line in text.splitlines(keepends=True):
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.match(line.rstrip("\n"))
        if heading:
            found.append((tuple(name for _, name in path), start, position))
            level = len(heading.group(1))
            path = [*[entry for entry in path if entry[0] < level], (level, heading.group(2))]
            start = position + len(line)
        position += len(line)
    found.append((tuple(name for _, name in path), start, position))
    return found


def _cut(text: str, title: str, start: int, end: int, limit: int) -> list[Piece]:
    found: list[Piece] = []
    spans = [span for block in _blocks(text, start, end) for span in _short(text, *block, limit)]
    at = start
    for i, (_, stop) in enumerate(spans):
        if i + 1 == len(spans) or spans[i + 1][1] - at > limit:
            found.extend(_piece(text, title, at, stop))
            at = stop
    return found


def _blocks(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Spans of code fences and of the prose between them."""
    found: list[tuple[int, int]] = []
    fenced, at, position = False, start, start
    for line in text[start:end].splitlines(keepends=True):
        if _FENCE.match(line):
            edge = position + len(line) if fenced else position
            found.append((at, edge))
            fenced, at = not fenced, edge
        position += len(line)
    return [(a, b) for a, b in [*found, (at, end)] if b > a]


def _short(text: str, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    """A block as spans of at most about `limit` characters, cut between paragraphs where possible."""
    if end - start <= limit:
        return [(start, end)]
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=limit,
        chunk_overlap=0,
        separators=["\n\n", "\n", ". ", " ", ""],
        keep_separator="end",
        strip_whitespace=False,
    )
    found: list[tuple[int, int]] = []
    for part in splitter.split_text(text[start:end]):
        found.append((start, start + len(part)))
        start += len(part)
    return found


def _piece(text: str, title: str, start: int, end: int) -> list[Piece]:
    body = text[start:end]
    start += len(body) - len(body.lstrip())
    end = start + len(body.strip())
    return [Piece(title, text[start:end], start, end)] if end > start else []
