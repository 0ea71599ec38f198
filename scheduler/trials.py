"""The heavy steps of a cycle: train, evaluate, gate. One adapter as a rule; in a tournament one for each variant.

Every variant's adapter is published and entered into the registry. Those that left early are rejected at once, the
finalists meet at the same gate, the best of them goes on and the others end as rejected, each with its reason.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from sqlmodel import select

from finetune import instead
from finetune.comparison import Verdict
from finetune.evaluate import Report
from finetune.examples import lineage_of
from finetune.jobs import read_rows
from finetune.people import ByPeople
from scheduler import case_answers, decisions, entrants, forgotten, judging, refetched
from scheduler.against import anchor_of, known_answers, side_of
from scheduler.dataset_files import PREFERRED, PROBE, VERIFIED, runs_of
from scheduler.memory import MB, Memory, lacking
from scheduler.rated import rated
from scheduler.slices import corrected, slices
from scheduler.steps import Next, child, folder
from scheduler.verdicts import ORDER, lead, of_alternatives, over_planned, planned_tasks, verdict_of, why_best
from scheduler.workbench import Workbench
from store import adapters, cycles, deployments
from store.case_labels import LOOKS
from store.errors import Invalid
from store.models import BASE, Adapter, AdapterState, Cycle, CycleState, Outcome
from store.signing import Signer

KEPT = ("steps", "tokens", "seconds", "tokens_per_second", "loss", "too_long", "peak_mb")
TOLD = ("name", "rounds", "probe_loss")


def train(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Train every variant and phase in a child process and publish the adapters."""
    runs = runs_of(cycle.plan, bench.data / cycle.results["curate"]["data"])
    rows = _adapters_of(bench, cycle, len(runs))
    if all(row.state != AdapterState.TRAINING for row in rows):
        first = next(row.id for row in rows if row.state == AdapterState.CANDIDATE)
        return Next({"adapter": first}, "evaluate", values={"adapter_id": first})
    outs = [bench.data / adapters.FOLDER / f"{row.id}-{claim.fence}" for row in rows]
    for row, run in zip(rows, runs, strict=True):
        enter_lineage(bench, row.id, run)
    _check_room(bench, [phase["recipe"] for run in runs for phase in run["phases"]])
    probe = bench.data / cycle.results["curate"]["data"] / PROBE
    job = {
        "runs": [{**run, "out": str(out)} for run, out in zip(runs, outs, strict=True)],
        "base_model": bench.base_model,
        "base_folder": bench.base_folder(),
        "max_tokens": bench.max_tokens,
        "seed": bench.seed,
        "threads": bench.threads,
        "checkpoints": str(folder(bench, cycle.id) / "checkpoints"),
        **bench.trainer,
        "probe": str(probe) if probe.exists() else "",
        "margin": bench.loss_margin,
    }
    done = child(bench, claim, "train", job)
    cycles.renew(bench.database, claim)
    for row, run, made in zip(rows, runs, done["runs"], strict=True):
        published(bench, cycle, row.id, run, made)
    first = next(row.id for row, made in zip(rows, done["runs"], strict=True) if "left" not in made)
    result = {"adapter": first, **{key: done[key] for key in KEPT}, **_told(rows, done["runs"])}
    return Next(result, "evaluate", values={"adapter_id": first})


