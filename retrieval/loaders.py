"""Files to text. Content is untrusted: whatever cannot be read gives a sentence, never a crash.

Text, markdown, CSV and source code are decoded here; PDF, DOCX and HTML are parsed in a process of their own.
"""

import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from charset_normalizer import from_bytes

from retrieval import hostile
from store.errors import Invalid, TooLarge

MARKDOWN = {".md", ".markdown"}
TEXT = {".txt", ".text", ".rst", "", ".log", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".xml"}
TABLES = {".csv": ",", ".tsv": "\t"}
PARSED = {".pdf": "pdf", ".docx": "docx", ".html": "html", ".htm": "html", ".xhtml": "html"}
PARSED_TYPES = {"pdf": "application/pdf", "docx": "application/docx", "html": "text/html"}
CODE = {
    **{".py": "python", ".pyi": "python", ".js": "js", ".mjs": "js", ".jsx": "js", ".ts": "ts", ".tsx": "ts"},
    **{".java": "java", ".kt": "kotlin", ".go": "go", ".rs": "rust", ".rb": "ruby", ".php": "php", ".swift": "swift"},
    **{".c": "c", ".h": "c", ".cpp": "cpp", ".cc": "cpp", ".hpp": "cpp", ".cs": "csharp", ".scala": "scala"},
    **{".lua": "lua", ".pl": "perl", ".hs": "haskell", ".ex": "elixir", ".exs": "elixir", ".ps1": "powershell"},
    **{".proto": "proto", ".sol": "sol", ".r": "r", ".tex": "latex", ".sql": "sql", ".sh": "shell", ".css": "css"},
}
SUFFIXES = MARKDOWN | TEXT | set(TABLES) | set(PARSED) | set(CODE)
_MAGIC = {b"%PDF-": "a PDF", b"PK\x03\x04": "a zip archive", b"\x7fELF": "a program", b"\x89PNG": "a picture"}
_MAGIC |= {b"\xd0\xcf\x11\xe0": "an old Office file", b"GIF8": "a picture", b"\xff\xd8\xff": "a picture"}
_ROOT = Path(__file__).resolve().parent.parent
_ENOUGH = 64
"""Bytes beyond ASCII below which an encoding is not guessed but taken to be Windows-1252."""


@dataclass(frozen=True)
class Limits:
    """How much of a file is read: its size, a PDF's pages, what it holds, and what parsing it may take."""

    file_bytes: int = 50_000_000
    pages: int = 2_000
    characters: int = 5_000_000
    seconds: int = 60


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Loaded:
    """A file's text with what it is called; `hidden` are offsets where hidden characters were taken out."""

    title: str
    media_type: str
    text: str
    hidden: tuple[int, ...] = ()


