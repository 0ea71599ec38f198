"""Claims about days that differ: a bad day after a swap proves nothing, a large loss and failures do."""

import numpy as np
import pytest

from bench.watch import NEVER, ratings, until
from scheduler.days import ALIKE, MOST_APART, Days, Observation, begins
from scheduler.sequential import looks_until_above, paths_of_level
from scheduler.watch import ALPHA
from store.database import Database
from store.models import Person
from tests.test_scheduler_watch import ann, answered, verdict

__all__ = ["ann"]
DAY = 160


def drawn(
    seed: int, *, days: int = 30, apart: float = 0.0, spread: float = 0.0, share: float = 0.3
) -> list[Observation]:
    random = np.random.default_rng(seed)
    return list(ratings(random, share, days * DAY, a_day=DAY, apart=apart, spread=spread))


def test_days_that_chance_explains_are_alike_also_where_people_differ() -> None:
    for spread in (0.0, 0.15):
        found = [Days.of(drawn(seed, spread=spread)).correlation for seed in range(40)]
        assert found.count(0.0) >= 34 and max(found) < 0.02
    assert Days.of([]) == Days.of(drawn(1, days=1)) == ALIKE
    assert Days.of(drawn(1, share=0.0)).correlation == 0.0


@pytest.mark.parametrize("apart", [0.03, 0.05])
def test_how_much_days_differ_is_found(apart: float) -> None:
    found = [Days.of(drawn(seed, apart=apart)) for seed in range(30)]
    points = [np.sqrt(one.correlation * 0.3 * 0.7) for one in found]
    assert np.mean(points) == pytest.approx(apart, abs=0.012) and found[0].size == pytest.approx(DAY)


def test_days_are_never_taken_to_differ_so_much_that_a_large_loss_is_excused() -> None:
    days = Days.of(drawn(1, apart=0.2))
    assert np.sqrt(days.correlation * 0.3 * 0.7) < MOST_APART + 0.01
    seen = np.random.default_rng(2).random(DAY) < 0.65
    looks = looks_until_above(1_440, 4_800, seen, alpha=ALPHA, days=days, begins=[0] * DAY)
    assert looks is not None and looks < 100


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


def test_where_days_differ_hardly_any_harmless_adapter_is_rolled_back_and_a_loss_is_still_found() -> None:
    random, alike, told, worse = np.random.default_rng(5), [], [], []
    for _ in range(40):
        before = ratings(random, 0.3, 15_000, a_day=500, apart=0.05)
        same, lost = (ratings(random, share, 1_500, a_day=500, apart=0.05) for share in (0.3, 0.5))
        alike.append(until(before, same, known=ALIKE))
        told.append(until(before, same))
        worse.append(until(before, lost))
    assert sum(one < NEVER for one in alike) >= 5 and sum(one < NEVER for one in told) <= 3
    assert sum(one < NEVER for one in worse) >= 36


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
