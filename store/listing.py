"""What the command prints of the registry and the log: listings, and one row whole."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from sqlmodel import Session

from store import adapters, cycles, deployments, exchanges, staleness, transfer
from store.database import Database
from store.errors import NotFound
from store.models import Adapter, Cycle, Document, Exchange, Row

SHOWN = 500
"""Characters of a document's text that `show` prints."""


def list_adapters(options: argparse.Namespace, _: object, database: Database) -> None:
    """Print the registry, a line each or as JSON."""
    with database.read() as session:
        rows, serving = adapters.page(session), deployments.deployment(session)
    if options.json:
        print(json.dumps([{**_plain(row, "report"), "serving": row.id == serving.adapter} for row in rows]))
        return
    shown = {serving.adapter: "serves now", serving.canary: f"canary for {serving.share:.0%}"}
    for row in rows:
        said = row.verdict.get("verdict", "")
        print(f"{row.id:6} {row.state:18} {row.origin:10} {said:20} {shown.get(row.id, '')}")
    print(f"{len(rows)} adapters; {serving.adapter} serves.")


def list_cycles(options: argparse.Namespace, _: object, database: Database) -> None:
    """Print the cycles, a line each or as JSON."""
    with database.read() as session:
        rows = cycles.page(session)
    if options.json:
        print(json.dumps([_plain(row) for row in rows]))
        return
    for row in rows:
        print(f"{row.id}  {row.state:18} {row.outcome or row.step:20} {row.adapter_id or '':6} {row.created_at:%F %T}")
    print(f"{len(rows)} cycles.")


def list_exchanges(options: argparse.Namespace, _: object, database: Database) -> None:
    """Print the newest exchanges, a line each or as JSON."""
    with database.read() as session:
        rows = exchanges.page(session, limit=options.limit, task=options.task)
    if options.json:
        print(json.dumps([transfer.as_ratchet(row) for row in rows]))
        return
    for row in rows:
        task = row.label.task if row.label else "-"
        rating = (row.feedback.rating if row.feedback else None) or "-"
        print(f"{row.exchange.id}  {row.exchange.adapter:5} {task:26} {rating:5} {row.exchange.question[:60]!r}")
    print(f"{len(rows)} exchanges.")


def show(options: argparse.Namespace, _: object, database: Database) -> None:
    """Print an adapter, cycle, exchange or document as JSON; raises NotFound."""
    with database.read() as session:
        for table in (Adapter, Cycle, Exchange, Document):
            row = session.get(table, options.id)
            if row is not None:
                print(json.dumps(_shown(session, row), indent=1))
                return
    raise NotFound(f"nothing is called {options.id}.", "Give the id of an adapter, cycle, exchange or document.")


def _plain(row: Row, *without: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(row.model_dump_json(exclude=set(without)))
    return found


def _shown(session: Session, row: Row) -> dict[str, Any]:
    """A row with what is stale of it, or rests on it."""
    if isinstance(row, Document):
        return {**_plain(row, "text"), **_text(row.text), "resting": _resting(session, row.id)}
    if isinstance(row, Exchange):
        logged = exchanges.get(session, row.id)
        return {**transfer.as_ratchet(logged), "passages": logged.passages()}
    if isinstance(row, Adapter):
        found = staleness.trained_on(session, row.lineage)
        return {**_plain(row), "examples": found.examples, "stale_examples": found.stale, "stale_share": found.share}
    return _plain(row)


def _text(text: str) -> dict[str, Any]:
    return {"text": text if len(text) <= SHOWN else f"{text[:SHOWN]}…", "characters": len(text)}


def _resting(session: Session, document_id: str) -> dict[str, Any]:
    found = staleness.resting_on(session, document_id)
    return {
        "exchanges": [one.id for one in found.exchanges],
        "stale_exchanges": found.stale_exchanges,
        "examples": found.examples,
        "adapters": [asdict(one) for one in found.adapters],
    }
