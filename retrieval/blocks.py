"""The blocks of a markdown text: code fences, and between them tables, list items and paragraphs (pure)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^\n]*)")
_BULLET = re.compile(r"([ \t]*)(?:[-*+]|\d{1,9}[.)])[ \t]+\S")
_DELIMITER = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_DEEPEST = 6
"""How many levels of a list are told apart."""


@dataclass(frozen=True)
class Span:
    """A stretch of a text by character offsets.

    `fence` is the number of the code fence that it is in, 0 for prose; `header` names the table that it goes on with.
    """

    start: int
    end: int
    fence: int = 0
    header: str = ""

    @property
    def length(self) -> int:
        """In characters."""
        return self.end - self.start


def lines(text: str, start: int, end: int) -> Iterator[Span]:
    """The lines of a stretch with their line ends; a fence's marks belong to it, and it may never be closed."""
    mark, number = "", 0
    for line in text[start:end].splitlines(keepends=True):
        found = _FENCE.match(line)
        inside = bool(mark)
        if found and not mark and not (found.group(1)[0] == "`" and "`" in found.group(2)):
            mark, number, inside = found.group(1), number + 1, True
        elif found and mark and found.group(1).startswith(mark) and not found.group(2).strip():
            mark = ""
        yield Span(start, start + len(line), fence=number if inside else 0)
        start += len(line)


def fences(text: str, start: int, end: int) -> Iterator[Span]:
    """Spans of code fences and of the prose between them."""
    for number, group in groupby(lines(text, start, end), key=lambda line: line.fence):
        rows = list(group)
        yield Span(rows[0].start, rows[-1].end, fence=number)


def units(text: str, start: int, end: int, limit: int) -> Iterator[Span]:
    """The units of prose: a table, or its rows when it is longer than `limit`; a list item; a paragraph."""
    for rows in _paragraphs(text, start, end):
        at = _table_start(text, rows)
        yield from _items(text, rows[:at], limit, _DEEPEST)
        if at is not None:
            yield from _table(text, rows[at:], limit)


def _paragraphs(text: str, start: int, end: int) -> list[list[Span]]:
    """Lines in groups that end with their blank lines; an indented group after a list item goes on with the item."""
    found: list[list[Span]] = []
    blank = True
    for line in lines(text, start, end):
        empty = not text[line.start : line.end].strip()
        indented = text[line.start] in " \t"
        begins = blank and not empty and not (indented and found and _indent(text, found[-1][0]) is not None)
        if begins or not found:
            found.append([])
        found[-1].append(line)
        blank = empty
    return found


def _items(text: str, rows: list[Span], limit: int, deepest: int) -> Iterator[Span]:
    """The items of a list with what is nested in them; a paragraph is one. One over `limit` is cut at inner ones."""
    indents = [_indent(text, row) for row in rows]
    least = min((indent for indent in indents if indent is not None), default=-1)
    items: list[list[Span]] = []
    for row, indent in zip(rows, indents, strict=True):
        if not items or indent == least:
            items.append([])
        items[-1].append(row)
    for item in items:
        whole = Span(item[0].start, item[-1].end)
        bullets = sum(_indent(text, row) is not None for row in item)
        if whole.length <= limit or bullets <= 1 or deepest == 0:
            yield whole
        else:
            yield item[0]
            yield from _items(text, item[1:], limit, deepest - 1)


def _indent(text: str, row: Span) -> int | None:
    """How far the bullet of a line is indented; None for a line that begins no item."""
    found = _BULLET.match(text, row.start, row.end)
    return len(found.group(1).expandtabs(4)) if found else None


def _table_start(text: str, rows: list[Span]) -> int | None:
    """The number of the line with a table's header, which the delimiter line follows."""
    for i, (above, below) in enumerate(zip(rows, rows[1:], strict=False)):
        under = text[below.start : below.end]
        if "|" in under and _DELIMITER.match(under) and "|" in text[above.start : above.end]:
            return i
    return None


def _table(text: str, rows: list[Span], limit: int) -> Iterator[Span]:
    """A table as one span, or, when it is too long, as its rows; the first row goes with the header."""
    if rows[-1].end - rows[0].start <= limit:
        yield Span(rows[0].start, rows[-1].end)
        return
    cells = text[rows[0].start : rows[0].end].strip().strip("|").split("|")
    header = " | ".join(cell.strip() for cell in cells)
    first = rows[:3]
    yield Span(first[0].start, first[-1].end)
    for row in rows[3:]:
        yield Span(row.start, row.end, header=header)
