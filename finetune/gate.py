"""Two reports over the same cases -> promote | reject | not enough evidence, with reasons in plain sentences (pure).

It knows scores, people's labels and documents (clusters), not models or adapters; approval comes after it. Promote only
if a primary metric over the planned tasks' cases gained, its interval above 0 (Holm across the primaries), and no
guardrail is worse than its margin allows. Intervals are paired bootstraps over documents. A case where a metric applies
to one of the two answers only is left out there; the guardrail on declining, which always applies, covers it. What
the other side's own answers brought about, as people found them wrong or right, is weighed (`finetune/rated.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetune.bootstrap import Floats, Stratum
from finetune.comparison import (
    LOSS,
    SERVING,
    USUAL,
    Comparison,
    Delta,
    Rules,
    Verdict,
    compared,
    delta,
    guard,
    primaries,
    too_wide,
)
from finetune.evaluate import ALL, CaseScore, Report, value_of
from finetune.people import LEAST, METRIC, Heard, Said, heard
from finetune.rated import Rated
from finetune.settling import verdict
from finetune.task_metrics import OF_TASKS

OTHER = "other tasks"
PLANNED = "planned tasks"
SHOWN = ("responding", "context_relevance", "citation_recall", "citation_precision", "right_citation", "verbatim_share")
OVERALL = ("decline_correct", "groundedness", "concision", "selective_citing")
"""Guarded over all cases: wrong declining, unsupported words, and answers that game the others (docs/quality.md)."""
DECIDING = (
    *("source_attribution", "answer_accuracy", "groundedness", "decline_correct"),
    *("context_relevance", "citation_recall", "citation_precision", "right_citation"),
    *OF_TASKS,
)
"""What may be a primary: it scores a case's answer, in [0, 1], higher is better. What tells of gaming only guards."""

Pair = tuple[CaseScore, CaseScore]


class GateInputError(ValueError):
    """Two reports that cannot be compared: the message says what was found and what was expected."""


def _check_primary(primary: Sequence[str]) -> None:
    refused = [metric for metric in primary if metric not in DECIDING]
    if refused:
        raise GateInputError(f'Found the primary "{refused[0]}", expected some of {", ".join(DECIDING)}.')


def _pairs(candidate: Report, serving: Report) -> list[Pair]:
    """The two reports' scores case by case; raises where they do not hold the same cases and the same judge."""
    if candidate.judge != serving.judge:
        raise GateInputError(f'Found the judges "{candidate.judge}" and "{serving.judge}", expected the same one.')
    theirs = {score.case_id: score for score in serving.cases}
    unmatched = {score.case_id for score in candidate.cases} ^ set(theirs)
    if unmatched or not len(theirs) == len(candidate.cases) == len(serving.cases):
        raise GateInputError(
            f"Found {len(candidate.cases)} cases of {candidate.model} and {len(serving.cases)} of {serving.model}, "
            f"{len(unmatched)} in only one of them {sorted(unmatched)[:3]}, expected the same cases in both, each once."
        )
    pairs = [(score, theirs[score.case_id]) for score in candidate.cases]
    for mine, other in pairs:
        values = [*mine.scores.values(), *other.scores.values(), mine.loss, other.loss]
        if not all(math.isfinite(value) for value in values if value is not None):
            raise GateInputError(f"Case {mine.case_id} has a score that is no finite number, expected finite ones.")
        if (mine.task, mine.cluster, mine.answerable) != (other.task, other.cluster, other.answerable):
            raise GateInputError(f"Case {mine.case_id} differs in task, cluster or answerable, expected the same case.")
    return pairs


@dataclass(frozen=True)
class _Other:
    """Whom the candidate is held against: which cases its answers brought about, how many are wrong by task, labels."""

    name: str
    right: Mapping[str, bool]
    wrong: Mapping[str, Floats]
    heard: Heard

    @classmethod
    def of(cls, name: str, rated: Rated | None, said: Heard, rules: Rules) -> "_Other":
        if rated is None:
            return cls(name, {}, {}, said)
        tasks = sorted({case.task for case in said.other.cases if case.case_id in rated.right})
        return cls(name, rated.right, rated.shares(tasks, seed=rules.seed, samples=rules.samples), said)

    def stratum(self, case: CaseScore) -> Stratum | None:
        """The case's task and whether people found right what brought it about; None where nobody's word did."""
        right = self.right.get(case.case_id)
        return None if right is None else (case.task, right)


def _compare(metric: str, task: str, pairs: Sequence[Pair], rules: Rules, against: _Other) -> Comparison | None:
    """The paired comparison over the cases to which the metric applies on both sides; None where there are none.

    Of a task of which people labelled hardly any case the labels of others tell nothing: there the judge's word stands.
    """
    names, told = [mine.case_id for mine, _ in pairs], None
    if metric == METRIC and (told := against.heard.labels(names)) is not None and len(told) < LEAST and task != PLANNED:
        pairs, told = against.heard.by_judge(names), None
    found = [(value_of(mine, metric), value_of(other, metric), mine) for mine, other in pairs]
    both = [(a, b, case) for a, b, case in found if a is not None and b is not None]
    rows, strata = [(a, b, case.cluster) for a, b, case in both], [against.stratum(case) for *_, case in both]
    labels = None if told is None else [(told[one.case_id], one.cluster) for one, _ in pairs if one.case_id in told]
    shares = against.wrong
    return compared(metric, task, rows, rules, against=against.name, strata=strata, wrong=shares, labels=labels)


def _groups(pairs: Sequence[Pair], smallest: int) -> dict[str, list[Pair]]:
    """The pairs by task; tasks with fewer than `smallest` cases together as "other tasks"."""
    by_task: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_task.setdefault(pair[0].task, []).append(pair)
    large = {task: rows for task, rows in sorted(by_task.items()) if len(rows) >= smallest}
    rest = [pair for pair in pairs if pair[0].task not in large]
    return large | ({OTHER: rest} if rest else {})


