"""The steps of a cycle, each idempotent: collect, classify, rank, plan, curate, train, evaluate, gate, watch.

A step's body takes the workbench, the claim and the cycle and says how the cycle goes on. Folders carry the fence, so
that what a killed attempt left behind is never mistaken for the result.
"""

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from finetune import gate
from finetune.comparison import LOSS, Delta, Verdict
from finetune.dataset import lineage_of
from finetune.evaluate import ALL, Report
from finetune.jobs import read_rows
from scheduler import decisions, launcher, planning, rank, watch
from scheduler.dataset_files import keep_sides, write_dataset, write_phases
from scheduler.workbench import Workbench, curated, label_all
from store import adapters, cycles, deployments, exchanges
from store.errors import LostLease
from store.models import BASE, Adapter, AdapterState, Cycle, CycleState, Outcome, now

FIRST = "collect"
SPARE = {"rank": "plan"}
"""Steps that a cycle does without when they fail, and the step after each."""
WATCH_LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Next:
    """How a cycle goes on after a step."""

    result: dict[str, Any]
    step: str | None = None
    state: CycleState = CycleState.RUNNING
    outcome: Outcome | None = None
    values: dict[str, Any] = field(default_factory=dict)


Body = Callable[[Workbench, cycles.Claim, Cycle], Next | None]


def work(bench: Workbench, claim: cycles.Claim) -> None:
    """Do one claimed step; the only place that catches everything, so that no error stops the scheduler."""
    with bench.database.read() as session:
        cycle = cycles.get(session, claim.cycle_id)
    try:
        after = STEPS[claim.step](bench, claim, cycle)
        if after is None:
            cycles.wait(bench.database, claim, seconds=WATCH_LOOK_SECONDS)
            return
        cycles.finish_step(
            bench.database,
            claim,
            result=after.result,
            next_step=after.step,
            state=after.state,
            outcome=after.outcome,
            **after.values,
        )
    except LostLease:
        return
    except Exception as error:  # the job boundary: the traceback is kept in the cycle's row
        _failed(bench, claim, f"{error}\n{traceback.format_exc(limit=-4)}")


def _failed(bench: Workbench, claim: cycles.Claim, error: str) -> None:
    try:
        if claim.step in SPARE:
            cycles.finish_step(bench.database, claim, result={"error": error}, next_step=SPARE[claim.step])
        else:
            cycles.fail_step(bench.database, claim, error)
    except LostLease:
        return


def folder(bench: Workbench, cycle_id: str) -> Path:
    """Where a cycle keeps its data and logs."""
    return bench.data / "cycles" / cycle_id


