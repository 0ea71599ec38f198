"""The commands that search, label and learn; `__main__` parses their arguments and opens what they work on."""

import argparse
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrieval import learning
from retrieval.index import Index
from retrieval.library import Library
from retrieval.versions import Version, Versions
from store import documents, exchanges
from store.database import Database
from store.documents import Filter
from store.errors import Invalid


def search(options: argparse.Namespace, library: Library) -> None:
    """Print the passages for a query, each with what made its score."""
    if options.k < 1 or not options.query.strip():
        raise Invalid("the query is empty or -k is below 1.", 'Try: python -m retrieval search "which port" -k 3')
    chosen = Filter(document=options.document, tag=options.tag, collection=options.collection)
    found = library.search(options.query, options.k, chosen)
    if options.json:
        print(json.dumps(found))
        return
    for passage in found:
        print(f"[{passage['n']}] {passage['score']:.3f}  {passage['title']}\n    {passage['text'][:300]}")
        parts = (f"{name} {value:.2f}" for name, value in passage["explain"].items() if name != "rank")
        print(f"    {', '.join(parts)}\n")
    if not found:
        print("nothing relevant was found.")


def label(options: argparse.Namespace, database: Database) -> None:
    """Put a document into a collection and give it tags."""
    kept = documents.label(database, options.document, collection=options.collection, tags=options.tag)
    print(f"{kept.title}: collection {kept.collection or '(none)'}, tags {', '.join(kept.tags) or '(none)'}.")


def calibrate(options: argparse.Namespace, index: Index) -> None:
    """Print the cut-off that refuses a share of the file's questions which have an answer, and what else it refuses."""
    rows = _questions(options.file)
    best: dict[bool, list[float]] = {True: [], False: []}
    for row in rows:
        hits = index.search(row["question"], 1)
        best[bool(row.get("document"))].append(hits[0].score if hits else 0.0)
    cut = learning.cutoff(best[True], false_refusals=options.refuse)
    refused = sum(score < cut for score in best[False])
    report = {
        "min_score": cut,
        "false_refusals": options.refuse,
        "answerable": len(best[True]),
        "unanswerable": len(best[False]),
        "unanswerable_refused": refused,
    }
    if options.json:
        print(json.dumps(report))
        return
    print(f"min_score {cut}: refuses {options.refuse:.0%} of {len(best[True])} questions that have an answer")
    print(f"and {refused} of {len(best[False])} that have none. Set it as retrieval.min_score.")


_FORM = 'One JSON object a line: {"question", "document"}.'


def _questions(file: Path) -> list[dict[str, Any]]:
    """Rows of `question` and `document`, which is empty where nothing answers; raises Invalid."""
    try:
        rows = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise Invalid(
            f"{file} cannot be read: {error}.", 'One JSON object a line: {"question", "document"}.'
        ) from error
    if not all(isinstance(row, dict) and isinstance(row.get("question"), str) for row in rows):
        raise Invalid(f"{file}: a line has no question.", _FORM)
    return rows


def learn(options: argparse.Namespace, database: Database, index: Index, versions: Versions) -> None:
    """Fit weights on what was rated well or corrected, judge them and keep them as a candidate."""
    with database.read() as session:
        logged = [row for row in map(learning.answered_by, exchanges.logged(session)) if row is not None]
    pairs = learning.pairs_of(logged, index.measured)
    version = learning.learn(pairs, inforce=versions.current(), now=datetime.now(UTC))
    versions.keep(version)
    print(json.dumps(asdict(version)) if options.json else _described(version))


def weights(options: argparse.Namespace, versions: Versions) -> None:
    """List the versions, approve one or go back."""
    if options.action == "approve":
        if not options.version:
            raise Invalid("which version is to be approved?", "`python -m retrieval weights` lists them.")
        print(f"{versions.approve(options.version, comment=options.comment).id} is in force.")
    elif options.action == "rollback":
        print(f"{versions.rollback(comment=options.comment) or 'the default'} is in force.")
    elif options.json:
        print(json.dumps([asdict(version) for version in versions.all()]))
    else:
        inforce = versions.inforce()
        print("\n".join(map(_described, versions.all())))
        print(f"in force: {inforce.id if inforce else 'the default'}.")


def _described(version: Version) -> str:
    mean, low, high = version.metrics["gain"]
    return (
        f"{version.id}  {version.state}  {version.metrics['verdict']}: R@1 {version.metrics['r1_in_force']:.3f} -> "
        f"{version.metrics['r1_learned']:.3f}, gain {mean:.3f} ({low:.3f} to {high:.3f}), "
        f"{version.metrics['questions']} questions on {version.metrics['documents']} documents"
    )
