"""Whom candidates are held against: what serves, the anchor, and what of their answers is known already."""

import json
from pathlib import Path
from typing import Any

from sqlmodel import Session, and_, col, func, or_, select

from finetune import card
from scheduler.workbench import Workbench
from store import adapters
from store.models import BASE, Adapter, AuditEntry
from store.models import AdapterState as S


def side_of(bench: Workbench, adapter_id: str, row: Adapter | None) -> dict[str, str]:
    """What the evaluator is told of a side; the base has an id only."""
    if row is None:
        return {"id": BASE}
    return {"id": adapter_id, "folder": str(adapters.place(row, bench.data)), "digest": row.digest}


def anchor_of(bench: Workbench, session: Session) -> Adapter | None:
    """What candidates are held against for ever: this base model's first adapter that everybody got, else the base.

    One that made way for another stays it, whatever was rolled back, or returned, since; one that was taken back before
    is none, and neither is a canary.
    """
    once = select(AuditEntry.subject).where(AuditEntry.action == f"adapter.{S.RETIRED}")
    stands = or_(
        col(Adapter.state).in_([S.LIVE, S.RETIRED]),
        and_(Adapter.state == S.ROLLED_BACK, col(Adapter.id).in_(once)),
    )
    query = select(Adapter).where(Adapter.origin == "trained", stands)
    base = bench.base_digest()
    rows = [row for row in session.exec(query) if card.base_of(adapters.place(row, bench.data)) == base]
    live = select(AuditEntry.subject, func.min(AuditEntry.id)).where(AuditEntry.action == f"adapter.{S.LIVE}")
    first = dict(session.exec(live.group_by(col(AuditEntry.subject))).all())
    return min(rows, key=lambda row: first.get(row.id) or 0, default=None)


def known_answers(bench: Workbench, anchor: Adapter | None) -> str:
    """The newest report of the anchor that an earlier cycle made: its answers to the same cases are reused.

    It must have answered on the same base model, and as long as answers may be now.
    """
    wanted = {"base_digest": bench.base_digest(), "max_tokens": bench.answer_tokens}
    found = sorted(bench.data.glob("cycles/*/evaluation-*/*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found:
        if path.name not in ("anchor.json", "serving.json"):
            continue
        job = _read(path.parent.with_name(path.parent.name.replace("evaluation", "evaluate")).with_suffix(".json"))
        same = all(job.get(name) == value for name, value in wanted.items())
        if same and _read(path).get("model") == (anchor.id if anchor else BASE):
            return str(path)
    return ""


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}
