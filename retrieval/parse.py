"""A process of its own that turns one PDF, DOCX or HTML file into text: python -m retrieval.parse KIND < FILE

It gets the bytes on standard input and its limits as arguments, and writes one JSON document. A parser that crashes,
hangs or eats memory takes only this process with it; what it says on standard error is the reason.
"""

import argparse
import json
import re
import resource
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO

DOCX_STYLES = (
    "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => p:fresh\np[style-name='Code'] => pre:fresh"
)
UNSEEN_TAGS = ["script", "style", "template", "noscript", "nav", "svg", "iframe", "object", "form", "head"]
_UNSEEN_STYLE = re.compile(r"display:none|visibility:hidden|(?:font-size:0(?:px|em|rem|pt)?|opacity:0)(?:;|!|$)")
_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\f": "\n"}
)
PLAUSIBLE_RATIO = 100
ALWAYS_FINE = 20_000_000


class Refused(Exception):
    """The file is not read; the message says why."""


def pdf(content: bytes, options: argparse.Namespace) -> dict[str, object]:
    """The text of a PDF: its pages, a form feed between them."""
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(content))
    if reader.is_encrypted and not _opens_without_password(reader):
        raise Refused("the PDF is encrypted and needs a password")
    if len(reader.pages) > options.pages:
        raise Refused(f"the PDF has {len(reader.pages)} pages, at most {options.pages} are read")
    pages: list[str] = []
    for page in reader.pages:
        pages.append(page.extract_text().translate(_LIGATURES))
        _check_length(sum(map(len, pages)), options.characters)
    if not any(page.strip() for page in pages):
        raise Refused(f"the PDF has no text on {len(pages)} page(s); it may be scanned (run it through OCR first)")
    title = reader.metadata.title if reader.metadata else None
    return {"text": "\f".join(pages), "title": title or ""}


def _opens_without_password(reader: "object") -> bool:
    from pypdf.errors import DependencyError

    try:
        return bool(reader.decrypt(""))  # type: ignore[attr-defined]
    except DependencyError:
        return False


def docx(content: bytes, options: argparse.Namespace) -> dict[str, object]:
    """The text of a Word document as markdown; pictures are left out."""
    import mammoth

    _check_archive(content, options.bytes)
    pictures = mammoth.images.img_element(lambda image: {})
    made = mammoth.convert_to_html(BytesIO(content), style_map=DOCX_STYLES, convert_image=pictures)
    return html(made.value.encode(), options)


def _check_archive(content: bytes, most: int) -> None:
    """Refuse a zip archive that unpacks to far more than it is, or whose XML declares entities."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
        if total > most or (total > ALWAYS_FINE and total > PLAUSIBLE_RATIO * len(content)):
            raise Refused(f"the archive unpacks to {total:,} bytes from {len(content):,}: that is a zip bomb")
        for entry in archive.infolist():
            if entry.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in archive.read(entry):
                raise Refused(f"{entry.filename} declares XML entities, which no Word document does")


def html(content: bytes, options: argparse.Namespace) -> dict[str, object]:
    """The text of a web page as markdown: what a reader sees of its main part, without links and pictures."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(content, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in [*soup.find_all(UNSEEN_TAGS), *soup.find_all(_unseen)]:
        tag.decompose()
    articles = soup.find_all("article")
    part = soup.find("main") or (articles[0] if len(articles) == 1 else soup)
    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        strip=["a", "img"],
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
        table_infer_header=True,
        code_language_callback=_language,
    )
    text = converter.convert_soup(part)
    _check_length(len(text), options.characters)
    return {"text": text, "title": title}


def _unseen(tag: "object") -> bool:
    attributes: dict[str, object] = getattr(tag, "attrs", None) or {}
    style = re.sub(r"\s", "", str(attributes.get("style", ""))).lower()
    return "hidden" in attributes or _UNSEEN_STYLE.search(style) is not None


def _language(pre: "object") -> str:
    code = pre.find("code") if hasattr(pre, "find") else None
    classes = [*((code.get("class") if code else None) or []), *(getattr(pre, "attrs", {}).get("class") or [])]
    named = [str(one).removeprefix("language-") for one in classes if str(one).startswith("language-")]
    return named[0] if named else ""


def _check_length(characters: int, most: int) -> None:
    if characters > most:
        raise Refused(f"it holds more than {most:,} characters (split the file)")


KINDS: dict[str, Callable[[bytes, argparse.Namespace], dict[str, object]]] = {"pdf": pdf, "docx": docx, "html": html}


def main() -> int:
    """Read one file; 0 when its text is on standard output, 3 when it is refused."""
    parser = argparse.ArgumentParser(prog="python -m retrieval.parse", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--pages", type=int, default=2_000)
    parser.add_argument("--characters", type=int, default=5_000_000)
    parser.add_argument("--bytes", type=int, default=400_000_000)
    parser.add_argument("--memory", type=int, default=1_500_000_000)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (options.seconds, options.seconds))
    try:
        json.dump(KINDS[options.kind](sys.stdin.buffer.read(), options), sys.stdout)
    except Refused as reason:
        print(reason, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
