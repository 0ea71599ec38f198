"""Files and folders into the library, once or for as long as they are watched; it reports through callables.

A file is one transaction, so that stopping at any moment leaves a consistent store.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from watchfiles import watch as changes_in

from retrieval import files
from retrieval.library import Library
from store import documents
from store.database import Database
from store.errors import Invalid, TooLarge

Say = Callable[[str], None]


@dataclass
class Counts:
    """What became of the files: how many were new or changed, unchanged, copies of others, removed, skipped and why."""

    files: int = 0
    new: int = 0
    unchanged: int = 0
    removed: int = 0
    same: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """A file to be ingested: its path and the folder that it was found in, which its links may not leave."""

    path: Path
    inside: Path | None


def found_under(paths: list[Path]) -> list[Found]:
    """The files of files and folders; raises Invalid for a path that does not exist."""
    return [Found(file, path if path.is_dir() else None) for path in paths for file in files.files_under([path])]


def name_of(file: Path, root: Path) -> str:
    """A file's name in the library: relative to the checkout where it lies inside, so that it is the same elsewhere."""
    full = file.parent.resolve() / file.name
    return str(full.relative_to(root)) if full.is_relative_to(root) else str(full)


def ingest(library: Library, found: list[Found], *, root: Path, done: Say) -> Counts:
    """Ingest files, calling `done` with each name; one that cannot be read is skipped with its reason.

    A file of the same text as another one is looked at again when that one becomes another text after it.
    """
    counts, todo = Counts(files=len(found)), deque(found)
    copies: dict[str, list[Found]] = {}
    while todo:
        file = todo.popleft()
        name = name_of(file.path, root)
        if not _is_text(name):
            counts.skipped.append(f"{name!a}: the name cannot be written as text: rename it.")
            continue
        try:
            content = files.read(file.path, inside=file.inside, max_bytes=library.limits.file_bytes)
            if file.inside is not None and library.removed(name, content):
                raise Invalid(f"{name}: somebody removed it. Ingest it by its own name to bring it back.")
            document, created = library.add_file(name=name, content=content)
        except (Invalid, TooLarge) as error:
            counts.skipped.append(error.message)
        else:
            if document.source != name:
                copies.setdefault(document.source, []).append(file)
            elif created:
                todo.extend(copies.pop(name, ()))
            counts.new += created
            counts.unchanged += not created and document.source == name
        done(name)
    shared = ((source, file) for source, some in copies.items() for file in some)
    counts.same = [f"{name_of(file.path, root)}: the same as {source}" for source, file in shared]
    return counts


def _is_text(name: str) -> bool:
    """Whether a name can be written: bytes that are no UTF-8 come as lone surrogates, which cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def remove_vanished(
    library: Library, database: Database, folders: list[Path], *, root: Path, warn: Say = lambda _: None
) -> list[str]:
    """Remove the documents of files that are no longer in the folders; their names.

    Where several files are gone with everything else in their folder, or with it, its documents stay and `warn` hears
    of it: so does a share look that is not mounted.
    """
    removed: list[str] = []
    for folder in folders:
        prefix = name_of(folder.resolve(), root)
        if prefix == ".":
            continue
        with database.read() as session:
            known = documents.present_under(session, f"{prefix}/")
        if len(known) > 1 and not (folder.is_dir() and any(folder.iterdir())):
            warn(f"{prefix}: nothing is there. Its {len(known)} documents stay: is it mounted? Else remove them by id.")
            continue
        for document in known:
            if not (root / document.source).exists():
                library.remove(document.id, vanished=True)
                removed.append(document.source)
    return removed


def watch(
    library: Library, database: Database, paths: list[Path], *, root: Path, stop: Event, settled_ms: int = 1_000
) -> Iterator[Counts]:
    """After each change under the paths, what it led to; ends when `stop` is set."""
    folders = [path for path in paths if path.is_dir()]
    for _ in changes_in(*paths, stop_event=stop, debounce=settled_ms, raise_interrupt=False):
        kept: list[str] = []
        removed = remove_vanished(library, database, folders, root=root, warn=kept.append)
        counts = ingest(library, found_under([p for p in paths if p.exists()]), root=root, done=lambda name: None)
        counts.removed, counts.skipped = len(removed), [*kept, *counts.skipped]
        yield counts