def collect(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Count what the log holds."""
    with bench.database.read() as session:
        rows = exchanges.logged(session)
    rated = sum(row.feedback is not None for row in rows)
    return Next({"exchanges": len(rows), "with_feedback": rated}, "classify")


def classify(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Label new exchanges, or all of them when the taxonomy changed."""
    return Next({"labelled": label_all(bench)}, "rank")


def weigh(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Fit retrieval's weights to the log; whatever comes of it, the cycle goes on."""
    return Next(rank.step(bench, claim, cycle), "plan")


def plan(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Choose a strategy; end here when the log holds too little."""
    made = planning.plan_now(bench)
    result = {"strategy": made["strategy"], "tasks": made["tasks"], "examples": made["examples"]}
    if made["too_little_data"]:
        return Next(result, None, CycleState.DONE, Outcome.TOO_LITTLE_DATA, {"plan": made})
    return Next(result, "curate", values={"plan": made})


def curate(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Write the dataset and keep the new sides for ever."""
    made, sides = curated(bench)
    out = folder(bench, cycle.id) / f"data-{claim.fence}"
    write_dataset(bench, made, out)
    files = write_phases(bench, made.train, cycle.plan["phases"], out)
    keep_sides(bench, sides)
    chosen = [read_rows(file) for file in files]
    result = {
        "data": str(out.relative_to(bench.data)),
        "digest": made.digest(),
        "funnel": dict(made.funnel),
        "train": [len(rows) for rows in chosen],
        "held_out": min(len(made.held_out), bench.max_cases),
    }
    return Next(result, "train")


def train(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Train every phase in a child process and publish the adapter."""
    data = bench.data / cycle.results["curate"]["data"]
    adapter = _adapter_of(bench, cycle)
    if adapter.state == AdapterState.CANDIDATE:
        return Next({"adapter": adapter.id}, "evaluate", values={"adapter_id": adapter.id})
    out = bench.data / "adapters" / f"{adapter.id}-{claim.fence}"
    job = {
        "phases": [
            {**phase, "file": str(data / f"phase-{number}.jsonl")} for number, phase in enumerate(cycle.plan["phases"])
        ],
        "out": str(out),
        "base_model": bench.base_model,
        "base_folder": bench.base_folder(),
        "dataset_digest": cycle.results["curate"]["digest"],
        "max_tokens": bench.max_tokens,
        "seed": bench.seed,
        "threads": bench.threads,
        "checkpoints": str(folder(bench, cycle.id) / f"checkpoints-{adapter.id}"),
        **bench.trainer,
    }
    done = _child(bench, claim, "train", job)
    _published(bench, claim, cycle, adapter.id, out, done)
    keep = ("steps", "tokens", "seconds", "tokens_per_second", "loss", "too_long")
    result = {"adapter": adapter.id, **{key: done[key] for key in keep if key in done}}
    return Next(result, "evaluate", values={"adapter_id": adapter.id})


def _child(bench: Workbench, claim: cycles.Claim, command: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run a command of `finetune` on a job file; its progress renews the lease."""
    path = folder(bench, claim.cycle_id) / f"{command}-{claim.fence}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(job))
    return launcher.run(
        ["finetune", command, "--job", str(path)],
        folder=bench.checkout,
        threads=bench.threads,
        environment=bench.environment,
        renew=lambda progress: cycles.renew(bench.database, claim, progress=progress),
        log=path.with_suffix(".log"),
    )


def _adapter_of(bench: Workbench, cycle: Cycle) -> Adapter:
    """The adapter of this cycle: new, being trained, or published by an attempt that died right after."""
    with bench.database.read() as session:
        states = [AdapterState.TRAINING, AdapterState.CANDIDATE]
        query = select(Adapter).where(Adapter.cycle_id == cycle.id, col(Adapter.state).in_(states))
        found = session.exec(query).first()
    return found or adapters.create(
        bench.database, actor="scheduler", cycle_id=cycle.id, base_model=bench.base_model, parent_id=None
    )


def _published(
    bench: Workbench, claim: cycles.Claim, cycle: Cycle, adapter_id: str, out: Path, done: dict[str, Any]
) -> None:
    cycles.renew(bench.database, claim)
    made = cycle.results["curate"]
    rows = [row for file in sorted((bench.data / made["data"]).glob("phase-*.jsonl")) for row in read_rows(file)]
    with bench.database.write() as session:
        adapters.move(
            session,
            adapter_id,
            AdapterState.CANDIDATE,
            actor="scheduler",
            folder=str(out),
            digest=done["digest"],
            dataset_digest=made["digest"],
            recipe={"phases": cycle.plan["phases"]},
            lineage={**lineage_of(rows), "cycle": cycle.id},
        )


def evaluate(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Let candidate and serving adapter answer the held-out cases in a child process."""
    with bench.database.read() as session:
        row = adapters.get(session, cycle.adapter_id or "")
        serving = deployments.deployment(session).adapter
        against = session.get(Adapter, serving)
    job = {
        "cases": str(bench.data / cycle.results["curate"]["data"] / "held_out.jsonl"),
        "base_folder": bench.base_folder(),
        "candidate": {"id": row.id, "folder": row.folder, "digest": row.digest},
        "serving": {"id": serving, "folder": against.folder, "digest": against.digest} if against else {"id": BASE},
        "max_tokens": bench.answer_tokens,
        "context_tokens": bench.context_tokens,
        "batch": bench.batch,
        "threads": bench.threads,
        "seed": bench.seed,
        "out": str(folder(bench, cycle.id) / f"evaluation-{claim.fence}"),
    }
    done = _child(bench, claim, "evaluate", job)
    result = {"serving": serving, "cases": done.get("cases", 0), "out": job["out"]}
    return Next(result, "gate")


def decide(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Compare the two reports and move the adapter and the cycle by the verdict."""
    out = Path(cycle.results["evaluate"]["out"])
    candidate = Report.from_json((out / "candidate.json").read_text())
    serving = Report.from_json((out / "serving.json").read_text())
    verdict = gate.decide(
        candidate,
        serving,
        planned_tasks=_planned(bench, cycle, candidate),
        primary=bench.primary,
        margin=bench.margin,
        loss_margin=bench.loss_margin,
        min_cases=bench.min_cases,
        seed=bench.seed,
    )
    cycles.renew(bench.database, claim)
    shown = json.loads(verdict.to_json())
    report = {"candidate": json.loads(candidate.to_json()), "serving": json.loads(serving.to_json())}
    serving_then = cycle.results["evaluate"]["serving"]
    decisions.judged(bench.database, cycle.adapter_id or "", report, shown, serving=serving_then)
    lost = sorted({d.task for d in verdict.deltas if d.role == "guardrail" and d.passed is False})
    gained = {d.metric: [round(value, 4) for value in (d.difference, d.low, d.high)] for d in _over_planned(verdict)}
    result = {"verdict": verdict.verdict, "reasons": shown["reasons"], "lost": lost, "gained": gained}
    if verdict.verdict == "promote":
        return Next(result, "watch", CycleState.AWAITING_APPROVAL)
    outcome = Outcome.REJECTED if verdict.verdict == "reject" else Outcome.NOT_ENOUGH_EVIDENCE
    return Next(result, None, CycleState.DONE, outcome)


def _over_planned(verdict: Verdict) -> list[Delta]:
    """The differences over the planned tasks' cases, and over all cases where a metric has no such."""
    over = {delta.metric: delta for delta in verdict.deltas if delta.task == ALL and delta.metric != LOSS}
    over |= {delta.metric: delta for delta in verdict.deltas if delta.task == gate.PLANNED}
    return list(over.values())


def _planned(bench: Workbench, cycle: Cycle, report: Report) -> list[str]:
    """The tasks that the plan's tasks cover: one that scores on every exchange with passages covers all."""
    planned = list(cycle.plan["tasks"])
    if set(planned) & set(bench.covering()):
        planned += [case.task for case in report.cases]
    return list(dict.fromkeys(planned))


def watching(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next | None:
    """Look at what the new adapter answers, as a canary or live; None means: look again later."""
    found = watch.look(
        bench.database,
        adapter_id=cycle.adapter_id or "",
        hours=bench.watch_hours,
        max_decline_rise=bench.max_decline_rise,
        complete_canary_hours=bench.complete_canary_hours,
        now=now(),
    )
    decisions.act_on(bench.database, found, adapter_id=cycle.adapter_id or "")
    if found.verdict in ("waiting", "complete"):
        return None
    outcome = Outcome.PROMOTED if found.verdict == "kept" else Outcome.REJECTED
    return Next({"verdict": found.verdict, "sentence": found.sentence}, None, CycleState.DONE, outcome)


STEPS: dict[str, Body] = {
    "collect": collect,
    "classify": classify,
    "rank": weigh,
    "plan": plan,
    "curate": curate,
    "train": train,
    "evaluate": evaluate,
    "gate": decide,
    "watch": watching,
}
