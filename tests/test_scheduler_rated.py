"""Claims about what the gate is told of its cases: which came of an adapter's own answers, what people said of all."""

from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from finetune.rated import Answers, Signs
from scheduler.rated import LOOKED_AT, found_right, rated, signs_of
from scheduler.workbench import Workbench
from store import exchanges, people
from store.database import Database
from store.models import Conversation, Exchange, Label, Person, Role
from tests.test_finetune_dataset import GOOD, curated, logged
from tests.test_scheduler_workbench import bench


@pytest.fixture
def work(database: Database, tmp_path: Path) -> Workbench:
    return replace(bench(database, tmp_path), base_model="tiny", min_agreement=0.6, min_labels=20)


def case(number: int, kind: str, *, target: str = "It is 288 km long.", **values: Any) -> dict[str, Any]:
    said = {"logged_adapter": "v1", "logged_base": "tiny", "logged_answer": "The Aare is 288 km long.", **values}
    return {"id": f"ex_{number}", "kind": kind, "target": target, **said}


def answered(
    database: Database, ann: Person, *, rating: str | None = None, correction: str = "", **values: Any
) -> None:
    named = {"adapter": "v1", "model": "tiny", "question": "How long?", **values}
    row = Exchange(conversation_id="co_1", person_id=ann.id, **named)
    exchanges.begin(database, row)
    exchanges.finish(database, row.id, state="finished", answer="The Aare is 288 km long.")
    if rating or correction:
        exchanges.rate(database, row.id, person=ann, rating=rating, correction=correction)


def test_a_case_came_of_the_adapter_whose_answer_people_rated(work: Workbench) -> None:
    cases = [
        case(1, "upvoted"),
        case(2, "correction", target="It is 300 km long."),
        case(3, "approved", target="The Aare is 288 km long [1]."),
        case(4, "approved", logged_answer=""),
        case(5, "correction", logged_adapter="base"),
        case(6, "correction", logged_base="another model"),
    ]
    assert found_right(work, "v1", cases) == {"ex_1": True, "ex_2": False, "ex_3": True}
    assert found_right(work, "v2", cases) == {}


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_wrong_answer_counts_as_wrong_at_whatever_temperature(work: Workbench, temperature: float) -> None:
    drawn = {"adapter": "v1", "model": "tiny", "sampling": {"temperature": temperature}}
    rows = [logged("Long.", rating="down", correction=GOOD, **drawn), logged(rating="up", **drawn)]  # type: ignore[arg-type]
    cases = [asdict(one) for one in curated(rows).train]
    assert found_right(work, "v1", cases) == {rows[0].exchange.id: False, rows[1].exchange.id: True}


def test_all_answers_of_an_adapter_are_counted_by_what_people_said(database: Database, work: Workbench) -> None:
    ann = people.add(database, "ann", role=Role.CHAT, actor="test")
    with database.write() as session:
        session.add(Conversation(id="co_1", person_id=ann.id))
    answered(database, ann, rating="up")
    answered(database, ann, rating="down")
    answered(database, ann, correction="It is 300 km long.")
    answered(database, ann, correction="The Aare is 288 km long.")
    answered(database, ann)
    answered(database, ann, trainable=False)
    answered(database, ann, adapter="base")
    answered(database, ann, model="another model")
    found = rated(work, ["v1", "base"], [case(1, "upvoted")])
    assert list(found) == ["v1"] and found["v1"].right == {"ex_1": True}
    assert found["v1"].by_task == {"unclassified": Answers(Signs(2), Signs(2), Signs(1))}


def test_answers_are_counted_by_the_task_of_their_questions(work: Workbench) -> None:
    ann = people.add(work.database, "ann", role=Role.CHAT, actor="test")
    with work.database.write() as session:
        session.add(Conversation(id="co_1", person_id=ann.id))
    for rating in ("up", "down", None):
        answered(work.database, ann, rating=rating)
    with work.database.write() as session:
        for row in session.exec(select(Exchange)).all()[:2]:
            session.add(Label(exchange_id=row.id, task="technical", confidence=0.9, taxonomy="x"))
    known = rated(work, ["v1"], [case(1, "upvoted")])["v1"]
    assert known.by_task == {
        "technical": Answers(Signs(1), Signs(1)),
        "unclassified": Answers(unrated=Signs(1)),
    }


def test_the_newest_answers_to_each_task_that_has_cases_are_those_that_the_judge_is_asked_about() -> None:
    ids = [(str(n), "rare" if n % 10 == 0 else "usual" if n % 2 else "other") for n in range(4 * LOOKED_AT)]
    asked = list[str]()

    def judge(name: str) -> bool | None:
        asked.append(name)
        return None if name == str(4 * LOOKED_AT - 10) else int(name) < 20

    found = signs_of(ids, judge, among={"rare", "usual"})
    assert found == {"rare": Signs(200, 199, 2), "usual": Signs(1_000, LOOKED_AT, 0), "other": Signs(800)}
    assert min(int(name) for name in asked if int(name) % 2) == 2 * LOOKED_AT + 1
    assert signs_of(ids, None, among={"rare"})["rare"] == Signs(200)


def test_a_burst_and_a_new_account_do_not_move_the_share_of_wrong_answers(work: Workbench) -> None:
    ann = people.add(work.database, "ann", role=Role.CHAT, actor="test")
    new = people.add(work.database, "new", role=Role.CHAT, actor="test")
    with work.database.write() as session:
        session.get_one(Person, ann.id).created_at -= timedelta(days=90)
        session.add(Conversation(id="co_1", person_id=ann.id))
    for rating in ("up",) * 6 + ("down",) * 2:
        answered(work.database, ann, rating=rating)
    answered(work.database, new, rating="down")
    kept = replace(work, new_account_days=7.0, most_ratings_per_hour=30)

    def told() -> tuple[int, int, int]:
        found = rated(kept, ["v1"], [case(1, "upvoted")])["v1"]
        all_ = found.answers()
        return all_.liked.answers, all_.disliked.answers, all_.unrated.answers

    assert told() == (6, 2, 1)
    with work.database.write() as session:
        session.get_one(Person, new.id).created_at -= timedelta(days=90)
    assert told() == (6, 3, 0)
    for _ in range(31):
        answered(work.database, new, rating="down")
    assert told() == (6, 2, 32)
