"""Datasets as files, for a cycle and by hand: train.jsonl, held_out.jsonl, phase-N.jsonl, funnel.json."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bot.prompt import question_block
from finetune.choosing import choose
from finetune.curated import Curated
from finetune.examples import Example, Kind
from finetune.jobs import read_rows
from finetune.preferences import preferences, rows_for
from finetune.reordered import OTHERS, other_orders
from finetune.sides import Sides
from scheduler import planning
from scheduler.against import side_of
from scheduler.workbench import Workbench, curated
from store import adapters, deployments
from store.errors import Invalid
from store.models import BASE, Adapter, Side

PROBE = "probe.jsonl"
VERIFIED = "verified.jsonl"
PREFERENCES = "preferences.jsonl"
PREFERRED = "preferred.jsonl"
"""The examples behind the preferences, for the adapter's lineage."""
PROBE_SHARE = 0.12
MOST_PROBED = 24


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_dataset(bench: Workbench, made: Curated, out: Path) -> None:
    """Write both sides and the funnel into a folder."""
    write_rows(out / "train.jsonl", [asdict(example) for example in made.train])
    write_rows(out / "held_out.jsonl", [asdict(example) for example in made.cases(bench.max_cases)])
    write_rows(out / "replay.jsonl", [asdict(example) for example in made.replay])
    write_rows(out / "disliked.jsonl", [asdict(example) for example in made.disliked])
    approved = [one for one in (*made.train, *made.held_out) if one.kind == Kind.APPROVED and one.answerable]
    newest = sorted(approved, key=lambda one: one.created_at, reverse=True)
    write_rows(out / VERIFIED, [asdict(example) for example in newest])
    content = {"digest": made.digest(), "counts": dict(made.funnel), "rows": made.rows}
    (out / "funnel.json").write_text(json.dumps(content, indent=1))


def write_phases(bench: Workbench, made: Curated, phases: list[Mapping[str, Any]], out: Path) -> list[Path]:
    """Write each phase's chosen examples; returns the files."""
    files = []
    for number, phase in enumerate(phases):
        chosen = choose(
            made.train,
            replay=made.replay,
            tasks=phase["tasks"],
            most=phase["examples"],
            replay_share=bench.replay_share,
            seed=bench.seed,
        )
        files.append(out / f"phase-{number}.jsonl")
        write_rows(files[-1], [asdict(example) | _other_orders(bench, example) for example in chosen])
    return files


def _other_orders(bench: Workbench, example: Example) -> dict[str, Any]:
    most = int(bench.trainer.get("other_orders", 0))
    found = other_orders(example, most, block=question_block, seed=bench.seed)
    return {OTHERS: found} if found else {}


def runs_of(plan: Mapping[str, Any], out: Path) -> list[dict[str, Any]]:
    """What a plan trains: each variant, or its one way, with the files of its phases' examples."""
    variants = plan.get("variants") or [{"name": "", "phases": plan["phases"]}]
    found = []
    for number, variant in enumerate(variants):
        place = out / f"variant-{number}" if plan.get("variants") else out
        phases = [{**phase, "file": str(place / f"phase-{n}.jsonl")} for n, phase in enumerate(variant["phases"])]
        found.append({"name": variant["name"], "phases": phases})
    if (chosen := plan.get("preference") or {}).get("method") and not plan.get("variants"):
        plain = {**found[0], "name": "without preferences"}
        file = str(out / PREFERENCES)
        found = [plain, {**plain, "name": f"with {chosen['method'].upper()}", "preference": {**chosen, "file": file}}]
    return found


