"""The adapter registry: versions, and the only place where an adapter's state changes.

Of files it compares digests alone; what is in them is checked by what loads an adapter. What serves is
`store/deployments.py`.
"""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from store import audit, paging
from store.database import Database
from store.digests import file_digest
from store.errors import Conflict, Invalid, NotFound
from store.models import Adapter, AuditEntry, now
from store.models import AdapterState as S

FOLDER = "adapters"
"""Where a data folder keeps the files of adapters."""
MANIFEST = "manifest.json"
"""In an adapter's folder: the digests of its files."""
FORGOTTEN = "answer_digest"
"""In a report's case: the SHA-256 of an answer that is not kept any more."""

ERASED = "it rests on what somebody said who was erased"
COULD_SERVE = (S.CANDIDATE, S.AWAITING_APPROVAL, S.RETIRED, S.ROLLED_BACK)
"""The states of an adapter that does not serve and yet may."""

ARROWS: dict[S, dict[S, str]] = {
    S.TRAINING: {S.CANDIDATE: "its folder was published with digests"},
    S.CANDIDATE: {S.AWAITING_APPROVAL: "the gate said promote", S.REJECTED: "the gate or an admin said no"},
    S.AWAITING_APPROVAL: {
        S.APPROVED: "an admin approved these digests",
        S.REJECTED: "an admin said no",
        S.SUPERSEDED: "a newer candidate passed the gate",
        S.EXPIRED: "nobody decided in time",
        S.CANDIDATE: "what is live changed since: it is evaluated again",
    },
    S.APPROVED: {
        S.CANARY: "a bot loaded it for a share of the conversations",
        S.LIVE: "a bot loaded it",
        S.ROLLED_BACK: "an admin took it back before a bot had loaded it",
        S.SUPERSEDED: "another adapter was approved before a bot had loaded it",
    },
    S.CANARY: {S.LIVE: "the watch or an admin completed it", S.ROLLED_BACK: "the watch or an admin took it back"},
    S.LIVE: {S.RETIRED: "a newer one went live", S.ROLLED_BACK: "the watch or an admin took it back"},
    S.RETIRED: {S.LIVE: "a rollback returned to it"},
    S.ROLLED_BACK: {S.LIVE: "an admin returned to it, which was live once"},
    S.REJECTED: {},
    S.SUPERSEDED: {},
    S.EXPIRED: {},
    S.QUARANTINED: {},
}
"""The allowed moves and why each happens; beside them, every state but `quarantined` may move to `quarantined`."""


def allowed(before: str, after: str) -> bool:
    """Whether an adapter may move from one state to another."""
    return after in ARROWS[S(before)] or (after == S.QUARANTINED and before != S.QUARANTINED)


def move(session: Session, adapter_id: str, after: S, *, actor: str, comment: str = "", **values: Any) -> Adapter:
    """Move an adapter to a state inside the caller's write transaction, with an audit entry.

    Raises NotFound for an unknown adapter and Conflict when the state machine has no such arrow.
    """
    row = get(session, adapter_id)
    if not allowed(row.state, after):
        raise Conflict(f"adapter {adapter_id} is {row.state}: it cannot become {after}.")
    audit.record(
        session, actor=actor, action=f"adapter.{after}", subject=adapter_id, comment=comment, details={"was": row.state}
    )
    row.state = after
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    return row


def get(session: Session, adapter_id: str) -> Adapter:
    """One adapter; raises NotFound."""
    row = session.get(Adapter, adapter_id)
    if row is None:
        raise NotFound(f"no adapter {adapter_id}.", "`python -m store adapters` lists them.")
    return row


def rests_on_erased(row: Adapter) -> bool:
    """Whether an adapter was trained on what somebody said who was erased since."""
    return bool(row.lineage.get("erased"))


def once_live(session: Session, ids: Collection[str]) -> frozenset[str]:
    """Those of some adapters that answered everybody once, by the audit record: no canary alone, no mere approval."""
    query = select(AuditEntry.subject).where(AuditEntry.action == f"adapter.{S.LIVE}")
    return frozenset(session.exec(query.where(col(AuditEntry.subject).in_(ids))))


def place(row: Adapter, data: Path) -> Path:
    """The folder of an adapter's files: in this data folder, which may have been moved or restored, else as entered."""
    here = data / FOLDER / Path(row.folder).name
    return here if row.folder and here.is_dir() else Path(row.folder)


