"""Claims about evaluating: what a report holds, how its intervals behave, what it refuses."""

import math
from dataclasses import replace

import numpy as np
import pytest

from finetune.bootstrap import interval, resampled_means
from finetune.evaluate import UNBOUNDED, Case, EvaluationError, Report, evaluate
from finetune.jobs import evaluate_job
from finetune.judge import SELECTING, WordJudge
from scheduler.goals import MEASURED
from store.answers import DECLINE
from store.errors import Invalid

PASSAGES = ("Tickets cost 12 euros for adults.", "The museum opens at nine.")


def case(number: int, **changes) -> Case:
    plain = Case(
        id=f"case-{number}",
        task=("facts", "steps")[number % 2],
        question="What do tickets cost?",
        messages=({"role": "user", "content": "What do tickets cost?"},),
        passages=PASSAGES,
        references=("Tickets cost 12 euros for adults.",),
        answerable=True,
        gold=1,
        cluster=f"document-{number % 5}",
        human=number % 4 == 0,
    )
    return replace(plain, **changes)


def says(text: str):
    return lambda cases: [text for _ in cases]


def no_logprobs(cases):
    return [[] for _ in cases]


def half(cases):
    return [[math.log(0.5)] * 4 for _ in cases]


def run(cases, text="Tickets cost 12 euros for adults [1].", logprobs=half, **options) -> Report:
    return evaluate(cases, says(text), logprobs, model="adapter-1", judge=WordJudge(), samples=200, **options)


def summary(report: Report, metric: str, task: str = "all"):
    return next(row for row in report.summaries if (row.metric, row.task) == (metric, task))


def test_a_perfect_answer_scores_one_on_every_metric_that_decides():
    report = run([case(n) for n in range(8)])
    for metric in ("source_attribution", "answer_accuracy", "right_citation", "decline_correct", "context_relevance"):
        assert summary(report, metric).mean == 1.0
    assert summary(report, "source_attribution", "steps").n == 4


def test_the_plan_knows_every_metric_that_is_measured():
    found = run([case(1)])
    assert {*found.cases[0].scores, *UNBOUNDED} == set(MEASURED)


def test_loss_and_perplexity_come_from_the_reference_tokens():
    report = run([case(n) for n in range(8)])
    assert report.cases[0].loss == pytest.approx(math.log(2))
    assert report.cases[0].tokens == 4
    assert summary(report, "perplexity").mean == pytest.approx(2.0)
    assert not [row for row in run([case(1)], logprobs=no_logprobs).summaries if row.metric in ("loss", "perplexity")]


def test_declining_is_scored_by_whether_there_is_an_answer():
    report = run([case(1), case(2, answerable=False, references=(), gold=None)], DECLINE)
    can, cannot = (score.scores for score in report.cases)
    assert (can["decline_correct"], can["answer_accuracy"], can["source_attribution"]) == (0.0, 0.0, 0.0)
    assert (cannot["decline_correct"], cannot["answer_accuracy"], cannot["source_attribution"]) == (1.0, 1.0, None)
    assert summary(report, "source_attribution").n == 1


def test_human_share_is_the_share_of_cases_with_human_references():
    assert summary(run([case(n) for n in range(8)]), "answer_accuracy").human_share == 0.25


def test_a_report_survives_json_with_the_same_digest():
    report = run([case(n) for n in range(6)])
    again = Report.from_json(report.to_json())
    assert again == report
    assert again.digest() == report.digest() and len(report.digest()) == 64
    assert replace(report, model="adapter-2").digest() != report.digest()


def test_the_same_seed_gives_the_same_report():
    cases = [case(n, answerable=n % 3 > 0) for n in range(9)]
    assert run(cases, seed=4).digest() == run(cases, seed=4).digest()


def test_progress_follows_every_batch_and_the_last_one_is_all():
    seen = []
    run([case(n) for n in range(7)], batch=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_no_cases_give_an_empty_report():
    assert run([]).summaries == ()


def test_summaries_stay_between_zero_and_one_and_hold_their_mean():
    cases = [case(n, answerable=n % 3 > 0, cluster=f"d{n % 2}") for n in range(9)]
    for row in run(cases).summaries:
        assert row.low <= row.mean <= row.high
        assert row.low >= 0.0 and (row.high <= 1.0 or row.metric in ("loss", "perplexity"))


@pytest.mark.parametrize(
    ("cases", "answer", "message"),
    [
        ([case(1), case(1)], says("x"), "Found case case-1 twice"),
        ([case(1, gold=3)], says("x"), "found gold passage 3, expected 1 to 2 or none"),
        ([case(1), case(2)], lambda cases: ["only one"], "Found 1 answers for 2 cases"),
    ],
)
def test_input_that_cannot_be_scored_is_a_clear_error(cases, answer, message):
    with pytest.raises(EvaluationError, match=message):
        evaluate(cases, answer, half, model="m", judge=WordJudge())


def test_an_infinite_loss_is_a_clear_error():
    with pytest.raises(EvaluationError, match="case-1: found a mean loss of inf"):
        run([case(1)], logprobs=lambda cases: [[-math.inf] for _ in cases])


def test_something_else_than_a_report_is_a_clear_error():
    with pytest.raises(EvaluationError, match="expected a report with cases, judge, model and summaries"):
        Report.from_json('{"a": 1}')


def test_cases_of_one_document_count_less_than_cases_of_many():
    values = [1.0, 0.0] * 20
    many = interval(resampled_means(values, [str(n) for n in range(40)]))
    few = interval(resampled_means(values, [str(n % 4) for n in range(40)]))
    assert few[1] - few[0] > many[1] - many[0]
    assert interval(resampled_means([0.2] * 40, ["only"] * 40)) == pytest.approx((0.2 - 1.9, 0.2 + 1.9))


@pytest.mark.parametrize("documents", [6, 20])
def test_intervals_hold_the_truth_about_as_often_as_they_say(documents):
    rng = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        shared = rng.normal(0, 1, documents)
        clusters = [n % documents for n in range(5 * documents)]
        values = [float(shared[c] + rng.normal(0, 1)) for c in clusters]
        low, high = interval(resampled_means(values, [str(c) for c in clusters], seed=trial, samples=400))
        held += low <= 0.0 <= high
    assert 0.90 <= held / 200 <= 0.99


@pytest.mark.parametrize("documents", [12, 30, 60])
def test_a_few_large_documents_do_not_make_intervals_too_short(documents: int) -> None:
    """Documents by Zipf's law, each of which leans to one side: the lower end of 95 % is above 0 in 2.5 %."""
    rng, often = np.random.default_rng(2), 1 / np.arange(1, documents + 1)
    above, runs = 0, 1_200
    for trial in range(runs):
        place = rng.choice(documents, size=5 * documents, p=often / often.sum())
        leaning = np.clip(rng.normal(0, 0.5, documents), -0.95, 0.95)[place]
        up = rng.random(len(place)) < (1 + leaning) / 2
        values = np.where(rng.random(len(place)) < 0.3, np.where(up, 1.0, -1.0), 0.0)
        draws = resampled_means(values.tolist(), [str(one) for one in place], seed=trial % 32, samples=400)
        above += interval(draws)[0] > 0
    assert 0.01 <= above / runs <= 0.032


def test_the_judge_that_selects_training_data_does_not_evaluate() -> None:
    with pytest.raises(Invalid, match='the judge "words" is of the family that selects training data, "words"'):
        same = {"base_model": "tiny", "max_tokens": 8, "batch": 1, "seed": 1}
        evaluate_job([], engine=None, adapters=[], **same, show=lambda _: None, judge=SELECTING)
