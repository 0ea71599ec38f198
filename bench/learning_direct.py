"""Adapters of a learning run asked directly, and its examples trained on in other ways.

python -m bench.learning_direct DIR base v1            the base, and an adapter left by `bench.learning --data DIR`
python -m bench.learning_direct DIR --vary guide half  what other ways make of the same examples
python -m bench.learning_direct DIR --decide           what today's gate says of the last cycle's reports

Nothing is deployed: an engine of its own answers the held-out cases, greedily and to the same prompts. The ways: the
guide's recipe (rank 20 on q, k and v) in place of every linear layer, half of the examples, one pass, two passes
without an early stop, twice the learning rate, the passages in other orders in later passes, and answered questions
without what answers them in place of those of which people said that the documents do not answer. Each way trains in
one thread.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.learning_people import Asked, articles, copied, handbook, questions, scores, split
from bench.retrieval_sets import DATA, ROOT
from bench.table import show

SQUAD = DATA / "squad" / "squad-2.0-dev-part.json"
SEED = 5
ANSWER_TOKENS = 36
STREAMS = 8
TASK = "rag_enhanced"
GUIDE = {"rank": 20, "alpha": 40, "target_modules": ["q_proj", "v_proj", "k_proj"]}
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


WAYS: dict[str, Callable[[Phase], Phase]] = {
    "as it was": lambda phase: phase,
    "guide": lambda phase: phase | {"recipe": phase["recipe"] | GUIDE},
    "half": lambda phase: phase | {"share": 0.5},
    "two passes to the end": lambda phase: phase | {"recipe": phase["recipe"] | {"epochs": 2}, "stop_share": 0.0},
    "withheld": withheld,
    "other orders": reordered,
    "one pass": lambda phase: phase | {"recipe": phase["recipe"] | {"epochs": 1}},
    "twice the rate": lambda phase: (
        phase | {"recipe": phase["recipe"] | {"learning_rate_used": 2 * phase["recipe"]["learning_rate_used"]}}
    ),
}


def cases_to_ask(count: int) -> list[Asked]:
    """The held-out cases, half of them without an answer."""
    return questions(split(articles(SQUAD), seed=SEED)[1], count, unanswerable=0.5, seed=SEED)


def traffic() -> tuple[list[Asked], list[dict[str, Any]]]:
    """The handbook's questions of other tasks: to be asked while the bot learns, and to measure forgetting with."""
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    return handbook([row for row in rows if row["task"] != TASK and row["passage"]], seed=SEED)


def engine_with(folders: Mapping[str, Path | None], *, threads: int, queue: int) -> Any:
    """An engine that has loaded adapters, a folder each; None is the base."""
    from bot.engine import TransformersEngine
    from bot.models import chat_model
    from configs.settings import load_settings

    models = load_settings().models
    engine = TransformersEngine(chat_model(models.chat, models=models.folder), threads=threads, queue_limit=queue + 1)
    for name, folder in folders.items():
        if folder is not None:
            engine.load(name, folder, digest="")
    return engine


def answers_of(folders: Mapping[str, Path | None], cases: Sequence[Asked], *, threads: int) -> dict[str, list[str]]:
    """What adapters (a folder each; None is the base) answer to the cases, eight at a time."""
    from bot import prompt

    engine = engine_with(folders, threads=threads, queue=len(cases))
    found = {}
    for name, folder in folders.items():

        def one(case: Asked, adapter: str = name if folder else "base") -> str:
            shown = [{"n": n, **passage} for n, passage in enumerate(case.given(), start=1)]
            messages = prompt.messages(case.question, shown, [])
            return "".join(engine.stream(messages, adapter=adapter, max_tokens=ANSWER_TOKENS)).strip()

        with ThreadPoolExecutor(STREAMS) as streams:
            found[name] = list(streams.map(one, cases))
    engine.close()
    return found


