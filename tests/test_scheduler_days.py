"""Claims about days that differ: a bad day after a swap proves nothing, a large loss and failures do."""

from datetime import date, timedelta

import numpy as np
import pytest

from bench.watch import ratings
from scheduler.days import ALIKE, MOST_ALIKE, MOST_APART, Days, Observation, begins
from scheduler.observed import RATINGS_PART
from scheduler.sequential import looks_until_above, paths_of_level
from scheduler.watch import ALPHA
from store.database import Database
from store.models import Person
from tests.test_scheduler_watch import ann, answered, verdict

__all__ = ["ann"]
DAY = 160
START = date(2026, 1, 1)


def drawn(
    seed: int, *, days: int = 30, apart: float = 0.0, spread: float = 0.0, share: float = 0.3
) -> list[Observation]:
    random = np.random.default_rng(seed)
    return list(ratings(random, share, days * DAY, a_day=DAY, apart=apart, spread=spread))


def test_days_that_chance_explains_are_alike_also_where_people_differ() -> None:
    for spread in (0.0, 0.15):
        found = [Days.of(drawn(seed, spread=spread)).variance for seed in range(40)]
        assert found.count(0.0) >= 26 and max(found) < 0.04**2
    assert Days.of() == Days.of([]) == Days.of(drawn(1, days=1)) == Days.of(drawn(1, days=1), drawn(2, days=1)) == ALIKE
    assert Days.of(drawn(1, share=0.0)).variance == 0.0


@pytest.mark.parametrize("apart", [0.03, 0.05])
def test_how_much_days_differ_is_found(apart: float) -> None:
    found = [Days.of(drawn(seed, apart=apart)) for seed in range(30)]
    points = [np.sqrt(one.variance) for one in found]
    assert np.mean(points) == pytest.approx(apart, abs=0.012) and found[0].size == pytest.approx(DAY)


def test_days_are_never_taken_to_differ_so_much_that_a_large_loss_is_excused() -> None:
    days = Days.of(drawn(1, apart=0.2))
    assert np.sqrt(days.variance) == pytest.approx(MOST_APART)
    seen = np.random.default_rng(2).random(DAY) < 0.65
    looks = looks_until_above(1_440, 4_800, seen, alpha=ALPHA, days=days, begins=[0] * DAY)
    assert looks is not None and looks < 100


@pytest.mark.parametrize(
    ("usual", "odd"), [((0, 300), (20, 25)), ((0, 30), (8, 9)), ((0, 30), (20, 26)), ((30, 30), (0, 30))]
)
def test_one_odd_day_blinds_nothing_however_rare_the_sign_is(usual: tuple[int, int], odd: tuple[int, int]) -> None:
    def day(number: int, yes: int, of: int) -> list[Observation]:
        return [Observation(n < yes, f"{number}-{n}", START + timedelta(days=number)) for n in range(of)]

    before = [one for number in range(29) for one in day(number, *(odd if number == 9 else usual))]
    days = Days.of(before)
    assert 0 < days.variance <= MOST_APART**2
    assert all(0 <= days.alike(share) <= MOST_ALIKE for share in (0.0, 0.001, 0.02, 0.3, 0.99, 1.0))
    if usual[0]:
        return
    yes, of = sum(one.shows for one in before), len(before)
    for share, most in ((0.5, 250), (1.0, 40)):
        seen = np.random.default_rng(6).random(300) < share
        looks = looks_until_above(yes, of, seen, alpha=ALPHA / 10, tolerated=0.2, days=days, begins=[0] * 300)
        assert looks is not None and looks <= most


def test_how_much_days_differ_is_told_by_all_that_served_each_about_its_own_level() -> None:
    both = np.mean(
        [
            Days.of(drawn(n, days=8, share=0.2, apart=0.04), drawn(n + 50, days=8, share=0.6, apart=0.04)).variance
            for n in range(40)
        ]
    )
    assert np.sqrt(both) == pytest.approx(0.04, abs=0.01)


def test_an_observation_is_predicted_from_its_own_day_alone() -> None:
    rows = drawn(3, days=3)
    first, seen = begins(rows), np.array([one.shows for one in rows], float)
    assert sorted(set(first)) == [0, DAY, 2 * DAY] and begins([]) == []
    plain = paths_of_level(seen, 0.2)
    assert np.allclose(paths_of_level(seen, 0.2, correlation=1e-9, begins=first), plain, atol=1e-4)
    assert paths_of_level(seen, 0.2, correlation=0.02, begins=first)[-1] < plain[-1]


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_the_evidence_is_hardly_ever_large_where_days_differ_as_they_are_taken_to(share: float) -> None:
    """4,000 streams of three days with shares of a beta distribution, at the level or below it."""
    random, correlation = np.random.default_rng(4), 0.02
    known = 1 / correlation - 1
    levels = np.repeat(random.beta(share * known, (1 - share) * known, (4_000, 3)), DAY, axis=1)
    first = np.repeat([0, DAY, 2 * DAY], DAY).tolist()
    seen = (random.random(levels.shape) < levels).astype(float)
    paths = paths_of_level(seen, 0.3, correlation=correlation, begins=first)
    assert (paths.max(axis=1) >= np.log(1 / ALPHA)).mean() <= ALPHA
    taken_as_alike = paths_of_level(seen, 0.3)
    assert share < 0.3 or (taken_as_alike.max(axis=1) >= np.log(1 / ALPHA)).mean() > 2 * ALPHA


def found(before: list[Observation], seen: list[Observation], days: Days) -> bool:
    shows = [one.shows for one in seen]
    yes, of = sum(one.shows for one in before), len(before)
    return looks_until_above(yes, of, shows, alpha=ALPHA * RATINGS_PART, days=days, begins=begins(seen)) is not None


def test_where_days_differ_hardly_any_harmless_adapter_is_rolled_back_and_a_loss_is_still_found() -> None:
    alike, told, worse = [], [], []
    for seed in range(40):
        before, same = drawn(seed, apart=0.05), drawn(seed + 500, days=5, apart=0.05)
        alike.append(found(before, same, ALIKE))
        told.append(found(before, same, Days.of(before)))
        worse.append(found(before, drawn(seed + 900, days=5, apart=0.05, share=0.5), Days.of(before)))
    assert sum(alike) >= 4 and sum(told) <= 3 and sum(worse) >= 36


@pytest.mark.parametrize(("sign", "expected"), [("failures", "roll back"), ("declines", "waiting")])
def test_a_bad_day_before_excuses_declines_of_one_since_and_no_failures(
    database: Database, ann: Person, sign: str, expected: str
) -> None:
    def all_(bad: bool) -> dict[str, object]:
        return {"declined": bad} if sign == "declines" else {"state": "failed" if bad else "finished"}

    for day in range(1, 11):
        answered(database, ann, 20, after=False, days=day, **all_(day == 5))  # type: ignore[arg-type]
    answered(database, ann, 10, after=True)
    answered(database, ann, 15, after=True, **all_(True))  # type: ignore[arg-type]
    assert verdict(database)[0] == expected
