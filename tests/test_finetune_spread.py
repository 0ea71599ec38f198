"""Claims about training in several processes: together they do what one does, and what fails there is said here."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bot import adapters as folders
from finetune.errors import TrainingError
from finetune.phase import train_phase
from finetune.spread import launched
from tests.test_finetune_train import EXAMPLES, trained

WEIGHTS = folders.WEIGHTS
VALUES: dict[str, Any] = {
    **{"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj", "v_proj"], "learning_rate": 1e-2},
    **{"epochs": 3, "warmup_steps": 0, "batch_size": 3, "max_tokens": 256, "seed": 1, "threads": 1},
}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_train_what_one_trains_and_go_on_from_a_checkpoint(tiny_model: str, tmp_path: Path) -> None:
    held_out, more = EXAMPLES[:2], {"epochs": 3, "held_out": EXAMPLES[:2]}
    alone = trained(tiny_model, tmp_path / "alone", **more)
    seen: list[dict[str, Any]] = []
    call = {**VALUES, "examples": EXAMPLES, "held_out": held_out, "base_model": tiny_model}
    call |= {"checkpoints": tmp_path / "run.safetensors", "checkpoint_seconds": 0.0}
    spread = launched({**call, "out": tmp_path / "spread"}, 2, progress=seen.append)
    assert (spread.steps, spread.tokens, spread.best_step) == (alone.steps, alone.tokens, alone.best_step)
    assert spread.losses == pytest.approx(alone.losses, rel=1e-3)
    assert [row["step"] for row in seen] == list(range(1, alone.steps + 1))
    one, both = load_file(tmp_path / "alone" / WEIGHTS), load_file(tmp_path / "spread" / WEIGHTS)
    # Sums in another order turn the sign of a gradient near zero, which Adam makes a whole step of: of few weights.
    others = [((one[name] - both[name]).abs() > 2e-3).float().mean() for name in one]
    assert max(others) < 0.05
    again = launched({**call, "out": tmp_path / "again"}, 2, progress=seen.append)
    assert again.losses == spread.losses and len(seen) == alone.steps
    kept = load_file(tmp_path / "again" / WEIGHTS)
    assert all(torch.equal(kept[name], both[name]) for name in kept)


@pytest.mark.timeout(300)
def test_an_error_in_a_process_is_a_sentence_here(tiny_model: str, tmp_path: Path) -> None:
    recipe = {**VALUES, "learning_rate_used": 1e-2, "target_modules": ["nowhere_proj"]}
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "Why?"}], "target": "So."}\n')
    job = {"phases": [{"file": str(rows), "recipe": recipe}], "base_folder": tiny_model, "processes": 2}
    job |= {"max_tokens": 256, "seed": 1, "threads": 1}
    with pytest.raises(TrainingError, match="has no module nowhere_proj"):
        train_phase(job, 0, tmp_path / "out", None, lambda _: None)
