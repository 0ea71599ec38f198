"""Claims about the retrieval benchmark: no weights are tested on documents that they were fitted to."""

import numpy as np

from bench import retrieval as bench
from bench.retrieval import CHOOSING, Measured, chosen
from retrieval import learning, ranking
from retrieval.learning import Pair
from tests.test_retrieval_learning import pairs


def measured(made: list[Pair]) -> Measured:
    folds = learning.folds_of([pair.group for pair in made])
    return Measured({"simple": np.arange(len(made)) + 1.0}, made, ~np.isin(folds, CHOOSING))


def parts(telling: str, testing_telling: str) -> Measured:
    """A set in which one measure tells on the documents that choose, and another on those that test."""
    first, second = measured(pairs(300, telling=telling)), pairs(300, telling=testing_telling)
    mixed = [b if testing else a for a, b, testing in zip(first.pairs, second, first.testing, strict=True)]
    return measured(mixed)


def test_the_default_weights_see_no_question_of_a_testing_document() -> None:
    assert chosen([parts("phrase", "dense")]) == chosen([parts("phrase", "title")])
    assert chosen([parts("phrase", "dense")]) != chosen([parts("dense", "dense")])


def test_chosen_weights_are_hundredths_that_sum_to_one_and_both_sets_have_equal_say() -> None:
    few, many = measured(pairs(60)), measured(pairs(600, telling="dense", seed=2))
    weights = chosen([few, many])
    assert round(sum(weights.values()), 9) == 1 and all(round(100 * w, 9) % 1 == 0 for w in weights.values())
    assert abs(weights["phrase"] - weights["dense"]) < 0.15 < min(weights["phrase"], weights["dense"])


def test_only_testing_documents_are_in_the_table_and_learned_weights_come_from_other_folds() -> None:
    found = parts("phrase", "phrase")
    ranks = bench.tested(found)
    assert {len(values) for values in ranks.values()} == {int(found.testing.sum())} and 0 < found.testing.sum() < 300
    fitted = learning.cross_fitted(found.pairs)
    one = int(np.argmax(found.testing))
    fold = learning.folds_of([pair.group for pair in found.pairs])
    others = [pair for pair, other in zip(found.pairs, fold, strict=True) if other != fold[one]]
    assert fitted[one] == learning.fit(others) and fold[one] not in CHOOSING
    assert (ranks["ours, learned"] == 1).mean() > (ranks["ours"] == 1).mean()
    assert tuple(ranking.DEFAULT) == ranking.MEASURES
