"""Each step of a cycle by hand: prepare, train, search, evaluate, judge.

python -m finetune prepare --out var/data
python -m finetune train --data var/data --out var/mine --task rag_enhanced
python -m finetune evaluate --data var/data --adapter var/mine --json
python -m finetune judge claims.jsonl --metric support --json
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from configs.command_line import WrongUsage, exit_status
from configs.settings import Settings, load_settings
from finetune import instead, jobs, judges
from finetune.admission import Labelled, honest_of
from finetune.checked import Checked
from finetune.contest import contest
from finetune.evaluate import EvaluationError
from finetune.fitted import FittedJudge
from finetune.gate import GateInputError
from finetune.judge import METRICS, JudgeInputError, judge_rows
from finetune.phase import search_job
from finetune.train import TrainingError
from store.errors import Invalid, NotFound, RatchetError
from store.lines import text_lines

PROBLEMS = (RatchetError, JudgeInputError, EvaluationError, GateInputError, TrainingError)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    options = _parser().parse_args(arguments)
    return exit_status(lambda: options.run(options), *PROBLEMS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m finetune", description=__doc__, formatter_class=_Raw)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    prepare = _command(commands, "prepare", "python -m finetune prepare --out var/data", _prepare)
    prepare.add_argument("--out", required=True, type=Path, help="folder for train.jsonl, held_out.jsonl, funnel.json")
    prepare.add_argument("--since", type=datetime.fromisoformat, help="only exchanges from this ISO time on")
    prepare.add_argument("--show", metavar="LINE", help="print the exchanges behind this line of the funnel")
    train = _command(commands, "train", "python -m finetune train --data var/data --out var/mine", _train)
    train.add_argument("--data", type=Path, help="a folder that prepare made")
    train.add_argument("--out", type=Path, help="the adapter folder to make")
    train.add_argument("--task", help="train on this task with its recipe (a single-task run)")
    train.add_argument("--strategy", choices=["auto", "single", "multi", "progressive"], default="auto")
    train.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    search = _command(commands, "search", "python -m finetune search --data var/data --minutes 30", _search)
    search.add_argument("--data", required=True, type=Path, help="a folder that prepare made")
    search.add_argument("--task", help="start from this task's recipe")
    search.add_argument("--minutes", type=float, default=30.0, help="no trial begins later")
    search.set_defaults(strategy="single", out=Path("unused"))
    evaluate = _command(
        commands, "evaluate", "python -m finetune evaluate --data var/data --adapter var/mine", _evaluate
    )
    evaluate.add_argument("--data", type=Path, help="a folder that prepare made")
    evaluate.add_argument("--adapter", help="an adapter id or folder (default: what is deployed)")
    evaluate.add_argument("--against", help="an adapter id or folder, or base (default: base)")
    evaluate.add_argument("--json", action="store_true")
    evaluate.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    judge = _command(commands, "judge", "python -m finetune judge claims.jsonl --metric support --json", _judge)
    judge.add_argument("file", type=Path, help="JSON lines: question, claim or answer, passages, reference")
    judge.add_argument("--metric", choices=sorted(METRICS), default="support")
    judge.add_argument("--json", action="store_true")
    return parser


_Raw = argparse.RawDescriptionHelpFormatter


def _command(commands: Any, name: str, example: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, epilog=f"example: {example}")
    parser.set_defaults(run=run)
    return parser


def _show(progress: dict[str, Any]) -> None:
    print(json.dumps(progress), flush=True)


def _bench(settings: Settings) -> Any:
    from scheduler.__main__ import bench_of

    return bench_of(settings)


def _prepare(options: argparse.Namespace) -> None:
    from scheduler.dataset_files import prepare

    funnel, rows = prepare(_bench(load_settings()), options.out, since=options.since)
    for name, count in funnel.items():
        print(f"{count:7}  {name}")
    if options.show is not None:
        if options.show not in rows:
            raise NotFound(f'the funnel has no line "{options.show}", expected one of: {", ".join(sorted(rows))}.')
        print(*rows[options.show], sep="\n")
    print(f"written: {options.out}; the exchanges behind each line: {options.out / 'funnel.json'}, or --show LINE")


def _train(options: argparse.Namespace) -> None:
    settings = load_settings()
    from bot.models import base_digest, chat_model

    folder = chat_model(settings.models.chat, models=settings.models.folder)
    if options.job is not None:
        job = json.loads(options.job.read_text())
    else:
        job = _job(options, settings, folder)
        if options.out.exists():
            raise Invalid(f"{options.out} exists already: adapters are never overwritten.", "Name another folder.")
    run = contest if "runs" in job else jobs.train_job
    _show(run(job, base_digest=base_digest(folder), show=_show))
    if job.get("checkpoints"):
        shutil.rmtree(job["checkpoints"], ignore_errors=True)


def _search(options: argparse.Namespace) -> None:
    from bot.models import chat_model

    settings = load_settings()
    job = _job(options, settings, chat_model(settings.models.chat, models=settings.models.folder))
    found = search_job(job, minutes=options.minutes, show=_show)
    _show({"recipe": found.recipe, "rounds": len(found.rounds), "ended": found.ended})


def _job(options: argparse.Namespace, settings: Settings, folder: str) -> dict[str, Any]:
    from scheduler.dataset_files import PROBE, phases_by_hand

    if options.data is None or options.out is None:
        raise WrongUsage("train needs --data and --out: see python -m finetune train --help.")
    data = _data(options.data, "train.jsonl")
    phases = phases_by_hand(_bench(settings), data, task=options.task, strategy=options.strategy)
    return {
        "phases": phases,
        "out": str(options.out),
        "base_model": settings.models.chat,
        "base_folder": folder,
        "max_tokens": settings.training.max_tokens,
        "seed": settings.training.seed,
        "threads": settings.training.threads,
        "checkpoints": str(options.out.with_name(f"{options.out.name}.checkpoints")),
        **settings.training.trainer(),
        "probe": str(data / PROBE) if len(phases) > 1 and (data / PROBE).exists() else "",
        "margin": settings.gate.loss_margin,
    }


def _data(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise NotFound(f"{folder} holds no {name}.", "Make it with `python -m finetune prepare --out DIR`.")
    return folder


def _evaluate(options: argparse.Namespace) -> None:
    job = json.loads(options.job.read_text()) if options.job else _evaluation(options, load_settings())
    rows = jobs.read_rows(Path(job["cases"]))
    if not rows:
        raise EvaluationError("there is no held-out case: nothing can be measured.")
    from bot.engine import TransformersEngine
    from store.models import BASE

    engine = TransformersEngine(
        job["base_folder"],
        context_tokens=job["context_tokens"],
        threads=job["threads"],
        slots=job["batch"],
        queue_limit=len(rows) + 1,
    )
    sides = [job["candidate"], *job.get("others", ()), job["serving"]]
    anchor = job.get("anchor")
    if anchor is not None and anchor["id"] not in {side["id"] for side in sides}:
        sides.append(anchor)
    for side in sides:
        if side["id"] != BASE:
            engine.load(side["id"], Path(side["folder"]), digest=side["digest"])
    labels = [Labelled(**{**row, "passages": tuple(row["passages"])}) for row in job["labels"]]
    judge, tried = judges.admitted(job["judge"], honest_of(rows), labels, fitted=_fitted(job["judge"]))
    reports = jobs.evaluate_job(
        rows,
        engine=engine,
        adapters=[side["id"] for side in sides],
        base_model=job["base_model"],
        max_tokens=job["max_tokens"],
        batch=job["batch"],
        seed=job["seed"],
        show=(lambda _: None) if options.json else _show,
        known=jobs.known_answers(job.get("known", ""), rows),
        judge=judge,
    )
    if options.job is not None:
        others = len(job.get("others", ()))
        instead.measure(job, rows, engine=engine, candidates=reports[: others + 1], judge=judge, show=_show)
        (Path(job["out"]) / "judge.json").write_text(json.dumps(tried.as_json()))
    engine.close()
    _hand_over(options, job, reports, len(rows))


def _hand_over(options: argparse.Namespace, job: dict[str, Any], reports: list[Any], cases: int) -> None:
    if job["out"] is not None:
        out = Path(job["out"])
        out.mkdir(parents=True, exist_ok=True)
        names = [
            "candidate",
            *(f"candidate-{n}" for n in range(2, len(job.get("others", ())) + 2)),
            "serving",
            "anchor",
        ]
        for name, report in zip(names, reports, strict=False):
            (out / f"{name}.json").write_text(report.to_json())
        _show({"cases": cases, "out": str(out)})
        return
    from finetune.gate import decide
    from finetune.table import as_table

    verdict = decide(*reports, planned_tasks=sorted({case.task for case in reports[0].cases}), **job["gate"])
    if options.json:
        named = {name: json.loads(r.to_json()) for name, r in zip(("candidate", "serving"), reports, strict=True)}
        print(json.dumps({**named, "verdict": json.loads(verdict.to_json())}))
    else:
        print(as_table(json.loads(verdict.to_json())))


def _evaluation(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    from bot.models import chat_model
    from scheduler import case_answers
    from scheduler.dataset_files import adapter_side

    if options.data is None:
        raise WrongUsage("evaluate needs --data: see python -m finetune evaluate --help.")
    bench = _bench(settings)
    return {
        "judge": settings.judge.model_dump() | {"models": str(settings.models.folder)},
        "labels": case_answers.given(bench),
        "cases": str(_data(options.data, "held_out.jsonl") / "held_out.jsonl"),
        "base_model": settings.models.chat,
        "base_folder": chat_model(settings.models.chat, models=settings.models.folder),
        "candidate": adapter_side(bench, options.adapter),
        "serving": adapter_side(bench, options.against or "base"),
        "max_tokens": settings.generation.max_tokens,
        "context_tokens": settings.generation.context_tokens,
        "batch": settings.evaluation.batch,
        "threads": settings.generation.threads,
        "seed": settings.training.seed,
        "out": None,
        "gate": {
            "primary": tuple(settings.gate.primary),
            "margin": settings.gate.margin,
            "loss_margin": settings.gate.loss_margin,
            "min_cases": settings.gate.min_cases,
        },
    }


def _fitted(spec: Mapping[str, Any]) -> FittedJudge:
    """The default judge, which reads meaning, and questions over passages, where the settings say so."""
    from bot.models import meaning, reading

    wanted = spec["meaning"]
    return FittedJudge(meaning(wanted), reading(wanted and "models" in spec, models=Path(spec.get("models", "."))))


def _judge(options: argparse.Namespace) -> None:
    rows: dict[int, Any] = {}
    for number, line in text_lines(options.file):
        try:
            rows[number] = json.loads(line)
        except ValueError as error:
            raise JudgeInputError(f"Line {number}: not JSON ({error}).") from error
    settings = load_settings()
    judges.check(settings.judge.model_dump(), settings.tested, os.environ)
    spec = settings.judge.model_dump()
    judge = Checked(judges.made(spec) or _fitted(spec))
    scores = judge_rows(rows.values(), metric=options.metric, judge=judge, numbers=rows)
    print(json.dumps(scores) if options.json else "\n".join(f"{row['score']:.3f}" for row in scores))


if __name__ == "__main__":
    sys.exit(main())
