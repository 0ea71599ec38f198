"""LoRA factors of an adapter folder, to be added to a model's weights or to stand beside them (bot/packed.py).

Only plain LoRA; anything else is merged by peft. It knows no model: shapes are checked against those given.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
Pair = tuple[torch.Tensor, torch.Tensor]
"""A (rank, in) and B (out, rank) of one module, B scaled."""
Factors = dict[str, Pair]


@dataclass(frozen=True)
class Delta:
    """A low-rank addition to several linear layers side by side: down (in, rank), up (rank, out)."""

    down: torch.Tensor
    up: torch.Tensor

    def to(self, dtype: torch.dtype) -> "Delta":
        """The same in another precision."""
        return Delta(self.down.to(dtype).contiguous(), self.up.to(dtype).contiguous())


def factors(folder: Path) -> Factors | None:
    """The factors of each module, by its name in the model; None for what is not plain LoRA."""
    config = json.loads((folder / CONFIG).read_text())
    special = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern")
    if config.get("bias", "none") != "none" or any(config.get(name) for name in special):
        return None
    rank = float(config["r"])
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    found: dict[str, dict[str, torch.Tensor]] = {}
    with safe_open(folder / WEIGHTS, framework="pt") as weights:
        for name in weights.keys():  # noqa: SIM118, not a dict
            module, _, which = name.removesuffix(".weight").rpartition(".")
            found.setdefault(module.removeprefix("base_model.model."), {})[which] = weights.get_tensor(name)
    if any(set(pair) != {"lora_A", "lora_B"} for pair in found.values()):
        return None
    return {module: (pair["lora_A"].float(), pair["lora_B"].float() * scale) for module, pair in found.items()}


def side_by_side(pairs: Sequence[Pair | None], outs: Sequence[int], width: int) -> Delta | None:
    """The additions of several layers as one, each to its own columns; None when a shape does not fit."""
    present = [(pair, at) for at, pair in enumerate(pairs) if pair is not None]
    if any(a.shape[1] != width or b.shape != (outs[at], a.shape[0]) for (a, b), at in present):
        return None
    up = torch.zeros(sum(a.shape[0] for (a, _), _ in present), sum(outs))
    row = 0
    for (a, b), at in present:
        up[row : row + a.shape[0], sum(outs[:at]) : sum(outs[: at + 1])] = b.T
        row += a.shape[0]
    return Delta(torch.cat([a for (a, _), _ in present]).T, up)
