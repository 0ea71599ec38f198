"""Claims about trainings that end early: killed, without room on the disk, or because the held-out loss rises."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune import checkpoint
from finetune.loading import Tokens, fingerprint
from finetune.loop import TOLERATED
from finetune.phase import LEAST_WATCHED, search_job, set_aside
from finetune.train import Trained, TrainingError, train
from tests.conftest import ROOT

WEIGHTS = "adapter_model.safetensors"
EXAMPLES = [
    {"messages": [{"role": "user", "content": f"What weighs machine {i}?"}], "target": f"It weighs {i} kilograms [1]."}
    for i in range(12)
]
OTHERS = [
    {"messages": [{"role": "user", "content": f"Who owns house {i}?"}], "target": "Nobody has said so far."}
    for i in range(3)
]
RECIPE: dict[str, Any] = {"rank": 4, "alpha": 8, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}
RECIPE |= {
    "learning_rate": 1e-2,
    "epochs": 4,
    "warmup_steps": 2,
    "batch_size": 3,
    "max_tokens": 256,
    "seed": 1,
    "threads": 1,
}
CHILD = """
import json, os, resource, signal, sys
from pathlib import Path
from finetune.train import train
values = json.loads(sys.stdin.read())
killed_at = values.pop("killed_at")
if values.pop("full"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
values |= {name: Path(values[name]) for name in ("out", "checkpoints")}
def told(row):
    print(row["step"], flush=True)
    if row["step"] == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)
