"""The automatic retraining: run, once, plan, report, faults, discover, classify.

python -m scheduler run
python -m scheduler once --json
python -m scheduler report
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bot.models import base_digest, chat_model, embedding_model, meaning
from configs.command_line import exit_status
from configs.settings import ROOT, Settings, SettingsError, load_settings
from configs.tasks import Taxonomy, load_tasks
from finetune import judges, teacher
from finetune.examples import Rules
from finetune.fitted import FittedJudge
from finetune.hardware import GUESSED_SPEED, Base, base_of, this_machine, training_speed
from finetune.redact import REDACTORS
from retrieval.__main__ import library_of
from retrieval.embedding import Embedder
from scheduler import commands, foreground, jobs, planning
from scheduler.speed import Speed
from scheduler.strategy import SETTINGS
from scheduler.tasks import Classifier, TaskSpec
from scheduler.workbench import Workbench
from store.database import open_database
from store.errors import Invalid, RatchetError


def bench_of(settings: Settings) -> Workbench:
    """The workbench, as the settings say; raises Invalid for a judge that may not judge."""
    judges.check(settings.judge.model_dump(), settings.tested, os.environ)
    teacher.check(settings.teacher.model_dump(), settings.tested, os.environ)
    taxonomy = settings.taxonomy()
    embedder = Embedder(embedding_model(settings.models.embedding), name=settings.models.embedding)
    data = settings.server.data.resolve()

    @cache
    def base_folder() -> str:
        return chat_model(settings.models.chat, models=settings.models.folder)

    @cache
    def digest() -> str:
        return base_digest(base_folder())

    @cache
    def base() -> Base:
        return base_of(base_folder())

    def measure() -> float:
        modules = dict.fromkeys(m for task in taxonomy.tasks.values() for m in task.recipe.target_modules)
        return training_speed(base(), base_folder(), list(modules), threads=settings.training.threads)

    speed = Speed(measure, guess=GUESSED_SPEED)
    database = open_database(settings.database_url)
    return Workbench(
        database=database,
        encode=embedder.encode,
        embedding_model=settings.models.embedding,
        data=data,
        checkout=ROOT,
        environment={**os.environ, "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1"), "RATCHET_DATA": str(data)},
        base_model=settings.models.chat,
        base_folder=base_folder,
        base_digest=digest,
        base=base,
        machine=this_machine,
        speed=speed.known,
        speed_soon=speed.soon,
        index=lambda: library_of(settings, database)[1],
        learn=settings.retrieval.learn,
        passages=settings.retrieval.passages,
        min_score=settings.retrieval.min_score,
        **_taught(taxonomy),
        **_training(settings),
        **_measuring(settings),
        fitted=FittedJudge(meaning(settings.judge.meaning)),
        approval_days=settings.scheduler.approval_days,
        keep_datasets=settings.scheduler.keep_datasets,
    )


def _training(settings: Settings) -> dict[str, Any]:
    """Everything of a workbench that the settings of training say."""
    training = settings.training
    return {
        "strategy": training.strategy,
        "strategy_comment": training.strategy_comment,
        "min_examples": training.min_examples,
        "max_examples": training.max_examples,
        "max_minutes": training.max_minutes,
        "max_passes": training.max_passes,
        "max_tokens": training.max_tokens,
        "scale_learning_rate": training.scale_learning_rate,
        "unanswerable_share": training.unanswerable_share,
        "replay_share": training.replay_share,
        "preference": training.preference,
        "min_preferences": training.min_preferences,
        "redact": REDACTORS[training.redact](training.redact_model),
        "new_account_days": training.new_account_days,
        "most_ratings_per_hour": training.most_ratings_per_hour,
        "trainer": training.trainer(),
        "teacher": settings.teacher.model_dump(),
        "qlora": training.qlora,
        "threads": training.threads,
        "seed": training.seed,
    }


def _measuring(settings: Settings) -> dict[str, Any]:
    """Everything of a workbench that the settings of evaluation, gate and watch say."""
    evaluation, generation, gate, watch = settings.evaluation, settings.generation, settings.gate, settings.watch
    return {
        "held_out_share": evaluation.held_out_share,
        "max_cases": evaluation.max_cases,
        "answer_tokens": generation.max_tokens,
        "context_tokens": generation.context_tokens,
        "batch": evaluation.batch,
        "alternative_cases": evaluation.alternative_cases,
        "judge": settings.judge.model_dump() | {"models": str(settings.models.folder.resolve())},
        "primary": tuple(gate.primary),
        "margin": gate.margin,
        "loss_margin": gate.loss_margin,
        "min_cases": gate.min_cases,
        "min_agreement": gate.min_agreement,
        "min_labels": gate.min_labels,
        "watch_hours": watch.hours,
        "max_decline_rise": watch.max_decline_rise,
        "complete_canary_hours": watch.complete_canary_hours,
    }


def _taught(taxonomy: Taxonomy) -> dict[str, Any]:
    """Everything of a workbench that the taxonomy says."""
    return {
        "tasks": _specs(taxonomy),
        "taxonomy": taxonomy.digest,
        "rules": {name: Rules(**task.data.model_dump()) for name, task in taxonomy.tasks.items()},
        "recipes": {name: task.recipe.model_dump() for name, task in taxonomy.tasks.items()},
        "targets": {name: dict(task.metrics) for name, task in taxonomy.tasks.items()},
        "combined": taxonomy.combined.model_dump(),
        "phases": taxonomy.phases,
    }


def renewing(settings: Settings) -> Callable[[Workbench], Workbench]:
    """What gives a workbench the taxonomy anew whenever its files change; files that are wrong change nothing."""

    def stamps() -> list[int]:
        return [path.stat().st_mtime_ns for path in (settings.tasks, settings.adopted) if path.exists()]

    seen = stamps()

    def renewed(bench: Workbench) -> Workbench:
        nonlocal seen
        if (now := stamps()) == seen:
            return bench
        seen = now
        try:
            return replace(bench, **_taught(settings.taxonomy()))
        except SettingsError as error:
            print(f"the taxonomy stays as it was: {error}", file=sys.stderr)
            return bench

    return renewed


def _specs(taxonomy: Taxonomy) -> tuple[TaskSpec, ...]:
    return tuple(
        TaskSpec(name, task.description, task.examples, task.passages_score) for name, task in taxonomy.tasks.items()
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    options = _parser().parse_args(arguments)
    return exit_status(lambda: options.run(options, load_settings()), RatchetError)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m scheduler", description=__doc__, formatter_class=raw)
    every = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, example: str, run: Any, *, as_json: bool = True) -> argparse.ArgumentParser:
        made = every.add_parser(name, epilog=f"example: python -m scheduler {example}")
        made.set_defaults(run=run)
        if as_json:
            made.add_argument("--json", action="store_true", help="one JSON document and nothing else")
        return made

    run = command("run", "run", _run, as_json=False)
    run.add_argument("--parent", type=int, help="end when the process with this id, which started it, has ended")
    once = command("once", "once --json", _once)
    once.add_argument("--plan-only", action="store_true", help="stop after the plan; train nothing")
    plan = command("plan", 'plan --strategy multi --comment "both matter"', _plan)
    for made in (once, plan):
        made.add_argument("--strategy", help=f"instead of the settings': {', '.join(SETTINGS)}")
        made.add_argument("--comment", default="", help="why this strategy; kept in the plan and the audit record")
    command("report", "report --json", _report)
    command("faults", "faults --json", lambda options, settings: commands.faults(options, bench_of(settings)))
    discover = command(
        "discover",
        'discover --adopt invoices_refund --comment "asked weekly"',
        lambda options, settings: commands.discover(options, bench_of(settings)),
    )
    discover.add_argument("--adopt", metavar="NAME", help="make this one a task")
    discover.add_argument("--name", default="", help="the task's name, instead of the proposed one")
    discover.add_argument("--description", default="", help="the task's description, instead of the proposed one")
    discover.add_argument("--comment", default="", help="why, for the audit record")
    classify = command("classify", "classify questions.jsonl --json", _classify)
    classify.add_argument("file", type=Path, help='JSON lines {"question", "answer"?, "passages"?}')
    classify.add_argument("--tasks", type=Path, help="another taxonomy")
    return parser


def _run(options: argparse.Namespace, settings: Settings) -> None:
    renew = renewing(settings)
    ticker = jobs.Ticker(bench_of(settings), cron=settings.scheduler.cron, parent=options.parent, renew=renew)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ticker.stop())
    ticker.run()


def _once(options: argparse.Namespace, settings: Settings) -> None:
    if options.plan_only:
        _plan(options, settings)
    else:
        foreground.once(bench_of(settings), options)


def _print(content: dict[str, Any], as_text: Any, *, as_json: bool) -> None:
    print(json.dumps(content) if as_json else as_text(content))


def _plan(options: argparse.Namespace, settings: Settings) -> None:
    asked = jobs.wanted(options.strategy, options.comment)
    made = planning.plan_now(bench_of(settings), strategy_wanted=options.strategy, comment=asked.get("comment", ""))
    _print(made, planning.plan_text, as_json=options.json)


def _report(options: argparse.Namespace, settings: Settings) -> None:
    _print(planning.report_now(bench_of(settings)), planning.report_text, as_json=options.json)


def _classify(options: argparse.Namespace, settings: Settings) -> None:
    try:
        taxonomy = load_tasks(options.tasks) if options.tasks else settings.taxonomy()
    except ValueError as error:
        raise Invalid(str(error)) from error
    embedder = Embedder(embedding_model(settings.models.embedding), name=settings.models.embedding)
    found = Classifier(_specs(taxonomy), embedder.encode).classify(commands.items(options.file))
    rows = [{"label": one.label, "confidence": one.confidence, "scores": one.scores} for one in found]
    print(json.dumps(rows) if options.json else "\n".join(f"{r['label']:28} {r['confidence']:.2f}" for r in rows))


if __name__ == "__main__":
    sys.exit(main())
