"""What the trainer's and the evaluator's child processes do: a job file in, an adapter folder or two reports out."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune import card
from finetune.errors import TrainingError
from finetune.evaluate import Case, Report, evaluate
from finetune.judge import WordJudge
from finetune.search import Found, grid, search
from finetune.train import Trained, train

Show = Callable[[dict[str, Any]], None]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def train_job(job: dict[str, Any], *, base_digest: str, show: Show) -> dict[str, Any]:
    """Train the phases of a job on top of each other and publish the adapter folder; returns the digest and figures."""
    out = Path(job["out"])
    work = out.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    start_from: Path | None = None
    totals: dict[str, Any] = {"steps": 0, "tokens": 0, "seconds": 0.0, "too_long": 0, "losses": []}
    totals |= {"held_out_losses": [], "best_steps": []}
    for number in range(len(job["phases"])):
        part = work / f"phase-{number}"
        part.mkdir(parents=True)
        trained = _phase(job, number, part, start_from, _shown(show, number, len(job["phases"])))
        for name in ("steps", "tokens", "seconds", "too_long"):
            totals[name] += getattr(trained, name)
        before = len(totals["losses"])
        totals["losses"] += [round(loss, 4) for loss in trained.losses]
        totals["held_out_losses"] += [[before + step, round(loss, 4)] for step, loss in trained.held_out]
        totals["best_steps"].append(before + trained.best_step)
        start_from = part
    assert start_from is not None
    facts = {
        "phases": [{key: value for key, value in phase.items() if key != "file"} for phase in job["phases"]],
        "seed": job["seed"],
        "steps": totals["steps"],
        "tokens": totals["tokens"],
        "losses": totals["losses"],
        "held_out_losses": totals["held_out_losses"],
        "best_steps": totals["best_steps"],
    }
    digest = card.publish(
        start_from,
        out,
        base_model=job["base_model"],
        base_digest=base_digest,
        dataset_digest=job["dataset_digest"],
        facts=facts,
    )
    shutil.rmtree(work, ignore_errors=True)
    if job.get("checkpoints"):
        shutil.rmtree(job["checkpoints"], ignore_errors=True)
    rate = totals["tokens"] / max(totals["seconds"], 1e-9)
    tail = totals["losses"][-10:]
    done = {key: totals[key] for key in ("steps", "tokens", "too_long")}
    return {
        **done,
        "digest": digest,
        "folder": str(out),
        "seconds": round(totals["seconds"], 1),
        "tokens_per_second": round(rate, 1),
        "loss": round(sum(tail) / max(1, len(tail)), 4),
    }


SEARCH_SHARE, SEARCH_STEPS = 0.15, 20
LEAST_WATCHED = 16
"""Fewer examples say too little about when to stop."""


def set_aside(rows: list[dict[str, Any]], share: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Examples to train on, and those that only say when to stop: whole clusters by hash, none where they are few."""
    watched = [row for row in rows if _hashed(str(row.get("cluster") or row.get("id", ""))) < share]
    if len(watched) < LEAST_WATCHED or len(watched) > len(rows) // 2:
        return rows, []
    names = {id(row) for row in watched}
    return [row for row in rows if id(row) not in names], watched


def _hashed(key: str) -> float:
    return int.from_bytes(hashlib.sha256(f"stop {key}".encode()).digest()[:8], "big") / 2**64


def search_job(job: dict[str, Any], *, minutes: float, show: Show) -> Found:
    """Search the recipe of a job's first phase; a trial's loss is that of examples set aside, never the gate's cases.

    A trial of so many steps trains on as many batches of examples, each seen as often as its recipe says. Raises
    TrainingError where too few examples can be set aside.
    """
    rows, watched = set_aside(read_rows(Path(job["phases"][0]["file"])), SEARCH_SHARE)
    if not watched:
        raise TrainingError(
            f"{len(rows)} examples are too few to search: {LEAST_WATCHED} must be set aside, {SEARCH_SHARE:.0%} of all."
        )

    def attempt(recipe: dict[str, Any], steps: int) -> float:
        with tempfile.TemporaryDirectory() as part:
            trained = _train(job, recipe, rows[: steps * recipe["batch_size"]], watched, Path(part))
        loss = min(loss for _, loss in trained.held_out)
        tried = {name: recipe[name] for name in ("rank", "learning_rate_used", "epochs", "target_modules")}
        show({"tried": tried, "steps": trained.steps, "held_out_loss": round(loss, 4)})
        return loss

    return search(grid(job["phases"][0]["recipe"]), attempt=attempt, steps=SEARCH_STEPS, minutes=minutes)


