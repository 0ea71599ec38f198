"""Thumbs and edits on top of a trained adapter: DPO or KTO by TRL (extra `preference`), on this machine's device.

The adapter that it begins with stays the reference, so that what was learned is not lost. It imports torch, peft and
TRL; it knows no log.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, TrainerCallback

from finetune.errors import TrainingError
from finetune.loading import load
from finetune.loop import memory_mb
from finetune.precision import compute_dtype
from finetune.preferences import Method, available

BETA = 0.1
RATES = {"dpo": 2e-5, "kto": 2e-5}
"""LoRA takes about ten times the 5e-7 to 5e-6 that KTO and DPO use on all weights."""


def prefer(
    rows: Sequence[dict[str, Any]],
    *,
    method: Method,
    base_model: str,
    adapter: Path,
    out: Path,
    max_tokens: int,
    seed: int,
    threads: int,
    batch_size: int = 4,
    epochs: int = 1,
    progress: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Train the adapter on preference rows and save it as `out`; returns steps, seconds, the losses and the margins.

    Rows are TRL's: prompt, chosen, rejected for DPO; prompt, completion, label for KTO. A margin is how much more (in
    nats, times beta) the chosen answer gained on the reference than the rejected one. Raises TrainingError without
    TRL, or without rows.
    """
    if not available():
        raise TrainingError(
            "preferences need TRL: run `pip install -e .[preference]`, or set training.preference: off."
        )
    if not rows:
        raise TrainingError("there is no preference to train on, expected pairs or labels.")
    trl, datasets = import_module("trl"), import_module("datasets")
    datasets.disable_progress_bars()
    torch.set_num_threads(threads)
    model = load(base_model, rank=1, alpha=1, dropout=0.0, target_modules=(), start_from=adapter)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        options = _options(method, scratch, len(rows), batch_size=batch_size, epochs=epochs, seed=seed)
        running = getattr(trl, f"{method.upper()}Trainer")(
            model=model,
            args=getattr(trl, f"{method.upper()}Config")(max_length=max_tokens, **options),
            train_dataset=datasets.Dataset.from_list(list(rows)),
            processing_class=AutoTokenizer.from_pretrained(base_model),
            callbacks=[_Told(lambda said: progress({"preference": method, **said}))],
        )
        running.train()
    running.model.save_pretrained(str(out), selected_adapters=["default"])
    history = running.state.log_history
    return {
        "method": method,
        "rows": len(rows),
        "steps": running.state.global_step,
        "seconds": round(time.monotonic() - begun, 1),
        "losses": [round(one["loss"], 4) for one in history if "loss" in one],
        "margins": [round(one["rewards/margins"], 4) for one in history if "rewards/margins" in one],
    }


def _options(method: Method, scratch: str, rows: int, *, batch_size: int, epochs: int, seed: int) -> dict[str, Any]:
    """What TRL's configuration gets; losses in bf16 under autocast, LoRA weights in float32."""
    return {
        "output_dir": scratch,
        "learning_rate": RATES[method],
        "beta": BETA,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": min(batch_size, rows),
        "gradient_checkpointing": False,
        "bf16": compute_dtype() == torch.bfloat16,
        "use_cpu": not torch.cuda.is_available(),
        "seed": seed,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
    }


class _Told(TrainerCallback):
    """Passes each step's loss and margin on, with the seconds left and the memory in use."""

    def __init__(self, show: Callable[[dict[str, Any]], None]) -> None:
        self._show = show
        self._begun = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Called by the trainer."""
        shown = {name: round(value, 4) for name, value in (logs or {}).items() if name in ("loss", "rewards/margins")}
        step, steps = state.global_step, state.max_steps
        left = (time.monotonic() - self._begun) / max(1, step) * (steps - step)
        self._show({"step": step, "steps": steps, **shown, "eta_seconds": round(left), "memory_mb": memory_mb()})