def altered(folder: Path, digest: str) -> str:
    """What of an adapter's folder is not as it was published, as a sentence; empty where every file is.

    `digest` is the manifest's SHA-256 as the registry has it. Raises OSError where a file is there and cannot be read:
    `unfit` says that too.
    """
    try:
        written = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return f"the adapter folder {folder.name} has no {MANIFEST}: it was never finished, or is not there."
    if digest and hashlib.sha256(written).hexdigest() != digest:
        return f"the manifest of {folder.name} does not match the digest in the registry."
    try:
        files = json.loads(written)["files"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the {MANIFEST} of adapter {folder.name} cannot be read: it names no files with their digests."
    for name, published in files:
        if _digest(folder / name) != published:
            return f"{name} of adapter {folder.name} is missing or altered since it was published."
    return ""


def unfit(row: Adapter, data: Path) -> str:
    """Why an adapter's files are none to decide on, as a sentence: altered, or not to be read now; empty if they fit.

    They fit where none are entered.
    """
    try:
        return altered(place(row, data), row.digest) if row.folder else ""
    except OSError as error:
        return f"the files of adapter {Path(row.folder).name} cannot be read: {error.strerror or error}."


def files_fit(row: Adapter, data: Path) -> bool | None:
    """Whether an adapter's files are the published ones; None where none are entered, or where nothing rests on them.

    That is where its folder went after it came to a state that no arrow leaves: `scheduler/tidying.py` deletes such.
    """
    ended = not ARROWS[S(row.state)]
    if not row.folder or (ended and not place(row, data).exists()):
        return None
    return not unfit(row, data)


def _digest(path: Path) -> str | None:
    try:
        return file_digest(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def page(session: Session, *, limit: int = 1_000, before: str | None = None, state: str | None = None) -> list[Adapter]:
    """Adapters, newest first, of one state or all; `before` is the id of the last one seen."""
    query = select(Adapter)
    if state is not None:
        query = query.where(Adapter.state == state)
    return list(session.exec(paging.newest(session, query, Adapter, limit=limit, before=before)))


def create(database: Database, *, actor: str, origin: str = "trained", **values: Any) -> Adapter:
    """Enter a new adapter version as `training`; versions are numbered v1, v2, …"""
    with database.write() as session:
        taken = [int(i[1:]) for i in session.exec(select(Adapter.id)) if i[1:].isdigit()]
        row = Adapter(id=f"v{max(taken, default=0) + 1}", origin=origin, **values)
        session.add(row)
        audit.record(session, actor=actor, action="adapter.training", subject=row.id, details={"origin": origin})
    return row


def report_digest(report: dict[str, Any]) -> str:
    """The SHA-256 of an evaluation report's canonical JSON, in which each answer stands by its own SHA-256.

    So a report is still the one that was signed after answers of it were forgotten.
    """
    sealed = {name: {**part, "cases": [_sealed(one) for one in part["cases"]]} for name, part in _sides(report).items()}
    return hashlib.sha256(json.dumps(report | sealed, sort_keys=True).encode()).hexdigest()


def _sides(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The parts of a report that hold cases: those of the candidate, what served and the anchor."""
    return {name: part for name, part in report.items() if isinstance(part, dict) and "cases" in part}


def _sealed(case: dict[str, Any]) -> dict[str, Any]:
    said = case.get("answer", "")
    digest = case.get(FORGOTTEN, "") if not said else ""
    return {**case, FORGOTTEN: digest or hashlib.sha256(said.encode()).hexdigest(), "answer": ""}


def forget_answers(database: Database, gone: Collection[str]) -> list[str]:
    """Take what was answered to these exchanges' questions out of all reports; returns the adapters it concerned.

    Scores stay, and the digest of each answer in its place, so that the signed digest of the report still fits.
    """
    with database.read() as session:
        ids = session.exec(select(Adapter.id)).all()
    found = []
    for adapter_id in ids:
        with database.read() as session:
            report = get(session, adapter_id).report
        if any(case.get("case_id") in gone for part in _sides(report).values() for case in part["cases"]):
            found.append(adapter_id)
            with database.write() as session:
                row = get(session, adapter_id)
                row.report = _without(row.report, gone)
                session.add(row)
    return found


def _without(report: dict[str, Any], gone: Collection[str]) -> dict[str, Any]:
    def left(case: dict[str, Any]) -> dict[str, Any]:
        return _sealed(case) if case.get("case_id") in gone else case

    sides = _sides(report)
    return report | {name: {**part, "cases": [left(one) for one in part["cases"]]} for name, part in sides.items()}


def reject(database: Database, adapter_id: str, *, actor: str, comment: str) -> Adapter:
    """Refuse a candidate or an awaiting adapter; raises Invalid without a comment, Conflict in any other state."""
    need_comment(comment, "rejecting")
    with database.write() as session:
        return move(session, adapter_id, S.REJECTED, actor=actor, comment=comment, decided_at=now())


def need_comment(comment: str, doing: str) -> None:
    """Raises Invalid for a decision without a comment."""
    if not comment.strip():
        raise Invalid(f"{doing} an adapter needs a comment that says why.", 'Add --comment "…" or a "comment" field.')
