"""The commands that search, label and learn; `__main__` parses their arguments and opens what they work on."""

import argparse
import json
from pathlib import Path
from typing import Any

from retrieval import learning
from retrieval.index import Index
from retrieval.library import Library
from store import documents, rankings
from store.database import Database
from store.documents import Filter
from store.errors import Invalid
from store.lines import text_lines
from store.models import Ranking

ACTOR = "command"


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
        rows = [json.loads(line) for _, line in text_lines(file)]
    except ValueError as error:
        raise Invalid(f"{file} cannot be read: {error}.", _FORM) from error
    if not all(isinstance(row, dict) and isinstance(row.get("question"), str) for row in rows):
        raise Invalid(f"{file}: a line has no question.", _FORM)
    return rows


def learn(options: argparse.Namespace, row: Ranking) -> None:
    """Print what was learned and what the gate said."""
    print(json.dumps(plain(row)) if options.json else "\n".join([_described(row), *row.verdict["reasons"]]))


def weights(options: argparse.Namespace, database: Database) -> None:
    """List the learned weights, approve or reject some, or go back."""
    if options.action in ("approve", "reject") and not options.version:
        raise Invalid(f"name the weights to {options.action}.", "`python -m retrieval weights` lists them.")
    if options.action == "approve":
        print(f"{rankings.approve(database, options.version, actor=ACTOR, comment=options.comment).id} is in force.")
    elif options.action == "reject":
        print(f"{rankings.reject(database, options.version, actor=ACTOR, comment=options.comment).id} is rejected.")
    elif options.action == "rollback":
        before = rankings.rollback(database, actor=ACTOR, comment=options.comment)
        print(f"{before or rankings.DEFAULT} is in force.")
    else:
        _list(options, database)


def _list(options: argparse.Namespace, database: Database) -> None:
    with database.read() as session:
        rows, current = rankings.page(session), rankings.in_force(session)
    if options.json:
        print(json.dumps([plain(row) for row in rows]))
        return
    print("\n".join(map(_described, rows)) or "nothing was learned yet.")
    print(f"in force: {current.id if current else rankings.DEFAULT}.")


def plain(row: Ranking) -> dict[str, Any]:
    """A row as plain JSON."""
    content: dict[str, Any] = row.model_dump(mode="json")
    return content


def _described(row: Ranking) -> str:
    old, new, low, high = row.metrics["right_passage_first"]
    return (
        f"{row.id}  {row.state}  {row.verdict['verdict']}: R@1 {old:.3f} -> {new:.3f}, gain {new - old:.3f} "
        f"({low:.3f} to {high:.3f}), {row.metrics['questions']} questions on {row.metrics['documents']} documents"
    )
