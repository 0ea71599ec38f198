"""The report and the plan of this moment: reads the log, curates it for counting, writes labels only."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from finetune.card import base_of
from finetune.examples import Example
from finetune.hardware import Base
from finetune.preferences import available, method_for, preferences
from scheduler import report, strategy, trouble
from scheduler.goals import CycleResult, Gap, gaps, unmeasured
from scheduler.labelling import label_all
from scheduler.memory import Memory, impossible
from scheduler.report_text import as_text
from scheduler.workbench import Workbench, curated
from store import adapters, deployments, exchanges
from store.errors import Invalid
from store.exchanges import Logged
from store.models import Adapter, Cycle, CycleState

CHARACTERS_PER_TOKEN = 4.0
PREFERENCE_SHARE = 0.25
"""Of the time budget, for preferences on top."""
PASSES_PER_PAIR = 3.0
"""Both answers of a pair, and both once more by the reference, which needs no backward."""


def report_now(bench: Workbench) -> dict[str, Any]:
    """The guide's analysis of the log, with its text."""
    label_all(bench)
    train, held_out = _counts(bench)
    analysed = _analysed(bench, train, held_out)
    return {**analysed.to_json(), "text": as_text(analysed)}


def report_text(content: dict[str, Any]) -> str:
    """The text of a report."""
    return str(content["text"])


def plan_text(content: dict[str, Any]) -> str:
    """The text of a plan."""
    return str(content["text"])


def plan_now(
    bench: Workbench, *, strategy_wanted: str | None = None, comment: str = "", task: str | None = None
) -> dict[str, Any]:
    """The plan for a cycle now; `task` makes it a single-task run with that task's recipe as it is written.

    `strategy_wanted` overrides what the settings say, and `comment` says why. Raises Invalid for a recipe that the base
    model cannot take, and for 4-bit weights where they cannot be trained on.
    """
    base = bench.base()
    memory = Memory(base, bench.machine(), bench.max_tokens, bench.qlora)
    _fits(bench, base)
    if why := impossible(memory):
        raise Invalid(why, "Set it to auto, train where a GPU is, or install it with `pip install -e .[gpu]`.")
    label_all(bench)
    made, _ = curated(bench)
    train, held_out = _tasks_of(made.train, bench), _tasks_of(made.held_out, bench)
    if task is not None:
        train = {name: count for name, count in train.items() if name == task}
    planned = strategy.plan(
        _analysed(bench, train, held_out),
        examples=train,
        held_out=held_out,
        recipes=bench.recipes,
        combined=bench.combined,
        phases=bench.phases,
        strategy="single" if task is not None else strategy_wanted or bench.strategy,
        min_examples=bench.min_examples,
        max_examples=bench.max_examples,
        max_minutes=bench.max_minutes,
        tokens_per_second=_speed(bench),
        tokens_per_example=_tokens_per_example(made.train),
        hidden_size=base.hidden_size,
        scale_learning_rate=bench.scale_learning_rate,
        max_passes=bench.max_passes,
        last=[replace(one, way="") for one in earlier(bench)] if task is not None else earlier(bench),
        standing=_standing(bench),
        total=len(made.train) + len(made.replay),
        replay_share=bench.replay_share,
        min_cases=bench.min_cases,
        comment=comment if strategy_wanted else bench.strategy_comment or "",
        memory=memory,
    )
    mendable = trouble.trainable_now(bench)
    plain = planned.to_json()
    chosen = preference_of(bench, [*made.train, *made.disliked], tokens_per_example=_tokens_per_example(made.train))
    if chosen["method"] and any(phase.recipe["four_bit"] for phase in planned.phases):
        reason = "Preferences are trained on 16-bit weights, and the plan takes 4-bit ones."
        chosen = {**chosen, "method": None, "reason": reason}
    unknown = unmeasured(bench.targets)
    text = "\n\n".join([plain["text"], chosen["reason"], trouble.trainable_text(mendable), *unknown])
    more = {"preference": chosen, "recipes": _recipes(bench, planned.tasks), "unmeasured": unknown, "text": text}
    more["base_digest"] = bench.base_digest()
    return plain | {"trouble": mendable, **more}


def _fits(bench: Workbench, base: Base) -> None:
    for task, recipe in bench.recipes.items():
        if missing := [name for name in recipe["target_modules"] if name not in base.modules]:
            raise Invalid(
                f"the recipe of the task {task} puts LoRA on {', '.join(missing)}, which {bench.base_model} lacks.",
                f"Correct its target_modules in the tasks file; this model has {', '.join(base.modules)}.",
            )


def preference_of(bench: Workbench, train: list[Example], *, tokens_per_example: float) -> dict[str, Any]:
    """Whether what people preferred is trained on top, by which method, on how many at most, and why.

    A pair costs about PASSES_PER_PAIR times what an example does; all of them get PREFERENCE_SHARE of the time budget.
    """
    found = preferences(asdict(example) for example in train)
    method, reason = method_for(found, bench.preference, least=bench.min_preferences)
    seconds = bench.max_minutes * 60 * PREFERENCE_SHARE
    most = int(seconds * _speed(bench) / (tokens_per_example * PASSES_PER_PAIR))
    if method is not None and not available():
        method, reason = None, f"{reason} TRL is not installed: pip install -e .[preference]."
    elif method is not None and most * 2 < bench.min_preferences:
        method, reason = None, f"{len(found)} preferences would not fit: there is time for {most}."
    return {"method": method, "most": most, "reason": reason}


