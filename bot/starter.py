"""The starter adapter: a fresh store begins with it, so that the first answers already cite and decline.

It is trained from the handbook alone (`make starter`) and is entered once, as approved. Going back to the base is a
rollback like any other. A store that has served anything is left alone.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from store import deployments
from store.database import Database
from store.digests import file_digest

MANIFEST = "manifest.json"


def install(database: Database, folder: Path, *, data: Path, base_model: str, base_digest: Callable[[], str]) -> bool:
    """Copy the starter into the data folder and deploy it in a fresh store; whether that was done.

    Nothing is done where there is no starter, or where it belongs to another base model; `base_digest` reads the whole
    model, so it is asked for only in a fresh store.
    """
    manifest = folder / MANIFEST
    with database.read() as session:
        if not manifest.is_file() or not deployments.untouched(session):
            return False
    if json.loads(manifest.read_text())["base_digest"] != base_digest():
        return False
    digest = file_digest(manifest)
    target = data.resolve() / "adapters" / f"starter-{digest[:12]}"
    _copy(folder, target)
    return deployments.begin_with(database, folder=str(target), digest=digest, base_model=base_model)


def _copy(folder: Path, target: Path) -> None:
    """Copy a folder so that whoever finds `target` finds it whole, also when another process does the same."""
    if target.exists():
        return
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.copytree(folder, part)
    try:
        part.rename(target)
    except OSError:
        shutil.rmtree(part)
        if not target.exists():
            raise
