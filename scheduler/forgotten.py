"""What was deleted from the log goes from the files of cycles and from reports too.

Whoever deletes leaves a request (`store/requests.py`). It waits for a scheduler; one that died over it does it again.
"""

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from sqlmodel import col, select

from finetune.jobs import read_rows
from finetune.preferences import preferences, rows_for
from scheduler.dataset_files import PREFERENCES, PREFERRED, write_rows
from scheduler.workbench import Workbench
from store import adapters, requests
from store.models import Exchange

AT_ONCE = 500
REPORTS = ("candidate", "serving", "anchor")
_ID = re.compile(r'\{"id": "([^"]*)"')
_CASE = re.compile(r'"case_id":"([^"]*)"')


def follow(bench: Workbench) -> bool:
    """Do what was left to do; whether that was anything."""
    left = requests.to_forget(bench.database)
    if left:
        gone = {exchange_id for _, ids in left for exchange_id in ids}
        forget(bench.data / "cycles", gone)
        forget_answers(bench, bench.data / "cycles", _deleted(bench, list(gone)))
    for request_id, _ in left:
        requests.done(bench.database, request_id)
    return bool(left)


def forget(folder: Path, gone: Collection[str]) -> list[Path]:
    """Take the rows of these exchanges out of every file under a folder; returns the files that changed."""
    changed = [path for path in sorted(folder.rglob("*.jsonl")) if _without(path, gone)]
    for path in changed:
        if path.name == PREFERRED:
            _prefer_again(path.with_name(PREFERENCES), path)
    return [*changed, *(path for path in sorted(folder.rglob("evaluate-*.json")) if _unlabelled(path, gone))]


def forget_answers(bench: Workbench, folder: Path, gone: Collection[str]) -> None:
    """Take what was answered to these exchanges' questions out of reports, in files and in the registry."""
    if gone:
        for name in REPORTS:
            for path in folder.rglob(f"{name}*.json"):
                _unanswered(path, gone)
        adapters.forget_answers(bench.database, gone)


def forget_since(bench: Workbench, folder: Path, ids: Sequence[str]) -> None:
    """Take out of files and reports just written what was deleted since the log was read for them."""
    if gone := _deleted(bench, ids):
        forget(folder, gone)
        forget_answers(bench, folder, gone)


def _deleted(bench: Workbench, ids: Sequence[str]) -> set[str]:
    """Those of the exchanges that are not in the log any more."""
    known: set[str] = set()
    with bench.database.read() as session:
        for start in range(0, len(ids), AT_ONCE):
            known.update(session.exec(select(Exchange.id).where(col(Exchange.id).in_(ids[start : start + AT_ONCE]))))
    return set(ids) - known


def _without(path: Path, gone: Collection[str]) -> bool:
    with path.open() as file:
        if not any(_id(line) in gone for line in file):
            return False
    part = path.with_name(f"{path.name}.part")
    with path.open() as file, part.open("w") as kept:
        kept.writelines(line for line in file if _id(line) not in gone)
    part.replace(path)
    return True


def _id(line: str) -> str:
    found = _ID.match(line)
    return found.group(1) if found else ""


def _prefer_again(path: Path, examples: Path) -> None:
    """Preferences name no exchange: they are made again from the examples that are left."""
    paired = any("chosen" in row for row in read_rows(path))
    write_rows(path, rows_for("dpo" if paired else "kto", preferences(read_rows(examples))))


def _unlabelled(path: Path, gone: Collection[str]) -> bool:
    job = json.loads(path.read_text())
    kept = [row for row in job.get("labels", []) if row["id"] not in gone]
    if len(kept) == len(job.get("labels", [])):
        return False
    path.write_text(json.dumps({**job, "labels": kept}))
    return True


def _unanswered(path: Path, gone: Collection[str]) -> bool:
    text = path.read_text()
    if not any(case_id in gone for case_id in _CASE.findall(text)):
        return False
    report = json.loads(text)
    kept = [{**case, "answer": ""} if case["case_id"] in gone else case for case in report["cases"]]
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps({**report, "cases": kept}, sort_keys=True, separators=(",", ":")))
    part.replace(path)
    return True
