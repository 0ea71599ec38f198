"""Claims about the gate: what is promoted, what blocks, what stays open, and that luck alone seldom passes."""

import json
import random
from dataclasses import replace

import pytest

from configs import limits
from finetune.evaluate import Answer, Case, CaseScore, Report, score_case
from finetune.fitted import FittedJudge
from finetune.gate import DECIDING, GateInputError, Verdict, decide


def score(number: int, task: str, *, attribution=0.5, accuracy=0.5, decline=1.0, ground=0.5, loss: float | None = 2.0):
    scores = {
        "source_attribution": attribution,
        "answer_accuracy": accuracy,
        "decline_correct": decline,
        "groundedness": ground,
    }
    return CaseScore(f"{task}-{number}", task, f"doc-{number % 25}", True, "said", scores, loss, 10)


def report(cases: list[CaseScore], model: str = "candidate") -> Report:
    return Report(model, "words", tuple(cases), ())


def noisy(seed: int, counts: dict[str, int], *, gain=0.0, on: str = "", loss=2.0, **fixed) -> list[CaseScore]:
    """Cases with scores around 0.5; `gain` is added to both primaries of the task `on`."""
    rng = random.Random(seed)
    rows = []
    for task, count in counts.items():
        plus = gain if task == on else 0.0
        for n in range(count):
            a, b = (min(1.0, max(0.0, rng.gauss(0.5, 0.2) + plus)) for _ in range(2))
            rows.append(score(n, task, attribution=a, accuracy=b, loss=loss + rng.gauss(0, 0.01), **fixed))
    return rows


def gate(candidate: list[CaseScore], serving: list[CaseScore], tasks=("facts",), **options) -> Verdict:
    return decide(report(candidate), report(serving, "serving"), planned_tasks=tasks, samples=500, **options)


COUNTS = {"facts": 100, "steps": 60}


def steady(counts=COUNTS, **changes) -> list[CaseScore]:
    return [score(n, task, **changes) for task, count in counts.items() for n in range(count)]


def changed(rows: list[CaseScore], task: str, **deltas: float) -> list[CaseScore]:
    """The rows with `deltas` added to the named scores of one task."""
    return [
        replace(row, scores={k: v + deltas.get(k, 0.0) for k, v in row.scores.items()}) if row.task == task else row
        for row in rows
    ]


def test_too_few_documents_ask_for_documents_and_not_for_a_case():
    few = [replace(row, cluster=f"doc-{n % 4}") for n, row in enumerate(noisy(1, {"facts": 100}))]
    more = [
        replace(row, cluster=f"doc-{n % 4}") for n, row in enumerate(noisy(2, {"facts": 100}, gain=0.2, on="facts"))
    ]
    verdict = gate(more, few)
    assert (verdict.verdict, verdict.cases_needed) == ("not_enough_evidence", None)
    assert verdict.reasons[0].endswith("cases of 4 documents show none, 7 are needed.")


def test_what_is_better_than_what_serves_only_asks_for_what_would_show_it_over_the_anchor():
    candidate, serving = noisy(1, COUNTS, gain=0.2, on="facts"), noisy(1, COUNTS)

    def over(gain: float) -> Verdict:
        anchor = report(noisy(5, COUNTS, gain=gain, on="facts"), "v1")
        return decide(
            report(candidate), report(serving, "serving"), planned_tasks=["facts"], anchor=anchor, samples=500
        )

    short = over(0.19)
    seven = [[replace(row, cluster=f"doc-{n % 7}") for n, row in enumerate(rows)] for rows in (candidate, serving)]
    near = report(
        [replace(row, cluster=f"doc-{n % 7}") for n, row in enumerate(noisy(5, COUNTS, gain=0.19, on="facts"))]
    )
    sides = [report(seven[0]), report(seven[1], "serving")]
    open_ = decide(*sides, planned_tasks=["facts"], anchor=replace(near, model="v1"), samples=500)
    assert "are needed." not in open_.reasons[0]
    assert (short.verdict, short.cases_needed is not None and short.cases_needed > 100) == ("not_enough_evidence", True)
    assert over(0.4).verdict == "reject"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_named(value: float):
    rows = steady()
    odd = [replace(rows[0], scores={**rows[0].scores, "answer_accuracy": value}), *rows[1:]]
    with pytest.raises(GateInputError, match="no finite number"):
        gate(odd, rows)


def test_a_case_that_stands_twice_is_refused():
    rows = steady({"facts": 20})
    with pytest.raises(GateInputError, match="each once"):
        gate([*rows, *rows], [*rows, *rows])


