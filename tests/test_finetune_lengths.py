"""Claims about lengths: what people write for a task widens its rules, and never narrows them."""

import pytest

from finetune.examples import Rules
from finetune.lengths import ENOUGH, widened
from store.answers import DECLINE

RULES = {"rag": Rules(min_length=40, max_length=800), "how": Rules(min_length=30)}


def lengths(*, count: int, length: int, task: str = "rag", other: str = "") -> tuple[int, int]:
    written = [(task, "x" * length)] * count + ([("rag", other)] if other else [])
    found = widened(RULES, written)
    assert found["how"] == RULES["how"]
    return found["rag"].min_length, found["rag"].max_length


@pytest.mark.parametrize(
    ("length", "expected"), [(12, (12, 800)), (100, (40, 800)), (900, (40, 900))], ids=["short", "between", "long"]
)
def test_the_rules_let_through_what_people_write(length: int, expected: tuple[int, int]) -> None:
    assert lengths(count=ENOUGH, length=length) == expected


def test_a_few_answers_an_outlier_and_declines_change_nothing() -> None:
    assert lengths(count=ENOUGH - 1, length=12) == (40, 800)
    assert lengths(count=ENOUGH - 1, length=50, other="x") == (40, 800)
    assert lengths(count=ENOUGH - 1, length=12, other=DECLINE) == (40, 800)
    assert lengths(count=ENOUGH, length=12, task="no task of ours") == (40, 800)
