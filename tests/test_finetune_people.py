"""Claims about people's labels at the gate: a judge that flatters one side is put right, and intervals stay honest."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from finetune.bootstrap import interval, resampled_means
from finetune.comparison import Delta, Rules, compared
from finetune.evaluate import CaseScore, Report
from finetune.gate import decide
from finetune.people import LEAST, METRIC, Said, at_look, corrected, heard, labelled, summaries
from store.case_labels import LOOKS, looked, needed

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
    assert labelled(candidate, some) == labelled(serving, some) and len(labelled(serving, some)) == 120
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


def two_tasks(seed: int, *, planned: int) -> tuple[Report, Report, Said]:
    """An equal candidate that the judge flatters; so many of the cases are of the planned task."""
    candidate, serving, said = world(seed, truth=0.0, flattery=0.5)

    def divided(report: Report) -> Report:
        tasks = ["facts"] * planned + ["talk"] * (CASES - planned)
        rows = zip(report.cases, tasks, strict=True)
        return replace(report, cases=tuple(replace(case, task=task, cluster=case.case_id) for case, task in rows))

    return divided(candidate), divided(serving), said


def accuracy(candidate: Report, serving: Report, said: Said, *, confidence: float = 0.95) -> Delta:
    rules: dict[str, Any] = {"primary": ("answer_accuracy",), "min_cases": 24, "min_labels": 20, "samples": 1000}
    found = decide(candidate, serving, planned_tasks=["facts"], said=said, confidence=confidence, **rules)
    return next(one for one in found.deltas if one.role == "primary")


def test_an_equal_candidate_gains_no_more_often_where_the_planned_task_is_small() -> None:
    better = 0
    for seed in range(200):
        candidate, serving, said = two_tasks(seed, planned=30)
        better += accuracy(candidate, serving, sample(said, 20)).passed is True
    assert better / 200 <= 0.035


def test_labels_of_other_tasks_show_no_gain_in_the_planned_ones() -> None:
    candidate, serving, said = two_tasks(1, planned=30)
    some = {key: value for key, value in said.items() if int(key[0][1:]) >= 15}
    alone = accuracy(candidate, serving, {})
    told = accuracy(candidate, serving, some)
    assert (alone.passed, told.passed, told.difference) == (True, None, alone.difference)
    assert told.sentence.endswith("too few labels of the planned tasks, 20 are needed.")
    whole = heard(candidate, serving, some, planned=["facts"], least=20)
    judged, others = whole.candidate.cases[:30], whole.candidate.cases[30:]
    assert judged == candidate.cases[:30] and others != candidate.cases[30:]


def test_the_planned_tasks_are_corrected_by_their_own_labels_alone() -> None:
    candidate, serving, said = two_tasks(2, planned=60)
    few, many = sample(said, 40), {**sample(said, 40), **{k: v for k, v in said.items() if int(k[0][1:]) >= 200}}
    assert accuracy(candidate, serving, few).difference == accuracy(candidate, serving, many).difference
    asked = ["c1", "c50", "c250"]
    more = {name: said[name, f"candidate says {name[1:]}"] - said[name, f"serving says {name[1:]}"] for name in asked}
    told = heard(candidate, serving, many, planned=["facts"], least=20)
    assert told.labels(asked) == {name: more[name] for name in ("c1", "c250")}
    assert heard(candidate, serving, few, planned=["facts"], least=20).labels(["c250"]) is None


def test_looking_at_growing_labels_finds_a_gain_by_chance_no_more_often_than_once() -> None:
    better = 0
    for seed in range(200):
        candidate, serving, said = two_tasks(seed, planned=CASES)
        looks: list[int] = []
        report: dict[str, Any] = {}
        while (count := needed(report, CASES, least=20, said=sample(said, CASES))) is not None:
            report = looked(report, sample(said, count), count, least=20)
            looks = report[LOOKS]
            level = at_look(len(looks), 0.95)
            better += (found := accuracy(candidate, serving, sample(said, count), confidence=level).passed is True)
            if found:
                break
        else:
            assert looks == [20, 40, 80, 160, 300]
    assert better / 200 <= 0.04


def blind_loss(seed: int, *, loss: float, labels: int) -> Delta:
    """The guardrail on accuracy where the candidate is right less often, and the judge sees nothing of it."""
    rng = np.random.default_rng(seed)
    sides, said = [], {}
    for model, share in (("candidate", 1 - loss), ("serving", 1.0)):
        seen = {METRIC: 0.9, "source_attribution": 0.5, "decline_correct": 1.0, "groundedness": 0.9}
        cases = [CaseScore(f"c{n}", "facts", f"doc-{n}", True, f"{model} says {n}", seen, 2.0, 10) for n in range(120)]
        sides.append(Report(model, "judge", tuple(cases), ()))
        said |= {(case.case_id, case.answer): bool(rng.random() < share) for case in cases}
    rules: dict[str, Any] = {"primary": ("answer_accuracy",), "margin": 0.05, "samples": 500}
    found = decide(sides[0], sides[1], planned_tasks=["facts"], said=sample(said, labels), **rules)
    return next(one for one in found.deltas if one.role == "guardrail" and one.metric == METRIC)


def test_a_few_labels_that_agree_certify_no_margin_over_all_cases() -> None:
    held = [blind_loss(seed, loss=0.1, labels=20).passed is True for seed in range(200)]
    assert sum(held) / 200 <= 0.025
    same = blind_loss(0, loss=0.0, labels=20)
    assert same.passed is None and same.labels == 20 and same.low < -0.1
    assert "too few labels to tell whether it is within the margin" in same.sentence
    assert blind_loss(0, loss=0.0, labels=100).passed is True


def test_labels_of_one_document_certify_nothing() -> None:
    rows = [(1.0, 1.0, f"doc-{n}") for n in range(60)]
    found = compared(METRIC, "facts", rows, Rules(samples=500), labels=[(0.0, "doc-1")] * 20)
    assert found is not None and found.width(0.95) > 1


def test_what_is_still_needed_is_told_in_labels_where_they_decide() -> None:
    candidate, serving, said = world(3, truth=0.1, flattery=0.0)
    found = decide(
        candidate, serving, planned_tasks=["facts"], said=sample(said, 40), primary=("answer_accuracy",), samples=500
    )
    assert found.verdict == "not_enough_evidence"
    assert found.needed_of == "planned tasks, labelled by people"
    assert f"about {found.cases_needed} more held-out cases (planned tasks, labelled by people)" in found.reasons[0]


def test_with_few_labels_an_interval_is_as_wide_as_with_few_documents() -> None:
    values, names = [float(n % 2) for n in range(300)], [str(n) for n in range(300)]
    sure, few = (resampled_means(values, names, labels=labels) for labels in (None, 10))
    assert float(np.std(few)) == pytest.approx(float(np.std(sure)) * 1.216, rel=0.01)
    assert float(np.ptp(resampled_means(values, names, labels=1))) > 3


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


def test_a_task_that_nobody_labelled_is_guarded_by_the_judge_whatever_was_labelled_of_others() -> None:
    rng, rows = np.random.default_rng(0), []
    for place in range(500):
        task = "facts" if place < 100 else f"talk{(place - 100) // 50}"
        ease = rng.random()
        right = {"facts": (ease < 0.8, ease < 0.4), "talk7": (ease < 0.4, ease < 0.8)}.get(task, (ease < 0.8,) * 2)
        rows.append((f"c{place}", task, right))
    reports = []
    for side, model in enumerate(("candidate", "serving")):
        cases = [
            CaseScore(name, task, name, True, f"{model} {name}", {METRIC: float(right[side])}, 2.0, 10)
            for name, task, right in rows
        ]
        reports.append(Report(model, "judge", tuple(cases), ()))
    said = {
        (case.case_id, case.answer): bool(case.scores[METRIC])
        for report in reports
        for case in (*report.cases[:60], *report.cases[100:122])
    }
    for told in (None, said):
        found = decide(*reports, planned_tasks=["facts"], primary=(METRIC,), said=told, samples=400)
        [guard] = [
            one for one in found.deltas if one.task == "talk7" and one.role == "guardrail" and one.metric == METRIC
        ]
        assert (found.verdict, guard.passed) == ("reject", False)
