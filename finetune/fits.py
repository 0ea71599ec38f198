"""Whether an adapter folder is one for a base model: by the name that it gives, and by the shapes of its weights.

It reads the headers of safetensors files, no weights; it needs no torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from store.errors import BrokenAdapter

Shapes = Mapping[str, list[int]]
_PREFIX = "base_model.model."
_OTHER = "It was trained on another model."


def check(config: Mapping[str, Any], weights: Shapes, *, base_model: str, base_folder: Path) -> None:
    """Raises BrokenAdapter for an adapter of another base model than the one in `base_folder`, named `base_model`.

    A model is known under the last part of its name or folder, in any case; an adapter that names none is taken by its
    shapes alone. `weights` are the shapes of its tensors by name, as PEFT names them.
    """
    named = str(config.get("base_model_name_or_path") or "")
    if named and _last(named) not in (_last(base_model), _last(str(base_folder))):
        raise BrokenAdapter(
            f"the adapter was trained on {named}, and the base model here is {base_model}.",
            "If that is the same model, write this name as base_model_name_or_path into its adapter_config.json.",
        )
    ours = shapes_in(base_folder)
    modules = {name.partition(".lora_")[0].removeprefix(_PREFIX) for name in weights if ".lora_" in name}
    if ours and modules and not any(f"{module}.weight" in ours for module in modules):
        raise BrokenAdapter(f"the base model {base_model} has none of its layers, as {min(modules)}.", _OTHER)
    for name, found in weights.items():
        module, _, kind = name.partition(".lora_")
        shape = ours.get(f"{module.removeprefix(_PREFIX)}.weight", [])
        if config.get("fan_in_fan_out"):
            shape = shape[::-1]
        side = {"A": 1, "B": 0}.get(kind[:1], -1)
        if len(shape) == len(found) == 2 and side >= 0 and found[side] != shape[side]:
            raise BrokenAdapter(
                f"{name} has the shape {found}, which does not fit {shape} of the base model {base_model}.",
                _OTHER,
            )


def trouble(folder: Path, *, base_model: str, base_folder: Path) -> str:
    """Why a folder's adapter cannot serve on a base model, as a sentence; empty where nothing speaks against it."""
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
        check(config, shapes_in(folder), base_model=base_model, base_folder=base_folder)
    except BrokenAdapter as error:
        return error.message
    except (OSError, ValueError) as error:
        return f"its files cannot be read: {error}."
    return ""


def shapes_in(folder: Path) -> dict[str, list[int]]:
    """The shapes of all tensors in a folder's safetensors files; empty where there are none."""
    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        found |= {name: tensor["shape"] for name, tensor in header.items() if name != "__metadata__"}
    return found


def _last(name: str) -> str:
    return name.rstrip("/").replace(":", "/").rsplit("/", 1)[-1].lower()
