"""The step `rank`: retrieval's weights are fitted to the log, judged by the gate on other documents, and kept.

It puts nothing in force: a person approves. It knows questions and their candidates, not how they are searched.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from finetune.comparison import Rules, Verdict, compared, guard, primaries
from finetune.settling import verdict
from retrieval import learning, weights
from retrieval.learning import Judged, Learned
from retrieval.ranking import Floats
from scheduler.steps import renewed
from scheduler.workbench import Workbench
from store import cycles, exchanges, people, rankings
from store.database import Database
from store.errors import Invalid
from store.models import Cycle, Ranking

OTHER = "questions on other documents"
BETTER = "The right passage comes first more often, and is shown no less often."

Measured = Callable[[str], tuple[Sequence[Any], Floats]]
"""A query to its candidates and their measures."""


def decide(judged: Sequence[Judged], *, margin: float, min_cases: int, seed: int) -> Verdict:
    """The gate's verdict: a right passage must come first more often, and be shown no less often than by `margin`.

    Paired, with intervals from a bootstrap over documents.
    """
    rules = Rules(margin=margin, min_cases=min_cases, seed=seed)
    first = compared("right_passage_first", OTHER, [(*row.first, row.group) for row in judged], rules)
    shown = compared("right_passage_shown", OTHER, [(*row.shown, row.group) for row in judged], rules)
    if first is None or shown is None:
        return Verdict("not_enough_evidence", ("No question is left to judge by.",), (), min_cases, OTHER)
    deltas = (*primaries([first], rules), guard(shown, rules, loss_held=None))
    return verdict(deltas, rules, better=BETTER)


def learn(
    database: Database,
    measured: Measured,
    *,
    passages: int,
    min_score: float,
    margin: float,
    min_cases: int,
    seed: int,
    actor: str,
    cycle_id: str | None = None,
) -> Ranking:
    """Fit weights to the log, let the gate judge them against those in force, and keep them with its verdict.

    Raises Invalid when too few questions are known with what answered them.
    """
    with database.read() as session:
        row = rankings.in_force(session)
        questions = learning.questions_of(exchanges.logged(session), persons=people.count(session))
    inforce = weights.of(row)
    pairs = learning.pairs_of(questions, measured)
    learned = learning.learn(pairs, inforce=inforce, passages=passages, min_score=min_score)
    said = decide(learned.judged, margin=margin, min_cases=min_cases, seed=seed)
    return rankings.keep(
        database,
        actor=actor,
        weights=learned.weights,
        metrics=_metrics(learned, said),
        verdict=json.loads(said.to_json()),
        compared_with=row.id if row is not None else "",
        cycle_id=cycle_id,
    )


def _metrics(learned: Learned, said: Verdict) -> dict[str, Any]:
    deltas = {delta.metric: [delta.serving, delta.candidate, delta.low, delta.high] for delta in said.deltas}
    rounded = {name: [round(value, 4) for value in values] for name, values in deltas.items()}
    documents = len({row.group for row in learned.judged})
    return {"questions": len(learned.judged), "documents": documents, **rounded}


def step(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> dict[str, Any]:
    """What the step came to, as the result of its row; too few questions are a result like any other."""
    if not bench.learn:
        return {"learned": False, "why": "retrieval.learn is false."}
    if cycle.attempts > 1:
        return {"learned": False, "why": f"attempt {cycle.attempts - 1} ended without a word; the next cycle tries."}
    progress: dict[str, Any] = {}
    with renewed(bench.database, claim, progress), closing(bench.index()) as index:

        def measured(query: str) -> tuple[Sequence[Any], Floats]:
            progress["questions"] = progress.get("questions", 0) + 1
            return index.measured(query)

        try:
            row = learn(
                bench.database,
                measured,
                passages=bench.passages,
                min_score=bench.min_score,
                margin=bench.margin,
                min_cases=bench.min_cases,
                seed=bench.seed,
                actor="scheduler",
                cycle_id=cycle.id,
            )
        except Invalid as error:
            return {"learned": False, "why": error.message}
    return {"learned": True, "ranking": row.id, "state": row.state, "reasons": row.verdict["reasons"]}
