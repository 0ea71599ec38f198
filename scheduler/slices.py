"""Where a candidate gained and where it lost: paired differences over parts of the held-out cases (pure).

A slice is a look, not a test: many are shown and none decides. Intervals are bootstraps over documents.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from finetune import people
from finetune.bootstrap import interval, resampled_means
from finetune.evaluate import CaseScore, Report, value_of

SMALLEST = 5
"""A slice of fewer cases says nothing and is left out."""


def slices(
    candidate: Report,
    serving: Report,
    *,
    metric: str,
    passages: Mapping[str, int],
    labelled: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """The difference on `metric` by task, by whether it can be answered, by passages shown and by the old answer.

    `passages` says how many passages each case was shown. Each slice: its name, n, difference, low and high (95 %).
    Where the scores rest on cases that people `labelled`, a slice with few of them is left out.
    """
    theirs = {score.case_id: score for score in serving.cases}
    groups: dict[str, list[tuple[CaseScore, CaseScore]]] = {}
    for score in candidate.cases:
        for name in _names(score, theirs[score.case_id], passages.get(score.case_id, 0)):
            groups.setdefault(name, []).append((score, theirs[score.case_id]))
    told = {
        name: sum(labelled is None or mine.case_id in labelled for mine, _ in rows) for name, rows in groups.items()
    }
    found = [_slice(name, rows, metric) for name, rows in sorted(groups.items()) if told[name] >= SMALLEST]
    return [one for one in found if one is not None]


def corrected(
    said: people.ByPeople, candidate: Report, serving: Report, *, primary: Sequence[str], passages: Mapping[str, int]
) -> dict[str, Any]:
    """Accuracy as people's labels corrected it: of how many cases, its means, its slices, whether the anchor's too."""
    pairs = zip(candidate.cases, said.candidate.cases, strict=True)
    cases = {case_id for case_id, _ in said.said} & {case.case_id for case, told in pairs if told is not case}
    metrics = [metric for metric in primary if metric == people.METRIC]
    found = [
        slices(said.candidate, said.serving, metric=metric, passages=passages, labelled=cases) for metric in metrics
    ]
    return {
        "labels": said.labelled,
        "anchor": said.anchor is not None,
        "candidate": [asdict(one) for one in people.summaries(candidate, said.candidate, said.said)],
        "serving": [asdict(one) for one in people.summaries(serving, said.serving, said.said)],
        "slices": [one for part in found for one in part],
    }


def _names(score: CaseScore, other: CaseScore, passages: int) -> list[str]:
    return [
        f"task: {score.task}",
        "can be answered" if score.answerable else "cannot be answered",
        "no passage" if not passages else "one passage" if passages == 1 else "several passages",
        "the serving answer is long" if len(other.answer) > 300 else "the serving answer is short",
    ]


def _slice(name: str, rows: Sequence[tuple[CaseScore, CaseScore]], metric: str) -> dict[str, Any] | None:
    pairs = [(value_of(mine, metric), value_of(other, metric), mine.cluster) for mine, other in rows]
    gains = [(a - b, cluster) for a, b, cluster in pairs if a is not None and b is not None]
    if len(gains) < SMALLEST:
        return None
    values = [gain for gain, _ in gains]
    low, high = interval(resampled_means(values, [cluster for _, cluster in gains]))
    mean = sum(values) / len(values)
    return {"slice": name, "metric": metric, "n": len(values), "difference": mean, "low": low, "high": high}
