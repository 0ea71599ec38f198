"""Claims about export and import: round trips lose nothing, bad lines are named, nothing is half imported."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import select

from store import exchanges, labels, people
from store.database import Database, open_database
from store.errors import Invalid
from store.exchanges import Logged
from store.models import Conversation, Exchange, ExchangeState, Person, Role
from store.transfer import FORMATS, as_ratchet, exported, imported

SEEN = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "[1] Aare\n288 km\n\nQuestion: How long?"},
]


def logged(database: Database) -> list[Logged]:
    with database.read() as session:
        return list(exchanges.logged(session))


def person_of(database: Database, name: str) -> Person:
    with database.read() as session:
        found = people.by_name(session, name)
    return found or people.add(database, name, role=Role.CHAT, actor="test")


def asked(database: Database, rating: str | None, correction: str = "", *, trainable: bool = True) -> str:
    ann = person_of(database, "ann")
    with database.write() as session:
        conversation = Conversation(person_id=ann.id, title="How long?")
        session.add(conversation)
    passage = {
        "n": 1,
        "document": None,
        "title": "Aare",
        "chunk_id": None,
        "text": "288 km",
        "digest": "d",
        "score": 1.0,
    }
    row = Exchange(
        conversation_id=conversation.id,
        person_id=ann.id,
        question="How long?",
        messages=SEEN,
        passages=[{**passage, "start": 0, "end": 6}],
        trainable=trainable,
        sampling={"temperature": 0.0},
    )
    exchanges.begin(database, row)
    citations = [{"n": 1, "start": 9, "end": 12}]
    exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer="288 km [1].", citations=citations)
    if rating or correction:
        exchanges.rate(database, row.id, person=ann, rating=rating, reasons=["wrong"], correction=correction)
    labels.save(database, [labels.Found(row.id, "rag", 0.9, {"rag": 0.9})], taxonomy="t")
    return row.id


@pytest.fixture
def filled(database: Database) -> Database:
    for rating, correction in ((None, ""), ("up", ""), ("down", ""), ("down", "It is 288 km long [1].")):
        asked(database, rating, correction)
    return database


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_openai_rows_are_what_the_model_saw_and_a_liked_or_corrected_answer(filled: Database) -> None:
    rows = list(exported(logged(filled), "openai"))
    assert rows == [{"messages": [*SEEN, *said("288 km [1].")]}, {"messages": [*SEEN, *said("It is 288 km long [1].")]}]


def test_sharegpt_rows_say_the_same_in_their_words(filled: Database) -> None:
    rows = list(exported(logged(filled), "sharegpt"))
    assert len(rows) == 2
    assert [turn["from"] for turn in rows[1]["conversations"]] == ["system", "human", "gpt"]
    assert rows[1]["conversations"][2]["value"] == "It is 288 km long [1]."


def test_kto_rows_are_the_rated_answers(filled: Database) -> None:
    rows = list(exported(logged(filled), "kto"))
    assert [row["label"] for row in rows] == [True, False, False]
    assert rows[0]["prompt"] == SEEN and rows[0]["completion"] == said("288 km [1].")


def test_dpo_rows_prefer_the_correction(filled: Database) -> None:
    [row] = exported(logged(filled), "dpo")
    assert (row["chosen"], row["rejected"]) == (said("It is 288 km long [1]."), said("288 km [1]."))


@pytest.mark.parametrize("format", [name for name in FORMATS if name != "jsonl"])
def test_what_may_not_be_trained_on_is_in_no_training_format(database: Database, format: str) -> None:
    asked(database, "up", "It is 288 km long [1].", trainable=False)
    assert list(exported(logged(database), format)) == []
    assert len(list(exported(logged(database), "jsonl"))) == 1


def test_an_unknown_format_lists_the_known_ones(database: Database) -> None:
    with pytest.raises(Invalid, match='the format is "csv", expected one of jsonl, openai, sharegpt, kto, dpo'):
        exported([], "csv")


def test_an_export_comes_back_with_ids_feedback_and_label(filled: Database, tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in exported(logged(filled), "jsonl")]
    other = open_database(f"sqlite:///{tmp_path}/other.db")
    assert imported(other, lines, "ratchet") == 4
    # The person is the importing one, and sampling is unknown here: an adapter's name means another one there.
    for before, after in zip(logged(filled), logged(other), strict=True):
        was, is_ = as_ratchet(before), as_ratchet(after)
        assert is_["person_id"] != was["person_id"] and is_["sampling"] == {}
        for row in (was, is_):
            del row["person_id"], row["sampling"]
            if row["feedback"]:
                del row["feedback"]["person_id"], row["feedback"]["rated_by"]
        assert is_ == was
    with other.read() as session:
        assert {row.name for row in session.exec(select(Person))} == {"imported"}


@pytest.mark.parametrize("older", [False, True])
def test_a_rating_comes_back_with_the_time_it_was_given_also_from_an_older_file(
    filled: Database, tmp_path: Path, older: bool
) -> None:
    rows = [row for row in exported(logged(filled), "jsonl") if row["feedback"]]
    for row in rows:
        row["feedback"]["updated_at"] = "2026-01-02T00:00:00Z"
        row["feedback"]["rated_at"] = "2026-01-01T00:00:00Z"
        if older:
            del row["feedback"]["rated_by"], row["feedback"]["rated_at"]
    other = open_database(f"sqlite:///{tmp_path}/other.db")
    imported(other, [json.dumps(row) for row in rows], "ratchet")
    found = [row.feedback for row in logged(other) if row.feedback]
    assert {one.rated_at for one in found} == {datetime(2026, 1, 2 if older else 1, tzinfo=UTC)}
    assert all(one.rated_by == one.person_id for one in found) and len(found) == len(rows)


def test_the_same_id_twice_is_imported_once(filled: Database, tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in exported(logged(filled), "jsonl")]
    other = open_database(f"sqlite:///{tmp_path}/other.db")
    assert imported(other, [*lines, *lines], "ratchet") == 4
    assert imported(other, lines, "ratchet") == 0
    assert imported(filled, lines, "ratchet") == 0
    assert len(logged(other)) == len(logged(filled)) == 4


def test_what_may_not_be_trained_on_stays_so_after_a_round_trip(database: Database, tmp_path: Path) -> None:
    asked(database, None, trainable=False)
    other = open_database(f"sqlite:///{tmp_path}/other.db")
    imported(other, [json.dumps(row) for row in exported(logged(database), "jsonl")], "ratchet")
    assert [row.exchange.trainable for row in logged(other)] == [False]


def test_openai_lines_become_exchanges_of_the_person_imported(database: Database) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo?"}]
    lines = [
        json.dumps({"messages": [*SEEN, *said("288 km.")]}),
        "",
        json.dumps({"messages": [{"role": "user", "content": parts}, *said("Hi!")]}),
    ]
    assert imported(database, lines, "openai") == 2
    first, second = logged(database)
    assert (first.exchange.question, first.exchange.answer) == (SEEN[-1]["content"], "288 km.")
    assert first.exchange.messages == SEEN
    assert (second.exchange.question, second.exchange.state) == ("Hello?", ExchangeState.FINISHED)
    assert first.exchange.trainable and first.exchange.sampling == {}
    assert first.exchange.person_id == person_of(database, "imported").id


@pytest.mark.parametrize("timestamp", [1_750_000_000, "2025-06-15T15:06:40", "2025-06-15T17:06:40+02:00"])
def test_flywheel_lines_keep_their_time(database: Database, timestamp: object) -> None:
    line = {
        "timestamp": timestamp,
        "workload_id": "w",
        "request": {"model": "m", "messages": SEEN},
        "response": {"choices": [{"message": {"role": "assistant", "content": "288 km."}}]},
    }
    assert imported(database, [json.dumps(line)], "flywheel") == 1
    [row] = logged(database)
    assert row.exchange.answer == "288 km." and row.exchange.created_at.timestamp() == 1_750_000_000


GOOD = {
    "openai": {"messages": [{"role": "user", "content": "Hello?"}, *said("Hi!")]},
    "flywheel": {"request": {"messages": SEEN}, "response": {"choices": [{"message": {"content": "Hi!"}}]}},
    "ratchet": {"id": "ex_1", "conversation_id": "co_1", "question": "Hello?", "messages": SEEN, "answer": "Hi!"},
}


@pytest.mark.parametrize(
    ("format", "line", "sentence"),
    [
        ("openai", "{oops", "line 2: found '{oops', expected JSON"),
        ("openai", "[1]", "line 2: found list, expected an object"),
        ("openai", '{"messages": []}', "line 2: messages: found [], expected a list of messages"),
        ("openai", '{"messages": [{"role": "cat", "content": "x"}]}', "expected role system, user or assistant"),
        (
            "openai",
            '{"messages": [{"role": "user", "content": null}]}',
            "messages.0.content: found None, expected a text",
        ),
        (
            "openai",
            '{"messages": [{"role": "user", "content": "x"}]}',
            "the last message has role user, expected assistant",
        ),
        (
            "openai",
            json.dumps({"messages": said("Hi!")}),
            "before the answer found nothing, expected a message with role",
        ),
        ("flywheel", '{"prompt": 1}', "line 2: found the keys prompt, expected request and response"),
        ("flywheel", json.dumps({**GOOD["flywheel"], "response": {}}), "response.choices: found None"),
        ("flywheel", json.dumps({**GOOD["flywheel"], "timestamp": "noon"}), "timestamp: found 'noon', expected Unix"),
        ("ratchet", '{"question": "x"}', "line 2: id: found None, expected the id of an exchange"),
        ("ratchet", json.dumps({**GOOD["ratchet"], "question": 7}), "line 2: question: found 7"),
        ("ratchet", json.dumps({**GOOD["ratchet"], "feedback": {"rating": "meh"}}), 'found "meh", expected "up"'),
        ("ratchet", json.dumps({**GOOD["ratchet"], "feedback": "up"}), "line 2: feedback: found 'up'"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_imported(database: Database, format: str, line: str, sentence: str) -> None:
    with pytest.raises(Invalid) as error:
        imported(database, [json.dumps(GOOD[format]), line], format)
    assert sentence in error.value.message and "line 2" in error.value.message
    assert error.value.hint.startswith("Nothing was imported")
    assert logged(database) == []
    with database.read() as session:
        assert people.count(session) == 0
    assert imported(database, [json.dumps(GOOD[format])], format) == 1
