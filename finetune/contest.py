"""Several ways of training against each other: short tries first, the worse ones leave, the finalists run in full.

Every way's adapter is published, that of its last round; which finalist is kept is for the gate to say.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.halving import best, shares
from finetune.jobs import Show, train_job
from finetune.on_top import on_top

TOTALS = ("steps", "tokens", "too_long", "seconds")


def contest(job: Mapping[str, Any], *, base_digest: str, show: Show) -> dict[str, Any]:
    """Train the `runs` of a job, each with its name, phases and `out`; returns what each came to, totals, `peak_mb`.

    A run has its `rounds`: the share of the examples it trained on, its steps and the loss it was judged by. One that
    left early has `left`, the reason as a sentence. A run with `preference` goes on from the first finalist's adapter;
    such runs come last.
    """
    show = peak = Peak(show)
    runs = [run for run in job["runs"] if "preference" not in run]
    alive = list(range(len(runs)))
    done: dict[int, dict[str, Any]] = {}
    rounds: dict[int, list[dict[str, Any]]] = {place: [] for place in alive}
    tries: list[dict[str, Any]] = []
    for share in shares(len(runs)):
        tried = [_run(job, runs[place], share, base_digest, show) for place in alive]
        tries += tried
        stay = {alive[place] for place in best([_measure(one) for one in tried])}
        for place, one in zip(alive, tried, strict=True):
            rounds[place].append(_round(one, share))
            if place not in stay:
                left = _why(one, [other for other in tried if other is not one], share)
                done[place] = {**one, "folder": _kept(runs[place]), "left": left}
            shutil.rmtree(_tried(runs[place]).parent)
        alive = [place for place in alive if place in stay]
    finals = [_run(job, runs[place], 1.0, base_digest, show) for place in alive]
    for place, one in zip(alive, finals, strict=True):
        done[place] = one
        rounds[place].append(_round(one, 1.0))
    made = [{**done[place], "rounds": rounds[place]} for place in range(len(runs))]
    after = [run for run in job["runs"] if "preference" in run]
    for run in after:
        more = on_top(job, run, finals[0], base_digest=base_digest, show=show)
        made.append({**more, "rounds": [_round(more, 1.0)]})
    every = [*tries, *finals, *made[len(runs) :]]
    totals = {name: round(sum(one[name] for one in every), 1) for name in TOTALS}
    rate = round(totals["tokens"] / max(totals["seconds"], 1e-9), 1)
    return {**totals, "tokens_per_second": rate, "loss": finals[0]["loss"], "peak_mb": peak.mb, "runs": made}


class Peak:
    """Passes progress on, and keeps the most memory that any of it told, of all runs: `mb`, None where none did."""

    def __init__(self, show: Show) -> None:
        self._show = show
        self.mb: int | None = None

    def __call__(self, progress: dict[str, Any]) -> None:
        """Progress of a run."""
        if "memory_mb" in progress:
            self.mb = max(self.mb or 0, progress["memory_mb"])
        self._show(progress)


def _run(job: Mapping[str, Any], run: Mapping[str, Any], share: float, base_digest: str, show: Show) -> dict[str, Any]:
    out = Path(run["out"]) if share == 1.0 else _tried(run)
    shutil.rmtree(out if share == 1.0 else out.parent, ignore_errors=True)
    phases = [{**phase, "share": share} for phase in run["phases"]]
    shared = {key: value for key, value in job.items() if key != "runs"}
    if shared.get("checkpoints"):
        shared["checkpoints"] = str(Path(shared["checkpoints"]) / f"{run['name'] or 'alone'}-{share:g}")

    def named(progress: dict[str, Any]) -> None:
        show({"variant": run["name"], "share": share, **progress})

    done = train_job({**shared, "phases": phases, "out": str(out)}, base_digest=base_digest, show=named)
    return {**done, "name": run["name"]}


def _tried(run: Mapping[str, Any]) -> Path:
    """Where a short try is published: in a folder of its own, under the name that its manifest keeps."""
    out = Path(run["out"])
    return out.with_name(f"{out.name}.tried") / out.name


def _kept(run: Mapping[str, Any]) -> str:
    """Put a try, with the adapters of its phases, where the run's adapters belong."""
    for folder in _tried(run).parent.iterdir():
        folder.rename(Path(run["out"]).with_name(folder.name))
    return str(run["out"])


def _round(one: Mapping[str, Any], share: float) -> dict[str, Any]:
    return {"share": share, "steps": one["steps"], "loss": round(_measure(one), 4)}


def _measure(one: Mapping[str, Any]) -> float:
    """What a try is judged by: its loss on what was put aside, else its training loss at the end."""
    return float(one["loss"] if one.get("probe_loss") is None else one["probe_loss"])


def _why(one: Mapping[str, Any], others: Sequence[Mapping[str, Any]], share: float) -> str:
    named = min(others, key=_measure)
    what = "training loss" if one.get("probe_loss") is None else "loss on examples put aside"
    return (
        f"Left the tournament after {share:.0%} of its examples: {what} {_measure(one):.3f}, "
        f"while {named['name']} reached {_measure(named):.3f}."
    )
