"""May a judge count: it must notice answers that were made worse, and agree with people on each metric it scores.

Both are measured on this installation's own answers before any adapter is judged. It knows no model and no gate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from finetune.agreement import ALL, LEAST_OF_EACH, Agreement, Judged, agreement, distrusted
from finetune.checked import Checked
from finetune.judge import Judge, supported_answer
from finetune.perturbations import Honest, Outcome, Score, made_worse, outcomes
from store.answers import DECLINE, declined

MOST_HONEST = 60
"""Answers that are made worse; a judge that asks a server answers some six questions for each."""
FEWEST = 10
"""Fewer cases of one kind of change say nothing about it."""
COPIED = "copied"
BY_ACCURACY = "accuracy, "
"""How the name of a change begins that is told by accuracy."""
TURNED = ("negated", "name swapped", "number changed")
"""The changes that make an answer wrong: accuracy must notice them too."""


@dataclass(frozen=True)
class Labelled:
    """What a person said of a logged answer on one metric; `reference` is a right answer, empty without one."""

    id: str
    metric: str
    task: str
    question: str
    answer: str
    passages: tuple[str, ...]
    reference: str
    value: bool | None


@dataclass(frozen=True)
class Admission:
    """How a judge did: won cases per kind of change, agreement per metric and task, the metrics on which it counts.

    `blind` says on which changes the judge that is used in the end clearly fails: then nothing may be promoted by it.
    """

    name: str
    suite: tuple[Outcome, ...]
    agreement: tuple[Agreement, ...]
    counts: tuple[str, ...]
    reasons: tuple[str, ...]
    blind: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the report keeps it, with the share of cases that the honest answer won."""
        suite = [{**asdict(one), "share": one.share} for one in self.suite if one.n]
        told = {"counts": list(self.counts), "reasons": list(self.reasons), "blind": list(self.blind)}
        return {"name": self.name, "suite": suite, "agreement": [asdict(one) for one in self.agreement], **told}


def score_of(judge: Judge, row: Labelled) -> float:
    """What a judge says of a labelled answer on the label's metric.

    Where nobody wrote a right answer, what the passages support is the best guess at accuracy, which tells nothing of
    how a judge measures it (`admission`).
    """
    if row.metric == "relevance":
        return judge.relevance(row.question, row.passages)
    if row.metric == "accuracy" and row.reference:
        return judge.accuracy(row.question, row.answer, [row.reference])
    return supported_answer(row.answer, row.passages, judge, question=row.question)


def judged(judge: Judge, rows: Sequence[Labelled]) -> list[Judged]:
    """Each row with the judge's score beside the person's word.

    Answers that decline are left out but of relevance: an evaluation asks no judge about them.
    """
    asked = [row for row in rows if row.metric == "relevance" or not declined(row.answer)]
    return [Judged(row.id, row.metric, row.task, score_of(judge, row), row.value) for row in asked]


def honest_of(rows: Sequence[Mapping[str, Any]]) -> list[Honest]:
    """Answers that people gave or approved, of rows of a dataset."""
    return [
        Honest(row["question"], row["target"], tuple(row["passages"]), (row["target"],))
        for row in rows
        if row["answerable"] and row["passages"] and row["kind"] in ("approved", "correction")
    ][:MOST_HONEST]


def suite(judge: Judge, honest: Sequence[Honest], *, seed: int = 0) -> tuple[Outcome, ...]:
    """How often the honest answer beats each kind of worse one, asked as the gate asks.

    Copied sentences are told by their accuracy against the honest answer, everything else by support.
    """
    worse = made_worse(honest, seed=seed)

    def supported(question: str, answer: str, passages: Sequence[str]) -> float:
        return supported_answer(answer, passages, judge, question=question)

    copies = [(case, {COPIED: texts[COPIED]}) for case, texts in worse if COPIED in texts]
    others = [(case, {name: text for name, text in texts.items() if name != COPIED}) for case, texts in worse]
    found = {one.variant: one for one in outcomes(others, supported)}
    return tuple(
        one if one.variant == COPIED else found[one.variant] for one in outcomes(copies, _accurate(judge, honest))
    )


def accuracy_suite(judge: Judge, honest: Sequence[Honest], *, seed: int = 0) -> tuple[Outcome, ...]:
    """How often the honest answer beats each wrong one by accuracy, the honest answer being the right one."""
    worse = [
        (case, {name: text for name, text in texts.items() if name in TURNED})
        for case, texts in made_worse(honest, seed=seed)
    ]
    found = outcomes(worse, _accurate(judge, honest))
    return tuple(replace(one, variant=f"{BY_ACCURACY}{one.variant}") for one in found if one.variant in TURNED)