def perplexities(folders: Mapping[str, Path | None], *, threads: int) -> dict[str, float]:
    """The adapters' perplexity of the handbook's answers to other tasks, passage given, on pages nobody asked about."""
    from bot import prompt
    from finetune.metrics import perplexity

    engine = engine_with(folders, threads=threads, queue=1)
    found = {}
    for name, folder in folders.items():
        losses: list[float] = []
        for row in traffic()[1]:
            passage = {"n": 1, "title": row["document"], "text": row["passage"]}
            messages = prompt.messages(row["question"], [passage], [])
            losses += engine.logprobs(messages, row["answer"], adapter=name if folder else "base")
        found[name] = perplexity(losses) or 0.0
    engine.close()
    return found


def folder_of(data: Path, adapter: str) -> Path | None:
    """An adapter's folder in a data folder; None for the base."""
    return None if adapter == "base" else next(data.glob(f"adapters/{adapter}-*"))


def first_job(data: Path) -> dict[str, Any]:
    """What the first cycle of a data folder trained."""
    file = min(data.glob("cycles/*/train-*.json"), key=lambda path: path.stat().st_mtime)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def varied(data: Path, way: str) -> tuple[Path, dict[str, Any]]:
    """Train on the first cycle's examples in another way, once; the weights' folder and what the run came to."""
    from bot.models import base_digest
    from finetune import card
    from finetune.phase import train_phase

    out = data / f"varied-{way.replace(' ', '-')}"
    if out.exists():
        return out, json.loads((out / card.MANIFEST).read_text())["ran"]
    job = first_job(data)
    phase = WAYS[way](job["runs"][0]["phases"][0])
    job |= {"phases": [phase], "checkpoints": None, "threads": 1}
    job["stop_share"] = phase.get("stop_share", job["stop_share"])
    part = out.with_suffix(".part")
    part.mkdir()
    trained = train_phase(job, 0, part, None, lambda _: None)
    ran = {key: getattr(trained, key) for key in ("steps", "tokens", "seconds")}
    made_of = {"base_model": job["base_model"], "base_digest": base_digest(job["base_folder"])}
    card.publish(part, out, **made_of, dataset_digest=job["dataset_digest"], facts={"ran": ran, "phases": [phase]})
    return out, ran


def decided(data: Path) -> tuple[list[dict[str, Any]], str]:
    """Today's gate on the reports of the last cycle: the comparisons with what served, and the verdict."""
    from configs.settings import load_settings
    from finetune.evaluate import Report
    from finetune.gate import decide

    folder = max(data.glob("cycles/*/evaluation-*"), key=lambda path: path.stat().st_mtime)
    mine, serving = (Report.from_json((folder / f"{name}.json").read_text()) for name in ("candidate", "serving"))
    gate = load_settings().gate
    said = decide(
        mine, serving, planned_tasks=[TASK], margin=gate.margin, loss_margin=gate.loss_margin, min_cases=gate.min_cases
    )
    kept = ("role", "metric", "task", "serving", "candidate", "low", "high", "n", "passed")
    return [{name: getattr(one, name) for name in kept} for one in said.deltas], said.verdict


def main() -> None:
    """Ask, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("adapter", nargs="*")
    parser.add_argument("--vary", nargs="*", default=[], choices=sorted(WAYS))
    parser.add_argument("--decide", action="store_true")
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--name", help="of the file under bench/results")
    parser.add_argument("--threads", type=int, default=2, help="of the engine; 1 beside other work")
    options = parser.parse_args()
    if not SQUAD.exists():
        print(f"{SQUAD} is not there: these questions lie beside the checkout only.")
        return
    if options.decide:
        rows, verdict = decided(options.data)
        show(options.name or "learning_decided", rows, verdict=verdict)
        return
    cases = cases_to_ask(options.cases)
    folders = {name: folder_of(options.data, name) for name in options.adapter}
    facts = {}
    for way in options.vary:
        folders[way], facts[way] = varied(options.data, way)
        print(way, facts[way], flush=True)
    copying = {"what": "copying the nearest sentence", **scores(cases, [copied(one) for one in cases])}
    rows = [copying | {"perplexity, other tasks": ""}]
    forgotten = perplexities(folders, threads=options.threads)
    for name, said in answers_of(folders, cases, threads=options.threads).items():
        rows.append({"what": name, **scores(cases, said), "perplexity, other tasks": forgotten[name]})
    name = options.name or ("learning_varied" if options.vary else "learning_examined")
    show(name, rows, cases=len(cases), **facts)


if __name__ == "__main__":
    main()
