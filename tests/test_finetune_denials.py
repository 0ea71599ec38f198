"""Claims about contradictions: a claim with a passage's words and another value, or the opposite, is not supported."""

import pytest

from finetune.denials import contradicted
from finetune.fitted import FittedJudge

AARE = "The river Aare rises in the Alps. The Aare is 288 kilometres long."


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("The Aare is 388 kilometres long.", AARE),
        ("The Aare is not 288 kilometres long.", AARE),
        ("You may mix both oils.", "You must not mix both oils."),
        ("The desk never opens on Mondays.", "The desk opens on Mondays."),
    ],
)
def test_a_contradiction_is_not_supported_however_many_words_it_shares(claim: str, passage: str) -> None:
    assert contradicted(claim, passage) and FittedJudge().support(claim, passage) < 0.5


@pytest.mark.parametrize(
    ("claim", "passage"),
    [
        ("The Aare is 288 kilometres long.", AARE),
        ("The river rises in the Alps.", AARE),
        ("Support ends in June.", "Support does not end until June."),
        ("Mixing both oils is forbidden.", "You must not mix both oils."),
        ("Two of 300 people came in 1999.", "In 1999 only two came."),
        ("The fee is 5 euros.", "Members pay 3 euros a month. The fee is due on the 5th."),
        ("It costs 20 euros.", ""),
    ],
)
def test_what_says_the_same_or_speaks_of_something_else_is_not_contradicted(claim: str, passage: str) -> None:
    assert not contradicted(claim, passage)
