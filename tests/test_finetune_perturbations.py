"""Claims about the perturbation suite: what it makes of an answer, and that a blind judge does not pass it."""

import random

import pytest

from bot.models import packaged_read
from finetune import perturbations
from finetune.fitted import FittedJudge
from finetune.meaning import Read
from finetune.perturbations import Honest, made_worse, outcomes
from finetune.responding import answer_quality, own_share

MUSEUM = "The Harbour Museum opened in 1998 in Lisbon. It is open from Tuesday to Sunday. Dogs stay outside, always."
FERRY = "The ferry to Madrid Castle leaves at nine. It carries 40 people and no cars. In winter the boat rests."
CASES = [
    Honest("When did it open?", "The Harbour Museum was opened in 1998.", (MUSEUM,), ("1998",)),
    Honest("How many people fit?", "The ferry to Madrid Castle is for 40 people.", (FERRY,), ("40",)),
]


def test_each_variant_changes_what_it_says_it_changes():
    rng = random.Random(0)
    case = CASES[0]
    assert perturbations.negated(case, rng) == "The Harbour Museum was not opened in 1998."
    changed = perturbations.number_changed(case, rng)
    assert changed is not None and changed.startswith("The Harbour Museum was opened in ") and "1998" not in changed
    swapped = perturbations.name_swapped(case, rng, pool=["Berlin", "Lisbon"])
    assert swapped in ("The Berlin Museum was opened in 1998.", "The Harbour Berlin was opened in 1998.")
    assert perturbations.sentence_added(case, rng, pool=["It rains."]) == f"{case.answer} It rains."
    copied = perturbations.copied(case, rng)
    assert copied is not None and "1998" not in copied and "Dogs stay outside, always." in copied


def test_what_cannot_be_changed_is_left_out():
    rng = random.Random(0)
    case = Honest("Why?", "because it rains there all day and all night long in June", ("Rain falls.",))
    assert perturbations.negated(case, rng) is None
    assert perturbations.number_changed(case, rng) is None
    assert perturbations.name_swapped(case, rng, pool=["Berlin"]) is None
    assert perturbations.copied(case, rng) is None
    assert perturbations.negated(Honest("When?", "1998", ("1998.",)), rng) == "not 1998"


@pytest.mark.parametrize("text", ["1. Open 2 doors.", "Do this: 1) Open 2 doors.", "It is old. 1. Open 2 doors."])
def test_the_numbering_of_a_list_is_no_number_to_change(text):
    shown = ("1. Open 2 doors.",)
    for seed in range(8):
        changed = perturbations.number_changed(Honest("How?", text, shown), random.Random(seed))
        assert changed is not None and changed.startswith(text[: text.index("2")]) and changed != text
    assert perturbations.number_changed(Honest("How?", text.replace("2", "both"), shown), random.Random(0)) is None


def test_another_number_does_not_make_a_copy_ones_own():
    said = "It carries 40 people and no cars. In winter the boat rests."
    assert own_share(said.replace("40", "41"), [FERRY]) == own_share(said, [FERRY]) < 0.6


def test_a_judge_that_likes_everything_wins_half():
    blind = outcomes(made_worse(CASES, seed=1), lambda question, answer, passages: 1.0)
    assert {one.share for one in blind if one.n} == {0.5}


@pytest.mark.parametrize("read", [None, packaged_read], ids=["words", "meaning"])
def test_ours_notices_answers_made_worse(read: Read | None):
    judge = FittedJudge(read)
    ours = outcomes(made_worse(CASES, seed=1), lambda q, a, p: answer_quality(q, a, p, judge))
    assert sum(one.wins for one in ours) >= 0.7 * sum(one.n for one in ours), ours


def test_the_same_seed_makes_the_same_variants():
    assert made_worse(CASES, seed=3) == made_worse(CASES, seed=3)
