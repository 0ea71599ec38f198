"""Adapter folders to weights: checks a folder's digests and base model, merges it into a copy of the base.

A copy shares every tensor that the adapter does not touch, so that several versions fit side by side.
"""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import safe_open
from transformers import PreTrainedModel

from bot.low_rank import CONFIG as CONFIG
from bot.low_rank import WEIGHTS as WEIGHTS
from store.adapters import MANIFEST, altered
from store.digests import file_digest
from store.errors import BrokenAdapter, NoRoom, OtherBase, Unavailable


def check(folder: Path, *, digest: str, base_digest: str) -> None:
    """Raise BrokenAdapter unless the folder is whole, unaltered and finite, OtherBase when for another base model.

    `digest` is the manifest's SHA-256 as the registry has it. Raises Unavailable where there is no folder, OSError
    where it cannot be read: neither says anything of the adapter.
    """
    if not folder.exists():
        raise Unavailable(f"there is no adapter folder {folder}.", "Mount it or put it back; it is looked for again.")
    if why := altered(folder, digest):
        raise BrokenAdapter(why)
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    if lacks := [name for name in (WEIGHTS, CONFIG) if name not in manifest["files"]]:
        raise BrokenAdapter(f"{lacks[0]} of adapter {folder.name} is missing or altered since it was published.")
    _check_finite(folder)
    if manifest["base_digest"] != base_digest:
        raise OtherBase(
            f"adapter {folder.name} was made for the base model {manifest['base_model']}, not for the one that serves.",
            "Set models.chat to that model, or train the adapter again.",
        )


def folder_digest(folder: Path) -> str:
    """What an adapter is recognised by: the SHA-256 of its manifest, which holds those of all its files."""
    return file_digest(folder / MANIFEST)


def _check_finite(folder: Path) -> None:
    with safe_open(folder / WEIGHTS, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118, not a dict
            if not torch.isfinite(weights.get_tensor(name)).all():
                raise BrokenAdapter(f"adapter {folder.name} holds values that are not finite in {name}.")


def touched(base: PreTrainedModel, folder: Path) -> int:
    """Bytes of the base's weights that an adapter changes: what a merged copy takes beside the base."""
    own = _untouched(base, folder)
    return sum(p.numel() * p.element_size() for p in base.parameters() if id(p) not in own)


def merged(base: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """A copy of the base with the adapter merged in; untouched tensors are shared with the base.

    Raises BrokenAdapter when the adapter does not fit the model, NoRoom when the memory does not hold the copy.
    """
    return _finished(base, folder, _untouched(base, folder), merge=True)


def beside(base: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The base with the adapter's weights beside its own, all of the base's tensors shared; slower than a merged copy.

    Raises BrokenAdapter when the adapter does not fit the model, NoRoom when the memory does not hold its weights.
    """
    return _finished(base, folder, {id(p): p for p in base.parameters()}, merge=False)


def _untouched(base: PreTrainedModel, folder: Path) -> dict[int, torch.Tensor]:
    config = json.loads((folder / CONFIG).read_text())
    targets = config["target_modules"]
    if not isinstance(targets, list) or config.get("modules_to_save"):
        return {}
    return {id(p): p for name, p in base.named_parameters() if name.split(".")[-2] not in targets}


def _finished(base: PreTrainedModel, folder: Path, shared: dict[int, torch.Tensor], *, merge: bool) -> PreTrainedModel:
    try:
        model: Any = PeftModel.from_pretrained(copy.deepcopy(base, dict(shared)), str(folder))
        result: PreTrainedModel = model.merge_and_unload(safe_merge=True) if merge else model.base_model.model
    except (ValueError, RuntimeError, KeyError, MemoryError) as error:
        if out_of_memory(error):
            raise no_room(folder.name, error) from error
        raise BrokenAdapter(f"adapter {folder.name} does not fit the base model: {error}") from error
    result.train(False)
    result.requires_grad_(False)
    return result


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short, of a GPU or of the machine; the CPU's comes as a RuntimeError."""
    said = str(error)
    short = "can't allocate memory" in said or "not enough memory" in said
    return short or isinstance(error, torch.OutOfMemoryError | MemoryError)


def no_room(name: str, error: BaseException) -> NoRoom:
    """The error for an adapter that the memory did not hold."""
    hint = "Lower generation.slots, or give the bot more memory; it is tried again."
    return NoRoom(f"the memory does not hold adapter {name}: {error or 'out of memory'}", hint)