def _guardrails(pairs: Sequence[Pair], primary: Sequence[str], rules: Rules, against: _Other) -> list[Delta]:
    """The held-out loss over all cases first; then, leaning on it, what is guarded over all cases and every task.

    A loss that is too uncertain to certify its margin holds where it fell and all that is guarded over all cases holds
    by its own intervals: a few references that either adapter would hardly have written make most of a loss.
    Tasks with too few cases to certify the margin are guarded together as well, and each only against a clear loss.
    """
    loss = _compare(LOSS, ALL, pairs, rules, against)
    overall = [_compare(metric, ALL, pairs, rules, against) for metric in OVERALL]
    certain = all(guard(one, rules, loss_held=False).passed for one in overall if one)
    first = [guard(loss, rules, loss_held=None, certain=certain)] if loss else []
    held = bool(first and first[0].passed)
    groups = _groups(pairs, rules.min_task_cases)
    per_task = (*primary, LOSS) if len(groups) > 1 else primary
    return [
        *first,
        *(guard(one, rules, loss_held=held) for one in overall if one),
        *(one for metric in per_task for one in _tasks(metric, groups, rules, against, held)),
    ]


def _tasks(metric: str, groups: dict[str, list[Pair]], rules: Rules, against: _Other, loss_held: bool) -> list[Delta]:
    """One metric's guardrails: each task that is large enough by itself, the others together and each alone."""
    found = {task: _compare(metric, task, rows, rules, against) for task, rows in groups.items()}
    margin = rules.loss_margin if metric == LOSS else rules.margin
    small = [task for task, one in found.items() if one and too_wide(one.width(USUAL), margin)]
    pooled = [pair for task in {*small, *({OTHER} & set(groups))} for pair in groups[task]]
    if len(small) < 2 or len(groups) < 2:
        return [guard(one, rules, loss_held=loss_held) for one in found.values() if one]
    together = _compare(metric, OTHER, pooled, rules, against)
    alone = [
        guard(one, rules, loss_held=loss_held, alone=task in small)
        for task, one in found.items()
        if one and task != OTHER
    ]
    return [*alone, *([guard(together, rules, loss_held=loss_held)] if together else [])]


def _beside(planned_tasks: Sequence[str], primary: Sequence[str], rules: Rules, against: _Other) -> list[Delta]:
    """The primaries over the planned tasks' cases and all guardrails, against one other report."""
    pairs = _pairs(against.heard.candidate, against.heard.other)
    planned = [pair for pair in pairs if pair[0].task in planned_tasks]
    leading = [found for metric in primary if (found := _compare(metric, PLANNED, planned, rules, against))]
    return [*primaries(leading, rules), *_guardrails(pairs, primary, rules, against)] if leading else []


def decide(
    candidate: Report,
    serving: Report,
    *,
    planned_tasks: Sequence[str],
    anchor: Report | None = None,
    said: Said | None = None,
    rated: Mapping[str, Rated] | None = None,
    primary: Sequence[str] = ("source_attribution", "answer_accuracy"),
    margin: float = Rules.margin,
    hard_margin: float = Rules.hard_margin,
    loss_margin: float = Rules.loss_margin,
    min_cases: int = Rules.min_cases,
    min_task_cases: int = Rules.min_task_cases,
    confidence: float = Rules.confidence,
    seed: int = Rules.seed,
    samples: int = Rules.samples,
    min_labels: int = Rules.min_labels,
) -> Verdict:
    """Compare reports of the same cases: the candidate's with what serves and, where it is another, with the anchor's.

    `said` is what people said of answers, by case and text: from `min_labels` cases on it corrects the accuracies of
    both sides, and a gain in them needs as many labels of the planned tasks' own cases. `rated` says of a report's
    model, where that is known, how its own answers brought cases about, which are weighed by it.

    `margin` and `hard_margin` are absolute (scores are in [0, 1]), `loss_margin` is relative to the other's loss. A
    guardrail holds when its interval lies above minus the margin; fails when the interval lies wholly below 0 or, from
    `min_task_cases` cases, the point estimate is below minus `hard_margin`; and with too few cases to certify the
    margin holds when its point estimate is within it and the held-out loss over all cases holds.

    Raises GateInputError for reports that cannot be compared, and for a primary that is not of DECIDING.
    """
    _check_primary(primary)
    rules = Rules(margin, hard_margin, loss_margin, min_cases, min_task_cases, confidence, seed, samples, min_labels)

    def beside(other: Report) -> Heard:
        _pairs(candidate, other)
        return heard(candidate, other, said or {}, planned=planned_tasks, least=min_labels)

    serves = _Other.of(SERVING, (rated or {}).get(serving.model), beside(serving), rules)
    found = _beside(planned_tasks, primary, rules, serves)
    if not found:
        none = f"No held-out case of the planned tasks ({', '.join(planned_tasks) or 'none'}) has a primary metric."
        return Verdict("not_enough_evidence", (none,), (), min_cases, PLANNED)
    if anchor is not None and anchor.model != serving.model:
        first = _Other.of(f"the anchor {anchor.model}", (rated or {}).get(anchor.model), beside(anchor), rules)
        found += _beside(planned_tasks, primary, rules, first)
    pairs = _pairs(serves.heard.candidate, serves.heard.other)
    shown = [one for metric in SHOWN if (one := _compare(metric, ALL, pairs, rules, serves))]
    informed = [
        delta(c, role="shown", margin=0.0, confidence=confidence, judge=lambda *_: (None, "shown")) for c in shown
    ]
    return verdict((*found, *informed), rules)
