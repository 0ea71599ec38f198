"""Adapters of a learning run asked directly, and its examples trained on in other ways.

python -m bench.learning_direct DIR base v1            the base, and an adapter left by `bench.learning --data DIR`
python -m bench.learning_direct DIR --vary guide half  what other ways make of the same examples
python -m bench.learning_direct DIR --decide           what today's gate says of the last cycle's reports

Nothing is deployed: an engine of its own answers the held-out cases, greedily and to the same prompts.
`bench/learning_ways.py` says what the ways are.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.learning_people import Asked, articles, copied, handbook, questions, scores, split
from bench.learning_ways import SEED, WAYS, varied
from bench.retrieval_sets import DATA, ROOT
from bench.table import show

SQUAD = DATA / "squad" / "squad-2.0-dev-part.json"
ANSWER_TOKENS = 36
STREAMS = 8
TASK = "rag_enhanced"


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
    """An adapter's published folder in a data folder; None for the base."""
    return None if adapter == "base" else next(data.glob(f"adapters/{adapter}-*/manifest.json")).parent


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
    parser.add_argument("--cycle", type=int, default=1, help="whose examples are trained on in other ways")
    parser.add_argument("--decide", action="store_true")
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--name", help="of the file under bench/results")
    parser.add_argument("--trainer-threads", type=int, default=1, help="of each way's training")
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
        folders[way], facts[way] = varied(options.data, way, cycle=options.cycle, threads=options.trainer_threads)
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
