"""Two callables (answer, log-probabilities) and held-out cases -> a Report with a score per case and intervals.

It knows no model, no adapter and no database: who answers is the caller's business. The gate compares two reports.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from finetune import gaming, metrics
from finetune.bootstrap import interval, resampled_means
from finetune.declining import decline_correct
from finetune.graded import SUPPORTED, Graded, supported
from finetune.judge import Judge, TellsEnough
from finetune.responding import responds
from finetune.task_metrics import OF_TASKS
from finetune.terse import answering
from store.answers import declined

ALL = "all"
MOST_UNGRADED = 0.05
"""The share of cases that a judge may leave without a clear grade; with more the evaluation fails."""
UNBOUNDED = ("loss", "perplexity")
"""The metrics that are not in [0, 1]; all others are."""


class EvaluationError(ValueError):
    """Cases or answers that cannot be scored: the message says what was found and what was expected."""


@dataclass(frozen=True)
class Case:
    """A held-out question with what the model is shown; `gold` is the answering passage's number, from 1.

    `cluster` is the document (or question group) that cases share; `human` says that people wrote the references.
    """

    id: str
    task: str
    question: str
    messages: tuple[dict[str, str], ...]
    passages: tuple[str, ...]
    references: tuple[str, ...]
    answerable: bool
    gold: int | None
    cluster: str
    human: bool


@dataclass(frozen=True)
class Answer:
    """What a model said, and the natural-log probabilities it gave the first reference's tokens (may be empty)."""

    text: str
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class CaseScore:
    """One case's scores; `loss` is the mean negative natural-log probability per reference token.

    `ungraded` says that the judge gave no clear grade: what it was asked for has no score then.
    """

    case_id: str
    task: str
    cluster: str
    answerable: bool
    answer: str
    scores: dict[str, float | None]
    loss: float | None
    tokens: int
    ungraded: bool = False


@dataclass(frozen=True)
class Summary:
    """A metric's mean over a task's cases (or "all") with its 95 % interval; `n` counts the cases it applies to."""

    metric: str
    task: str
    mean: float
    low: float
    high: float
    n: int
    human_share: float


@dataclass(frozen=True)
class Report:
    """All scores of one model over one set of cases."""

    model: str
    judge: str
    cases: tuple[CaseScore, ...]
    summaries: tuple[Summary, ...]

    def to_json(self) -> str:
        """Canonical JSON: keys sorted, no spaces, so that equal reports have equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The report that `to_json` wrote."""
        data = json.loads(text)
        if not isinstance(data, dict) or set(data) != {field.name for field in fields(cls)}:
            found = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise EvaluationError(f"Found {found}, expected a report with cases, judge, model and summaries.")
        return cls(
            model=data["model"],
            judge=data["judge"],
            cases=tuple(CaseScore(**case) for case in data["cases"]),
            summaries=tuple(Summary(**summary) for summary in data["summaries"]),
        )

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex: what an approval binds to."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def _scores(case: Case, text: str, judge: Judge, graded: Graded) -> dict[str, float | None]:
    passages, references, can = case.passages, case.references, case.answerable
    told = graded(lambda: supported(case.question, text, passages, judge, answerable=can)) or dict.fromkeys(SUPPORTED)
    decides = graded(lambda: decline_correct(text, can, passages, answering(case.question, judge.support)))
    return {
        "context_relevance": told["context_relevance"],
        "passage_relevance": graded(lambda: judge.relevance(case.question, passages)) if passages else None,
        "context_enough": judge.enough(case.question, passages)
        if passages and isinstance(judge, TellsEnough)
        else None,
        "citation_recall": told["citation_recall"],
        "citation_precision": told["citation_precision"],
        "source_attribution": told["source_attribution"],
        "right_citation": metrics.right_citation(text, case.gold, answerable=can),
        "answer_accuracy": graded(lambda: _accuracy(case, text, judge)) if can else decides,
        "decline_correct": decides,
        "groundedness": told["groundedness"],
        "verbatim_share": gaming.verbatim_share(text, passages) if passages else None,
        "selective_citing": gaming.selective_citing(text, passages),
        "responding": _responding(case, text),
        "concision": gaming.concision(text, references, question=case.question),
        "length_ratio": gaming.length_ratio(text, references) if can else None,
        **{name: metric(text, references) if can else None for name, metric in OF_TASKS.items()},
    }


def _responding(case: Case, text: str) -> float | None:
    """How well an answer speaks to its question; declining is judged by `decline_correct` alone."""
    if not case.passages or not case.answerable or declined(text):
        return None
    return responds(case.question, text, case.passages)


def _accuracy(case: Case, text: str, judge: Judge) -> float | None:
    """The judge's, of a question that can be answered; declining, and having no reference, are settled without it."""
    if not case.references or declined(text):
        return metrics.answer_accuracy(text, case.references, question=case.question)
    return judge.accuracy(case.question, text, case.references)


