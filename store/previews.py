"""Blind previews: a candidate and what serves answer one question, and somebody chooses without knowing which is which.

They are no exchanges: nothing here is ever rated, curated or trained on.
"""

from collections import Counter
from typing import Any

from sqlmodel import Session, select

from store import audit, paging
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.models import Preview, now

LABELS = ("A", "B")
TIE = "tie"


def keep(database: Database, row: Preview) -> None:
    """Keep a preview that nobody has chosen in yet."""
    with database.write() as session:
        session.add(row)


def choose(database: Database, preview_id: str, *, choice: str, comment: str, actor: str) -> Preview:
    """Keep which answer somebody prefers; raises NotFound, Invalid for no such choice, Conflict the second time."""
    if choice not in (*LABELS, TIE):
        raise Invalid(f'the choice is "{choice}", expected "A", "B" or "tie".')
    with database.write() as session:
        row = session.get(Preview, preview_id)
        if row is None:
            raise NotFound(f"no preview {preview_id}.", "GET /v1/admin/previews lists them.")
        if row.choice is not None:
            raise Conflict(f'preview {preview_id} was decided already: "{row.choice}".', "Ask another question.")
        row.choice, row.comment, row.chosen_at = choice, comment, now()
        session.add(row)
        details: dict[str, Any] = {"preview": row.id, "preferred": preferred(row)}
        audit.record(
            session, actor=actor, action="preview.chosen", subject=row.adapter, comment=comment, details=details
        )
    return row


def preferred(row: Preview) -> str:
    """Whether the candidate or what served was preferred: `candidate`, `serving` or `tie`."""
    if row.choice not in LABELS:
        return TIE
    return "candidate" if row.answers[row.choice]["adapter"] == row.adapter else "serving"


def page(
    session: Session, *, limit: int = 50, before: str | None = None, adapter_id: str | None = None
) -> list[Preview]:
    """Previews, newest first, of one adapter or all; `before` is the id of the last one seen."""
    query = select(Preview)
    if adapter_id is not None:
        query = query.where(Preview.adapter == adapter_id)
    return list(session.exec(paging.newest(session, query, Preview, limit=limit, before=before)))


def tally(session: Session, adapter_id: str | None = None) -> dict[str, int]:
    """How often the candidate, what served, and neither was preferred, and how many nobody has decided."""
    rows = page(session, limit=10_000, adapter_id=adapter_id)
    counts = Counter("open" if row.choice is None else preferred(row) for row in rows)
    return {name: counts[name] for name in ("candidate", "serving", TIE, "open")}
