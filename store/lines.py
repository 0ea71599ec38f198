"""Text files that people hand over, line by line."""

from collections.abc import Iterator
from pathlib import Path

from store.errors import Invalid, NotFound


def all_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, without the mark that some editors begin it with; raises NotFound or Invalid."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}.", "Save it as UTF-8.") from error
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror or error}.") from error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, with their numbers from 1; raises as `all_lines`."""
    return ((number, line) for number, line in enumerate(all_lines(path), start=1) if line.strip())