def _phase(job: dict[str, Any], number: int, part: Path, start_from: Path | None, show: Show) -> Trained:
    phase = job["phases"][number]
    recipe = phase["recipe"]
    rows, watched = set_aside(read_rows(Path(phase["file"])), job.get("stop_share", 0.0))
    more = {"start_from": start_from, "progress": show}
    if job.get("checkpoints"):
        more["checkpoints"] = Path(job["checkpoints"]) / f"phase-{number}.safetensors"
    return _train(job, recipe, rows, watched, part, **more)


def _train(
    job: dict[str, Any],
    recipe: dict[str, Any],
    rows: list[dict[str, Any]],
    watched: list[dict[str, Any]],
    out: Path,
    **more: Any,
) -> Trained:
    return train(
        rows,
        base_model=job["base_folder"],
        out=out,
        rank=recipe["rank"],
        alpha=recipe["alpha"],
        dropout=recipe["dropout"],
        target_modules=recipe["target_modules"],
        learning_rate=recipe["learning_rate_used"],
        epochs=recipe["epochs"],
        warmup_steps=recipe["warmup_steps"],
        batch_size=recipe["batch_size"],
        max_tokens=job["max_tokens"],
        seed=job["seed"],
        threads=job["threads"],
        held_out=watched,
        memory_mb=job.get("memory_mb", 0),
        qlora=job.get("qlora", False),
        **more,
    )


def _shown(show: Show, number: int, phases: int) -> Show:
    return lambda progress: show({"phase": number + 1, "phases": phases, **progress})


def cases_of(rows: list[dict[str, Any]]) -> list[Case]:
    """Held-out examples as evaluation cases."""
    return [
        Case(
            id=row["id"],
            task=row["task"],
            question=row["question"],
            messages=tuple(row["messages"]),
            passages=tuple(row["passages"]),
            references=(row["target"],),
            answerable=row["answerable"],
            gold=row["gold"],
            cluster=row["cluster"],
            human=row["kind"] in ("approved", "correction"),
        )
        for row in rows
    ]


def evaluate_job(
    rows: list[dict[str, Any]],
    *,
    engine: Any,
    adapters: list[str],
    max_tokens: int,
    batch: int,
    seed: int,
    show: Show,
) -> list[Report]:
    """Let each loaded adapter answer the held-out rows; logged greedy answers of an adapter are reused.

    `engine` is anything with `stream` and `logprobs` (`bot.engine`); the answers of one batch are written side by side.
    """
    cases = cases_of(rows)
    reports = []
    for number, adapter in enumerate(adapters):
        logged = {row["id"]: row["logged_answer"] for row in rows if row["logged_adapter"] == adapter}
        asked = _Asked(engine, adapter, max_tokens, {key: text for key, text in logged.items() if text})

        def progress(done: int, of: int, number: int = number, adapter: str = adapter) -> None:
            show({"evaluating": adapter, "step": number * of + done, "steps": len(adapters) * of})

        reports.append(
            evaluate(
                cases,
                asked.answers,
                asked.logprobs,
                model=adapter,
                judge=WordJudge(),
                seed=seed,
                batch=batch,
                progress=progress,
            )
        )
    return reports


@dataclass(frozen=True)
class _Asked:
    """One adapter's answers and log-probabilities."""

    engine: Any
    adapter: str
    max_tokens: int
    logged: dict[str, str]

    def answers(self, cases: list[Case]) -> list[str]:
        writing = {
            case.id: self.engine.stream(case.messages, adapter=self.adapter, max_tokens=self.max_tokens)
            for case in cases
            if case.id not in self.logged
        }
        return ["".join(writing[c.id]).strip() if c.id in writing else self.logged[c.id] for c in cases]

    def logprobs(self, cases: list[Case]) -> list[list[float]]:
        return [self.engine.logprobs(case.messages, case.references[0], adapter=self.adapter) for case in cases]
