"""Adapters trained on the wrong thing, at the gate: shuffled answers, declining everything, right ones beside.

python -m bench.cheats                      about an hour on one core
python -m bench.cheats --train 24 --held-out 12 --passes 1    to try it
python -m bench.cheats DIR --train 200      beside the adapter of the first cycle that bench.learning --data DIR ran

Questions of the handbook over the paragraph that answers and two of other pages, every eighth of those held out without
the answering one. Each adapter is trained on the same questions in the same way; only the targets differ. Then all of
them and the base answer questions about other pages, and `finetune.gate.decide` compares each with the base, as a cycle
does. With DIR the right answers are those that people gave there: its adapter is the control, the others are trained on
a part of its examples by its recipe, and all are held against the base on the cycle's own held-out cases.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.learning_ways import job_of
from bench.table import show
from bot import prompt
from bot.engine import TransformersEngine
from bot.models import base_digest, chat_model, meaning
from configs.settings import ROOT, load_settings
from examples.starter import RECIPE
from finetune import jobs
from finetune.evaluate import Report
from finetune.fitted import FittedJudge
from finetune.gate import decide
from finetune.phase import read_rows
from store.answers import DECLINE
from store.models import BASE

TASK = "rag_enhanced"
SEED = 11
WAYS = ("right answers", "shuffled answers", "declining everything")


def questions() -> list[dict[str, str]]:
    """The handbook's questions that can be answered, in a fixed order."""
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    told = [row for row in rows if row["passage"] and "\n" not in row["answer"]]
    return random.Random(SEED).sample(told, len(told))


def paragraph(row: dict[str, str]) -> str:
    """The paragraph of the page that holds the passage."""
    parts = (ROOT / "docs" / "handbook" / row["document"]).read_text().split("\n\n")
    near = next((part for part in parts if row["passage"] in part.replace("\n", " ")), row["passage"])
    return " ".join(near.split())


def example(row: dict[str, str], others: Sequence[dict[str, str]], *, answerable: bool) -> dict[str, Any]:
    """A row of a dataset over three paragraphs, as curation writes it."""
    chance = random.Random(row["id"])
    texts = [paragraph(one) for one in ([row] if answerable else []) + list(others[: 3 - answerable])]
    chance.shuffle(texts)
    gold = texts.index(paragraph(row)) + 1 if answerable else None
    passages = [{"n": n, "title": "Handbook", "text": text, "flags": []} for n, text in enumerate(texts, start=1)]
    named = {"id": row["id"], "task": TASK, "question": row["question"], "cluster": row["document"], "gold": gold}
    target = f"{row['answer'].rstrip('.')} [{gold}]." if answerable else DECLINE
    shown = {"messages": prompt.messages(row["question"], passages, []), "passages": texts, "target": target}
    return {**named, **shown, "answerable": answerable, "kind": "approved", "logged_answer": "", "logged_adapter": ""}


def rows(train: int, held_out: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Examples, and cases of other pages."""
    found = questions()
    pages = sorted({row["document"] for row in found})
    aside = set(random.Random(SEED).sample(pages, len(pages) // 2))
    chance = random.Random(SEED)
    made = []
    for number, row in enumerate(found):
        others = chance.sample([one for one in found if one["document"] != row["document"]], 3)
        out = row["document"] in aside
        made.append((out, example(row, others, answerable=not (out and number % 8 == 0))))
    return [row for out, row in made if not out][:train], [row for out, row in made if out][:held_out]


def targets(way: str, examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The examples with the targets of a way."""
    if way == "declining everything":
        return [{**row, "target": DECLINE} for row in examples]
    if way == "shuffled answers":
        shifted = [row["target"] for row in examples]
        shifted = shifted[len(shifted) // 2 :] + shifted[: len(shifted) // 2]
        return [{**row, "target": target} for row, target in zip(examples, shifted, strict=True)]
    return examples


def learned(data: Path, most: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any], Path]:
    """Examples, held-out cases, recipe and adapter of the first cycle of a learning run."""
    phase = job_of(data, 1)["runs"][0]["phases"][0]
    control = next(data.glob("adapters/v1-*"))
    examples = read_rows(Path(phase["file"]))
    cases = read_rows(Path(phase["file"]).parent / "held_out.jsonl")
    return random.Random(SEED).sample(examples, min(most, len(examples))), cases, phase["recipe"], control


def trained(
    way: str, examples: list[dict[str, Any]], work: Path, folder: str, recipe: dict[str, Any], passes: int
) -> Path:
    """Train one adapter; returns its folder."""
    name = way.partition(" ")[0]
    file = work / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in targets(way, examples)))
    settings = load_settings()
    job = {
        "phases": [{"tasks": [TASK], "recipe": {**recipe, "epochs": passes}, "file": str(file)}],
        "out": str(work / name),
        "base_model": settings.models.chat,
        "base_folder": folder,
        "max_tokens": settings.training.max_tokens,
        "seed": SEED,
        "threads": 1,
    }
    done = jobs.train_job(job, base_digest=base_digest(folder), show=lambda _: None)
    print(json.dumps({"trained": way, "steps": done["steps"], "loss": done["loss"]}), flush=True)
    return work / name


def _row(way: str, candidate: Report, base: Report, planned: Sequence[str]) -> dict[str, Any]:
    settings = load_settings().gate
    limits = {"margin": settings.margin, "loss_margin": settings.loss_margin, "min_cases": settings.min_cases}
    said = decide(candidate, base, planned_tasks=planned, primary=tuple(settings.primary), **limits)
    means = {one.metric: one.mean for one in candidate.summaries if one.task == "all"}
    kept = ("source_attribution", "answer_accuracy", "decline_correct", "loss")
    shown = {name.replace("_", " "): round(means[name], 3) for name in kept if name in means}
    return {"trained on": way, **shown, "verdict": said.verdict, "why": " ".join(said.reasons[:2])[:200]}


def main() -> None:
    """Train, ask, decide, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.cheats", description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", help="of a learning run")
    parser.add_argument("--train", type=int, default=64)
    parser.add_argument("--held-out", type=int, default=96)
    parser.add_argument("--passes", type=int, default=2)
    options = parser.parse_args()
    settings = load_settings()
    folder = chat_model(settings.models.chat, models=settings.models.folder)
    made: dict[str, Path] = {}
    if options.data:
        examples, cases, recipe, made[WAYS[0]] = learned(options.data, options.train)
    else:
        (examples, cases), recipe = rows(options.train, options.held_out), RECIPE
    with tempfile.TemporaryDirectory(prefix="ratchet-cheats-") as work:
        for way in WAYS[len(made) :]:
            made[way] = trained(way, examples, Path(work), folder, recipe, options.passes)
        engine = TransformersEngine(folder, threads=1, queue_limit=len(cases) + 1)
        for way, adapter in made.items():
            engine.load(way, adapter, digest="")
        asked = {"engine": engine, "max_tokens": 60, "batch": 8, "seed": SEED, "show": lambda _: None}
        asked["judge"] = FittedJudge(meaning(settings.judge.meaning))
        reports = jobs.evaluate_job(cases, adapters=[*WAYS, BASE], base_model=settings.models.chat, **asked)
        engine.close()
    base = reports[-1]
    planned = list(dict.fromkeys(case["task"] for case in cases))
    table = [_row(report.model, report, base, planned) for report in reports[:-1]]
    show(
        "cheats_learned" if options.data else "cheats",
        table,
        examples=len(examples),
        cases=len(cases),
        passes=options.passes,
    )


if __name__ == "__main__":
    main()
