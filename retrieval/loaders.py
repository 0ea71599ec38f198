"""Files to text. Content is untrusted: whatever cannot be read gives a sentence, never a crash."""

from dataclasses import dataclass
from pathlib import Path

from store.errors import Invalid

MARKDOWN = {".md", ".markdown"}
TEXT = {".txt", ".text", ".rst", ""}
MAX_CHARACTERS = 5_000_000


@dataclass(frozen=True)
class Loaded:
    """A file's text with what it is called."""

    title: str
    media_type: str
    text: str


def load(name: str, content: bytes) -> Loaded:
    """The text of a file from its name and bytes.

    Raises Invalid for an unknown kind, binary or empty content, or more than 5 million characters.
    """
    suffix = Path(name).suffix.lower()
    if suffix not in MARKDOWN | TEXT:
        raise Invalid(f"{name}: files of kind {suffix} cannot be read yet.", "Ingest markdown (.md) or text (.txt).")
    text = _decode(name, content).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise Invalid(f"{name}: the file holds no text.")
    if len(text) > MAX_CHARACTERS:
        raise Invalid(f"{name}: {len(text)} characters, at most {MAX_CHARACTERS} are read.", "Split the file.")
    media_type = "text/markdown" if suffix in MARKDOWN else "text/plain"
    return Loaded(title=title_of(text, media_type, Path(name).stem), media_type=media_type, text=text)


def title_of(text: str, media_type: str, fallback: str) -> str:
    """The first heading of a markdown text, else the fallback."""
    if media_type == "text/markdown":
        for line in text.splitlines():
            if line.startswith("# "):
                return line[2:].strip() or fallback
    return fallback


def _decode(name: str, content: bytes) -> str:
    if b"\x00" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Invalid(f"{name}: the file is binary, expected text.")
    for encoding in ("utf-8-sig", "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Invalid(f"{name}: the text is neither UTF-8, UTF-16 nor Windows-1252.", "Save it as UTF-8.")