def _check_room(bench: Workbench, recipes: list[dict[str, Any]]) -> None:
    """Raises Invalid where the model does not fit beside what runs now: the machine would end somebody else."""
    memory = Memory(bench.base(), bench.machine(), bench.max_tokens)
    if why := lacking(memory, recipes, free_mb=psutil.virtual_memory().available // MB):
        raise Invalid(why, "Lower training.max_tokens, free some, then try the cycle again.")


def _told(rows: list[Adapter], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What a timeline shows of phases that forgot, and of a tournament's variants."""
    found: dict[str, Any] = {}
    if len(runs) > 1:
        found["variants"] = [
            {"adapter": row.id, **{key: made[key] for key in TOLD}, "left": made.get("left", "")}
            for row, made in zip(rows, runs, strict=True)
        ]
    elif len(runs[0]["phases"]) > 1:
        found |= {"phases": runs[0]["phases"], "forgot": sorted(runs[0]["forgot"])}
    return found


def _adapters_of(bench: Workbench, cycle: Cycle, count: int) -> list[Adapter]:
    """The adapters of this cycle, one for each run: new, in training, or published by an attempt that died after."""
    with bench.database.read() as session:
        query = select(Adapter).where(Adapter.cycle_id == cycle.id, Adapter.state != AdapterState.QUARANTINED)
        found = sorted(session.exec(query), key=lambda row: int(row.id[1:]))
    while len(found) < count:
        found.append(
            adapters.create(
                bench.database, actor="scheduler", cycle_id=cycle.id, base_model=bench.base_model, parent_id=None
            )
        )
    return found[:count]


def _used(run: dict[str, Any], last: int | None = None) -> list[dict[str, Any]]:
    """The examples that a run trains on, up to the phase `last`."""
    used = [row for phase in run["phases"][:last] for row in read_rows(Path(phase["file"]))]
    return used + (read_rows(Path(run["preference"]["file"]).with_name(PREFERRED)) if "preference" in run else [])


def enter_lineage(bench: Workbench, adapter_id: str, run: dict[str, Any]) -> None:
    """Enter what an adapter will rest on before it is trained: who is erased meanwhile is flagged in it.

    An attempt after another one adds to what that one found: the trainer may have read what was deleted since.
    """
    with bench.database.write() as session:
        row = adapters.get(session, adapter_id)
        before, found = row.lineage, _rests_on(_used(run))
        people = sorted({*before.get("people", []), *found["people"]})
        rows = {name: {**before.get(name, {}), **found[name]} for name in ("examples", "withheld")}
        row.lineage = {**before, **found, "people": people, **rows}
        session.add(row)


def _lineage(row: Adapter, run: dict[str, Any], last: int) -> dict[str, Any]:
    """What was entered before the training, without the examples of phases after the `last` that is kept."""
    if last == len(run["phases"]):
        return row.lineage
    return {**row.lineage, **_rests_on(_used(run, last))}


def _rests_on(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What an adapter rests on, and how many rows of each kind it was trained on."""
    kinds = Counter(row["kind"] for row in rows if row.get("kind"))
    return {**lineage_of(rows), "kinds": dict(sorted(kinds.items()))}


def published(bench: Workbench, cycle: Cycle, adapter_id: str, run: dict[str, Any], made: dict[str, Any]) -> None:
    """Enter what was trained into the registry; one that left a tournament is rejected."""
    last = max(one["phase"] for one in made["phases"] if one["folder"] == Path(made["folder"]).name)
    phases = [{key: value for key, value in phase.items() if key != "file"} for phase in run["phases"][:last]]
    named = {"variant": run["name"]} if run["name"] else {}
    kept = {"phases": made["phases"]} if len(made["phases"]) > 1 else {}
    with bench.database.write() as session:
        row = adapters.get(session, adapter_id)
        if row.state != AdapterState.TRAINING:
            return
        adapters.move(
            session,
            adapter_id,
            AdapterState.CANDIDATE,
            actor="scheduler",
            folder=made["folder"],
            digest=made["digest"],
            dataset_digest=made["dataset_digest"],
            recipe={"phases": phases, **named},
            lineage={**_lineage(row, run, last), "cycle": cycle.id, **kept},
        )
        if left := made.get("left"):
            verdict = {"verdict": "reject", "reasons": [left], "deltas": []}
            adapters.move(session, adapter_id, AdapterState.REJECTED, actor="scheduler", comment=left, verdict=verdict)


def evaluate(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Let the candidates and the serving adapter answer the held-out cases in a child process."""
    rows = entrants.contenders(bench, cycle)
    with bench.database.read() as session:
        serving = deployments.deployment(session).adapter
        against = session.get(Adapter, serving)
        anchor = anchor_of(bench, session)
    sides = [side_of(bench, row.id, row) for row in rows]
    cases = bench.data / cycle.results["curate"]["data"] / "held_out.jsonl"
    if not cases.exists():
        raise Invalid(
            f"the held-out cases of cycle {cycle.id} are not kept any more.",
            "Run a new cycle, or keep more by scheduler.keep_datasets.",
        )
    out = folder(bench, cycle.id) / f"evaluation-{claim.fence}"
    job = {
        "cases": str(cases),
        "refetched": refetched.write(bench, cases),
        "base_model": bench.base_model,
        "base_folder": bench.base_folder(),
        "base_digest": bench.base_digest(),
        "candidate": sides[0],
        "others": sides[1:],
        "serving": side_of(bench, serving, against),
        "anchor": side_of(bench, anchor.id if anchor else BASE, anchor),
        "known": known_answers(bench, anchor),
        "max_tokens": bench.answer_tokens,
        "context_tokens": bench.context_tokens,
        "batch": bench.batch,
        "threads": bench.threads,
        "seed": bench.seed,
        "out": str(out),
        "alternatives": bench.alternative_cases,
        "train": str(bench.data / cycle.results["curate"]["data"] / "train.jsonl"),
        "verified": str(bench.data / cycle.results["curate"]["data"] / VERIFIED),
        "primary": list(bench.primary),
        "judge": dict(bench.judge),
        "labels": case_answers.given(bench),
    }
    done = child(bench, claim, "evaluate", job)
    result = {"serving": serving, "cases": done.get("cases", 0), "out": str(out.relative_to(bench.data))}
    return Next({**result, "adapters": [row.id for row in rows]}, "gate")


def decide(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Compare each candidate with what serves; move the best and the cycle by its verdict, and reject the others."""
    done = cycle.results["evaluate"]
    out, against, found = entrants.evaluated(bench, done), done["serving"], entrants.reports(bench, cycle)
    ids, reports = list(found), [Report.from_json(file.read_text()) for file in found.values()]
    serving = Report.from_json((out / "serving.json").read_text())
    fixed = out / "anchor.json"
    anchor = Report.from_json(fixed.read_text()) if fixed.exists() else None
    heard = list(zip(ids, reports, judging.said_of(bench, ids), strict=True))
    looks = [judging.looks_of(bench, name, report, serving, said) for name, report, said in heard]
    others = [serving.model, *([anchor.model] if anchor is not None else [])]
    known, count = rated(bench, others, _cases(bench, cycle)), len(done.get("adapters") or ids)
    verdicts = [
        verdict_of(bench, cycle, report, serving, anchor, said, candidates=count, looks=len(at[LOOKS]), rated=known)
        for (_, report, said), at in zip(heard, looks, strict=True)
    ]
    tried = json.loads((out / judging.TRIED).read_text()) if (out / judging.TRIED).exists() else {}
    if why := judging.doubt(bench, tried):
        verdicts = [replace(v, verdict="not_enough_evidence", reasons=(why, *v.reasons)) for v in verdicts]
    cycles.renew(bench.database, claim)
    best = min(range(len(ids)), key=lambda place: (ORDER.index(verdicts[place].verdict), -lead(verdicts[place]), place))
    other_ways = of_alternatives(bench, cycle, out, serving, anchor, rated=known)
    for place, adapter_id in enumerate(ids):
        planned = planned_tasks(bench, cycle, reports[place])
        told = judging.by_people(bench, reports[place], serving, anchor, heard[place][2], planned)
        report = _kept(bench, cycle, reports[place], serving, anchor, told)
        beside = instead.read(out, reports[place].model, other_ways)
        report |= {**beside, "judge": tried, **looks[place]}
        shown = json.loads(verdicts[place].to_json())
        shown["reasons"] = [*shown["reasons"], *instead.better_than_training(beside)]
        if place != best:
            leads = f"{lead(verdicts[best]):+.3f} against {lead(verdicts[place]):+.3f}"
            better = f"{ids[best]} did better at the same gate: {leads}."
            shown |= {"verdict": "reject", "reasons": [better, *shown["reasons"]], "cases_needed": None}
        decisions.judged(bench.database, adapter_id, report, shown, serving=against, signer=Signer(bench.data))
    forgotten.forget_since(bench, out, [case.case_id for case in serving.cases])
    why = why_best(verdicts[best], [verdict for place, verdict in enumerate(verdicts) if place != best])
    before = cycle.results.get("gate", {}).get("winner", {})
    return _after(bench, cycle, verdicts[best], ids[best], why=why or before.get("why", ""))


def _cases(bench: Workbench, cycle: Cycle) -> list[dict[str, Any]]:
    """The held-out cases of a cycle, as far as they are kept."""
    file = bench.data / cycle.results["curate"]["data"] / "held_out.jsonl"
    return read_rows(file) if file.exists() else []


def _kept(
    bench: Workbench,
    cycle: Cycle,
    candidate: Report,
    serving: Report,
    anchor: Report | None,
    said: ByPeople | None,
) -> dict[str, Any]:
    """What the registry keeps of an evaluation: the reports, and where the candidate gained and lost.

    The reports are the judge's; beside them stands what people's labels made of its accuracies.
    """
    shown = {case["id"]: len(case["passages"]) for case in _cases(bench, cycle)}
    sides = {"candidate": candidate, "serving": serving}
    if anchor is not None and anchor.model != serving.model:
        sides["anchor"] = anchor
    return {
        **{name: json.loads(report.to_json()) for name, report in sides.items()},
        "planned": planned_tasks(bench, cycle, candidate),
        "slices": [
            one for metric in bench.primary for one in slices(candidate, serving, metric=metric, passages=shown)
        ],
        **({"corrected": corrected(said, candidate, serving, primary=bench.primary, passages=shown)} if said else {}),
    }


def _after(bench: Workbench, cycle: Cycle, verdict: Verdict, adapter_id: str, *, why: str) -> Next:
    """How the cycle goes on with its best adapter."""
    lost = sorted({d.task for d in verdict.deltas if d.role == "guardrail" and d.passed is False})
    gained = {d.metric: [round(value, 4) for value in (d.difference, d.low, d.high)] for d in over_planned(verdict)}
    result: dict[str, Any] = {"verdict": verdict.verdict, "reasons": list(verdict.reasons), "lost": lost}
    result["gained"] = gained
    if why or cycle.plan.get("variants"):
        with bench.database.read() as session:
            result["winner"] = {"adapter": adapter_id, **_named(adapters.get(session, adapter_id)), "why": why}
    if verdict.verdict == "promote":
        return Next(result, "watch", CycleState.AWAITING_APPROVAL, values={"adapter_id": adapter_id})
    outcome = Outcome.REJECTED if verdict.verdict == "reject" else Outcome.NOT_ENOUGH_EVIDENCE
    return Next(result, None, CycleState.DONE, outcome, {"adapter_id": adapter_id})


def _named(row: Adapter) -> dict[str, str]:
    return {"variant": row.recipe["variant"]} if "variant" in row.recipe else {}
