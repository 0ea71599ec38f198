"""A training's state in one file, replaced in one step, so that a killed run goes on where it was.

It imports torch, safetensors and the standard library only.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from finetune.errors import TrainingError


def save(path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
    """Replace the checkpoint at `path`; whoever reads it finds the old one or the new one, whole.

    Raises TrainingError, and leaves the old one, when it cannot be written.
    """
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), part, metadata={"facts": json.dumps(facts)})
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            part.unlink()
        raise TrainingError(
            f"the checkpoint {path.name} could not be written: {error}. Free some space in {path.parent} and start "
            "again: the training goes on from the last checkpoint."
        ) from error


def load(path: Path, *, fingerprint: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and facts of the checkpoint at `path`; None when there is none of this run, or it cannot be read."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {}).get("facts", "{}"))
            if facts.get("fingerprint") != fingerprint:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118, not a dict
    except (OSError, SafetensorError, ValueError):
        return None
