"""Claims about combining people's labels with a judge's scores."""

import numpy as np
import pytest

from finetune.ppi import ppi_mean, rectified


def world(seed: int, *, n: int = 60, total: int = 600, good: float = 0.9):
    """People's labels and the scores of a judge that is right in a share of the cases."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(total) < 0.6).astype(float)
    judge = np.where(rng.random(total) < good, truth, 1.0)
    return truth, judge, n


def test_a_biased_judge_is_corrected_by_labels():
    truth, judge, n = world(1, n=200)
    found = ppi_mean(truth[:n], judge[:n], judge[n:])
    assert abs(judge.mean() - truth.mean()) > 0.03
    assert found.low <= truth.mean() <= found.high
    assert found.worth > 1.3 * n


def test_a_useless_judge_costs_nothing():
    rng = np.random.default_rng(2)
    labels, noise = (rng.random(80) < 0.5).astype(float), rng.random(500)
    found = ppi_mean(labels, noise[:80], noise[80:])
    plain = labels.std(ddof=1) / np.sqrt(80)
    assert abs(found.mean - labels.mean()) < 0.3 * plain
    assert found.high - found.low < 2.1 * 2 * plain


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(300):
        truth, judge, n = world(seed, n=150)
        found = ppi_mean(truth[:n], judge[:n], judge[n:])
        held += found.low <= 0.6 <= found.high
    assert held / 300 > 0.92


def test_rectified_values_have_the_combined_mean():
    truth, judge, n = world(5, n=100)
    labels = np.full(len(judge), np.nan)
    labels[:n] = truth[:n]
    values = rectified(judge, labels)
    assert abs(values.mean() - truth.mean()) < abs(judge.mean() - truth.mean())
    assert (rectified(judge, np.full(len(judge), np.nan)) == judge).all()


def test_too_few_labels_are_an_error():
    with pytest.raises(ValueError, match="Found 1 labels and 1 judged values of them, expected as many, from 2"):
        ppi_mean([1.0], [1.0], [0.0])