def test_a_clear_gain_without_a_loss_is_promoted():
    verdict = gate(noisy(1, COUNTS, gain=0.2, on="facts"), noisy(1, COUNTS))
    assert verdict.verdict == "promote"
    assert verdict.cases_needed is None
    assert any("n = 100" in reason and "better" in reason for reason in verdict.reasons)


def test_identical_reports_are_never_promoted():
    for rows in (steady(), noisy(3, COUNTS), noisy(4, {"facts": 5}), steady({"facts": 30}, loss=None)):
        assert gate(rows, rows).verdict == "reject"


def test_a_loss_on_another_task_blocks_promotion():
    serving = steady()
    candidate = changed(changed(serving, "facts", answer_accuracy=0.2), "steps", answer_accuracy=-0.08)
    verdict = gate(candidate, serving)
    assert verdict.verdict == "reject"
    assert any("answer accuracy, steps" in reason for reason in verdict.reasons)


def test_a_loss_hidden_in_many_small_tasks_blocks_promotion():
    counts = {"facts": 100} | {f"small-{n}": 5 for n in range(8)}
    serving = steady(counts)
    candidate = changed(serving, "facts", answer_accuracy=0.2)
    for n in range(8):
        candidate = changed(candidate, f"small-{n}", source_attribution=-0.2)
    verdict = gate(candidate, serving)
    assert verdict.verdict == "reject"
    assert any("source attribution, other tasks" in reason and "n = 40" in reason for reason in verdict.reasons)


@pytest.mark.parametrize("metric", ["decline_correct", "groundedness"])
def test_worse_declining_or_grounding_blocks_promotion(metric):
    serving = steady()
    candidate = changed(changed(serving, "facts", answer_accuracy=0.2), "steps", **{metric: -0.3})
    verdict = gate(candidate, serving)
    assert verdict.verdict == "reject"
    assert any(reason.startswith(metric.replace("_", " ")) for reason in verdict.reasons)


def test_a_higher_held_out_loss_blocks_promotion():
    verdict = gate(noisy(1, COUNTS, gain=0.2, on="facts", loss=2.2), noisy(1, COUNTS))
    assert verdict.verdict == "reject"
    assert any(reason.startswith("loss, all") for reason in verdict.reasons)


def test_a_gain_on_a_task_that_was_not_planned_is_not_a_gain():
    assert gate(noisy(1, COUNTS, gain=0.2, on="steps"), noisy(1, COUNTS)).verdict == "reject"


def test_a_gain_on_too_few_cases_is_not_enough_evidence():
    counts = {"facts": 12}
    verdict = gate(noisy(1, counts, gain=0.2, on="facts"), noisy(1, counts))
    assert verdict.verdict == "not_enough_evidence"
    assert verdict.cases_needed is not None and verdict.cases_needed >= 30 - 12
    assert verdict.needed_of == "planned tasks"
    assert any("too few cases, 30 are needed" in reason for reason in verdict.reasons)


def test_a_gain_from_one_document_alone_is_not_enough_evidence():
    serving = [replace(row, cluster="one") for row in steady({"facts": 60})]
    verdict = gate(changed(serving, "facts", answer_accuracy=0.3), serving)
    assert verdict.verdict == "not_enough_evidence"


def test_a_small_unclear_gain_says_how_many_cases_are_needed():
    counts = {"facts": 40}
    verdict = gate(noisy(11, counts, gain=0.04, on="facts"), noisy(12, counts))
    assert verdict.verdict == "not_enough_evidence"
    assert verdict.cases_needed is not None and verdict.cases_needed > 1
    assert f"about {verdict.cases_needed} more held-out cases (planned tasks)" in verdict.reasons[0]


def unsettled(loss: float | None) -> tuple[list[CaseScore], list[CaseScore]]:
    """A clear gain on facts, and ten cases of another task that went up and down by as much."""
    serving = steady({"facts": 100, "steps": 10}, loss=loss)
    candidate = changed(serving, "facts", answer_accuracy=0.2)
    for at in range(100, 110):
        move = 0.2 if at % 2 else -0.2
        moved = {**candidate[at].scores, "answer_accuracy": 0.5 + move}
        candidate[at] = replace(candidate[at], scores=moved)
    return candidate, serving


def test_a_small_guardrail_leans_on_the_held_out_loss_and_says_so():
    verdict = gate(*unsettled(loss=2.0))
    assert verdict.verdict == "promote"
    small = next(d for d in verdict.deltas if (d.metric, d.task) == ("answer_accuracy", "other tasks"))
    assert small.passed and small.low < -small.margin
    assert "too few cases to certify the margin of 0.03; held on the point estimate" in small.sentence


