"""Claims about the held-out questions over the passages of other settings of retrieval."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.prompt import messages
from retrieval.embedding import Embedder
from retrieval.index import Index
from retrieval.library import Library
from scheduler import refetched
from scheduler.workbench import Workbench
from store.database import Database
from store.models import Exchange
from tests.test_scheduler_workbench import bench
from tests.test_store_staleness import BREAD, CHEESE, RIVER, asked, passage

QUESTION = "How long is the Aare?"
PASSAGES = [{"n": n, "title": "notes", "text": text} for n, text in enumerate((BREAD, RIVER, CHEESE), start=1)]


def row(key: str, gold: int | None = 2) -> dict[str, Any]:
    texts = [one["text"] for one in PASSAGES]
    built = messages(QUESTION, PASSAGES, [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}])
    return {"id": key, "question": QUESTION, "messages": built, "passages": texts, "gold": gold}


def found(texts: list[str]) -> Callable[[str, int], list[dict[str, Any]]]:
    rows = [{"n": n, "title": "notes", "text": text, "score": 1 / n} for n, text in enumerate(texts, start=1)]
    return lambda query, count: rows[:count]


def test_more_passages_and_the_best_alone_are_tried_and_one_alone_has_no_fewer() -> None:
    more = "what serves, shown 5 passages instead of 3"
    assert refetched.ways(3) == {more: 5, "what serves, shown the best passage alone": 1}
    assert list(refetched.ways(1).values()) == [3]
    assert next(iter(refetched.ways(5, 3))) == "what serves, shown 7 passages instead of 3"


def test_a_question_is_asked_over_what_is_found_with_its_history_and_the_answering_passage_is_found_again() -> None:
    search = found([RIVER, BREAD, "Mills grind."])
    made = list(refetched.asked_anew([row("a"), row("b")], {"a": "aare length"}, search, passages=1, budget=2000))
    [one] = made
    assert (one["id"], one["gold"], one["passages"]) == ("a", 1, [RIVER, BREAD, "Mills grind."])
    assert [message["role"] for message in one["messages"]] == ["system", "user", "assistant", "user"]
    assert one["messages"][-1]["content"].endswith(f"Question: {QUESTION}")
    assert f"[1] notes\n{RIVER}" in one["messages"][-1]["content"]


def test_a_passage_that_is_not_shown_any_more_and_a_question_without_one_have_no_gold() -> None:
    for one, texts in ((row("a"), [BREAD]), (row("a", gold=None), [RIVER])):
        [made] = refetched.asked_anew([one], {"a": "?"}, found(texts), passages=1, budget=2000)
        assert made["gold"] is None
    [nothing] = refetched.asked_anew([row("a")], {"a": "?"}, found([]), passages=1, budget=2000)
    assert nothing["passages"] == [] and "There is no passage on this." in nothing["messages"][-1]["content"]


def test_passages_that_do_not_fit_the_context_are_left_out() -> None:
    [made] = refetched.asked_anew([row("a")], {"a": "?"}, found([RIVER, "Long. " * 400]), passages=1, budget=500)
    assert made["passages"] == [RIVER] and made["gold"] == 1


@pytest.fixture
def work(database: Database, tmp_path: Path, embedder: Embedder) -> Workbench:
    """A workbench that searches a library of two short documents."""

    def index() -> Index:
        return Index(database, embedder, folder=None, dense_weight=0.6)

    library = Library(database, embedder, index(), chunk_characters=1000, min_score=0.16)
    for title, text in (("The Aare", RIVER), ("Bread", BREAD)):
        library.add_text(source=title, title=title, text=text)
    some = {"alternative_cases": 2, "passages": 3, "min_score": 0.16, "context_tokens": 2048, "answer_tokens": 200}
    return replace(bench(database, tmp_path), **some, index=index)


def test_a_cycle_searches_anew_for_its_first_cases_but_not_for_those_that_came_with_passages(
    work: Workbench, tmp_path: Path
) -> None:
    rows = [asked(work.database, passage(1, None, RIVER), answer="288 km [1].") for _ in range(3)]
    with work.database.write() as session:
        for one in rows:
            session.get_one(Exchange, one.id).search_query = QUESTION
        session.get_one(Exchange, rows[1].id).given = True
    file = tmp_path / "held_out.jsonl"
    file.write_text("".join(json.dumps(row(one.id)) + "\n" for one in rows))
    written = refetched.write(work, file)
    made = [json.loads(line) for line in Path(written).read_text().splitlines()]
    assert [(one["id"], one["what"]) for one in made] == [(rows[0].id, what) for what in refetched.ways(3)]
    assert all(one["passages"][0] == RIVER and one["gold"] == 1 for one in made)
    assert refetched.write(replace(work, alternative_cases=0), file) == ""
    file.write_text(json.dumps(row(rows[1].id)) + "\n")
    assert refetched.write(work, file) == ""