def score_case(case: Case, answer: Answer, judge: Judge) -> CaseScore:
    """Every metric of one answer."""
    tokens = len(answer.logprobs)
    loss = -sum(answer.logprobs) / tokens if tokens else None
    if loss is not None and not math.isfinite(loss):
        raise EvaluationError(f"Case {case.id}: found a mean loss of {loss}, expected a finite number.")
    graded = Graded()
    scores = _scores(case, answer.text, judge, graded)
    named = (case.id, case.task, case.cluster, case.answerable)
    return CaseScore(*named, answer.text, scores, loss, tokens, ungraded=graded.missed)


def _summary(
    metric: str, task: str, rows: Sequence[tuple[CaseScore, float]], human: Mapping[str, bool], seed: int, samples: int
) -> Summary:
    """Mean and interval; perplexity is exp of the token-weighted mean loss."""
    values, clusters = [value for _, value in rows], [score.cluster for score, _ in rows]
    weights = [float(score.tokens) for score, _ in rows] if metric in UNBOUNDED else None
    low, high = interval(resampled_means(values, clusters, weights=weights, seed=seed, samples=samples))
    mean = float(np.average(values, weights=weights))
    if metric == "perplexity":
        mean, low, high = math.exp(mean), math.exp(max(low, 0.0)), math.exp(high)
    else:
        low, high = max(low, 0.0), high if metric in UNBOUNDED else min(high, 1.0)
    low, high = min(low, mean), max(high, mean)
    share = sum(human[score.case_id] for score, _ in rows) / len(rows)
    return Summary(metric, task, mean, low, high, len(rows), share)


def value_of(score: CaseScore, metric: str) -> float | None:
    """A case's score on a metric, or its loss; None where the metric does not apply."""
    return score.loss if metric in UNBOUNDED else score.scores.get(metric)


def summarise(
    scores: Sequence[CaseScore], human: Mapping[str, bool], *, seed: int = 0, samples: int = 2000
) -> tuple[Summary, ...]:
    """A summary per task and metric that applies, tasks in order of name after "all"."""
    found: list[Summary] = []
    for task in [ALL, *sorted({score.task for score in scores})]:
        mine = [score for score in scores if task in (ALL, score.task)]
        for metric in [*(mine[0].scores if mine else ()), *UNBOUNDED]:
            rows = [(score, value) for score in mine if (value := value_of(score, metric)) is not None]
            if rows:
                found.append(_summary(metric, task, rows, human, seed, samples))
    return tuple(found)


def _check_cases(cases: Sequence[Case]) -> None:
    ids = [case.id for case in cases]
    twice = sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise EvaluationError(f"Found case {twice[0]} twice, expected every case once.")
    for case in cases:
        if case.gold is not None and not 1 <= case.gold <= len(case.passages):
            raise EvaluationError(
                f"Case {case.id}: found gold passage {case.gold}, expected 1 to {len(case.passages)} or none."
            )


def _check_graded(scores: Sequence[CaseScore], judge: Judge, of: int) -> None:
    missed = [score.case_id for score in scores if score.ungraded]
    if len(missed) > MOST_UNGRADED * of:
        raise EvaluationError(
            f"The judge {judge.name} gave no clear grade of {len(missed)} of {of} cases {missed[:3]}, "
            f"expected at most {MOST_UNGRADED:.0%}."
        )


def _same_length(what: str, found: Sequence[Any], expected: Sequence[Case]) -> None:
    if len(found) != len(expected):
        raise EvaluationError(f"Found {len(found)} {what} for {len(expected)} cases, expected one for each.")


def evaluate(
    cases: Sequence[Case],
    answer: Callable[[list[Case]], list[str]],
    logprobs: Callable[[list[Case]], list[list[float]]],
    *,
    model: str,
    judge: Judge,
    seed: int = 0,
    samples: int = 2000,
    batch: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Ask, score and summarise `cases`, `batch` at a time; `progress(done, total)` follows every batch.

    `logprobs` gives natural-log probabilities of the first reference's tokens; an empty list where there is none.
    """
    _check_cases(cases)
    scores: list[CaseScore] = []
    for start in range(0, len(cases), batch):
        part = list(cases[start : start + batch])
        texts, tokens = answer(part), logprobs(part)
        _same_length("answers", texts, part)
        _same_length("lists of log-probabilities", tokens, part)
        rows = zip(part, texts, tokens, strict=True)
        scores += [score_case(case, Answer(text, tuple(values)), judge) for case, text, values in rows]
        _check_graded(scores, judge, len(cases))
        if progress:
            progress(len(scores), len(cases))
    human = {case.id: case.human for case in cases}
    return Report(model, judge.name, tuple(scores), summarise(scores, human, seed=seed, samples=samples))