train(**values, progress=told)
"""


def apart(
    base_model: str, folder: Path, *, killed_at: int = 0, full: bool = False
) -> "subprocess.CompletedProcess[str]":
    """A process that trains with a checkpoint after each step; killed at a step, or where no file may pass 20 kB."""
    values = {"examples": EXAMPLES, "held_out": EXAMPLES[:3], "base_model": base_model, **RECIPE}
    values |= {"killed_at": killed_at, "full": full, "checkpoint_seconds": 0}
    values |= {"out": str(folder / "out"), "checkpoints": str(folder / "state.safetensors")}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD]
    return subprocess.run(
        command, cwd=ROOT, env=environment, input=json.dumps(values), capture_output=True, text=True, check=False
    )


def here(base_model: str, folder: Path, **more: Any) -> Trained:
    """The same training in this process."""
    values = {
        **RECIPE,
        "held_out": OTHERS,
        "checkpoint_seconds": 0,
        "checkpoints": folder / "state.safetensors",
        **more,
    }
    return train(EXAMPLES, base_model=base_model, out=folder / "out", **values)


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tiny_model: str, tmp_path: Path) -> None:
    for killed_at, first in ((4, 1), (9, 4)):
        # A step is told before it is kept: the one it was killed at comes again.
        child = apart(tiny_model, tmp_path / "killed", killed_at=killed_at)
        assert child.returncode == -signal.SIGKILL, child.stderr
        assert [int(word) for word in child.stdout.split()] == list(range(first, killed_at + 1))
        assert not (tmp_path / "killed" / "out").exists()
    rest: list[dict[str, Any]] = []
    gone_on = here(tiny_model, tmp_path / "killed", held_out=EXAMPLES[:3], progress=rest.append)
    assert [row["step"] for row in rest] == list(range(9, gone_on.steps + 1)) != []
    unbroken = here(tiny_model, tmp_path / "unbroken", held_out=EXAMPLES[:3])
    assert (gone_on.losses, gone_on.held_out) == (unbroken.losses, unbroken.held_out)
    found, expected = (load_file(tmp_path / name / "out" / WEIGHTS) for name in ("killed", "unbroken"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_checkpoint_of_another_run_is_not_used(tiny_model: str, tmp_path: Path) -> None:
    here(tiny_model, tmp_path, epochs=1)
    other = here(tiny_model, tmp_path, epochs=2, seed=2)
    assert other.steps == len(other.losses) == 8
    again: list[dict[str, Any]] = []
    assert here(tiny_model, tmp_path, epochs=2, seed=2, progress=again.append) == other
    assert again == []


def test_a_checkpoint_of_another_base_model_is_not_used(tiny_model: str, tmp_path: Path) -> None:
    here(tiny_model, tmp_path, epochs=1)
    other = shutil.copytree(tiny_model, tmp_path / "another model")
    again: list[dict[str, Any]] = []
    here(str(other), tmp_path, epochs=1, progress=again.append)
    assert len([row for row in again if "loss" in row]) == 4


def test_a_run_is_recognised_by_what_each_example_weighs() -> None:
    found = [fingerprint([Tokens([1, 2, 3], 1, weight)], "tiny", None, seed=1) for weight in (0.5, 1.0, 0.5)]
    assert found[0] == found[2] != found[1]


def test_a_checkpoint_that_cannot_be_read_is_not_used(tiny_model: str, tmp_path: Path) -> None:
    whole = here(tiny_model, tmp_path, epochs=1)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:5000])
    assert here(tiny_model, tmp_path, epochs=1).losses == whole.losses


def test_a_full_disk_is_a_sentence_and_leaves_the_last_checkpoint(tiny_model: str, tmp_path: Path) -> None:
    child = apart(tiny_model, tmp_path, full=True)
    words = child.stderr
    assert child.returncode == 1
    assert "the checkpoint state.safetensors could not be written" in words
    assert "Free some space" in words and "goes on from the last checkpoint" in words
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.save(path, {"x": torch.ones(2)}, {"fingerprint": "a"})
    with pytest.raises(TrainingError, match="could not be written"):
        checkpoint.save(tmp_path / "state.safetensors" / "deeper", {"x": torch.ones(2)}, {})
    found = checkpoint.load(path, fingerprint="a")
    assert found is not None and torch.equal(found[0]["x"], torch.ones(2))
    assert (
        checkpoint.load(path, fingerprint="b") is None and checkpoint.load(tmp_path / "none", fingerprint="a") is None
    )


def test_training_stops_when_the_held_out_loss_rises_and_keeps_the_best(tiny_model: str, tmp_path: Path) -> None:
    # What it was taught before contradicts what it learns now, so that the loss on it must rise.
    known = [{**row, "target": OTHERS[0]["target"]} for row in EXAMPLES]
    train(known, base_model=tiny_model, out=tmp_path / "known", **{**RECIPE, "epochs": 30})
    values: dict[str, Any] = {"held_out": known[:3], "start_from": tmp_path / "known"}
    run = here(tiny_model, tmp_path, epochs=30, learning_rate=3e-3, **values)
    lowest = min(loss for _, loss in run.held_out)
    best = [look for look in run.held_out if look[1] <= TOLERATED * lowest][-1]
    assert run.best_step == best[0] < run.steps < 120
    looked = [step for step, _ in run.held_out]
    assert looked[-1] == run.steps and looked.index(best[0]) == len(looked) - 4
    # The saved weights have the best look's loss: nothing is learnt at this rate.
    values["start_from"] = tmp_path / "out"
    again = here(tiny_model, tmp_path / "again", epochs=1, learning_rate=1e-12, **values)
    assert again.held_out[0][1] == pytest.approx(best[1], rel=1e-3)


def test_examples_set_aside_are_whole_clusters_and_none_of_few() -> None:
    rows = [{"id": str(i), "cluster": f"c{i // 2}"} for i in range(600)]
    kept, watched = set_aside(rows, 0.08)
    assert len(kept) + len(watched) == 600 and LEAST_WATCHED <= len(watched) <= 100
    assert {row["cluster"] for row in kept}.isdisjoint(row["cluster"] for row in watched)
    assert set_aside(rows, 0.08) == (kept, watched)
    assert set_aside(rows[:60], 0.08) == (rows[:60], []) and set_aside(rows, 0.0) == (rows, [])


def test_a_search_tries_real_trainings_and_refuses_few_examples(tiny_model: str, tmp_path: Path) -> None:
    file = tmp_path / "phase.jsonl"
    rows = [{**EXAMPLES[i % 12], "id": str(i)} for i in range(150)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {key: value for key, value in RECIPE.items() if key not in ("max_tokens", "seed", "threads")}
    recipe |= {"learning_rate_used": recipe.pop("learning_rate"), "epochs": 1}
    job = {"phases": [{"recipe": recipe, "file": str(file)}], "base_folder": tiny_model}
    job |= {"max_tokens": 256, "seed": 1, "threads": 1}
    seen: list[dict[str, Any]] = []
    found = search_job(job, minutes=0, show=seen.append)
    assert found.recipe == recipe and [row["steps"] for row in seen] == [20]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:30]))
    with pytest.raises(TrainingError, match="30 examples are too few to search: 16 must be set aside"):
        search_job(job, minutes=1, show=seen.append)


def test_one_example_trains_and_very_long_answers_are_left_out(tiny_model: str, tmp_path: Path) -> None:
    long = {**EXAMPLES[0], "target": "x" * 100_000}
    run = train([EXAMPLES[0], long], base_model=tiny_model, out=tmp_path, **RECIPE)
    assert (run.steps, run.too_long) == (4, 1)
    with pytest.raises(TrainingError, match="none of 1 examples has at most 256 tokens"):
        train([long], base_model=tiny_model, out=tmp_path, **RECIPE)
    with pytest.raises(TrainingError, match="none of 0 examples"):
        train([], base_model=tiny_model, out=tmp_path, **RECIPE)


def test_a_tokenizer_without_a_chat_template_is_a_sentence(tiny_model: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "plain")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match="has no chat template: use an instruction-tuned base model"):
        train(EXAMPLES, base_model=str(folder), out=tmp_path / "out", **RECIPE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU: qlora works here")
def test_qlora_without_a_gpu_is_a_sentence(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no CUDA GPU: set it to auto"):
        here(tiny_model, tmp_path, qlora=True)