def load(name: str, content: bytes, limits: Limits = DEFAULT_LIMITS) -> Loaded:
    """The text of a file from its name and bytes.

    Raises Invalid for an unknown kind, a damaged, encrypted or empty file; TooLarge over a limit.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise Invalid(f"{name}: files of kind {suffix} cannot be read.", "docs/documents.md lists the kinds.")
    if len(content) > limits.file_bytes:
        raise TooLarge(f"{name}: {_megabytes(len(content))}, at most {_megabytes(limits.file_bytes)} are read.")
    if not content.strip():
        raise Invalid(f"{name}: the file holds no text.")
    kind = PARSED.get(suffix)
    media_type, text, title = _parsed(name, kind, content, limits) if kind else _text(name, suffix, content)
    cleaned = hostile.clean(re.sub(r"\n{5,}", "\n" * 4, text.replace("\r\n", "\n").replace("\r", "\n")))
    if not cleaned.text.strip():
        raise Invalid(f"{name}: the file holds no text.")
    if len(cleaned.text) > limits.characters:
        raise TooLarge(f"{name}: {len(text):,} characters, at most {limits.characters:,} are read.", "Split the file.")
    fallback = hostile.clean(Path(name).name if suffix in CODE else Path(name).stem).text
    chosen = hostile.clean(title).text or title_of(cleaned.text, media_type, fallback)
    return Loaded(" ".join(chosen.split())[:200], media_type, cleaned.text, cleaned.hidden)


def title_of(text: str, media_type: str, fallback: str) -> str:
    """The first heading of a text that is kept as markdown, else the fallback."""
    if media_type in {"text/markdown", "text/html", "application/docx"}:
        for line in text.splitlines():
            if line.startswith("# "):
                return line[2:].strip() or fallback
    return fallback


def _text(name: str, suffix: str, content: bytes) -> tuple[str, str, str]:
    """Media type, text and title of a file that is text; the title is empty where the name gives it."""
    text = _decode(name, content)
    if suffix in TABLES:
        return "text/csv", _table(name, text, TABLES[suffix]), ""
    if suffix in CODE:
        return f"text/x-{CODE[suffix]}", text, ""
    return "text/markdown" if suffix in MARKDOWN else "text/plain", text, ""


def _parsed(name: str, kind: str, content: bytes, limits: Limits) -> tuple[str, str, str]:
    """Media type, text and title of a file that a process of its own parses, within time and memory."""
    _check_kind(name, kind, content)
    command = [sys.executable, "-m", "retrieval.parse", kind, "--seconds", str(limits.seconds)]
    command += ["--pages", str(limits.pages), "--characters", str(limits.characters)]
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, cwd=_ROOT, timeout=limits.seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Invalid(f"{name}: reading it takes more than {limits.seconds} seconds.", "Split the file.") from None
    if done.returncode == 3:
        raise Invalid(f"{name}: {done.stderr.decode(errors='replace').strip()}.")
    if done.returncode != 0:
        raise Invalid(f"{name}: {_why(kind, done)}.", "Open it in its own program and save it again.")
    made = json.loads(done.stdout)
    return PARSED_TYPES[kind], made["text"], made["title"] if kind == "pdf" else ""


def _why(kind: str, done: "subprocess.CompletedProcess[bytes]") -> str:
    """Why a parser ended without a text: its last words, or the signal that ended it."""
    if done.returncode < 0:
        return f"the parser was stopped (signal {-done.returncode}: too much time or memory)"
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
    reason = said[-1].partition(": ")[2] or said[-1]
    return f"the {kind.upper()} is damaged ({reason[:200].rstrip('.')})"


def _check_kind(name: str, kind: str, content: bytes) -> None:
    if kind == "pdf" and b"%PDF-" not in content[:1024]:
        raise Invalid(f"{name}: the file is not a PDF, whatever its name says.")
    if kind == "docx" and content.startswith(b"\xd0\xcf\x11\xe0"):
        raise Invalid(f"{name}: it is encrypted, or an old Word file.", "Save it as .docx without a password.")
    if kind == "docx" and not content.startswith(b"PK"):
        raise Invalid(f"{name}: the file is not a Word document, whatever its name says.")
    if kind == "html" and b"\x00" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Invalid(f"{name}: the file is binary, expected a web page.")


def _table(name: str, text: str, separator: str) -> str:
    """A table of separated values as a markdown table."""
    first = text.partition("\n")[0]
    chosen = max([separator, ";", "\t", "|"], key=first.count) if separator == "," else separator
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=chosen) if any(row)]
    except csv.Error as error:
        raise Invalid(f"{name}: the table cannot be read ({error}).") from error
    if not rows:
        raise Invalid(f"{name}: the file holds no text.")
    lines = ["| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def _decode(name: str, content: bytes) -> str:
    for mark, what in _MAGIC.items():
        if content.startswith(mark):
            raise Invalid(f"{name}: the file is binary, expected text, found {what}.")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\x00" in content[:4096]:
        encodings = _without_mark(name, content)
    else:
        encodings = ["utf-8-sig", *_older(name, content)]
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Invalid(f"{name}: the text is neither UTF-8, UTF-16 nor Windows-1252.", "Save it as UTF-8.")


def _without_mark(name: str, content: bytes) -> list[str]:
    """UTF-16 whose byte-order mark is missing: nearly every second byte is zero in western text."""
    even, odd = content[0:4096:2].count(0), content[1:4096:2].count(0)
    half = len(content[:4096]) // 2
    if len(content) % 2 == 0 and max(even, odd) > 0.7 * half and min(even, odd) < 0.05 * half:
        return ["utf-16-le" if odd > even else "utf-16-be"]
    raise Invalid(f"{name}: the file is binary, expected text.")


def _older(name: str, content: bytes) -> list[str]:
    """Encodings to try after UTF-8; raises Invalid for UTF-8 with a few broken bytes and for binary content."""
    high = sum(byte > 127 for byte in content[:100_000])
    if sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in content[:100_000]) > len(content[:100_000]) * 0.01:
        raise Invalid(f"{name}: the file is binary, expected text.")
    if not high:
        return []
    read = content.decode("utf-8", "replace")
    broken, right = read.count("\ufffd"), sum(character > "\x7f" for character in read)
    if 0 < broken < (right - broken) / 2:
        line = read[: read.index("\ufffd")].count("\n") + 1
        raise Invalid(
            f"{name}: the text is UTF-8 with {broken} broken bytes, the first in line {line}.", "Repair them."
        )
    best = from_bytes(content[:200_000]).best() if high >= _ENOUGH else None
    return [best.encoding, "cp1252"] if best is not None else ["cp1252"]


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
