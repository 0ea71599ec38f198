"""Versions of learned weights: JSON files in a folder, candidates until a person approves.

The file `approved.json` names the one in force. It knows how they are kept and decided on, not how they are fitted.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retrieval import ranking
from store.errors import Conflict, Invalid, NotFound


@dataclass(frozen=True)
class Version:
    """Fitted weights, what they are worth, and what was decided about them: candidate, approved or retired."""

    id: str
    state: str
    weights: dict[str, float]
    metrics: dict[str, Any]
    created_at: str
    digest: str = ""
    comment: str = ""
    previous: str = ""
    decided: list[str] = field(default_factory=list)


class Versions:
    """The versions in a folder; safe to read while another process approves."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: tuple[int, Mapping[str, float]] = (-1, ranking.DEFAULT)

    def current(self) -> Mapping[str, float]:
        """The weights in force; looks at the file's time only, so it may be asked for each search."""
        try:
            stamp = (self._folder / "approved.json").stat().st_mtime_ns
        except FileNotFoundError:
            return ranking.DEFAULT
        if stamp != self._seen[0]:
            inforce = self.inforce()
            self._seen = (stamp, inforce.weights if inforce else ranking.DEFAULT)
        return self._seen[1]

    def inforce(self) -> Version | None:
        """The approved version, or None while the default is in force."""
        pointer = self._folder / "approved.json"
        name = json.loads(pointer.read_text())["id"] if pointer.exists() else ""
        return self.get(name) if name else None

    def all(self) -> list[Version]:
        """Every version, newest first."""
        found = [_read(file) for file in self._folder.glob("rank_*.json")] if self._folder.exists() else []
        return sorted(found, key=lambda version: version.created_at, reverse=True)

    def get(self, version_id: str) -> Version:
        """A version; raises NotFound."""
        match = [version for version in self.all() if version.id == version_id]
        if not match:
            raise NotFound(f"no weights {version_id}.", "`python -m retrieval weights` lists them.")
        return match[0]

    def keep(self, version: Version) -> None:
        """Write a version."""
        _write(self._folder / f"{version.id}.json", asdict(version))

    def approve(self, version_id: str, *, comment: str) -> Version:
        """Put a candidate in force; raises NotFound, or Conflict when it did not gain or was decided before."""
        version = self.get(version_id)
        if version.state != "candidate" or version.metrics["verdict"] != "promote":
            found = f"{version.state} with the verdict {version.metrics['verdict']}"
            raise Conflict(f"{version_id} is {found}, expected a candidate to promote.")
        inforce = self.inforce()
        return self._decide(version, "approved", comment, previous=inforce.id if inforce else "")

    def rollback(self, *, comment: str) -> str:
        """Go back to the version before; returns its id, empty for the default; or Conflict."""
        inforce = self.inforce()
        if inforce is None:
            raise Conflict("the default weights are in force; there is nothing to go back from.")
        self._decide(inforce, "retired", comment, previous=inforce.previous)
        return inforce.previous

    def _decide(self, version: Version, state: str, comment: str, *, previous: str) -> Version:
        noted = [*version.decided, f"{state}: {comment}"]
        values = asdict(version) | {"state": state, "comment": comment, "previous": previous, "decided": noted}
        decided = Version(**values)
        self.keep(decided)
        _write(self._folder / "approved.json", {"id": decided.id if state == "approved" else previous})
        return decided


def _read(file: Path) -> Version:
    version = Version(**json.loads(file.read_text()))
    content = json.dumps([version.weights, version.metrics], sort_keys=True)
    if hashlib.sha256(content.encode()).hexdigest() != version.digest:
        raise Invalid(f"{file.name} was changed after it was fitted: its digest does not match.", "Remove it.")
    return version


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Written whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with part.open("w") as file:
        file.write(json.dumps(content, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
