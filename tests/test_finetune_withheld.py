"""Claims about answered questions without what answers them: what is taken away, what stays, and how many there are."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pytest

from bot.prompt import messages, question_block
from finetune.choosing import choose
from finetune.curated import Curated
from finetune.dataset import Policy, curate
from finetune.examples import Example, Kind, lineage_of
from finetune.judge import WordJudge
from finetune.sides import HELD_OUT, TRAIN, Sides
from finetune.withheld import Donor, twins, without_answer
from store.answers import DECLINE
from store.exchanges import Logged
from store.staleness import learned_from
from tests.test_finetune_dataset import GOOD, RIVER, logged

BREAD = "Bread rises for two hours before it is baked. The oven must be hot."
PORT = "The port was dug by monks. Its quay is made of granite."
DONOR = Donor("Port", PORT, "document:port.md", "digest of the port")
AGAIN = "People say the river Aare is 288 kilometres long."


def asked(number: int, *, passages: Sequence[str] = (RIVER, BREAD), **more: object) -> Logged:
    """A logged exchange with the prompt that the bot builds; each rests on a document of its own."""
    values = {"document": None, **more}
    row = logged(question=f"How long is the river, number {number}?", passages=passages, **values)  # type: ignore[arg-type]
    row.exchange.messages = messages(row.exchange.question, row.exchange.passages, [])
    return row


def made(
    rows: Sequence[Logged],
    *,
    share: float = 0.5,
    known: dict[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
) -> Curated:
    """The log curated, with passages taken away."""
    policy = Policy(
        judge=WordJudge(),
        rules={},
        covering={},
        reviewers=frozenset({"rita"}),
        sources=sources or {},
        unanswerable_share=share,
        persons=1,
        block=question_block,
    )
    return curate(rows, sides=Sides({} if known is None else known, held_out_share=1e-9, people=1), policy=policy)


def example(**more: object) -> Example:
    """One answered example."""
    [found] = [one for one in made([asked(1, rating="up", **more)], share=0).train if one.answerable]
    return found


def test_what_answers_is_taken_away_and_the_rest_stays_as_the_bot_would_ask_it() -> None:
    one = example()
    twin = without_answer(one, [DONOR], judge=WordJudge(), block=question_block)
    assert twin is not None
    assert twin.passages == [PORT, BREAD]
    assert (twin.target, twin.kind, twin.answerable, twin.gold) == (DECLINE, Kind.WITHHELD, False, None)
    shown = [{"n": 1, "title": "Port", "text": PORT}, {"n": 2, "title": "Aare", "text": BREAD}]
    assert twin.messages == messages(one.question, shown, [])
    assert (twin.id, twin.person, twin.cluster) == (one.id, one.person, one.cluster)


def test_it_rests_on_what_takes_the_place_and_no_more_on_what_was_taken_away() -> None:
    known = {f"doc_{n}": f"{n}.md" for n in range(6)}
    rows = [asked(n, rating="up", document=f"doc_{n}", passages=(f"Part {n}. {RIVER}", BREAD)) for n in range(5)]
    rows.append(asked(5, correction="By monks.", document="doc_5", person="rita", passages=(PORT, BREAD)))
    train = made(rows, sources=known).train
    donors = {one.passages[0]: (one.documents, one.rests_on) for one in train if one.answerable}
    withheld = [one for one in train if one.kind == Kind.WITHHELD]
    assert f"digest-{PORT[:40]}" in {digest for one in withheld for digest in one.rests_on}
    for one in withheld:
        assert (one.documents, one.rests_on) == donors.get(one.passages[0], ([], []))
        assert len(one.digests) == len(one.passages) and set(one.rests_on) <= set(one.digests)


def test_a_lineage_counts_each_and_finds_it_by_the_exchange_that_it_comes_from() -> None:
    rows = [asked(number, rating="up", passages=(f"Part {number}. {RIVER}", BREAD)) for number in range(8)]
    train = made(rows, share=0.3).train
    lineage = lineage_of([asdict(one) for one in train])
    assert (len(lineage["examples"]), len(lineage["withheld"]), len(learned_from(lineage))) == (8, 3, 11)
    assert {*lineage["withheld"]} == {one.id for one in train if not one.answerable}


def test_a_passage_that_tells_the_answer_uncited_goes_too_and_never_comes_as_a_substitute() -> None:
    twin = without_answer(
        example(passages=(RIVER, BREAD, AGAIN)),
        [Donor("Aare", f"{AGAIN} Yes.", "text:d", "")],
        judge=WordJudge(),
        block=question_block,
    )
    assert twin is not None and twin.passages == [BREAD]
    alone = without_answer(
        example(passages=(RIVER,)), [Donor("Aare", AGAIN, "text:d", "")], judge=WordJudge(), block=question_block
    )
    assert alone is None, "a prompt without any passage teaches nothing"


def test_a_prompt_that_was_built_in_another_way_is_left_alone() -> None:
    row = asked(1, rating="up")
    row.exchange.messages[-1]["content"] += " Be quick."
    [one] = made([row], share=0).train
    assert without_answer(one, [DONOR], judge=WordJudge(), block=question_block) is None


@pytest.mark.parametrize(("share", "declines"), [(0.0, 0), (0.2, 3), (0.5, 12)])
def test_they_fill_the_share_of_declining_examples_that_people_left_open(share: float, declines: int) -> None:
    rows = [asked(number, rating="up", passages=(f"Part {number}. {RIVER}", BREAD)) for number in range(12)]
    found = made(rows, share=share).train
    assert sum(one.kind == Kind.WITHHELD for one in found) == declines
    assert sum(one.answerable for one in found) == 12
    told = [asked(number, correction=DECLINE, rating="down") for number in range(50, 54)]
    both = made([*rows, *told], share=share).train
    assert sum(not one.answerable for one in both) == declines, "what people wrote comes first"
    assert sum(one.kind == Kind.WITHHELD for one in both) == max(0, declines - 4)


def test_what_people_stand_behind_is_taken_first_and_the_same_ones_every_time() -> None:
    rows = [asked(number, rating="up", passages=(f"Part {number}. {RIVER}", BREAD)) for number in range(8)]
    rows += [asked(9, correction=GOOD, person="rita", passages=(f"Part 9. {RIVER}", BREAD))]
    found = [made(rows, share=0.2).train for _ in range(2)]
    chosen = [[one.id for one in train if one.kind == Kind.WITHHELD] for train in found]
    assert chosen[0] == chosen[1] and rows[-1].exchange.id in chosen[0]


def test_they_stand_on_the_training_side_alone_and_the_funnel_counts_them() -> None:
    rows = [
        asked(number, correction=GOOD, person="rita", passages=(f"Part {number}. {RIVER}", BREAD))
        for number in range(6)
    ]
    known: dict[str, str] = {}
    for one in made(rows, share=0).train[:3]:
        known[one.documents[0]] = HELD_OUT
    for one in made(rows, share=0).train[3:]:
        known[one.documents[0]] = TRAIN
    found = made(rows, known=known)
    withheld = [one for one in found.train if one.kind == Kind.WITHHELD]
    assert len(withheld) == 3 and len(found.held_out) == 3
    shown = {text for one in withheld for text in one.passages}
    assert not shown & {one.passages[0] for one in found.held_out}
    assert found.funnel["train: withheld"] == 3
    assert found.rows["train: withheld"] == [one.id for one in withheld]


def test_without_an_answered_example_there_are_none() -> None:
    told = [asked(number, correction=DECLINE, rating="down") for number in range(3)]
    assert list(twins(made(told, share=0.5).train, 5, judge=WordJudge(), block=question_block)) == []


def test_where_examples_are_plenty_they_keep_their_share() -> None:
    rows = [asked(number, rating="up", passages=(f"Part {number}. {RIVER}", BREAD)) for number in range(16)]
    train = made(rows, share=0.2).train
    assert len(train) == 20
    chosen = choose(train, tasks=["rag"], most=10, replay_share=0.0, seed=1)
    assert len(chosen) == 10 and sum(one.kind == Kind.WITHHELD for one in chosen) == 2


def test_liked_declines_keep_their_share_beside_more_corrections_than_there_is_room_for() -> None:
    passages = [(f"Part {number}. {RIVER}", BREAD) for number in range(40)]
    corrected = [asked(n, rating="down", correction="288 km [1].", passages=passages[n]) for n in range(30)]
    liked = [asked(n, rating="up", answer=DECLINE, passages=passages[n]) for n in range(30, 40)]
    train = made([*corrected, *liked], share=0.25).train
    assert sum(not one.answerable for one in train) == 10
    chosen = choose(train, tasks=["rag"], most=20, replay_share=0.0, seed=1)
    assert len(chosen) == 20 and sum(not one.answerable for one in chosen) == 5


def test_what_takes_the_place_is_what_shares_most_words_with_the_question() -> None:
    alike = "The number of a river port says how long the quay is."
    rows = [asked(1, rating="up"), asked(2, correction="By monks.", rating="down", passages=(PORT, BREAD))]
    rows.append(asked(3, correction="The number of a river port.", rating="down", passages=(alike, BREAD)))
    train = [one for one in made(rows, share=0).train if one.answerable]
    first = {one.id: one.passages[0] for one in twins(train, 3, judge=WordJudge(), block=question_block)}
    assert first[train[0].id] == alike


def test_what_another_person_handed_in_never_takes_the_place() -> None:
    rows = [asked(1, rating="up"), asked(2, correction="By monks.", person="rita", passages=(PORT, BREAD))]
    train = [one for one in made(rows, share=0).train if one.answerable]
    found = {one.id: one.passages for one in twins(train, 2, judge=WordJudge(), block=question_block)}
    assert len(train) == 2 and found[train[0].id] == [BREAD]
