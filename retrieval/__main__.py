"""Documents from the command line: ingest, search, list, remove, rebuild, verify.

python -m retrieval ingest docs/handbook
python -m retrieval search "how are adapters rolled back" -k 3
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bot.models import embedding_model
from configs.command_line import exit_status
from configs.settings import Settings, load_settings
from retrieval import commands
from retrieval.embedding import Embedder, Reranker
from retrieval.halves import half_encoder
from retrieval.index import Index
from retrieval.ingest import Counts, found_under, remove_vanished, watch
from retrieval.ingest import ingest as ingest_files
from retrieval.library import Library
from retrieval.loaders import Limits
from retrieval.ranking import DEFAULT
from retrieval.weights import Weights
from store import documents
from store.database import Database, open_database
from store.errors import Invalid, RatchetError, Unavailable

_LINE_SECONDS = 5.0


def library_of(settings: Settings, database: Database, *, cached: bool = False) -> tuple[Library, Index]:
    """The library and its index, as the settings say; `cached` to search through Chroma instead of exactly."""
    folder = embedding_model(settings.models.embedding)
    embedder = Embedder(folder, name=settings.models.embedding)
    index = Index(
        database,
        embedder,
        folder=settings.server.data / "index" if cached else None,
        server=settings.retrieval.chroma_url if cached else "",
        dense_weight=settings.retrieval.dense_weight,
        weights=Weights(database) if settings.retrieval.learn else lambda: DEFAULT,
        rerank=Reranker(settings.retrieval.reranker) if settings.retrieval.reranker else None,
    )
    library = Library(
        database,
        embedder,
        index,
        chunk_characters=settings.retrieval.chunk_characters,
        min_score=settings.retrieval.min_score,
        limits=Limits(
            file_bytes=settings.retrieval.max_file_mb * 1_000_000,
            pages=settings.retrieval.max_pages,
            seconds=settings.retrieval.parse_seconds,
        ),
        encode=half_encoder(folder),
    )
    return library, index


def ingest(library: Library, paths: list[Path], *, root: Path, quiet: bool = False) -> Counts:
    """Ingest files and folders, with a progress bar on a terminal and plain lines elsewhere."""
    found = found_under(paths)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    terminal = sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=quiet or not terminal, transient=True) as bar:
        task = bar.add_task("ingesting", total=len(found))
        said = time.monotonic()
        number = 0

        def done(name: str) -> None:
            nonlocal said, number
            number += 1
            bar.update(task, advance=1, description=Path(name).name[-30:])
            if not quiet and not terminal and time.monotonic() - said > _LINE_SECONDS:
                said = time.monotonic()
                print(f"ingesting: {number} of {len(found)} files", file=sys.stderr, flush=True)

        return ingest_files(library, found, root=root, done=done)


def report(counts: Counts) -> None:
    """Say what became of the files and why some were skipped."""
    for reason in counts.skipped:
        print(f"skipped: {reason}")
    for copy in counts.same:
        print(copy)
    parts = [f"{counts.new} new or changed", f"{counts.unchanged} unchanged"]
    parts += [f"{len(counts.same)} copies"] if counts.same else []
    parts += [f"{counts.removed} removed"] if counts.removed else []
    print(f"{', '.join(parts)}, {len(counts.skipped)} skipped.", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    options = _parser().parse_args(arguments)

    def run() -> None:
        settings = load_settings()
        options.run(options, settings, open_database(settings.database_url))

    return exit_status(run, RatchetError)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m retrieval", description=__doc__, formatter_class=raw)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, example: str, run: Any) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, epilog=f"example: python -m retrieval {example}")
        made.set_defaults(run=run)
        return made

    taking = command("ingest", "ingest docs/handbook notes.txt", _ingest)
    taking.add_argument("paths", nargs="+", type=Path)
    taking.add_argument("--watch", action="store_true", help="go on and follow changes until Ctrl-C")
    search = command("search", 'search "which port" -k 3', _search)
    search.add_argument("query")
    search.add_argument("-k", type=int, default=5, help="how many passages")
    search.add_argument("--document", help="only in this document: id or source")
    search.add_argument("--tag", help="only in documents with this tag")
    search.add_argument("--collection", help="only in documents of this collection")
    search.add_argument("--json", action="store_true")
    _add_learning(command)
    command("list", "list", _list).add_argument("--json", action="store_true")
    command("remove", "remove doc_1a2b", _remove).add_argument("document")
    command("rebuild", "rebuild", _rebuild)
    command("verify", "verify", _verify)
    return parser


def _ingest(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    from configs.settings import ROOT

    library, _ = library_of(settings, database)
    kept, removed = list[str](), list[str]()
    if options.watch:  # first, because a renamed file would else be taken for a copy of the one that goes
        folders = [path for path in options.paths if path.is_dir()]
        removed = remove_vanished(library, database, folders, root=ROOT, warn=kept.append)
    counts = ingest(library, options.paths, root=ROOT)
    counts.removed, counts.skipped = len(removed), [*kept, *counts.skipped]
    report(counts)
    if options.watch:
        print("watching for changes; Ctrl-C ends it.", flush=True)
        for counts in watch(library, database, options.paths, root=ROOT, stop=Event()):
            if counts.new or counts.removed or counts.skipped:
                report(counts)
        print("stopped watching.")


def _add_learning(command: Callable[[str, str, Any], argparse.ArgumentParser]) -> None:
    labelling = command("label", "label doc_1a2b --collection manuals --tag v2", _label)
    labelling.add_argument("document")
    labelling.add_argument("--collection", default="", help="empty takes it out of its collection")
    labelling.add_argument("--tag", action="append", default=[], help="may be repeated; replaces the tags it had")
    calibrating = command("calibrate", "calibrate examples/questions.jsonl --refuse 0.1", _calibrate)
    calibrating.add_argument("file", type=Path, help='JSON lines {"question", "document"}; no document: unanswerable')
    calibrating.add_argument("--refuse", type=float, default=0.1, help="share of answerable questions it may refuse")
    calibrating.add_argument("--json", action="store_true")
    command("learn", "learn", _learn).add_argument("--json", action="store_true")
    weighing = command("weights", 'weights approve r1 --comment "better on the new manuals"', _weights)
    weighing.add_argument("action", nargs="?", choices=["list", "approve", "reject", "rollback"], default="list")
    weighing.add_argument("version", nargs="?", default="")
    weighing.add_argument("--comment", default="")
    weighing.add_argument("--json", action="store_true")


def _search(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    library, index = library_of(settings, database)
    try:
        commands.search(options, library)
    finally:
        index.close()


def _label(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    commands.label(options, database)


def _calibrate(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    _, index = library_of(settings, database)
    try:
        commands.calibrate(options, index)
    finally:
        index.close()


def _learn(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    from scheduler.rank import learn  # the gate decides; the bot, which imports this module, does without it

    _, index = library_of(settings, database)
    try:
        row = learn(
            database,
            index.measured,
            passages=settings.retrieval.passages,
            min_score=settings.retrieval.min_score,
            margin=settings.gate.margin,
            min_cases=settings.gate.min_cases,
            seed=settings.training.seed,
            actor=commands.ACTOR,
        )
    finally:
        index.close()
    commands.learn(options, row)


def _weights(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    commands.weights(options, database)


def _list(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    with database.read() as session:
        rows = [
            {
                "id": d.id,
                "title": d.title,
                "source": d.source,
                "collection": d.collection,
                "tags": d.tags,
                "passages": count,
                "updated_at": d.updated_at.isoformat(),
            }
            for d, count in documents.present(session)
        ]
    if options.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['id']}  {row['passages']:4} passages  {row['source']}  {row['title']}")
    print(f"{len(rows)} documents.")


def _remove(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    print(f"removed {documents.remove(database, options.document).title}.")


def _rebuild(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    with _owned(settings, database) as (library, index):
        renewed = library.embed_anew()
        index.rebuild()
        counts = index.verify()
    anew = f" {renewed} documents of another embedding model were embedded anew." if renewed else ""
    print(f"rebuilt the index: {counts['index']} passages.{anew}")


def _verify(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    with _owned(settings, database) as (_, index):
        counts = index.verify()
    print(
        f"store {counts['store']}, index {counts['index']}, missing {counts['missing']}, extra {counts['extra']}, "
        f"passages that miss themselves {counts['missed']}."
    )
    if counts["missing"] or counts["extra"] or counts["missed"]:
        raise Invalid("index and store differ.", "Run `python -m retrieval rebuild`.")


@contextmanager
def _owned(settings: Settings, database: Database) -> Iterator[tuple[Library, Index]]:
    """The library and its index with Chroma's cache; raises Unavailable while another process has it."""
    library, index = library_of(settings, database, cached=True)
    try:
        if not index.owner:
            raise Unavailable("the index folder belongs to a running bot.", "Stop the bot; it also rebuilds by itself.")
        yield library, index
    finally:
        index.close()


if __name__ == "__main__":
    sys.exit(main())
