"""Claims about sides: an example is held out or taught by what answers it, for ever, and never on both sides."""

import hashlib

from finetune.hygiene import Near
from finetune.sides import HELD_OUT, TRAIN
from store.exchanges import Logged
from tests.test_finetune_dataset import GOOD, RIVER, curated, logged


def documents(number: int) -> list[Logged]:
    """Three questions to each of many documents, in shared conversations."""
    rows = []
    for i in range(number):
        text = f"Machine {i} weighs {100 + i} kilograms."
        rows += [
            logged(
                f"Machine {i} weighs {100 + i} kilograms [1].",
                rating="up",
                passages=(text,),
                document=f"doc_{i}",
                question=f"How heavy is machine {i}, part {part}?",
            )
            for part in range(3)
        ]
    return rows


def test_sides_follow_the_document_and_neither_is_empty() -> None:
    made = curated(documents(40), held_out_share=0.35)
    train, held = ({example.cluster for example in side} for side in (made.train, made.held_out))
    assert train and held and not train & held
    assert 8 <= len(held) <= 20
    assert len(made.train) + len(made.held_out) == 120


def test_a_document_that_was_held_out_never_teaches() -> None:
    made = curated([logged(rating="up")], known={"document:river.md": HELD_OUT})
    assert made.train == [] and len(made.held_out) == 1


def test_given_passages_go_by_the_hash_of_their_text() -> None:
    row = logged(rating="up", document=None)
    made = curated([row], known={f"text:{row.exchange.passages[0]['digest']}": HELD_OUT})
    assert len(made.held_out) == 1


def test_a_conversation_inherits_the_side_of_its_first_example() -> None:
    first, second = documents(2)[::3]
    second.exchange.conversation_id = first.exchange.conversation_id
    made = curated([first, second], known={f"conversation:{first.exchange.conversation_id}": HELD_OUT})
    assert made.train == [] and len(made.held_out) == 2


def test_a_near_duplicate_inherits_the_side_of_the_first() -> None:
    first, second = documents(2)[::3]
    first.exchange.question, second.exchange.question = (
        "What does the machine weigh?",
        "the machine: what does it weigh?",
    )
    second.exchange.question = "What, the MACHINE does weigh?"
    known = {"document:doc_0": HELD_OUT}
    made = curated([first, second], known=known)
    assert made.train == [] and len(made.held_out) == 2
    assert known["document:doc_1"] == HELD_OUT


def test_a_question_near_to_two_that_stand_on_either_side_is_on_neither() -> None:
    """It would be trained on beside its held-out near-duplicate, or the other way round."""
    words = [f"word{letter}" for letter in "abcdefghijkl"]
    first, second, both = (" ".join(some) for some in (words[:10], [*words[:8], *words[10:]], words))
    near = Near()
    assert near.of(first) != near.of(second) and {*near.of(both)} == {*near.of(first), *near.of(second)}
    said = [GOOD, "It rises in the Bernese Alps [1].", f"{GOOD} It rises in the Bernese Alps [1]."]
    rows = [
        logged(said[n], rating="up", question=text, document=None, passages=(f"Part {n}. {RIVER}",))
        for n, text in enumerate((first, second, both))
    ]
    for sides in ((TRAIN, HELD_OUT), (HELD_OUT, TRAIN), (TRAIN, TRAIN), (HELD_OUT, HELD_OUT)):
        known = {f"text:{row.exchange.passages[0]['digest']}": side for row, side in zip(rows, sides, strict=False)}
        made = curated(rows, known=known)
        found = {len(made.train), len(made.held_out)}
        assert found == ({1} if sides[0] != sides[1] else {0, 3}), sides
        assert made.rows.get("left out: would be on both sides", []) == [rows[2].exchange.id] * (sides[0] != sides[1])


def test_an_example_that_would_be_on_both_sides_leaves() -> None:
    first, second = documents(2)[::3]
    second.exchange.conversation_id = first.exchange.conversation_id
    made = curated([first, second], known={"document:doc_0": TRAIN, "document:doc_1": HELD_OUT})
    assert [example.id for example in made.train] == [first.exchange.id] and made.held_out == []
    assert made.rows["left out: would be on both sides"] == [second.exchange.id]


def test_only_what_a_person_said_is_right_is_held_out() -> None:
    made = curated(
        [logged("The river Aare is 288 kilometres long.", adapter="v1")], known={"document:river.md": HELD_OUT}
    )
    assert made.held_out == []
    assert made.funnel["left out: held out, but no person said what is right"] == 1


def test_people_are_on_one_side_once_there_are_twenty() -> None:
    rows = documents(60)
    for number, row in enumerate(rows):
        row.exchange.person_id = f"person-{number % 20}"
    made = curated(rows, held_out_share=0.35, people=20)
    train, held = ({example.person for example in side} for side in (made.train, made.held_out))
    assert train and held and not train & held


def test_a_share_of_few_people_is_held_out_and_stays_so() -> None:
    for share in (0.1, 0.12, 0.35):
        rows = documents(100)
        for number, row in enumerate(rows):
            row.exchange.person_id = f"person-{number % 20}"
        known: dict[str, str] = {}
        curated(rows, held_out_share=share, people=20, known=known)
        people = {key: side for key, side in known.items() if key.startswith("person:")}
        assert abs(list(people.values()).count(HELD_OUT) - share * 20) <= 0.5
        again = dict(known)
        curated(rows, held_out_share=0.9, people=20, known=again)
        assert people.items() <= again.items()


def test_a_person_stays_on_one_side_when_fewer_than_twenty_are_left() -> None:
    known = {"person:ann": HELD_OUT, "person:bob": TRAIN}
    rows = [logged(rating="up", document=None, passages=(f"Part {n}. {RIVER}",), person="ann") for n in range(9)]
    made = curated(rows, people=2, known=known)
    assert made.train == [] and len(made.held_out) == 9


def test_sides_are_stable_over_two_runs_and_for_ever() -> None:
    rows = documents(30)
    kept: dict[str, str] = {}
    first = curated(rows, held_out_share=0.35, known=kept)
    again = curated(rows, held_out_share=0.35, known=kept)
    assert first.digest() == again.digest()
    other_share = curated(rows, held_out_share=0.9, known=kept)
    assert [example.id for example in other_share.held_out] == [example.id for example in first.held_out]
    more = curated([*documents(10), *rows], held_out_share=0.35, known=kept)
    assert {example.cluster for example in first.held_out} == {example.cluster for example in more.held_out}


def test_the_digest_names_the_content() -> None:
    rows = documents(3)
    first = curated(rows).digest()
    assert first == curated(rows).digest() and len(first) == len(hashlib.sha256().hexdigest())
    rows[0].exchange.question += "?!"
    assert curated(rows).digest() != first
