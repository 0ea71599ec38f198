"""What the taxonomy lacks at this moment, and how an admin makes it a task: a file beside the database, audited.

The user's own tasks file is never touched: adopted tasks are kept in `tasks.adopted.yaml` of the data folder, in the
same form. A task of that name in the user's file wins.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from scheduler.discovery import NAME, RESERVED, Discovered, as_text, discover
from scheduler.labelling import label_all
from scheduler.tasks import UNCLASSIFIED
from scheduler.trouble import newest
from scheduler.workbench import Workbench
from store import audit
from store.errors import Conflict, Invalid, NotFound

ADOPTED = "tasks.adopted.yaml"
NEWEST = 2_000
"""As many unclassified questions are clustered; the distances between them all are in memory."""
_HEAD = "# Tasks adopted from what people asked. Move them to your own tasks file at any time: the one there wins.\n"


def discovered_now(bench: Workbench) -> dict[str, Any]:
    """The proposed tasks, as a list with its text."""
    found, count = _found(bench)
    data = [one.to_json() for one in found]
    return {"data": data, "next": None, "unclassified": count, "text": as_text(found, count)}


def _found(bench: Workbench) -> tuple[list[Discovered], int]:
    label_all(bench)
    rows = [row for row in newest(bench, most=NEWEST, task=UNCLASSIFIED) if row.exchange.question.strip()]
    vectors = np.asarray(bench.encode([row.exchange.question for row in rows])) if rows else np.zeros((0, 1))
    return discover(rows, vectors, known=list(bench.recipes)), len(rows)


def adopt(
    bench: Workbench, found: str, *, name: str = "", description: str = "", comment: str, actor: str
) -> dict[str, Any]:
    """Make a proposed task a task, under its own or another name and description; returns what was kept.

    The taxonomy changes with it, so that everything is labelled anew. Raises NotFound for a proposal that there is not,
    Invalid for a name that cannot be used or an empty comment, Conflict for a name that is taken.
    """
    if not comment.strip():
        raise Invalid("the comment is empty.", "Say why this becomes a task.")
    proposals = {one.name: one for one in _found(bench)[0]}
    if found not in proposals:
        named = ", ".join(proposals) or "there is none"
        raise NotFound(f"no discovered task {found}.", f"Discovered now: {named}.")
    chosen = proposals[found]
    made = _entry(name.strip() or chosen.name, description.strip() or chosen.description, chosen)
    _keep(bench, made, comment=comment.strip(), actor=actor)
    return {**made, "file": ADOPTED, "text": f"{made['name']} is a task now, with {len(chosen.examples)} examples."}


def _entry(name: str, description: str, chosen: Discovered) -> dict[str, Any]:
    if not NAME.fullmatch(name) or name in RESERVED:
        hint = "Use 2 to 40 small letters, digits and underscores, beginning with a letter."
        raise Invalid(f'"{name}" cannot be the name of a task.', hint)
    return {"name": name, "description": description, "examples": list(chosen.examples)}


def _keep(bench: Workbench, made: dict[str, Any], *, comment: str, actor: str) -> None:
    """Write the file and the audit entry in one write transaction, so that two adopters take turns."""
    path = bench.data / ADOPTED
    with bench.database.write() as session:
        tasks = _adopted(path)
        if made["name"] in tasks or made["name"] in bench.recipes:
            raise Conflict(f"there is a task {made['name']} already.", "Give it another name.")
        tasks[made["name"]] = {"description": made["description"], "examples": made["examples"]}
        details = {"examples": len(made["examples"]), "file": ADOPTED}
        audit.record(
            session, actor=actor, action="task.adopted", subject=made["name"], comment=comment, details=details
        )
        _write(path, tasks)


def _adopted(path: Path) -> dict[str, Any]:
    try:
        kept = yaml.safe_load(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
        return dict((kept or {}).get("tasks") or {})
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise Invalid(f"{path.name} cannot be read: {error}.", "Correct it or move it away.") from error


def _write(path: Path, tasks: dict[str, Any]) -> None:
    """Replace the file as a whole, so that nobody reads half of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(_HEAD + yaml.safe_dump({"tasks": tasks}, sort_keys=False, allow_unicode=True, width=120))
        os.replace(fresh, path)
    except OSError as error:
        raise Invalid(f"{path.name} cannot be written: {error}.", "Make the data folder writable.") from error
