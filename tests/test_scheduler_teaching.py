"""Claims about a teacher model: whom it is asked about, that it is asked once, and when its answer is a target."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from finetune import teacher
from finetune.curated import Curated
from finetune.examples import Kind
from finetune.preferences import preferences
from scheduler import teaching
from scheduler.workbench import Workbench, curated
from store import cycles, exchanges, interventions, people, taught
from store.answers import DECLINE
from store.database import Database
from store.errors import Invalid
from store.models import Exchange, TaughtAnswer
from tests.grader import grading
from tests.test_scheduler_workbench import bench
from tests.test_store_staleness import BREAD, RIVER, ann, asked, keep, passage

SPEC: dict[str, Any] = {"model": "openai:teacher", "options": {}, "answers": 10}
SLOTS = count()
SUPPORTED = "The Aare is 288 km long."


def disliked(database: Database, question: str = "How long is the Aare?", **changed: Any) -> str:
    notes = keep(database, "notes", RIVER)
    row = asked(database, passage(1, notes.id, RIVER), answer="It is 5 km long [1].")
    with database.write() as session:
        kept = session.get_one(Exchange, row.id)
        kept.question, kept.messages = question, [{"role": "user", "content": question}]
        for name, value in changed.items():
            setattr(kept, name, value)
    exchanges.rate(database, row.id, person=ann(database), rating="down")
    return row.id


@pytest.fixture
def work(database: Database, tmp_path: Path) -> Workbench:
    return replace(bench(database, tmp_path), teacher=SPEC)


def told(work: Workbench, said: str, seen: list[str] | None = None) -> dict[str, Any]:
    """What asking came to, with a teacher that always says the same."""
    cycles.start(work.database, slot_key=f"slot {next(SLOTS)}", first_step="plan", started_by="test")
    claim = cycles.claim(work.database)
    assert claim is not None

    def answers(messages: Sequence[Mapping[str, str]]) -> str:
        if said == "down":
            raise Invalid("the teacher openai:teacher could not be asked: no route.")
        if seen is not None:
            seen.append(messages[-1]["content"])
        return said

    found = teaching.ask(work, claim, made=answers)
    interventions.cancel(work.database, claim.cycle_id, actor="test")
    return found


def example_kinds(work: Workbench) -> list[tuple[str, str]]:
    made: Curated = curated(work)[0]
    return [(one.kind, one.target) for one in (*made.train, *made.disliked)]


def test_it_is_asked_what_people_disliked_and_nobody_corrected_each_once_newest_first(work: Workbench) -> None:
    database = work.database
    first, second = disliked(database, "First?"), disliked(database, "Second?")
    corrected = disliked(database, "Corrected?")
    exchanges.rate(database, corrected, person=ann(database), rating="down", correction="288 km [1].")
    disliked(database, "Private?", trainable=False)
    disliked(database, "Bare?", passages=[])
    disliked(database, "Flagged?", passages=[{**passage(1, None, RIVER), "flags": ["instruction"]}])
    exchanges.rate(database, disliked(database, "Liked?"), person=ann(database), rating="up")
    with database.read() as session:
        assert [row.id for row in taught.wanting(session, model="m", most=9)] == [second, first]
    seen: list[str] = []
    assert told(replace(work, teacher={**SPEC, "answers": 1}), SUPPORTED, seen) == {"taught": 1}
    assert told(work, SUPPORTED, seen) == {"taught": 1} and told(work, SUPPORTED, seen) == {"taught": 0}
    assert seen == ["Second?", "First?"]
    assert told(replace(work, teacher={**SPEC, "model": "openai:other"}), SUPPORTED) == {"taught": 2}


def test_what_people_typed_is_anonymous_before_it_leaves(work: Workbench) -> None:
    disliked(work.database, "I am eve@example.com. How long is it?")
    seen: list[str] = []
    told(work, SUPPORTED, seen)
    assert seen == ["I am <EMAIL>. How long is it?"]


def test_a_supported_answer_is_a_target_with_citations_below_what_people_wrote(work: Workbench) -> None:
    disliked(work.database)
    assert example_kinds(work) == []
    told(work, SUPPORTED)
    assert example_kinds(work) == [(Kind.TAUGHT, "The Aare is 288 km long [1].")]
    [example] = curated(work)[0].train
    assert example.weight == 0.5 and example.gold == 1
    [pair] = preferences([{**vars(example), "logged_answer": "It is 5 km long [1]."}])
    assert (pair.chosen, pair.rejected) == (example.target, "It is 5 km long [1].")


@pytest.mark.parametrize("said", [f"{SUPPORTED} Bananas are blue on Mars.", "Bananas are blue.", DECLINE, ""])
def test_what_the_judge_does_not_bear_out_is_no_target(work: Workbench, said: str) -> None:
    disliked(work.database)
    told(work, said)
    assert [kind for kind, _ in example_kinds(work) if kind != Kind.DISLIKED] == []


def test_its_decline_is_a_target_where_the_passages_are_about_something_else(work: Workbench) -> None:
    key = disliked(work.database, "Who painted the ceiling of the chapel?", passages=[passage(1, None, BREAD)])
    told(work, DECLINE)
    made = curated(work)[0]
    assert made.train == [] and made.rows["left out: enough examples of declining"] == [key]


def test_no_held_out_case_is_what_a_model_says_is_right(work: Workbench) -> None:
    key = disliked(work.database)
    told(work, SUPPORTED)
    made = curated(replace(work, held_out_share=1 - 1e-9))[0]
    assert made.held_out == [] and made.rows["left out: held out, but no person said what is right"] == [key]


def test_a_teacher_that_cannot_be_asked_ends_nothing(work: Workbench) -> None:
    disliked(work.database)
    assert told(work, "down") == {
        "taught": 0,
        "teacher": "the teacher openai:teacher could not be asked: no route.",
    }
    assert told(replace(work, teacher={**SPEC, "model": ""}), SUPPORTED) == {}


def test_what_it_said_goes_with_the_person(work: Workbench) -> None:
    key = disliked(work.database)
    told(work, SUPPORTED)
    people.erase(work.database, ann(work.database).id, actor="test")
    with work.database.read() as session:
        assert session.get(TaughtAnswer, key) is None
    taught.keep(work.database, key, model="m", text="Too late.")


def test_it_is_any_chat_model_over_http_but_the_bot() -> None:
    with grading(lambda text: f"Taught: {text[-4:]}") as url:
        spec = {**SPEC, "options": {"base_url": url, "api_key": "none"}}
        assert teacher.teacher(spec)([{"role": "user", "content": "Why?"}]) == "Taught: Why?"
        teacher.check(spec, ["smollm2", "http://127.0.0.1:8000"])
        with pytest.raises(Invalid, match=r"teacher\.model openai:teacher is the bot itself"):
            teacher.check(spec, [url])
    with pytest.raises(Invalid, match=r"teacher\.model openai:smollm2 is the bot itself"):
        teacher.check({**SPEC, "model": "openai:smollm2"}, ["smollm2"])
    with pytest.raises(Invalid, match="the teacher nowhere:x cannot be made"):
        teacher.teacher({**SPEC, "model": "nowhere:x"})
