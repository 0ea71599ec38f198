"""A PEFT LoRA folder that was trained elsewhere becomes a candidate, checked before anything is entered.

It needs no torch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from finetune import card, fits
from store import adapters
from store.database import Database
from store.errors import BrokenAdapter
from store.models import Adapter, AdapterState

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_HINT = "Save it with PEFT's `save_pretrained` and name that folder."
_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def register(
    database: Database,
    folder: Path,
    *,
    data: Path,
    base_model: str,
    base_folder: Path,
    base_digest: str,
    comment: str,
    actor: str,
) -> Adapter:
    """Copy a PEFT LoRA folder into the data folder and enter it as a candidate with its digest.

    Raises BrokenAdapter, and enters nothing, for a folder that is incomplete, unreadable, not LoRA, not finite or of
    another base model. The next cycle that comes to evaluate takes it to its gate.
    """
    config = _config(folder)
    _check_weights(folder / WEIGHTS)
    fits.check(config, fits.shapes_in(folder), base_model=base_model, base_folder=base_folder)
    row = adapters.create(database, actor=actor, origin="registered", base_model=base_model, note=comment)
    target = data / "adapters" / f"{row.id}-registered"
    recipe = {"rank": config.get("r"), "alpha": config.get("lora_alpha"), "target_modules": config["target_modules"]}
    facts = {"origin": "registered", "note": comment, **recipe}
    digest = card.adopt(folder, target, base_model=base_model, base_digest=base_digest, facts=facts)
    values = {"folder": str(target), "digest": digest, "recipe": recipe}
    with database.write() as session:
        return adapters.move(session, row.id, AdapterState.CANDIDATE, actor=actor, comment=comment, **values)


def _config(folder: Path) -> dict[str, Any]:
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise BrokenAdapter(f"the folder {folder} has no {name}.", _HINT)
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (ValueError, OSError) as error:
        raise BrokenAdapter(f"{CONFIG} in {folder} is not JSON: {error}.", _HINT) from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise BrokenAdapter(f"{CONFIG} in {folder} has the peft_type {kind!r}, expected 'LORA'.", _HINT)
    if config.get("modules_to_save"):
        raise BrokenAdapter(
            f"the adapter in {folder} replaces whole modules ({', '.join(config['modules_to_save'])}).",
            "Train it without modules_to_save: only LoRA weights can be swapped.",
        )
    targets = config.get("target_modules")
    if not targets or not isinstance(targets, (list, str)):
        raise BrokenAdapter(f"{CONFIG} in {folder} has the target_modules {targets!r}, expected names.", _HINT)
    return dict(config)


def _check_weights(path: Path) -> None:
    try:
        tensors = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (SafetensorError, OSError) as error:
        raise BrokenAdapter(f"{path.name} in {path.parent} cannot be read: {error}.", _HINT) from error
    if not any(".lora_" in name for name, _ in tensors):
        raise BrokenAdapter(f"{path.name} in {path.parent} holds no LoRA weights.", _HINT)
    for name, tensor in tensors:
        if not _finite(tensor["dtype"], tensor["data"]):
            raise BrokenAdapter(f"{path.name} in {path.parent} holds values that are not finite in {name}.")


def _finite(dtype: str, data: bytes) -> bool:
    """Whether a tensor's values are all finite; bf16 by its exponent bits, as numpy has no such type."""
    if dtype == "BF16":
        bits: npt.NDArray[np.uint16] = np.frombuffer(data, dtype="<u2")
        return not bool(np.any(bits & 0x7F80 == 0x7F80))
    return dtype not in _FLOATS or bool(np.isfinite(np.frombuffer(data, dtype=_FLOATS[dtype])).all())
