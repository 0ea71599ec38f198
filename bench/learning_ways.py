"""A cycle's examples trained on in other ways than the cycle did.

The ways: the guide's recipe (rank 20 on q, k and v) in place of every linear layer, half of the examples, one pass,
two passes without an early stop, half and twice the learning rate, the passages in other orders in later passes,
answered questions without what answers them in place of those of which people said that the documents do not answer,
and what people preferred on top of the cycle's own adapter (DPO or KTO, by TRL).
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

GUIDE = {"rank": 20, "alpha": 40, "target_modules": ["q_proj", "v_proj", "k_proj"]}
SEED = 5
Phase = dict[str, Any]


def withheld(phase: Phase) -> Phase:
    """The phase with as many declining examples, none of which a person told."""
    from bot.prompt import question_block
    from finetune.choosing import mixed
    from finetune.judge import SELECTING
    from finetune.withheld import twins
    from scheduler.dataset_files import examples_in, write_rows

    rows = examples_in(Path(phase["file"]))
    answered = [row for row in rows if row.answerable]
    made = twins(answered, len(rows) - len(answered), judge=SELECTING, block=question_block)
    file = Path(phase["file"]).with_name("withheld.jsonl")
    write_rows(file, [asdict(row) for row in mixed([*answered, *made], seed=SEED)])
    return phase | {"file": str(file)}


def reordered(phase: Phase) -> Phase:
    """The phase whose later passes see the passages in other orders."""
    from bot.prompt import question_block
    from finetune.reordered import OTHERS, other_orders
    from scheduler.dataset_files import examples_in, write_rows

    rows = examples_in(Path(phase["file"]))
    file = Path(phase["file"]).with_name("reordered.jsonl")
    made = [asdict(one) | {OTHERS: other_orders(one, 2, block=question_block, seed=SEED)} for one in rows]
    write_rows(file, made)
    return phase | {"file": str(file)}


def at_rate(phase: Phase, factor: float) -> Phase:
    """The phase with another learning rate."""
    recipe = phase["recipe"]
    return phase | {"recipe": recipe | {"learning_rate_used": factor * recipe["learning_rate_used"]}}


WAYS: dict[str, Callable[[Phase], Phase]] = {
    "as it was": lambda phase: phase,
    "guide": lambda phase: phase | {"recipe": phase["recipe"] | GUIDE},
    "half": lambda phase: phase | {"share": 0.5},
    "two passes to the end": lambda phase: phase | {"recipe": phase["recipe"] | {"epochs": 2}, "stop_share": 0.0},
    "withheld": withheld,
    "other orders": reordered,
    "DPO on top": lambda phase: phase | {"preference": "dpo"},
    "KTO on top": lambda phase: phase | {"preference": "kto"},
    "one pass": lambda phase: phase | {"recipe": phase["recipe"] | {"epochs": 1}},
    "half the rate": lambda phase: at_rate(phase, 0.5),
    "twice the rate": lambda phase: at_rate(phase, 2),
}


def job_of(data: Path, cycle: int) -> dict[str, Any]:
    """What a cycle of a data folder trained, from 1; the last job of one that was interrupted."""
    files = sorted(data.glob("cycles/*/train-*.json"), key=lambda path: path.stat().st_mtime)
    jobs = {file.parent: file for file in files}
    found: dict[str, Any] = json.loads([*jobs.values()][cycle - 1].read_text())
    return found


def varied(data: Path, way: str, *, cycle: int, threads: int = 1) -> tuple[Path, dict[str, Any]]:
    """Train on a cycle's examples in another way, once; the weights' folder and what the run came to."""
    from bot.models import base_digest
    from finetune import card
    from finetune.phase import phase_digest

    out = data / f"varied-{cycle}-{way.replace(' ', '-')}"
    if out.exists():
        return out, json.loads((out / card.MANIFEST).read_text())["ran"]
    job = job_of(data, cycle)
    phase = WAYS[way](job["runs"][0]["phases"][0])
    job |= {"phases": [phase], "checkpoints": None, "threads": threads}
    job["stop_share"] = phase.get("stop_share", job["stop_share"])
    part = out.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    ran = preferred(job, phase, part) if "preference" in phase else trained(job, part)
    made_of = {"base_model": job["base_model"], "base_digest": base_digest(job["base_folder"])}
    card.publish(part, out, **made_of, dataset_digest=phase_digest(phase), facts={"ran": ran, "phases": [phase]})
    return out, ran


def trained(job: dict[str, Any], part: Path) -> dict[str, Any]:
    """Train the one phase of a job into a folder."""
    from finetune.phase import train_phase

    done = train_phase(job, 0, part, None, lambda _: None)
    return {key: getattr(done, key) for key in ("steps", "best_step", "tokens", "seconds")}


def preferred(job: dict[str, Any], phase: Phase, part: Path) -> dict[str, Any]:
    """Go on from the adapter that the cycle trained with what people preferred, as a cycle does that plans so."""
    from finetune.phase import read_rows
    from finetune.prefer import prefer
    from finetune.preferences import preferences, rows_for

    file, method = Path(phase["file"]), phase["preference"]
    rows = rows_for(method, preferences([*read_rows(file), *read_rows(file.with_name("disliked.jsonl"))]))
    same = {name: job[name] for name in ("max_tokens", "seed", "threads")}
    adapter = Path(job["runs"][0]["out"])
    top = prefer(rows, method=method, base_model=job["base_folder"], adapter=adapter, out=part, **same)
    return {name: top[name] for name in ("method", "rows", "steps", "seconds")}
