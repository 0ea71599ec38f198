"""Claims about people's labels at the gate: a judge that flatters one side is put right, and intervals stay honest."""

from dataclasses import replace

import numpy as np

from finetune.bootstrap import interval, resampled_means
from finetune.comparison import Rules, compared
from finetune.evaluate import CaseScore, Report
from finetune.gate import decide
from finetune.people import LEAST, METRIC, Said, corrected, labelled, summaries

CASES = 300


def world(seed: int, *, truth: float, flattery: float) -> tuple[Report, Report, Said]:
    """Candidate, serving, and what people say of all their answers; the judge likes the candidate's wrong ones."""
    rng = np.random.default_rng(seed)
    sides, said = [], {}
    for model, share, extra in (("candidate", 0.5 + truth, flattery), ("serving", 0.5, 0.0)):
        cases = []
        for n in range(CASES):
            right = bool(rng.random() < share)
            seen = right if rng.random() < 0.85 else not right
            likes = 1.0 if seen or rng.random() < extra else 0.0
            scores = {METRIC: likes, "source_attribution": 0.5, "decline_correct": 1.0, "groundedness": 0.9}
            text = f"{model} says {n}"
            cases.append(CaseScore(f"c{n}", "facts", f"doc-{n % 100}", True, text, scores, 2.0, 10))
            said[f"c{n}", text] = right
        sides.append(Report(model, "judge", tuple(cases), ()))
    return sides[0], sides[1], said


def sample(said: Said, count: int) -> Said:
    return {key: value for key, value in said.items() if int(key[0][1:]) < count}


def gain(candidate: Report, serving: Report) -> tuple[float, float]:
    pairs = zip(candidate.cases, serving.cases, strict=True)
    gains = [(a.scores[METRIC] or 0.0) - (b.scores[METRIC] or 0.0) for a, b in pairs]
    return interval(resampled_means(gains, [case.cluster for case in candidate.cases], samples=400))


def test_a_flattering_judge_promotes_and_labels_put_it_right() -> None:
    candidate, serving, said = world(1, truth=0.0, flattery=0.5)
    some = sample(said, 120)
    assert labelled(candidate, some) == labelled(serving, some) == 120
    alone = decide(candidate, serving, planned_tasks=["facts"], samples=400)
    told = decide(corrected(candidate, some), corrected(serving, some), planned_tasks=["facts"], samples=400)
    assert (alone.verdict, told.verdict == "promote") == ("promote", False)


def test_intervals_with_labels_hold_the_truth_as_often_as_they_say() -> None:
    held = alone = 0
    for seed in range(150):
        candidate, serving, said = world(seed, truth=0.1, flattery=0.4)
        some = sample(said, 100)
        low, high = gain(corrected(candidate, some), corrected(serving, some))
        held += low <= 0.1 <= high
        low, high = gain(candidate, serving)
        alone += low <= 0.1 <= high
    assert held / 150 > 0.9
    assert alone / 150 < 0.6


def test_labels_make_an_interval_of_a_true_gain_no_wider_than_labels_alone() -> None:
    candidate, serving, said = world(3, truth=0.2, flattery=0.0)
    some = sample(said, 100)
    low, high = gain(corrected(candidate, some), corrected(serving, some))
    pairs = zip(candidate.cases[:100], serving.cases[:100], strict=True)
    rows = [(float(said[a.case_id, a.answer]), float(said[b.case_id, b.answer]), a.cluster) for a, b in pairs]
    only = compared(METRIC, "all", rows, Rules())
    assert only is not None and high - low < only.width(0.95)


def test_without_labels_nothing_changes() -> None:
    candidate, serving, _ = world(4, truth=0.1, flattery=0.2)
    assert corrected(candidate, {}) == candidate
    unmeasured = replace(candidate.cases[0], scores={METRIC: None})
    report = replace(serving, cases=(unmeasured, *serving.cases[1:]))
    assert corrected(report, {}) == report


def test_corrected_means_are_those_of_the_gate_and_of_tasks_with_labels_enough() -> None:
    candidate, _, said = world(1, truth=0.0, flattery=0.5)
    some = sample(said, 120)
    fixed = corrected(candidate, some)
    few = {case.case_id for case in candidate.cases[: LEAST - 1]}
    split = [
        replace(report, cases=tuple(replace(c, task="rare" if c.case_id in few else "facts") for c in report.cases))
        for report in (candidate, fixed)
    ]
    found = {one.task: one for one in summaries(split[0], split[1], some)}
    assert set(found) == {"all", "facts"} and {one.metric for one in found.values()} == {METRIC}
    assert np.isclose(found["all"].mean, np.mean([case.scores[METRIC] for case in fixed.cases]))