def told_by(outcome: Outcome) -> str:
    """The metric on which a kind of change is to be told."""
    return "accuracy" if outcome.variant == COPIED or outcome.variant.startswith(BY_ACCURACY) else "support"


def _accurate(judge: Judge, honest: Sequence[Honest]) -> Score:
    right = {(case.question, case.passages): case.answer for case in honest}

    def accurate(question: str, answer: str, passages: Sequence[str]) -> float:
        return judge.accuracy(question, answer, [right[question, tuple(passages)]])

    return accurate


def admission(
    judge: Judge,
    metrics: Sequence[str],
    honest: Sequence[Honest],
    labels: Sequence[Labelled],
    *,
    min_suite: float,
    min_balanced: float,
    min_labels: int,
    fallback: bool = False,
) -> Admission:
    """Try a judge; it counts on those of `metrics` on which people agree with it, and on none if the suite fails.

    The `fallback` scores where no other judge counts. Any other must be right on accuracy itself: there only labels of
    answers to which a right one is known tell of it. Whichever scores accuracy must notice answers turned wrong by it.
    Raises Invalid where it gives what is no score.
    """
    judge = Checked(judge)
    compares = "accuracy" in metrics
    won, turned = suite(judge, honest), accuracy_suite(judge, honest) if compares else ()
    known = [row for row in labels if row.metric in metrics and row.value is not None and (fallback or _tells(row))]
    agreed = agreement(judged(judge, known))
    failed = _blind(won, min_suite)
    against = {metric: _against(agreed, metric, least=min_balanced, labels=min_labels) for metric in metrics}
    if compares:
        against["accuracy"] += _blind(turned, min_suite)
    reasons = (*failed, *(why for metric in metrics for why in against[metric]))
    counts = () if failed else tuple(metric for metric in metrics if not against[metric])
    return Admission(judge.name, (*won, *turned), tuple(agreed), counts, reasons)


def _tells(row: Labelled) -> bool:
    """Whether a label tells how well a judge scores its metric; of accuracy, where a right answer is known."""
    return row.metric != "accuracy" or not declined(row.reference or DECLINE)


def _against(agreed: Sequence[Agreement], metric: str, *, least: float, labels: int) -> list[str]:
    """Why a judge may not count on a metric by people's labels, as sentences."""
    mine = [one for one in agreed if one.metric == metric]
    n, yes = next(((one.n, one.yes) for one in mine if one.task == ALL), (0, 0))
    of = " of answers to which a right one is known" if metric == "accuracy" else ""
    if n < labels:
        return [f"{metric}: {n} labels of people{of}, expected at least {labels}."]
    if min(yes, n - yes) < LEAST_OF_EACH:
        said = f"{yes} labels of people{of} say yes and {n - yes} say no"
        return [f"{metric}: {said}, expected at least {LEAST_OF_EACH} of each."]
    return [_disagrees(one, least) for one in distrusted(mine, least=least, labels=labels)]


def _disagrees(one: Agreement, expected: float) -> str:
    where = "" if one.task == ALL else f" in {one.task}"
    return f"{one.metric}: balanced accuracy {one.worth:.2f}{where} over {one.n} labels, expected {expected:.2f}."


def _blind(won: Sequence[Outcome], least: float) -> list[str]:
    """Why the suite fails, as sentences; empty where it passes."""
    tried = [one for one in won if one.n >= FEWEST]
    if not tried:
        return [f"fewer than {FEWEST} answers of people could be made worse in any way: nothing to try it on."]
    return [_lost(one, least) for one in tried if one.share < least]


def clearly_blind(won: Sequence[Outcome], least: float) -> tuple[str, ...]:
    """The changes on which a judge stays below `least` even by the upper end of the share's 95 % interval."""
    bounds = [
        (one, one.share + 1.96 * math.sqrt(one.share * (1 - one.share) / one.n)) for one in won if one.n >= FEWEST
    ]
    return tuple(_lost(one, least) for one, upper in bounds if upper < least)


def _lost(one: Outcome, least: float) -> str:
    return f"{one.variant}: the honest answer wins {one.share:.2f} of {one.n} cases, expected {least:.2f}."
