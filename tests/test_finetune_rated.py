"""Claims about how cases are weighed that came of what people rated: neither their mood nor ours decides."""

from dataclasses import replace

import numpy as np
import pytest

from bench.gate_rated import ALIKE, EASY, HARD, OFTEN, SHOWS, Shown, world
from finetune.bootstrap import interval, resampled_means, resampled_strata, stratified_mean
from finetune.comparison import Comparison, Rules, compared
from finetune.gate import decide
from finetune.rated import LEAST_CASES, Answers, Rated, Signs

SAME = {"planned_tasks": ["planned"], "margin": 0.05, "loss_margin": 0.02, "min_cases": 24, "samples": 500}


def rated(seed: int, *, wrong: float, liked: float, disliked: float, answers: int = 2000, sign: bool = True) -> Rated:
    """Answers of which a share is wrong, rated so often, with a sign that tells wrong ones from right ones or not."""
    rng, found = np.random.default_rng(seed), Shown()
    for _ in range(answers):
        right = bool(rng.random() >= wrong)
        said = rng.random() < (liked if right else disliked)
        kind = ("liked" if right else "disliked") if said else "unrated"
        found.by_kind[kind].append(bool(rng.random() < SHOWS[right or not sign]))
    return Rated({}, {"planned": found.answers()})


@pytest.mark.parametrize(("liked", "disliked"), [(0.2, 0.2), (0.1, 0.4), (0.3, 0.1)])
def test_the_share_of_wrong_answers_is_found_whatever_people_like_to_rate(liked: float, disliked: float) -> None:
    found = [rated(seed, wrong=0.3, liked=liked, disliked=disliked) for seed in range(20)]
    shares = [np.quantile(one.wrong(seed=1, samples=1000), [0.025, 0.5, 0.975]) for one in found]
    assert sum(low <= 0.3 <= high for low, _, high in shares) >= 15
    assert np.mean([share for _, share, _ in shares]) == pytest.approx(0.3, abs=0.05)


def test_without_a_sign_unrated_answers_are_taken_to_be_like_the_rated_ones_and_that_is_not_sure() -> None:
    told = rated(1, wrong=0.3, liked=0.2, disliked=0.2)
    blind = rated(1, wrong=0.3, liked=0.2, disliked=0.2, sign=False)
    all_ = told.answers()
    unseen = Rated({}, {"planned": Answers(*(Signs(one.answers) for one in (all_.liked, all_.disliked, all_.unrated)))})
    for one in (blind, unseen):
        draws = one.wrong(seed=1, samples=1000)
        assert np.median(draws) == pytest.approx(0.3, abs=0.08)
        assert np.std(draws) > 1.3 * np.std(told.wrong(seed=1, samples=1000))


def test_where_everything_was_rated_the_share_is_what_they_said() -> None:
    draws = Rated({}, {"planned": Answers(Signs(700), Signs(300))}).wrong(seed=1, samples=1000)
    assert np.median(draws) == pytest.approx(0.3, abs=0.01) and np.std(draws) < 0.02


def test_strata_that_have_their_own_share_are_weighed_by_it_and_others_are_left_alone() -> None:
    values, clusters = [1.0, 1.0, 0.0, 0.0, 0.5, 0.5], list("abcdef")
    strata = [("t", False), ("t", False), ("t", True), ("t", True), None, None]
    mean, draws = resampled_strata(values, clusters, strata, {"t": np.full(2000, 0.1)})
    assert mean == pytest.approx(4 / 6 * 0.1 + 2 / 6 * 0.5) == stratified_mean(values, strata, {"t": np.full(9, 0.1)})
    assert np.mean(draws) == pytest.approx(mean, abs=0.06)
    plain, same = resampled_strata(values, clusters, strata, {"t": np.full(2000, 0.5)})
    assert plain == pytest.approx(np.mean(values))
    assert np.mean(same) == pytest.approx(np.mean(resampled_means(values, clusters)), abs=0.06)
    one, wide = resampled_strata(values, ["a"] * 6, strata, {"t": np.full(2000, 0.5)})
    assert (one, wide.min(), wide.max()) == pytest.approx((plain, plain - 2, plain + 2))


def test_each_task_has_the_weight_of_its_cases_and_its_own_share_and_means() -> None:
    """30 cases of a hard task, all won, and 10 of an easy one, all lost."""
    strata = [("hard", n % 2 == 0) for n in range(30)] + [("easy", n % 2 == 0) for n in range(10)]
    values = [1.0 if right else 0.5 for _, right in strata[:30]] + [-1.0 if right else 0.0 for _, right in strata[30:]]
    shares = {"hard": np.full(9, 0.4), "easy": np.full(9, 0.1)}
    hard, easy = 0.4 * 0.5 + 0.6 * 1.0, 0.1 * 0.0 + 0.9 * -1.0
    assert stratified_mean(values, strata, shares) == pytest.approx(0.75 * hard + 0.25 * easy)


def test_a_task_with_few_cases_of_a_kind_borrows_those_of_all() -> None:
    strata = [("much", n % 2 == 0) for n in range(36)] + [("little", True)] * 3 + [("little", False)]
    values = [0.2 if right else 0.4 for _, right in strata[:36]] + [1.0] * 4
    shares = {"much": np.full(9, 0.5), "little": np.full(9, 0.25)}
    right, wrong = (18 * 0.2 + 3 * 1.0) / 21, (18 * 0.4 + 1.0) / 19
    assert stratified_mean(values, strata, shares) == pytest.approx(0.9 * 0.3 + 0.1 * (0.25 * wrong + 0.75 * right))


