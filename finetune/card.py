"""An adapter folder's manifest, digests and model card, and its atomic publication."""

import json
import os
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from store.digests import file_digest

MANIFEST, PLOT = "manifest.json", "loss.png"
ABOUT = (
    "A LoRA adapter fine-tuned on curated exchanges of one installation. It was evaluated against the adapter\n"
    "that served at the time; see the registry for the report and the decision."
)
_LIBRARIES = ("torch", "transformers", "peft", "safetensors")


def publish(
    part: Path, target: Path, *, base_model: str, base_digest: str, dataset_digest: str, facts: dict[str, Any]
) -> str:
    """Finish an adapter folder and move it to `target` in one step; returns the manifest's SHA-256.

    The configuration names the base model, not a path of this machine. Whoever finds `target` finds it whole.
    """
    _neutral_config(part / "adapter_config.json", base_model)
    plotted = bool(facts.get("losses"))
    if plotted:
        plot(part / PLOT, facts["losses"], facts.get("held_out_losses", []))
    (part / "README.md").write_text(_card(base_model, dataset_digest, facts, plotted))
    files = {path.name: file_digest(path) for path in sorted(part.iterdir()) if path.name != MANIFEST}
    manifest = {
        "base_model": base_model,
        "base_digest": base_digest,
        "dataset_digest": dataset_digest,
        "files": files,
        "libraries": {name: version(name) for name in _LIBRARIES},
        **facts,
    }
    (part / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    for path in [*part.iterdir(), part]:
        _fsync(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part.rename(target)
    _fsync(target.parent)
    return file_digest(target / MANIFEST)


def adopt(folder: Path, target: Path, *, base_model: str, base_digest: str, facts: dict[str, Any]) -> str:
    """Copy a PEFT folder that was trained elsewhere and publish the copy; returns the manifest's SHA-256."""
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copyfile(folder / name, part / name)
    return publish(part, target, base_model=base_model, base_digest=base_digest, dataset_digest="", facts=facts)


def base_of(folder: Path) -> str:
    """The digest of the base model that a published adapter was made for; empty where its folder cannot be read."""
    try:
        return str(json.loads((folder / MANIFEST).read_text())["base_digest"])
    except (OSError, ValueError, KeyError):
        return ""


def plot(path: Path, losses: Sequence[float], held_out: Sequence[tuple[int, float]]) -> None:
    """Draw the loss of each step, its mean over ten, and the held-out loss, as a PNG."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    steps = range(1, len(losses) + 1)
    smooth = [sum(losses[max(0, i - 10) : i]) / min(i, 10) for i in steps]
    axes.plot(steps, losses, color="0.8", label="a step")
    axes.plot(steps, smooth, label="mean of ten steps")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), marker="o", label="set aside")
    axes.set_xlabel("step")
    axes.set_ylabel("loss per answer token")
    axes.legend()
    figure.savefig(path, dpi=80, metadata={"Software": None})


def _neutral_config(path: Path, base_model: str) -> None:
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = base_model
    config["target_modules"] = (
        sorted(config["target_modules"]) if isinstance(config["target_modules"], list) else config["target_modules"]
    )
    path.write_text(json.dumps(config, indent=1, sort_keys=True))


def _card(base_model: str, dataset_digest: str, facts: dict[str, Any], plotted: bool) -> str:
    kept = {name: value for name, value in facts.items() if name not in ("losses", "held_out_losses", "about")}
    rows = "\n".join(f"| {name} | {_shown(value)} |" for name, value in kept.items())
    picture = f"\n![Loss by step]({PLOT})\n" if plotted else ""
    return (
        f"---\nbase_model: {base_model}\nlibrary_name: peft\n---\n\n# A Ratchet adapter\n\n"
        f"{facts.get('about', ABOUT)}\n\n"
        f"| what | value |\n|---|---|\n| dataset | {dataset_digest[:16]} |\n{rows}\n{picture}"
    )


def _shown(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
