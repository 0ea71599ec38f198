"""Claims about values: digits alone are no value, and an answer with another one in its place is a wrong answer."""

import pytest

from finetune import accuracy
from finetune.fitted import FittedJudge
from finetune.values import marked_otherwise
from finetune.wording import contradicts, numbers, words

JUDGE = FittedJudge()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It opens at 9 am.", "It opens at 9 pm."),
        ("from 9:00 a.m.", "at 9 p.m. sharp"),
        ("It costs $50.", "It costs €50."),
        ("a fee of 20%", "a fee of $20"),
        ("below −20 °C", "below 20 °C"),
        ("Python <3.12", "Python >3.12"),
    ],
)
def test_the_same_digits_marked_otherwise_are_another_value(one: str, other: str) -> None:
    assert marked_otherwise(one, other) and marked_otherwise(other, one)
    assert JUDGE.accuracy("What is it?", other, [one]) < 0.5
    assert JUDGE.support(other, one) < 0.5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("at 9:00 am", "at 9 a.m."),
        ("50 euros", "€50"),
        ("1,000 dollars", "$1000"),
        ("-20", "minus 20"),
        ("<3.12", "3.12"),
        ("pages 10-20", "20 pages, of which 10"),
        ("16–20 weeks", "20 weeks"),
        ("3.5%", "3,5 Prozent"),
        ("at 10.5 am", "10.5 amps"),
    ],
)
def test_a_mark_spelt_otherwise_or_left_out_is_no_other_value(one: str, other: str) -> None:
    assert not marked_otherwise(one, other) and not marked_otherwise(other, one)


def test_numbers_are_compared_as_values() -> None:
    assert words("at 9:05") == words("at 09:05") == ["at", "9", "5"]
    assert numbers("3,5 Prozent") == numbers("3.5 %") != numbers("35 Prozent")
    assert numbers("1,000") == numbers("1000") and numbers("10.000") != numbers("10") == numbers("10.0")


def test_a_negation_in_german_or_french_is_one() -> None:
    assert contradicts("Der Antrag wird nicht erstattet.", "Der Antrag wird erstattet.")
    assert contradicts("Le dossier n'est pas remboursé.", "Le dossier est remboursé.")


@pytest.mark.parametrize(
    ("reference", "wrong"),
    [
        ("Report it at https://support.example.com/help.", "You need no help."),
        ("The employee and/or the manager must sign it within 14 days.", "The employee and must never sign it."),
        ("Edit /etc/hosts and restart the service.", "Delete etc, and format the disk."),
    ],
)
def test_a_slash_within_an_answer_makes_no_part_of_it_a_right_one(reference: str, wrong: str) -> None:
    assert accuracy.accepted(reference) == [reference]
    assert JUDGE.accuracy("What should I do?", wrong, [reference]) < 0.5
    assert JUDGE.accuracy("What should I do?", reference, [reference]) > 0.9
    assert accuracy.accepted("TCP/IP at 80 km/h") == ["TCP/IP at 80 km/h"] and len(accuracy.accepted("loop/cycle")) == 2


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("Guests may not bring dogs into the breakfast room.", "Guests may bring dogs into the breakfast room."),
        ("The tenant returns the form within 14 days.", "The tenant returns the form within 15 days."),
    ],
)
def test_an_answer_turned_into_its_opposite_is_no_right_one(right: str, wrong: str) -> None:
    assert JUDGE.accuracy("What is the rule?", right, [right]) > 0.9
    assert JUDGE.accuracy("What is the rule?", wrong, [right]) < 0.5
    assert not accuracy.says_otherwise("Who sang it?", "Panic! at the Disco did not write it.", "Panic! at the Disco")


@pytest.mark.parametrize(
    ("question", "answer", "reference"),
    [
        ("How long is the Aare?", "The Aare is not 288 kilometres long.", "288 kilometres"),
        ("When does support end?", "Support does not end in June 2027.", "June 2027"),
        ("Who wrote Faust?", "Goethe did not write Faust.", "Goethe"),
        ("Who wrote Faust?", "It was not Goethe.", "Goethe"),
        ("Where is the cache stored?", "The cache is never stored in /var/cache.", "In /var/cache."),
        ("May I mix the oils?", "You may mix both oils.", "You must not mix both oils."),
        ("Is water damage covered?", "Water damage is covered.", "It is not covered."),
    ],
)
def test_the_denial_of_a_short_right_answer_says_otherwise(question: str, answer: str, reference: str) -> None:
    assert accuracy.says_otherwise(question, answer, reference)


@pytest.mark.parametrize(
    ("question", "answer", "reference"),
    [
        ("Who wrote Faust?", "Goethe, not Schiller, wrote Faust.", "Goethe"),
        ("Who wrote Faust?", "Goethe wrote Faust. Goethe did not write Hamlet.", "Goethe"),
        ("When does support end?", "Support does not end until June 2027.", "June 2027"),
        ("How many came?", "No fewer than 288 came.", "288"),
        ("May I mix the oils?", "Do not mix both oils.", "You must not mix both oils."),
        ("May I mix the oils?", "It is forbidden to mix the oils.", "You must not mix both oils."),
        ("Who does not pay?", "Children do not pay.", "Children"),
        ("Is there a limit?", "There is no limit.", "no limit"),
        ("Which plan is free?", "Only the basic plan is free, not the pro plan.", "basic plan"),
    ],
)
def test_a_short_right_answer_beside_a_negation_says_nothing_else(question: str, answer: str, reference: str) -> None:
    assert not accuracy.says_otherwise(question, answer, reference)
