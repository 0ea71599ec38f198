"""One phase of a training job: its examples, those that say when to stop, its checkpoint; and a search by hand."""

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.errors import TrainingError
from finetune.hardware import base_of
from finetune.loading import gpus
from finetune.search import Found, grid, search
from finetune.spread import launched
from finetune.train import Trained, train
from store.digests import file_digest

SEARCH_SHARE, SEARCH_STEPS = 0.15, 20
RECIPE = ("rank", "alpha", "dropout", "target_modules", "epochs", "warmup_steps", "batch_size")
LEAST_WATCHED = 16
"""Fewer examples say too little about when to stop."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file; raises TrainingError for a line that is none."""
    found: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            found += [json.loads(line)] if line.strip() else []
        except ValueError as error:
            raise TrainingError(f"{path}, line {number} is damaged: {error}. Make the data anew.") from error
    return found


def phase_digest(part: Mapping[str, Any]) -> str:
    """The SHA-256 of the file that a phase reads, as it is now: who is erased leaves the file within seconds."""
    return file_digest(Path(part["file"]))


def data_digest(files: Sequence[str]) -> str:
    """What identifies the data that a run read: the digest of its file; of several, that of theirs in order."""
    return files[0] if len(files) == 1 else hashlib.sha256("".join(files).encode()).hexdigest()


def set_aside(rows: list[dict[str, Any]], share: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Examples to train on, and those that only say when to stop: whole clusters by hash, none where they are few."""
    watched = [row for row in rows if _hashed(str(row.get("cluster") or row.get("id", ""))) < share]
    if len(watched) < LEAST_WATCHED or len(watched) > len(rows) // 2:
        return rows, []
    names = {id(row) for row in watched}
    return [row for row in rows if id(row) not in names], watched


def _hashed(key: str) -> float:
    return int.from_bytes(hashlib.sha256(f"stop {key}".encode()).digest()[:8], "big") / 2**64


def train_phase(
    job: Mapping[str, Any],
    number: int,
    part: Path,
    start_from: Path | None,
    show: Callable[[dict[str, Any]], None],
) -> Trained:
    """Train a job's phase into the folder `part`; with `checkpoints` in the job it goes on where a killed one was."""
    phase = job["phases"][number]
    rows, watched = set_aside(read_rows(Path(phase["file"])), job.get("stop_share", 0.0))
    rows = rows[: math.ceil(len(rows) * phase.get("share", 1.0))]
    more: dict[str, Any] = {"start_from": start_from, "progress": show}
    if job.get("checkpoints"):
        name = hashlib.sha256(json.dumps([number, phase], sort_keys=True).encode()).hexdigest()[:16]
        more["checkpoints"] = Path(job["checkpoints"]) / f"{name}.safetensors"
    return _train(job, phase["recipe"], rows, watched, part, **more)


def search_job(job: Mapping[str, Any], *, minutes: float, show: Callable[[dict[str, Any]], None]) -> Found:
    """Search the recipe of a job's first phase; a trial's loss is that of examples set aside, never the gate's cases.

    A trial of so many steps trains on as many batches of examples, each seen as often as its recipe says. Raises
    TrainingError where too few examples can be set aside.
    """
    rows, watched = set_aside(read_rows(Path(job["phases"][0]["file"])), SEARCH_SHARE)
    if not watched:
        raise TrainingError(
            f"{len(rows)} examples are too few to search: {LEAST_WATCHED} must be set aside, {SEARCH_SHARE:.0%} of all."
        )

    def attempt(recipe: dict[str, Any], steps: int) -> float:
        with tempfile.TemporaryDirectory() as part:
            trained = _train(job, recipe, rows[: steps * recipe["batch_size"]], watched, Path(part))
        loss = min(loss for _, loss in trained.held_out)
        tried = {name: recipe[name] for name in ("rank", "learning_rate_used", "epochs", "target_modules")}
        show({"tried": tried, "steps": trained.steps, "held_out_loss": round(loss, 4)})
        return loss

    recipes = grid(job["phases"][0]["recipe"], base_of(job["base_folder"]).every_linear)
    return search(recipes, attempt=attempt, steps=SEARCH_STEPS, minutes=minutes)


def _train(
    job: Mapping[str, Any],
    recipe: Mapping[str, Any],
    rows: list[dict[str, Any]],
    watched: list[dict[str, Any]],
    out: Path,
    **more: Any,
) -> Trained:
    progress = more.pop("progress", lambda _: None)
    arguments: dict[str, Any] = {
        "examples": rows,
        "base_model": job["base_folder"],
        "out": out,
        **{name: recipe[name] for name in RECIPE},
        "learning_rate": recipe["learning_rate_used"],
        **{name: job[name] for name in ("max_tokens", "seed", "threads")},
        "held_out": watched,
        "memory_mb": job.get("memory_mb", 0),
        "qlora": recipe.get("four_bit", False),
        **more,
    }
    processes = job.get("processes") or gpus() or 1
    if processes > 1:
        return launched(arguments, processes, progress=progress)
    return train(**arguments, progress=progress)
