"""Claims about the funnel: its lines add up, open down to exchanges, and no person fills the cases of the gate."""

from bot.prompt import messages, question_block
from finetune.sides import HELD_OUT, TRAIN, Sides
from store.exchanges import Logged
from tests.test_finetune_dataset import RIVER, anchors, curated, logged
from tests.test_finetune_hygiene import BREAD, curated_strictly


def correcting(person: str, number: int) -> Logged:
    return logged(
        "Long.",
        rating="down",
        correction="The river Aare is 288 kilometres long.",
        person=person,
        passages=(f"Part {person} {number}. {RIVER}", BREAD),
        document=None,
    )


def test_no_person_fills_the_cases_of_the_gate() -> None:
    rows = [correcting(f"p{n}", 0) for n in range(60)] + [correcting("mal", n) for n in range(200)]
    held_out = {"sides": Sides({}, held_out_share=1 - 1e-9, people=1), "persons": 61}
    made = curated_strictly(rows, **held_out, max_cases=120)
    asked = [one.person for one in made.cases(120)]
    assert asked.count("mal") == 6 and len(asked) == 66
    assert len(made.rows["left out: held out, but over the person's cap of cases"]) == 194
    reviewed = [*rows, *(correcting("rita", n) for n in range(9))]
    held_out["sides"] = Sides({}, held_out_share=1 - 1e-9, people=1)
    fixed = frozenset({rows[60].exchange.id})
    made = curated_strictly(reviewed, **held_out, max_cases=120, golden=fixed)
    assert [one.person for one in made.cases(120)].count("rita") == 9, "what a reviewer says is over no cap"
    assert fixed < {one.id for one in made.cases(120)}
    assert len(curated_strictly(rows, **{**held_out, "persons": 49}, max_cases=120).held_out) == 260


def test_held_out_cases_that_no_evaluation_asks_have_a_line() -> None:
    rows = [correcting("ann", n) for n in range(10)]
    sides = Sides({}, held_out_share=1 - 1e-9, people=1)
    made = curated_strictly(rows, sides=sides, max_cases=4)
    assert [one.id for one in made.cases(4)] == [row.exchange.id for row in rows[6:]]
    assert made.rows["not asked: held out, and newer cases are enough"] == [row.exchange.id for row in rows[:6]]
    assert made.funnel["held out: correction"] == 10


def test_the_lines_of_the_funnel_add_up_to_the_exchanges() -> None:
    rows = [correcting("ann", n) for n in range(6)] + [logged(rating="down") for _ in range(3)] + [logged()]
    rows += [
        logged(adapter="v1", person="eve"),
        logged(rating="up", question="I am a@b.example: how long?"),
        *anchors(),
    ]
    for row in rows:
        row.exchange.messages = messages(row.exchange.question, row.exchange.passages, [])
    known = {f"text:{row.exchange.passages[0]['digest']}": HELD_OUT for row in rows[:3]} | {"document:river.md": TRAIN}
    sides = Sides(known, held_out_share=1e-9, people=1)
    made = curated_strictly(rows, block=question_block, max_cases=2, sides=sides)
    again = ("changed", "preferences alone", "train: withheld", "not asked", "exchanges")
    assert {line.split(":")[0] for line in made.funnel} >= {"changed", "train", "held out", "left out", "not asked"}
    assert made.funnel["train: withheld"] > 0 and made.funnel["preferences alone: disliked"] == 3
    assert sum(n for line, n in made.funnel.items() if not line.startswith(again)) == made.funnel["exchanges"]


def test_every_line_of_the_funnel_opens_down_to_its_exchanges() -> None:
    made = curated([logged(rating="up"), logged(), logged(adapter="v1"), logged(rating="down")])
    assert made.funnel["exchanges"] == 4
    assert {line: len(ids) for line, ids in made.rows.items()} == {
        line: count for line, count in made.funnel.items() if line != "exchanges"
    }