def write_plan(bench: Workbench, made: Curated, plan: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Write the examples of every phase that a plan trains; returns how many each has.

    Where phases follow one another or variants compete, examples are put aside first, to tell forgetting and to tell
    which variant is better; none of them is trained on.
    """
    runs = runs_of(plan, out)
    aside: list[Example] = []
    preferring = [run for run in runs if "preference" in run]
    runs = [run for run in runs if "preference" not in run]
    for run in preferring:
        chosen = run["preference"]
        newest = sorted((*made.train, *made.disliked), key=lambda one: one.created_at, reverse=True)
        rows = [row for row in map(asdict, newest) if preferences([row])][: chosen["most"]]
        write_rows(Path(chosen["file"]), rows_for(chosen["method"], preferences(rows)))
        write_rows(out / PREFERRED, rows)
    if len(runs) > 1 or any(len(run["phases"]) > 1 for run in runs):
        train, aside = put_aside(made.train, seed=bench.seed)
        gone = {example.cluster for example in aside}
        made = replace(made, train=train, replay=[e for e in made.replay if e.cluster not in gone])
    if aside:
        write_rows(out / PROBE, [asdict(example) for example in aside])
    counts = []
    for run in runs:
        files = write_phases(bench, made, run["phases"], Path(run["phases"][0]["file"]).parent)
        counts += [sum(1 for _ in file.open()) for file in files]
    return {"train": counts, "put_aside": len(aside)} if aside else {"train": counts}


def put_aside(train: list[Example], *, seed: int) -> tuple[list[Example], list[Example]]:
    """Examples to train on, and those put aside: of each task whole documents, PROBE_SHARE of it as near as they go.

    A task keeps at least three quarters of its examples; at most MOST_PROBED of a task are put aside.
    """
    taken: set[str] = set()
    for task in sorted({example.task for example in train}):
        mine = [example for example in train if example.task == task]
        clusters = Counter(example.cluster for example in mine)
        count = sum(clusters[name] for name in taken)
        for name in sorted(clusters, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()):
            if count >= min(PROBE_SHARE * len(mine), MOST_PROBED):
                break
            if name not in taken and count + clusters[name] <= len(mine) / 4:
                taken.add(name)
                count += clusters[name]
    return [e for e in train if e.cluster not in taken], [e for e in train if e.cluster in taken]


def keep_sides(bench: Workbench, sides: Sides) -> None:
    """Keep the sides that were given for the first time, for ever."""
    with bench.database.write() as session:
        for key, side in sides.new.items():
            if session.get(Side, key) is None:
                session.add(Side(key=key, side=side))


def prepare(
    bench: Workbench, out: Path, *, since: datetime | None = None
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Curate the log by hand into a folder; returns the funnel, and the exchanges behind each of its lines."""
    made, sides = curated(bench, since=since)
    write_dataset(bench, made, out)
    keep_sides(bench, sides)
    return dict(made.funnel), made.rows


def phases_by_hand(bench: Workbench, data: Path, *, task: str | None, strategy: str) -> list[dict[str, Any]]:
    """The phases of a run by hand over a prepared folder, each with its file of examples."""
    prepared = Curated(train=examples_in(data / "train.jsonl"), replay=examples_in(data / "replay.jsonl"))
    if not prepared.train:
        raise Invalid(f"{data} holds no training example.", "Rate and correct answers, then prepare again.")
    if task is not None and task not in bench.recipes:
        raise Invalid(f'the taxonomy has no task "{task}", expected one of {", ".join(bench.recipes)}.')
    made = planning.plan_now(bench, strategy_wanted=strategy, task=task)
    if not made["phases"]:
        raise Invalid(f"nothing to train: {' '.join(made['reasons'])}")
    plan = {"phases": made["phases"]}
    write_plan(bench, prepared, plan, data)
    return list(runs_of(plan, data)[0]["phases"])


def examples_in(file: Path) -> list[Example]:
    """The examples that were written into a file, without their other orders; none where there is no file."""
    if not file.exists():
        return []
    return [
        Example(**{key: value for key, value in row.items() if key != OTHERS} | {"tasks": tuple(row["tasks"])})
        for row in read_rows(file)
    ]


def adapter_side(bench: Workbench, name: str | None) -> dict[str, str]:
    """An adapter's id, folder and digest from an id, a folder or None (what is deployed); the base has an id only."""
    with bench.database.read() as session:
        wanted = name or deployments.deployment(session).adapter
        if wanted == BASE:
            return {"id": BASE}
        if Path(wanted).is_dir():
            return {"id": Path(wanted).name, "folder": wanted, "digest": ""}
        row: Adapter = adapters.get(session, wanted)
    return side_of(bench, row.id, row)
