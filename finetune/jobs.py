"""What the trainer's and the evaluator's child processes do: a job file in, an adapter folder or two reports out."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from finetune import card
from finetune.evaluate import Case, Report, evaluate
from finetune.examples import says_again
from finetune.fitted import FittedJudge
from finetune.forgetting import by_task, forgotten
from finetune.judge import SELECTING, Judge
from finetune.phase import data_digest, phase_digest, train_phase
from finetune.phase import read_rows as read_rows
from finetune.probe import losses
from store.errors import Invalid

Show = Callable[[dict[str, Any]], None]
FACTS = ("steps", "tokens", "losses", "held_out_losses", "best_steps")
"""What of a run the manifest and the card keep."""


def train_job(job: dict[str, Any], *, base_digest: str, show: Show) -> dict[str, Any]:
    """Train the phases of a job on top of each other and publish every phase's adapter folder.

    With `probe`, examples put aside, it stops after a phase that made an earlier task worse by more than `margin`; what
    is published as `out` is then the phase before. Returns the digest, figures and what became of each phase.
    """
    out = Path(job["out"])
    work = out.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    probe = read_rows(Path(job["probe"])) if job.get("probe") else []
    totals: dict[str, Any] = {"steps": 0, "tokens": 0, "seconds": 0.0, "too_long": 0, "losses": []}
    totals |= {"held_out_losses": [], "best_steps": []}
    parts: list[Path] = []
    files: list[str] = []
    history: list[list[float | None]] = []
    forgot: dict[str, float] = {}
    for number in range(len(job["phases"])):
        part = work / f"phase-{number}"
        part.mkdir(parents=True)
        before = parts[-1] if parts else None
        files.append(phase_digest(job["phases"][number]))
        trained = train_phase(job, number, part, before, _shown(show, number, len(job["phases"])))
        for name in ("steps", "tokens", "seconds", "too_long"):
            totals[name] += getattr(trained, name)
        done = len(totals["losses"])
        totals["held_out_losses"] += [[done + step, round(loss, 4)] for step, loss in trained.held_out]
        totals["best_steps"].append(done + trained.best_step)
        totals["losses"] += [round(loss, 4) for loss in trained.losses]
        parts.append(part)
        if probe:
            limits = {"max_tokens": job["max_tokens"], "threads": job["threads"]}
            limits["four_bit"] = job["phases"][number]["recipe"].get("four_bit", False)
            history.append(losses(probe, base_model=job["base_folder"], adapter=part, **limits))
            tasks = [one["tasks"] for one in job["phases"][: number + 1]]
            if forgot := forgotten(probe, tasks, history, margin=job["margin"]):
                break
    phases = _published(job, parts, files, probe, history, forgot, totals, base_digest)
    shutil.rmtree(work, ignore_errors=True)
    rate = totals["tokens"] / max(totals["seconds"], 1e-9)
    tail = totals["losses"][-10:]
    figures = {key: totals[key] for key in ("steps", "tokens", "too_long")}
    last = history[len(parts) - 1 - bool(forgot)] if probe else []
    known = [loss for loss in last if loss is not None]
    return {
        **figures,
        "digest": next(phase["digest"] for phase in phases if phase["folder"] == out.name),
        "folder": str(out),
        "dataset_digest": data_digest(files[: len(parts) - bool(forgot)]),
        "seconds": round(totals["seconds"], 1),
        "tokens_per_second": round(rate, 1),
        "loss": round(sum(tail) / max(1, len(tail)), 4),
        "probe_loss": round(sum(known) / len(known), 4) if known else None,
        "phases": phases,
        "forgot": forgot,
    }


def _published(
    job: dict[str, Any],
    parts: list[Path],
    files: list[str],
    probe: list[dict[str, Any]],
    history: list[list[float | None]],
    forgot: dict[str, float],
    totals: dict[str, Any],
    base_digest: str,
) -> list[dict[str, Any]]:
    """Publish each phase's adapter: the last good one as the job's `out`, the others beside it; what each came to."""
    out = Path(job["out"])
    final = len(parts) - 1 - bool(forgot)
    kept: list[dict[str, Any]] = []
    for number in [*(n for n in range(len(parts)) if n != final), final]:
        phases = [{key: value for key, value in one.items() if key != "file"} for one in job["phases"][: number + 1]]
        target = out if number == final else out.with_name(f"{out.name}-phase-{number + 1}")
        said = {
            "phase": number + 1,
            "tasks": list(phases[-1]["tasks"]),
            "folder": target.name,
            "losses": by_task(probe, history[number]) if probe else {},
            "forgot": forgot if number > final else {},
        }
        facts = {"phases": phases, "seed": job["seed"], "other_orders": job.get("other_orders", 0)}
        facts |= {key: totals[key] for key in FACTS}
        if len(parts) > 1:
            facts["kept_phases"] = [*kept, said]
        digest = card.publish(
            parts[number],
            target,
            base_model=job["base_model"],
            base_digest=base_digest,
            dataset_digest=data_digest(files[: number + 1]),
            facts=facts,
        )
        kept.append({**said, "digest": digest})
    return sorted(kept, key=lambda one: int(one["phase"]))


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
    base_model: str,
    max_tokens: int,
    batch: int,
    seed: int,
    show: Show,
    judge: Judge | None = None,
    known: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Report]:
    """Let each loaded adapter answer the held-out rows; what it answered in the log, and would again, is reused.

    `known` holds answers of an earlier report, by adapter and case. `judge` scores them, by default the fitted one; it
    must be of another family than the one that selects examples. `engine` is anything with `stream` and `logprobs`
    (`bot.engine`); the answers of one batch are written side by side.
    """
    judge = judge or FittedJudge()
    if judge.family == SELECTING.family:
        raise Invalid(
            f'the judge "{judge.name}" is of the family that selects training data, "{judge.family}".',
            "Let another one evaluate: what chose the examples cannot say that they helped.",
        )
    cases = cases_of(rows)
    reports = []
    for number, adapter in enumerate(adapters):
        same = partial(says_again, adapter=adapter, base_model=base_model, max_tokens=max_tokens)
        logged = {row["id"]: row["logged_answer"] for row in rows if same(row)}
        logged |= (known or {}).get(adapter, {})
        asked = _Asked(engine, adapter, max_tokens, logged)

        def progress(done: int, of: int, number: int = number, adapter: str = adapter) -> None:
            show({"evaluating": adapter, "step": number * of + done, "steps": len(adapters) * of})

        reports.append(
            evaluate(
                cases,
                asked.answers,
                asked.logprobs,
                model=adapter,
                judge=judge,
                seed=seed,
                batch=batch,
                progress=progress,
            )
        )
    return reports


def known_answers(report: str, rows: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """What a model answered to the same cases in an earlier report, by model and case; empty without one.

    A case is the same when its id is: an example's messages never change.
    """
    if not report or not Path(report).exists():
        return {}
    found = Report.from_json(Path(report).read_text())
    wanted = {row["id"] for row in rows}
    return {found.model: {one.case_id: one.answer for one in found.cases if one.case_id in wanted and one.answer}}


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
