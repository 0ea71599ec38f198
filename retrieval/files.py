"""Files on disk to bytes: walks folders and opens files that may be traps (links, devices, pipes, giants)."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from store.errors import Invalid, TooLarge


def files_under(paths: list[Path]) -> Iterator[Path]:
    """What lies in files and folders, in a stable order; hidden files are passed over, links to folders not followed.

    Raises Invalid for a path that does not exist.
    """
    for path in paths:
        if not path.exists():
            raise Invalid(f"{path} does not exist.")
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            yield from (Path(folder) / name for name in sorted([*names, *links]) if not name.startswith("."))


def read(path: Path, *, inside: Path | None, max_bytes: int) -> bytes:
    """The content of a regular file; a link must stay `inside` the folder that was named.

    Raises Invalid for anything that is not a readable regular file, TooLarge before reading more than `max_bytes`.
    """
    if path.is_symlink() and inside is not None and not _target(path).is_relative_to(inside.resolve()):
        raise Invalid(f"{path}: the link leads out of the folder.", "Name its target to ingest it.")
    try:
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):
            raise Invalid(f"{path}: it is {_what(kind.st_mode)}, expected a file.")
        if kind.st_size > max_bytes:
            raise TooLarge(f"{path}: {kind.st_size / 1e6:,.1f} MB, at most {max_bytes / 1e6:,.1f} MB are read.")
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as error:
        raise Invalid(f"{path}: it cannot be opened ({error.strerror}).") from error
    if len(content) > max_bytes:
        raise TooLarge(f"{path}: it is larger than {max_bytes / 1e6:,.1f} MB.")
    return content


def _target(link: Path) -> Path:
    try:
        return link.resolve()
    except (RuntimeError, OSError) as error:  # a link to itself, in Python's own words
        raise Invalid(f"{link}: the link leads to itself.", "Remove it.") from error


def _what(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a folder")
