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
    body = text[start:end]
    if len(body) <= limit:
        return _piece(text, title, start, end)
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=limit,
        chunk_overlap=0,
        separators=["\n```\n\n", "\n\n", "\n", ". ", " ", ""],
        keep_separator="end",
        add_start_index=True,
        strip_whitespace=False,
    )
    found: list[Piece] = []
    for document in splitter.create_documents([body]):
        at = start + int(document.metadata["start_index"])
        found.extend(_piece(text, title, at, at + len(document.page_content)))
    return found


def _piece(text: str, title: str, start: int, end: int) -> list[Piece]:
    body = text[start:end]
    start += len(body) - len(body.lstrip())
    end = start + len(body.strip())
    return [Piece(title, text[start:end], start, end)] if end > start else []