def _counts(bench: Workbench) -> tuple[dict[str, int], dict[str, int]]:
    made, _ = curated(bench)
    return _tasks_of(made.train, bench), _tasks_of(made.held_out, bench)


def _tasks_of(examples: list[Example], bench: Workbench) -> dict[str, int]:
    return dict(Counter(task for example in examples for task in example.tasks if task in bench.recipes))


def _analysed(bench: Workbench, train: dict[str, int], held_out: dict[str, int]) -> report.TaskReport:
    with bench.database.read() as session:
        rows = [_read(row) for row in exchanges.logged(session)]
    return report.analyse(
        rows, tasks=list(bench.recipes), usable=train, held_out=held_out, last_cycle=_last_cycle(bench)
    )


def _read(row: Logged) -> report.ReportRow:
    """An exchange as the report reads it, without what the model saw."""
    return report.ReportRow(
        question=row.exchange.question,
        answer=row.exchange.answer,
        label=row.label.task if row.label else "unclassified",
        scores=row.label.scores if row.label else {},
        rating=row.feedback.rating if row.feedback else None,
        has_passages=bool(row.exchange.passages),
        created_at=row.exchange.created_at,
        titles=tuple(passage["title"] for passage in row.exchange.passages),
    )


def _last_cycle(bench: Workbench) -> datetime | None:
    """When the latest cycle that is done began."""
    with bench.database.read() as session:
        query = select(Cycle.created_at).where(Cycle.state == CycleState.DONE)
        return session.exec(query.order_by(col(Cycle.created_at).desc()).limit(1)).first()


def shown_now(bench: Workbench) -> dict[str, Any]:
    """The plan that a page shows: where the trainer's speed is not measured yet, by a guess."""
    return plan_now(replace(bench, speed=bench.speed_soon))


def _speed(bench: Workbench) -> float:
    """The trainer's tokens per second, as this base model's latest cycle measured it; before one, what to expect."""
    with bench.database.read() as session:
        for cycle in session.exec(select(Cycle).order_by(col(Cycle.created_at).desc()).limit(20)):
            found = cycle.results.get("train", {}).get("tokens_per_second")
            if found and _same_base(cycle, bench):
                return float(found)
    return bench.speed()


def _same_base(cycle: Cycle, bench: Workbench) -> bool:
    """Whether a cycle trained on today's base model; what it says of another one is no guide."""
    digest = bench.base_digest()
    return bool(cycle.plan.get("base_digest", digest) == digest)


def _tokens_per_example(examples: list[Example]) -> float:
    characters = [len(e.target) + sum(len(message["content"]) for message in e.messages) for e in examples]
    return max(1.0, sum(characters) / max(1, len(characters)) / CHARACTERS_PER_TOKEN)


def earlier(bench: Workbench) -> list[CycleResult]:
    """What the cycles of this base model that are done came to, oldest first."""
    with bench.database.read() as session:
        query = select(Cycle).where(Cycle.state == CycleState.DONE).order_by(col(Cycle.created_at))
        return [
            CycleResult(
                **_trained(cycle),
                outcome=cycle.outcome or "",
                lost=_lost(cycle),
                expected=cycle.plan.get("expected", {}),
                gained=cycle.results.get("gate", {}).get("gained", {}),
                **_search(cycle, bench),
            )
            for cycle in session.exec(query)
            if cycle.plan.get("tasks") and _same_base(cycle, bench)
        ]


def _trained(cycle: Cycle) -> dict[str, Any]:
    """The strategy and tasks of a cycle; of a tournament, those of the variant that won."""
    won = cycle.results.get("gate", {}).get("winner") or {}
    variants = {one["name"]: one for one in cycle.plan.get("variants", ())}
    found = variants.get(won.get("variant"), cycle.plan)
    return {"strategy": found["strategy"], "tasks": tuple(found["tasks"])}


def _search(cycle: Cycle, bench: Workbench) -> dict[str, Any]:
    """The variants that a cycle tried and the one that won, where the recipes of its tasks are still as they were."""
    if cycle.plan.get("recipes") != _recipes(bench, cycle.plan["tasks"]):
        return {}
    won = cycle.results.get("gate", {}).get("winner") or {}
    tried = tuple(one["name"] for one in cycle.plan.get("variants", ()))
    return {"way": str(won.get("variant", "")), "tried": tried}


def _recipes(bench: Workbench, tasks: Sequence[str]) -> dict[str, Any]:
    """The recipes of tasks as the taxonomy has them, in plain values, and what several tasks share."""
    mine = {name: bench.recipes[name] for name in tasks if name in bench.recipes}
    plain: dict[str, Any] = json.loads(json.dumps({"tasks": mine, "combined": bench.combined}))
    return plain


def _lost(cycle: Cycle) -> tuple[str, ...]:
    """The tasks that a cycle's adapter made worse at the gate, or forgot between its phases."""
    gate, train = cycle.results.get("gate", {}), cycle.results.get("train", {})
    return tuple(dict.fromkeys([*gate.get("lost", ()), *train.get("forgot", ())]))


def _standing(bench: Workbench) -> tuple[Gap, ...]:
    """How far what serves is from the targets, as this base model's latest evaluation measured it, if there was one."""
    with bench.database.read() as session:
        serving = deployments.deployment(session).adapter
        found = session.exec(select(Adapter).order_by(col(Adapter.created_at).desc()).limit(50)).all()
    for row in found:
        side = "candidate" if row.id == serving else "serving" if row.compared_with == serving else ""
        if side and row.report and base_of(adapters.place(row, bench.data)) == bench.base_digest():
            return gaps(row.report[side]["summaries"], bench.targets, list(bench.covering()))
    return ()