def test_without_held_out_loss_a_small_guardrail_stays_open():
    verdict = gate(*unsettled(loss=None))
    assert verdict.verdict == "not_enough_evidence"
    assert verdict.cases_needed is not None and verdict.cases_needed > 10
    assert any("other tasks" in reason and "too few cases to tell" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("moved", "support", "verdict"),
    [(-0.02, 0.0, "promote"), (0.02, 0.0, "not_enough_evidence"), (-0.02, 0.6, "not_enough_evidence")],
    ids=["fell", "rose", "support is uncertain"],
)
def test_a_loss_of_wide_scatter_holds_only_where_it_fell_and_support_is_certain(
    moved: float, support: float, verdict: str
) -> None:
    chance = random.Random(5)
    serving = noisy(1, COUNTS)
    scatter = [chance.gauss(0, 0.8) for _ in serving]
    mean = sum(scatter) / len(scatter)
    candidate = [
        replace(
            row,
            loss=(row.loss or 0) + moved + one - mean,
            scores=row.scores | {"groundedness": 0.5 + support * chance.gauss(0, 1)},
        )
        for row, one in zip(noisy(1, COUNTS, gain=0.2, on="facts"), scatter, strict=True)
    ]
    found = gate(candidate, serving)
    assert found.verdict == verdict
    [loss] = [one for one in found.deltas if (one.metric, one.task) == ("loss", "all")]
    assert loss.high - loss.low > 0.05 and loss.passed is (True if verdict == "promote" else None)


def test_no_case_of_a_planned_task_is_not_enough_evidence():
    verdict = gate(steady(), steady(), tasks=("poems",))
    assert verdict.verdict == "not_enough_evidence"
    assert "planned tasks (poems)" in verdict.reasons[0]


def test_reports_of_different_cases_cannot_be_compared():
    with pytest.raises(GateInputError, match="Found 160 cases of candidate and 159 of serving, 1 in only one of them"):
        gate(steady(), steady()[:-1])
    with pytest.raises(GateInputError, match="facts-0 differs in task, cluster or answerable"):
        gate(steady(), [replace(steady()[0], cluster="elsewhere"), *steady()[1:]])


def test_reports_of_different_judges_cannot_be_compared():
    with pytest.raises(GateInputError, match='the judges "words" and "other"'):
        decide(report(steady()), replace(report(steady()), judge="other"), planned_tasks=("facts",))


def test_the_verdict_is_json_with_every_delta():
    verdict = gate(noisy(1, COUNTS, gain=0.2, on="facts"), noisy(1, COUNTS))
    data = json.loads(verdict.to_json())
    assert data["verdict"] == "promote"
    assert {delta["role"] for delta in data["deltas"]} >= {"primary", "guardrail"}
    assert all(delta["low"] <= delta["high"] for delta in data["deltas"])


def test_swapping_candidate_and_serving_turns_a_promotion_into_a_rejection():
    better, worse = noisy(1, COUNTS, gain=0.2, on="facts"), noisy(1, COUNTS)
    assert gate(better, worse).verdict == "promote"
    assert gate(worse, better).verdict == "reject"


def test_adapters_that_are_equally_good_are_seldom_promoted():
    promoted = [gate(noisy(2 * s, COUNTS), noisy(2 * s + 1, COUNTS)).verdict == "promote" for s in range(60)]
    assert sum(promoted) <= 4


def test_losses_too_small_to_see_cannot_add_up_against_an_anchor():
    serving = changed(noisy(1, COUNTS), "steps", answer_accuracy=-0.06)
    candidate = changed(changed(serving, "facts", answer_accuracy=0.2), "steps", answer_accuracy=-0.02)
    anchor = report(noisy(1, COUNTS), "base")
    alone = gate(candidate, serving)
    assert alone.verdict == "promote"
    held = gate(candidate, serving, anchor=anchor)
    assert held.verdict == "reject"
    assert any("answer accuracy, steps against the anchor base" in reason for reason in held.reasons)


def test_a_gain_over_what_serves_must_be_one_over_the_anchor_too():
    anchor = noisy(1, COUNTS, gain=0.2, on="facts")
    serving = noisy(1, COUNTS)
    candidate = changed(serving, "facts", answer_accuracy=0.1)
    held = gate(candidate, serving, anchor=report(anchor, "base"))
    assert held.verdict != "promote"


