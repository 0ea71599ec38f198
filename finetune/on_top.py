"""A run that goes on from another one's adapter with preferences, published as an adapter of its own."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune import card
from finetune.jobs import Show
from finetune.phase import data_digest, phase_digest, read_rows
from finetune.prefer import prefer

KEPT = ("method", "rows", "steps", "seconds")


def on_top(
    job: Mapping[str, Any], run: Mapping[str, Any], before: Mapping[str, Any], *, base_digest: str, show: Show
) -> dict[str, Any]:
    """Train the preferences of a run on what `before` came to; returns what `jobs.train_job` would."""
    out, chosen = Path(run["out"]), run["preference"]
    part = out.with_suffix(".work")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    data = data_digest([before["dataset_digest"], phase_digest(chosen)])
    done = prefer(
        read_rows(Path(chosen["file"])),
        method=chosen["method"],
        base_model=job["base_folder"],
        adapter=Path(before["folder"]),
        out=part,
        max_tokens=job["max_tokens"],
        seed=job["seed"],
        threads=job["threads"],
        progress=lambda said: show({"variant": run["name"], **said}),
    )
    phases = [{key: value for key, value in phase.items() if key != "file"} for phase in run["phases"]]
    facts = {
        "phases": phases,
        "seed": job["seed"],
        "preference": {name: done[name] for name in KEPT},
        "margins": done["margins"],
        "losses": done["losses"],
    }
    digest = card.publish(
        part,
        out,
        base_model=job["base_model"],
        base_digest=base_digest,
        dataset_digest=data,
        facts=facts,
    )
    last = {**before["phases"][-1], "folder": out.name, "digest": digest}
    return {
        **before,
        "name": run["name"],
        "folder": str(out),
        "digest": digest,
        "dataset_digest": data,
        "phases": [*before["phases"][:-1], last],
        "preference": facts["preference"],
        "probe_loss": None,
        "tokens": 0,
        "too_long": 0,
        "steps": done["steps"],
        "seconds": done["seconds"],
    }