def test_a_kind_without_a_case_is_not_weighed_and_a_few_cases_of_it_promise_nothing() -> None:
    rows = [(1.0, 0.0, f"d{n}") for n in range(20)]
    shares = np.full(500, 0.3)

    def told(right: int) -> Comparison:
        kinds = [("planned", False)] * (20 - right) + [("planned", True)] * right
        found = compared(
            "answer_accuracy", "planned", rows, Rules(samples=500), strata=kinds, wrong={"planned": shares}
        )
        assert found is not None
        return found

    assert told(0).difference == 1.0 and interval(told(0).draws)[0] == 1.0
    few = told(LEAST_CASES)
    assert few.difference == pytest.approx(1.0) and interval(few.draws)[0] < 0.4
    among, answers = dict.fromkeys("ab", "planned"), {"planned": Answers(Signs(9), Signs(9), Signs(9))}
    assert Rated({"a": True}, answers).sentence("v1", among=among) == ""
    said = Rated({"a": False, "b": False}, answers).sentence("v1", among=among)
    assert said.startswith(
        "On 2 of the planned tasks' cases people had found the answer of v1 wrong, and on none right"
    )


@pytest.mark.parametrize(("cases", "liked"), [(40, 0.03), (80, 0.015), (200, 0.005)])
def test_a_few_cases_that_people_found_right_do_not_promote_an_equal_candidate(cases: int, liked: float) -> None:
    promoted = 0
    for seed in range(20):
        candidate, serving, known = world(seed, gain=0.0, liked=liked, disliked=0.4, cases=cases)
        some = any(known.right.values())
        promoted += some and decide(candidate, serving, rated={"v1": known}, **SAME).verdict == "promote"
    assert promoted <= 1


def test_people_who_rate_mostly_what_is_wrong_do_not_promote_an_equal_candidate() -> None:
    """The answers of v1 that people found wrong are the cases; an equal candidate errs on others."""
    plain, weighed = [], []
    for seed in range(12):
        candidate, serving, known = world(seed, gain=0.0, liked=0.1, disliked=0.4)
        plain.append(decide(candidate, serving, **SAME).verdict)
        weighed.append(decide(candidate, serving, rated={"v1": known}, **SAME).verdict)
    assert plain.count("promote") >= 4 and weighed.count("promote") <= 1


def test_people_who_rate_mostly_what_is_right_do_not_hide_a_gain() -> None:
    candidate, serving, known = world(3, gain=0.2, liked=0.3, disliked=0.1)
    assert decide(candidate, serving, **SAME).verdict != "promote"
    said = decide(candidate, serving, rated={"v1": known}, **SAME)
    assert said.verdict == "promote"
    assert "cases people had found the answer of v1 wrong" in known.sentence(
        "v1", among=dict.fromkeys(known.right, "planned")
    )
    assert known.sentence("v1", among={}) == ""


def test_tasks_that_are_rated_seldom_weigh_as_much_as_their_cases() -> None:
    """Both planned: a hard task rated seldom, so that most of the log is of it, and an easy one rated often."""
    off = []
    for seed in range(25):
        hard = world(seed, gain=0.0, liked=0.05, disliked=0.05, cases=50, right={"planned": 0.5})
        easy = world(seed + 100, gain=0.0, liked=0.4, disliked=0.4, cases=250, right={"easy": 0.9})
        candidate, serving = (replace(hard[side], cases=hard[side].cases + easy[side].cases) for side in (0, 1))
        known = Rated(hard[2].right | easy[2].right, {**hard[2].by_task, **easy[2].by_task})
        found = decide(candidate, serving, rated={"v1": known}, **(SAME | {"planned_tasks": ["planned", "easy"]}))
        off += [
            one.difference / 0.6 for one in found.deltas if one.role == "primary" and one.metric == "answer_accuracy"
        ]
    assert len(off) == 25 and np.mean(off) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("how", [ALIKE, OFTEN])
@pytest.mark.parametrize("right", [HARD, EASY])
def test_a_task_has_its_own_share_of_wrong_answers(right: dict[str, float], how: tuple[str, float, float]) -> None:
    known = [world(seed, gain=0, liked=how[1], disliked=how[2], right=right)[2] for seed in range(12)]
    for task, share in right.items():
        found = [np.median(one.wrong(task, seed=1, samples=1000)) for one in known]
        assert np.mean(found) == pytest.approx(1 - share, abs=0.05)
    both = np.mean([np.median(one.wrong(seed=1, samples=1000)) for one in known])
    assert both == pytest.approx(0.325, abs=0.1)


def test_a_task_with_few_rated_answers_leans_on_the_others_and_one_without_any_is_taken_to_be_like_them() -> None:
    much = Answers(Signs(800), Signs(200))
    known = Rated(
        {}, {"much": much, "little": Answers(Signs(0), Signs(2), Signs(50)), "none": Answers(unrated=Signs(9))}
    )
    little = known.wrong("little", seed=1, samples=2000)
    assert 0.2 < np.median(little) < 0.8 and np.std(little) > 0.1
    assert known.answers("none") == known.answers("renamed") == known.answers() and known.answers("much").rated == 1000
    said = Rated({"a": True, "b": False}, known.by_task).sentence
    assert "as of its answers to such questions" in said("v1", among={"a": "much", "b": "little"})
    assert "as of all its answers" in said("v1", among={"a": "much", "b": "renamed"})
    alone = Rated({}, {"much": much})
    assert np.array_equal(alone.wrong("much", seed=1, samples=99), alone.wrong(seed=1, samples=99))
