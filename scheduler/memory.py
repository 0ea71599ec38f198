"""Sixteen or four bits for the frozen weights: what training takes of a GPU's memory, and which a plan takes (pure).

It is told what base model and machine are like and asks neither; on a machine without a CUDA GPU there is no choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.hardware import Base, Machine

Recipes = Sequence[Mapping[str, Any]]
MB = 2**20
FOUR_BITS = 4.127 / 8
"""Bytes of a weight in NF4 with double quantisation ("QLoRA", Dettmers et al., 2023, section 3)."""
OTHERS = 4
"""Bytes of the other weights beside quantised ones: PEFT makes them float32."""
LORA = 16
"""Bytes of a LoRA weight in float32 with its gradient and the optimiser's two moments."""
LOGITS = 10
"""Bytes of a logit: bf16, float32 and its gradient. A quarter of an example's tokens are its answer's."""
RESERVE_MB = 1024
"""What CUDA takes for itself, and what is lost between blocks."""


@dataclass(frozen=True)
class Memory:
    """What decides on the bits; `qlora` is the setting, auto, on or off."""

    base: Base
    machine: Machine
    max_tokens: int
    qlora: str = "auto"

    @property
    def possible(self) -> bool:
        """Whether this machine can train on 4-bit weights at all."""
        return self.machine.free_mb > 0 and self.machine.four_bit

    def needed_mb(self, recipes: Recipes, *, four_bit: bool) -> int:
        """What training by the largest of some recipes takes at the least, where layers are computed twice."""
        base = self.base
        weights = base.weights * 2.0
        if four_bit:
            weights = base.linear * FOUR_BITS + (base.weights - base.linear) * OTHERS
        lora = max(
            recipe["rank"] * sum(base.modules.get(name, 0) for name in recipe["target_modules"]) for recipe in recipes
        )
        kept = 2 * ((base.layers + 12) * base.hidden_size + 3 * base.inner_size) + base.vocabulary * LOGITS / 4
        return int((weights + lora * LORA + self.max_tokens * kept) / MB) + RESERVE_MB


def impossible(memory: Memory) -> str:
    """Why the setting cannot be had here, as a sentence, or ""."""
    if memory.qlora != "on" or memory.possible:
        return ""
    if memory.machine.free_mb:
        return "training.qlora is on, and bitsandbytes is not installed."
    return "training.qlora is on, and this machine has no CUDA GPU."


def bits(memory: Memory | None, recipes: Recipes) -> tuple[bool, str]:
    """Whether the frozen weights are held in 4 bits, and why, as a sentence; "" where there is no GPU to choose on."""
    if memory is None or not memory.machine.free_mb:
        return False, ""
    free = memory.machine.free_mb
    full, small = (memory.needed_mb(recipes, four_bit=four_bit) for four_bit in (False, True))
    takes = f"training takes about {full:,} MB in 16 bits, and {free:,} MB of the GPU are free"
    instead = f"in 4 bits (QLoRA) it takes about {small:,} MB"
    if memory.qlora == "on":
        return True, f"4-bit base weights: training.qlora is on; {takes}."
    if full <= free:
        return False, f"16-bit base weights: {takes}."
    if memory.qlora == "off":
        return False, f"16-bit base weights: training.qlora is off; {takes}, {instead}."
    if not memory.machine.four_bit:
        return False, f"16-bit base weights may not fit: {takes}; {instead}, which needs `pip install -e .[gpu]`."
    tight = "" if small <= free else " Not even that may fit: lower training.max_tokens."
    return True, f"4-bit base weights: {takes}; {instead}.{tight}"


def lacking(memory: Memory, recipes: Recipes, *, free_mb: int) -> str:
    """Why training cannot begin now, as a sentence, or ""; `free_mb` is of main memory, for a machine without a GPU."""
    on_gpu = memory.machine.free_mb > 0
    four_bit = any(recipe.get("four_bit") for recipe in recipes)
    needed = memory.needed_mb(recipes, four_bit=four_bit) - (0 if on_gpu else RESERVE_MB)
    free, where = (memory.machine.free_mb, " of the GPU") if on_gpu else (free_mb, "")
    return "" if needed <= free else f"training takes at least {needed:,} MB, and {free:,} MB{where} are free."


def shown(memory: Memory | None, recipes: Recipes) -> tuple[str, str]:
    """What a cell of the decision matrix says of memory: the amount, and the other choice with its amount."""
    if memory is None:
        return "", ""
    if not memory.machine.free_mb:
        return "", "; no CUDA GPU, so that 4-bit weights are no choice"
    four_bit = bool(recipes[0]["four_bit"])
    used, other = (memory.needed_mb(recipes, four_bit=choice) for choice in (four_bit, not four_bit))
    names = ("4", "16") if four_bit else ("16", "4")
    without = "" if four_bit or memory.machine.four_bit else ", which needs bitsandbytes"
    return f", {used:,} MB in {names[0]} bits", (
        f"; of {memory.machine.free_mb:,} MB free on the GPU; in {names[1]} bits about {other:,} MB{without}"
    )
