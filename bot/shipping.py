"""Adapter folders to a folder that every vLLM server sees, each under a name that is never used for other weights.

It talks to no server. A copy is whole from the moment it can be seen: it is written aside and renamed.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

from bot.adapters import CONFIG, check
from store.adapters import MANIFEST
from store.errors import BrokenAdapter, Unavailable

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as --max-lora-rank."""
_UNSERVED = {
    "use_dora": "uses DoRA",
    "modules_to_save": "replaces whole modules (modules_to_save)",
    "lora_bias": "has LoRA biases (lora_bias)",
    "layer_replication": "repeats layers (layer_replication)",
}


def served_name(adapter: str, digest: str) -> str:
    """The model name of an adapter version on the servers: other weights have another digest and so another name."""
    return f"ratchet@{adapter}-{digest[:8]}"


def server_rank(rank: int) -> int:
    """The least --max-lora-rank that a server needs for an adapter of this rank; raises BrokenAdapter above 512."""
    needed = next((one for one in RANKS if one >= rank), None)
    if needed is None:
        raise BrokenAdapter(f"an adapter of rank {rank} cannot be served: vLLM takes ranks up to {RANKS[-1]}.")
    return needed


def servable(folder: Path) -> None:
    """Raise BrokenAdapter when vLLM serves no adapters of this kind."""
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    for key, what in _UNSERVED.items():
        if config.get(key):
            raise BrokenAdapter(
                f"adapter {folder.name} {what}: vLLM does not serve that.",
                "Train it without, or serve with generation.engine: transformers.",
            )
    server_rank(max([config["r"], *(config.get("rank_pattern") or {}).values()]))


def ship(folder: Path, target: Path, *, digest: str, base_digest: str) -> None:
    """Make `target` a checked copy of an adapter folder, unless it is one already.

    Raises BrokenAdapter when the folder is broken, Unavailable when the copy cannot be written.
    """
    if target.is_dir():
        if _whole(target, digest, base_digest):
            return
        discard(target)
    check(folder, digest=digest, base_digest=base_digest)
    servable(folder)
    part = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")
    try:
        _copy(folder, part)
        check(part, digest=digest, base_digest=base_digest)
        _rename(part, target)
    except OSError as error:
        raise Unavailable(f"adapter {folder.name} cannot be put into {target.parent}: {error.strerror}.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def discard(target: Path) -> None:
    """Remove a shipped folder: it goes as it came, whole or not at all."""
    aside = target.with_name(f".{target.name}.{uuid4().hex[:8]}.old")
    try:
        target.rename(aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside, ignore_errors=True)


def _whole(target: Path, digest: str, base_digest: str) -> bool:
    try:
        check(target, digest=digest, base_digest=base_digest)
    except BrokenAdapter:
        return False
    return True


def _copy(folder: Path, part: Path) -> None:
    part.mkdir(parents=True)
    for name in [MANIFEST, *json.loads((folder / MANIFEST).read_text())["files"]]:
        shutil.copyfile(folder / name, part / name)
        _fsync(part / name)
    _fsync(part)


def _rename(part: Path, target: Path) -> None:
    try:
        part.rename(target)
    except OSError:
        if not target.is_dir():  # another bot may have shipped the same version first: names are never reused
            raise
    _fsync(target.parent)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