def test_an_anchor_that_serves_changes_nothing():
    candidate, serving = noisy(1, COUNTS, gain=0.2, on="facts"), noisy(1, COUNTS)
    with_it = gate(candidate, serving, anchor=report(serving, "serving"))
    assert with_it == gate(candidate, serving)
    assert {delta.against for delta in with_it.deltas} == {"serving"}


def test_a_task_large_enough_to_certify_the_margin_is_never_held_on_its_point_estimate():
    counts = {"facts": 400, "steps": 600}
    serving = noisy(5, counts)
    candidate = changed(changed(serving, "facts", answer_accuracy=0.2), "steps", answer_accuracy=-0.025)
    rng = random.Random(2)
    candidate = [
        replace(
            row, scores={**row.scores, "answer_accuracy": (row.scores["answer_accuracy"] or 0) + rng.gauss(0, 0.15)}
        )
        for row in candidate
    ]
    small = next(d for d in gate(candidate, serving).deltas if (d.metric, d.task) == ("answer_accuracy", "steps"))
    assert small.passed is not True
    assert "point estimate" not in small.sentence


@pytest.mark.parametrize(("lost", "won", "verdict"), [(7, 4, "promote"), (9, 1, "reject")])
def test_few_cases_fail_for_a_large_loss_only_where_it_is_likely(lost: int, won: int, verdict: str) -> None:
    serving = steady({"facts": 200, "few": 25, "others": 40})
    told = [-1.0] * lost + [1.0] * won + [0.0] * (25 - lost - won) + [0.45, -0.35] * 20
    rows = changed(serving, "facts", answer_accuracy=0.2, source_attribution=0.2)
    moved = [
        replace(row, scores={**row.scores, "answer_accuracy": 0.5 + by})
        for row, by in zip(rows[200:], told, strict=True)
    ]
    found = gate([*rows[:200], *moved], serving)
    [alone] = [delta for delta in found.deltas if (delta.metric, delta.task) == ("answer_accuracy", "few")]
    assert alone.difference == pytest.approx((won - lost) / 25) and alone.difference < -0.1
    assert (found.verdict, alone.passed) == (verdict, verdict == "promote"), alone.sentence


def test_a_primary_may_lose_as_much_as_the_margin_while_another_gains():
    serving = noisy(1, COUNTS)
    gaining = changed(serving, "facts", answer_accuracy=0.2)
    within = gate(changed(gaining, "facts", source_attribution=-0.02), serving, margin=0.05)
    lost = next(d for d in within.deltas if d.role == "primary" and d.metric == "source_attribution")
    assert (within.verdict, lost.passed) == ("promote", None) and "within the margin" in lost.sentence
    assert gate(changed(gaining, "facts", source_attribution=-0.08), serving, margin=0.05).verdict == "reject"
    assert gate(changed(serving, "facts", source_attribution=-0.02), serving, margin=0.05).verdict == "reject"


def test_an_open_guardrail_beyond_its_margin_asks_for_the_cases_that_would_show_the_loss():
    serving, rng = noisy(1, {"facts": 40}), random.Random(3)
    moved = [rng.gauss(0, 0.5) for _ in serving]
    shift = -0.08 - sum(moved) / len(moved)
    candidate = [
        replace(row, scores={**row.scores, "groundedness": (row.scores["groundedness"] or 0) + move + shift})
        for row, move in zip(changed(serving, "facts", answer_accuracy=0.2), moved, strict=True)
    ]
    held = gate(candidate, serving, margin=0.05)
    assert held.verdict == "not_enough_evidence" and "guardrail is still open" in held.reasons[0]
    assert held.cases_needed is not None and 40 < held.cases_needed < 1_000


def test_the_settings_accept_as_primaries_what_the_gate_does_and_evaluations_score_it():
    case = Case("c1", "facts", "How long is it?", (), ("It is 40 km long.",), ("40 km.",), True, 1, "doc", True)
    scored = score_case(case, Answer("It is 40 km long [1]."), FittedJudge()).scores
    assert limits.DECIDING == DECIDING
    assert set(DECIDING) <= set(scored)
    assert not {"verbatim_share", "length_ratio", "concision", "selective_citing", "responding"} & set(DECIDING)


@pytest.mark.parametrize("metric", ["verbatim_share", "loss", "source_atribution"])
def test_copying_loss_and_what_is_no_metric_never_lead(metric: str):
    same = steady()
    with pytest.raises(GateInputError, match=f'Found the primary "{metric}", expected some of source_attribution, '):
        gate(same, same, primary=["answer_accuracy", metric])
