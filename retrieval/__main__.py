"""Documents from the command line: ingest, search, list, remove, rebuild, verify.

python -m retrieval ingest docs/handbook
python -m retrieval search "how are adapters rolled back" -k 3
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bot.models import embedding_model
from configs.settings import Settings, SettingsError, load_settings
from retrieval.embedding import Embedder
from retrieval.index import Index
from retrieval.library import Library, files_under
from store import documents
from store.database import Database, open_database
from store.errors import Invalid, RatchetError, Unavailable


def library_of(settings: Settings, database: Database) -> tuple[Library, Index]:
    """The library and its index, as the settings say."""
    embedder = Embedder(embedding_model(settings.models.embedding), name=settings.models.embedding)
    index = Index(
        database,
        embedder,
        folder=settings.server.data / "index",
        dense_weight=settings.retrieval.dense_weight,
    )
    library = Library(
        database,
        embedder,
        index,
        chunk_characters=settings.retrieval.chunk_characters,
        min_score=settings.retrieval.min_score,
    )
    return library, index


def ingest(library: Library, paths: list[Path], *, root: Path, quiet: bool = False) -> dict[str, Any]:
    """Ingest files and folders with a progress bar; a file that cannot be read is skipped with its reason."""
    files = list(files_under(paths))
    counts: dict[str, Any] = {"files": len(files), "new": 0, "unchanged": 0, "skipped": []}
    columns = (TextColumn("ingesting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=quiet or not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("ingesting", total=len(files))
        for file in files:
            try:
                _, created = library.add_file(name=_name(file, root), content=file.read_bytes())
                counts["new" if created else "unchanged"] += 1
            except Invalid as error:
                counts["skipped"].append(error.message)
            bar.advance(task)
    return counts


def _name(file: Path, root: Path) -> str:
    """A file's name in the library: relative to the checkout where it lies inside, so that it is the same elsewhere."""
    full = file.resolve()
    return str(full.relative_to(root)) if full.is_relative_to(root) else str(full)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        database = open_database(settings.database_url)
        options.run(options, settings, database)
    except (RatchetError, SettingsError) as error:
        print(f"{error} {getattr(error, 'hint', '')}".strip(), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m retrieval", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, example: str, run: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(name, epilog=f"example: python -m retrieval {example}")
        made.set_defaults(run=run)
        return made

    command("ingest", "ingest docs/handbook notes.txt", _ingest).add_argument("paths", nargs="+", type=Path)
    search = command("search", 'search "which port" -k 3', _search)
    search.add_argument("query")
    search.add_argument("-k", type=int, default=5, help="how many passages")
    search.add_argument("--json", action="store_true")
    command("list", "list", _list).add_argument("--json", action="store_true")
    command("remove", "remove doc_1a2b", _remove).add_argument("document")
    command("rebuild", "rebuild", _rebuild)
    command("verify", "verify", _verify)
    return parser


def _ingest(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    from configs.settings import ROOT

    library, index = library_of(settings, database)
    counts = ingest(library, options.paths, root=ROOT)
    index.refresh()
    index.close()
    for reason in counts["skipped"]:
        print(f"skipped: {reason}")
    print(f"{counts['new']} new or changed, {counts['unchanged']} unchanged, {len(counts['skipped'])} skipped.")


def _search(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    if options.k < 1 or not options.query.strip():
        raise Invalid("the query is empty or -k is below 1.", 'Try: python -m retrieval search "which port" -k 3')
    library, index = library_of(settings, database)
    found = library.search(options.query, options.k)
    index.close()
    if options.json:
        print(json.dumps(found))
        return
    for passage in found:
        print(f"[{passage['n']}] {passage['score']:.3f}  {passage['title']}\n    {passage['text'][:300]}\n")
    if not found:
        print("nothing relevant was found.")


def _list(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    with database.read() as session:
        rows = [
            {
                "id": d.id,
                "title": d.title,
                "source": d.source,
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
    folder = settings.server.data / "index"
    _, index = library_of(settings, database)
    if not index.owner:
        raise Unavailable("the index folder belongs to a running bot.", "Stop the bot; it also rebuilds by itself.")
    (folder / "clean.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "chroma", ignore_errors=True)
    counts = index.verify()
    index.close()
    print(f"rebuilt the index: {counts['index']} passages.")


def _verify(options: argparse.Namespace, settings: Settings, database: Database) -> None:
    _, index = library_of(settings, database)
    counts = index.verify()
    index.close()
    if not counts["owner"]:
        raise Unavailable("the index folder belongs to a running bot.", "Stop the bot and verify again.")
    print(f"store {counts['store']}, index {counts['index']}, passages that miss themselves {counts['missed']}.")
    if counts["store"] != counts["index"] or counts["missed"]:
        raise Invalid("index and store differ.", "Run `python -m retrieval rebuild`.")


if __name__ == "__main__":
    sys.exit(main())
