"""The versions that the embedded engine has loaded: the base and merged adapters, side by side in a memory budget.

On a CPU a Llama-like model is packed (`bot/packed.py`); anything else runs as transformers' module. Where a merged
copy does not fit the budget, the adapter's weights stay beside the base's. It decides nothing about which is live.
"""

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from bot import adapters, low_rank, probe
from bot.forward import Forward, ModuleForward
from bot.models import base_digest
from bot.packed import PackedForward, Run
from bot.pool import head_size, pool_for
from store.errors import BrokenAdapter, NoRoom, Unavailable
from store.models import BASE

SPARE_SLOTS = 4
"""Slots beyond those that write: they keep what was read, for prompts that begin alike."""
RESERVE = 1 << 30
"""Bytes left to everything else when no budget is set."""


@dataclass(eq=False)
class Version:
    """One immutable version; `forward` gives what runs it for a number of answers at once."""

    name: str
    merged: bool
    bytes: int
    """What it takes of the memory budget: its own weights, and its keys and values where it shares no pool."""
    forward: Callable[[int], Forward]


class Versions:
    """What new requests may name; a version that is dropped is freed when its last answer ends."""

    def __init__(self, folder: str, *, dtype: str, slots: int, context: int, memory_mb: int) -> None:
        """Load the base; raises Unavailable when it cannot be, NoRoom when the budget does not hold it."""
        self.base_digest = base_digest(folder)
        free = _free_bytes()
        self.base = _load(folder, dtype)
        self._slots, self._context = slots, context
        self._budget = memory_mb << 20 if memory_mb else max(0, free - RESERVE)
        self._alive: weakref.WeakSet[Version] = weakref.WeakSet()
        weights = sum(p.numel() * p.element_size() for p in self.base.parameters())
        self.packed = self._packed() if probe.fits(self.base) else None
        needed = weights * (2 if self.packed else 1) + self._store_bytes()
        if memory_mb and needed > self._budget:
            raise NoRoom(
                f"the model and {slots} answers at once need {needed >> 20} MB, generation.memory_mb is {memory_mb}.",
                "Raise it, or lower generation.slots or generation.context_tokens.",
            )
        base = self._version(BASE, self.base, self.packed, merged=True, size=needed)
        self.loaded: dict[str, Version] = {BASE: base}
        trim()

    def load(self, name: str, folder: Path, *, digest: str, run: Run) -> Version:
        """Load an adapter, checked; `run` does a part of the work where the engine has time for it.

        Raises BrokenAdapter, or NoRoom when not even its own weights fit the budget.
        """
        adapters.check(folder, digest=digest, base_digest=self.base_digest)
        free = self._budget - sum(version.bytes for version in self._alive)
        factors = low_rank.factors(folder) if self.packed else None
        own = self._store_bytes()
        size = adapters.touched(self.base, folder) + (0 if self.packed else own)
        small = (folder / adapters.WEIGHTS).stat().st_size + (0 if factors is not None else own)
        if size <= free:
            return self._made(name, folder, factors, size, run, merge=True)
        if small <= free:
            return self._made(name, folder, factors, small, run, merge=False)
        raise NoRoom(
            f"adapter {name} needs {small >> 20} MB, {max(0, free) >> 20} MB of the memory budget are left.",
            "Raise generation.memory_mb, or wait until answers on older versions have ended.",
        )

    def _made(
        self, name: str, folder: Path, factors: low_rank.Factors | None, size: int, run: Run, *, merge: bool
    ) -> Version:
        if self.packed and factors is not None:
            own = self.packed.adapted(factors, merge=merge, run=run)
            if own is None:
                raise BrokenAdapter(f"adapter {folder.name} does not fit the base model: a name or a shape differs.")
            return self._version(name, self.base, own, merged=merge, size=size)
        if not merge:
            return self._version(name, adapters.beside(self.base, folder), None, merged=False, size=size)
        model = adapters.merged(self.base, folder)
        own = PackedForward(model, self.packed.pool, beside=self.packed) if self.packed else None
        return self._version(name, model, own, merged=True, size=size)

    def _version(
        self, name: str, model: PreTrainedModel, own: PackedForward | None, *, merged: bool, size: int
    ) -> Version:
        def module(slots: int) -> Forward:
            return ModuleForward(model, slots=slots, context=self._context)

        version = Version(name, merged, size, module if own is None else lambda _: own)
        self._alive.add(version)
        return version

    def _packed(self) -> PackedForward | None:
        pool = pool_for(self.base, slots=self._slots + SPARE_SLOTS, context=self._context)
        made = PackedForward(self.base, pool)
        if not probe.agrees(self.base, made):
            return None
        made.warm()
        return made

    def _store_bytes(self) -> int:
        """Keys and values of all slots when full: of all packed versions together, of each module by itself."""
        config: Any = self.base.config.get_text_config()
        kinds = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = head_size(config)
        slots = self._slots + (SPARE_SLOTS if self.packed else 0)
        return int(2 * slots * self._context * config.num_hidden_layers * kinds * size * self.base.dtype.itemsize)


def trim() -> None:
    """Give memory that was freed back to the system, where the C library can (glibc keeps it otherwise)."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def compute_dtype(wanted: str) -> torch.dtype:
    """The type that a setting names; for auto bfloat16 where this machine computes in it, float32 where it only could.

    Without AMX, AVX-512 BF16 or their like a bfloat16 product on a CPU is imitated: a prompt takes six times as long.
    """
    if wanted != "auto":
        found: torch.dtype = getattr(torch, wanted)
        return found
    return torch.bfloat16 if torch.cuda.is_available() or probe.computes_bfloat16() else torch.float32


def _free_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return int(psutil.virtual_memory().available)


def _load(folder: str, dtype: str) -> PreTrainedModel:
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=compute_dtype(dtype))
    except (OSError, ValueError) as error:
        raise Unavailable(f"the model {folder} cannot be loaded: {error}", "Check models.chat.") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
    return model
