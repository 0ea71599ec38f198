"""Two reports over the same cases -> promote | reject | not enough evidence, with reasons in plain sentences (pure).

It knows scores and documents (clusters), not models, adapters or people; approval comes after it. Promote only if a
primary metric over the planned tasks' cases gained, its interval above 0 (Holm across the primaries), and no guardrail
is worse than its margin allows. Intervals are paired bootstraps over documents. A case where a metric applies to one
of the two answers only is left out there; the guardrail on declining, which always applies, covers it.
"""

from collections.abc import Sequence

from finetune.comparison import LOSS, Comparison, Delta, Rules, Verdict, compared, delta, guard, primaries, verdict
from finetune.evaluate import ALL, CaseScore, Report, value_of

OTHER = "other tasks"
PLANNED = "planned tasks"
SHOWN = ("context_relevance", "citation_recall", "citation_precision", "right_citation", "verbatim_share")

Pair = tuple[CaseScore, CaseScore]


class GateInputError(ValueError):
    """Two reports that cannot be compared: the message says what was found and what was expected."""


def _pairs(candidate: Report, serving: Report) -> list[Pair]:
    """The two reports' scores case by case; raises where they do not hold the same cases and the same judge."""
    if candidate.judge != serving.judge:
        raise GateInputError(f'Found the judges "{candidate.judge}" and "{serving.judge}", expected the same one.')
    theirs = {score.case_id: score for score in serving.cases}
    unmatched = {score.case_id for score in candidate.cases} ^ set(theirs)
    if unmatched or len(candidate.cases) != len(serving.cases):
        raise GateInputError(
            f"Found {len(candidate.cases)} cases of {candidate.model} and {len(serving.cases)} of {serving.model}, "
            f"{len(unmatched)} in only one of them {sorted(unmatched)[:3]}, expected the same cases in both."
        )
    pairs = [(score, theirs[score.case_id]) for score in candidate.cases]
    for mine, other in pairs:
        if (mine.task, mine.cluster, mine.answerable) != (other.task, other.cluster, other.answerable):
            raise GateInputError(f"Case {mine.case_id} differs in task, cluster or answerable, expected the same case.")
    return pairs


def _compare(metric: str, task: str, pairs: Sequence[Pair], rules: Rules) -> Comparison | None:
    """The paired comparison over the cases to which the metric applies on both sides; None where there are none."""
    found = [(value_of(mine, metric), value_of(other, metric), mine.cluster) for mine, other in pairs]
    return compared(metric, task, [(a, b, c) for a, b, c in found if a is not None and b is not None], rules)


def _groups(pairs: Sequence[Pair], smallest: int) -> dict[str, list[Pair]]:
    """The pairs by task; tasks with fewer than `smallest` cases together as "other tasks"."""
    by_task: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_task.setdefault(pair[0].task, []).append(pair)
    large = {task: rows for task, rows in sorted(by_task.items()) if len(rows) >= smallest}
    rest = [pair for pair in pairs if pair[0].task not in large]
    return large | ({OTHER: rest} if rest else {})


def _guardrails(pairs: Sequence[Pair], primary: Sequence[str], rules: Rules) -> list[Delta]:
    """The held-out loss over all cases first; then, leaning on it, declining, grounding and every task."""
    loss = _compare(LOSS, ALL, pairs, rules)
    first = [guard(loss, rules, loss_held=None)] if loss else []
    held = bool(first and first[0].passed)
    groups = _groups(pairs, rules.min_task_cases)
    wanted = [(metric, ALL, list(pairs)) for metric in ("decline_correct", "groundedness")]
    per_task = (*primary, LOSS) if len(groups) > 1 else primary
    wanted += [(metric, task, rows) for task, rows in groups.items() for metric in per_task]
    found = [_compare(metric, task, rows, rules) for metric, task, rows in wanted]
    return first + [guard(comparison, rules, loss_held=held) for comparison in found if comparison]


def decide(
    candidate: Report,
    serving: Report,
    *,
    planned_tasks: Sequence[str],
    primary: Sequence[str] = ("source_attribution", "answer_accuracy"),
    margin: float = Rules.margin,
    hard_margin: float = Rules.hard_margin,
    loss_margin: float = Rules.loss_margin,
    min_cases: int = Rules.min_cases,
    min_task_cases: int = Rules.min_task_cases,
    confidence: float = Rules.confidence,
    seed: int = Rules.seed,
    samples: int = Rules.samples,
) -> Verdict:
    """Compare two reports of the same cases.

    `margin` and `hard_margin` are absolute (scores are in [0, 1]), `loss_margin` is relative to the serving loss. A
    guardrail holds when its interval lies above minus the margin; fails when the interval lies wholly below 0 or,
    from `min_task_cases` cases, the point estimate is below minus `hard_margin`; and with too few cases for either
    holds when its point estimate is within the margin and the held-out loss over all cases holds.
    """
    rules = Rules(margin, hard_margin, loss_margin, min_cases, min_task_cases, confidence, seed, samples)
    pairs = _pairs(candidate, serving)
    planned = [pair for pair in pairs if pair[0].task in planned_tasks]
    leading = [found for metric in primary if (found := _compare(metric, PLANNED, planned, rules))]
    if not leading:
        said = f"No held-out case of the planned tasks ({', '.join(planned_tasks) or 'none'}) has a primary metric."
        return Verdict("not_enough_evidence", (said,), (), min_cases)
    shown = [found for metric in SHOWN if (found := _compare(metric, ALL, pairs, rules))]
    deltas = (
        *primaries(leading, rules),
        *_guardrails(pairs, primary, rules),
        *(delta(c, role="shown", margin=0.0, confidence=confidence, judge=lambda *_: (None, "shown")) for c in shown),
    )
    return verdict(deltas, rules)
