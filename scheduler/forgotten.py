"""What was deleted from the log goes from the files of cycles too, and what is old: datasets, what children were told.

Whoever deletes leaves a request (`store/requests.py`). It waits for a scheduler; one that died over it does it again.
"""

import json
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from sqlmodel import col, select

from finetune.jobs import read_rows
from finetune.preferences import preferences, rows_for
from scheduler.dataset_files import PREFERENCES, PREFERRED, write_rows
from scheduler.steps import folder as folder_of
from scheduler.workbench import Workbench
from store import requests
from store.models import Cycle, CycleState, Exchange

AT_ONCE = 500
_ID = re.compile(r'\{"id": "([^"]*)"')


def follow(bench: Workbench) -> bool:
    """Do what was left to do; whether that was anything."""
    left = requests.to_forget(bench.database)
    if left:
        forget(bench.data / "cycles", {exchange_id for _, gone in left for exchange_id in gone})
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


def forget_since(bench: Workbench, folder: Path, ids: Sequence[str]) -> None:
    """Take out of files just written what was deleted since the log was read for them."""
    known: set[str] = set()
    with bench.database.read() as session:
        for start in range(0, len(ids), AT_ONCE):
            known.update(session.exec(select(Exchange.id).where(col(Exchange.id).in_(ids[start : start + AT_ONCE]))))
    if gone := set(ids) - known:
        forget(folder, gone)


def forget_old(bench: Workbench) -> None:
    """Delete the datasets and checkpoints of all but the newest ended cycles; their funnels and reports stay."""
    if not bench.keep_datasets:
        return
    ended = col(Cycle.state).in_([CycleState.DONE, CycleState.FAILED, CycleState.CANCELLED])
    with bench.database.read() as session:
        newest = select(Cycle.id).where(ended).order_by(col(Cycle.created_at).desc())
        old = session.exec(newest.offset(bench.keep_datasets)).all()
    for cycle_id in old:
        for path in folder_of(bench, cycle_id).rglob("*.jsonl"):
            path.unlink()
        shutil.rmtree(folder_of(bench, cycle_id) / "checkpoints", ignore_errors=True)


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
