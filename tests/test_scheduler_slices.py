"""Claims about the slices of an evaluation."""

from finetune.evaluate import CaseScore, Report
from scheduler.slices import SMALLEST, slices


def report(name: str, scores: list[float | None], *, answerable: bool = True) -> Report:
    cases = tuple(
        CaseScore(f"c{n}", "travel", f"doc{n}", answerable, "text", {"accuracy": score}, None, 0)
        for n, score in enumerate(scores)
    )
    return Report(name, "words", cases, ())


def test_a_slice_shows_the_paired_difference_with_its_interval() -> None:
    found = slices(
        report("v1", [1.0] * 10),
        report("base", [0.0, 1.0] * 5),
        metric="accuracy",
        passages={f"c{n}": 3 for n in range(10)},
    )
    by_name = {one["slice"]: one for one in found}
    assert set(by_name) == {"task: travel", "can be answered", "several passages", "the serving answer is short"}
    one = by_name["task: travel"]
    assert (one["n"], one["difference"]) == (10, 0.5)
    assert one["low"] < 0.5 < one["high"]


def test_cases_that_the_metric_does_not_apply_to_are_left_out() -> None:
    found = slices(report("v1", [1.0] * 6 + [None]), report("base", [0.0] * 7), metric="accuracy", passages={})
    assert {one["n"] for one in found} == {6}


def test_a_slice_with_few_cases_says_nothing() -> None:
    few = [1.0] * (SMALLEST - 1)
    assert slices(report("v1", few), report("base", few), metric="accuracy", passages={}) == []


def test_a_slice_of_which_people_labelled_few_is_left_out_where_the_scores_rest_on_them() -> None:
    found = [report("v1", [1.0] * 10), report("base", [0.0] * 10)]
    shown = {f"c{n}": 1 if n < SMALLEST else 2 for n in range(10)}
    named = [
        {
            one["slice"]
            for one in slices(*found, metric="accuracy", passages=shown, labelled={f"c{n}" for n in range(m)})
        }
        for m in (SMALLEST - 1, SMALLEST)
    ]
    assert named[0] == set() and "one passage" in named[1] and "several passages" not in named[1]
