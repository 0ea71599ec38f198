"""Chat as OpenAI's clients see it, streamed and not, and what bad questions get."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from bot.chat import MAX_QUESTION
from store import exchanges as log
from store import histories
from store.models import Exchange
from tests.queued import QUESTION, RIVER, QueuedBot, ask, error, queued_bot, serve, until


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("chat"), raise_server_exceptions=False) as client:
        yield client


def events(response: httpx2.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def exchange(bot: QueuedBot, exchange_id: str) -> Exchange:
    with bot.database.read() as session:
        return session.get_one(Exchange, exchange_id)


# chat


def test_answer_has_openai_fields_and_passages_verbatim(client: TestClient) -> None:
    body = ask(client).json()
    assert body["object"] == "chat.completion" and body["model"] == "ratchet"
    assert body["choices"][0]["message"]["content"] == "The Aare is 288 kilometres long [1]."
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    found = body["ratchet"]
    assert found["adapter"] == "base" and found["declined"] is False
    assert found["passages"][0]["text"] == RIVER
    assert {"n", "document", "title", "chunk_id", "text", "score", "start", "end"} <= set(found["passages"][0])
    assert found["citations"] == [{"n": 1, "start": 32, "end": 35}]


def test_stream_ends_with_finish_reason_and_ratchet_before_done(client: TestClient) -> None:
    chunks = events(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert (
        "".join(c["choices"][0]["delta"].get("content", "") for c in chunks) == "The Aare is 288 kilometres long [1]."
    )
    last = chunks[-1]
    assert last["choices"][0]["finish_reason"] == "stop" and last["usage"]["completion_tokens"] == 7
    assert last["ratchet"]["citations"][0]["n"] == 1
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert all("ratchet" not in chunk for chunk in chunks[:-1])


def test_a_null_stream_is_none(client: TestClient) -> None:
    assert ask(client, stream=None).json()["object"] == "chat.completion"


def test_stream_leaves_usage_out_unless_asked(client: TestClient) -> None:
    assert "usage" not in events(ask(client, stream=True))[-1]


def test_declined_answer_says_so(client: TestClient, bot: QueuedBot) -> None:
    bot.engine.default = "I could not find this in the documents."
    assert ask(client).json()["ratchet"]["declined"] is True


def test_conversation_id_continues_and_an_unknown_one_is_404(client: TestClient) -> None:
    first = ask(client).json()["ratchet"]
    second = ask(client, "And where does it end?", metadata={"conversation_id": first["conversation_id"]}).json()
    assert second["ratchet"]["conversation_id"] == first["conversation_id"]
    response = ask(client, metadata={"conversation_id": "co_unknown"})
    assert response.status_code == 404 and "co_unknown" in error(response)["message"]


def test_a_refused_question_leaves_no_empty_conversation(client: TestClient, bot: QueuedBot) -> None:
    bot.engine.slots = bot.engine.queue_limit = 0
    assert ask(client).status_code == 429
    bot.engine.problem = "the engine is out of memory."
    assert ask(client).status_code == 503
    assert client.get("/v1/conversations").json()["data"] == []
    bot.engine.slots, bot.engine.problem = 1, ""
    assert ask(client).status_code == 200
    assert [row["title"] for row in client.get("/v1/conversations").json()["data"]] == [QUESTION]


def test_a_long_conversation_goes_on_with_its_newest_turns(client: TestClient, bot: QueuedBot) -> None:
    metadata: dict[str, str] = {}
    for n in range(12):
        response = ask(client, f"Question {n}: {'x' * 20_000}", metadata=metadata)
        assert response.status_code == 200
        metadata = {"conversation_id": response.json()["ratchet"]["conversation_id"]}
    assert ask(client, "And now?", metadata=metadata).status_code == 200
    with bot.database.read() as session:
        newest = log.page(session)[0].exchange
        turns = histories.turns(session, newest.id, characters=50_000)
    assert [turn["content"][:11] for turn in turns if turn["role"] == "user"] == [
        "Question 10",
        "Question 11",
        "And now?",
    ]


def test_unknown_conversation_is_404_before_a_stream_begins(client: TestClient) -> None:
    assert ask(client, stream=True, metadata={"conversation_id": "co_unknown"}).status_code == 404


def test_somebody_elses_conversation_is_404(client: TestClient, bot: QueuedBot) -> None:
    mine = ask(client).json()["ratchet"]["conversation_id"]
    response = ask(client, metadata={"conversation_id": mine}, headers=bot.headers("other"))
    assert response.status_code == 404
    assert client.get(f"/v1/conversations/{mine}", headers=bot.headers("other")).status_code == 404


@pytest.mark.parametrize(("train", "kept"), [(False, False), ("false", False), ("true", True), (True, True)])
def test_train_may_be_a_boolean_or_its_name(client: TestClient, bot: QueuedBot, train: object, kept: bool) -> None:
    found = ask(client, metadata={"train": train}).json()["ratchet"]
    assert exchange(bot, found["exchange_id"]).trainable is kept


@pytest.mark.parametrize(("who", "trainable"), [("chat", False), ("admin", True)])
def test_given_passages_train_only_with_the_scope(
    client: TestClient, bot: QueuedBot, who: str, trainable: bool
) -> None:
    given = {"passages": [{"title": "Moon", "text": "The moon is 384,400 km away."}]}
    found = ask(client, "How far is the moon?", ratchet=given, headers=bot.headers(who)).json()["ratchet"]
    assert [passage["text"] for passage in found["passages"]] == ["The moon is 384,400 km away."]
    row = exchange(bot, found["exchange_id"])
    assert (row.given, row.trainable) == (True, trainable)


def test_sixteen_stop_strings_of_two_hundred_characters_are_taken(client: TestClient) -> None:
    assert ask(client, stop=["b" * 200] * 16).status_code == 200
    assert ask(client, stop="b" * 200).status_code == 200


def test_text_parts_count_as_text(client: TestClient, bot: QueuedBot) -> None:
    found = ask(client, [{"type": "text", "text": "How long"}, {"type": "text", "text": "is the Aare?"}]).json()
    assert exchange(bot, found["ratchet"]["exchange_id"]).question == "How long\nis the Aare?"


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"messages": [{"role": "user", "content": "  "}]}, 422, "the question is empty"),
        ({"messages": []}, 422, "messages"),
        ({}, 422, "messages is missing"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 422, "last message"),
        ({"messages": [{"role": "user", "content": "x" * (MAX_QUESTION + 1)}]}, 413, "at most 200000"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 422, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 422, "images, sounds and files are not"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, 422, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x"}], "model": "gpt-5"}, 404, 'no model "gpt-5"'),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": 9}, 422, "temperature"),
        ({"messages": [{"role": "user", "content": "x"}], "stop": ["a"] * 17}, 422, "at most 16 strings"),
        (
            {"messages": [{"role": "user", "content": "x"}], "stop": ["a", "b" * 201]},
            422,
            "found 2, the longest of 201",
        ),
        ({"messages": [{"role": "user", "content": "x"}], "stop": "b" * 201}, 422, "at most 200 characters each"),
        ({"messages": [{"role": "user", "content": "x"}], "seed": 2**63}, 422, "seed: Input should be less than"),
        ({"messages": [{"role": "user", "content": "x"}], "seed": -(2**63) - 1}, 422, "seed: Input should be greater"),
        ({"messages": [{"role": "user", "content": "x"}], "metadata": {"train": "perhaps"}}, 422, "metadata.train"),
        (
            {"messages": [{"role": "user", "content": "x"}], "ratchet": {"passages": [{"title": "t"}]}},
            422,
            "text is missing",
        ),
    ],
)
def test_bad_question_gets_a_sentence(client: TestClient, body: dict[str, Any], status: int, part: str) -> None:
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == status
    assert part in error(response)["message"]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_body_that_is_no_json_is_400(client: TestClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/chat/completions", content=content, headers=headers)
    assert response.status_code == 400 and error(response)["type"] == "bad_request"


def test_half_a_surrogate_in_a_question_is_an_error_not_a_crash(client: TestClient) -> None:
    content = b'{"messages": [{"role": "user", "content": "\\ud800"}]}'
    response = client.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422 and "messages.0.content" in error(response)["message"]


def test_one_megabyte_question_is_413(client: TestClient) -> None:
    assert ask(client, "x" * 1_000_000).status_code == 413


def test_engine_that_fails_is_503_and_the_exchange_is_failed(client: TestClient, bot: QueuedBot) -> None:
    bot.engine.problem = "the engine is out of memory."
    response = ask(client)
    assert response.status_code == 503 and error(response)["message"] == "the engine is out of memory."
    assert response.headers["retry-after"] == "1"


def test_engine_that_fails_in_a_stream_ends_it_with_an_error(client: TestClient, bot: QueuedBot) -> None:
    bot.engine.problem = "the engine is out of memory."
    response = ask(client, stream=True)
    last = json.loads(response.text.strip().split("\n\n")[-1].removeprefix("data: "))
    assert last["error"]["message"] == "the engine is out of memory."


# a real server and OpenAI's own client


def test_openai_client_works_unchanged(bot: QueuedBot) -> None:
    with serve(bot.app) as address, openai.OpenAI(base_url=f"{address}/v1", api_key=bot.keys["chat"]) as api:
        assert [model.id for model in api.models.list()] == ["ratchet"]
        messages: Any = [{"role": "user", "content": QUESTION}]
        answer = api.chat.completions.create(model="ratchet", messages=messages, metadata={"train": "false"})
        assert answer.choices[0].message.content == "The Aare is 288 kilometres long [1]."
        assert answer.model_extra is not None and answer.model_extra["ratchet"]["citations"]
        chunks = list(api.chat.completions.create(model="ratchet", messages=messages, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer.choices[0].message.content
        assert chunks[-1].model_extra is not None and chunks[-1].model_extra["ratchet"]["passages"][0]["text"] == RIVER
        with pytest.raises(openai.NotFoundError, match="no model"):
            api.chat.completions.create(model="other", messages=messages)


def test_client_that_goes_away_stops_the_answer_and_keeps_its_part(bot: QueuedBot) -> None:
    bot.engine.default, bot.engine.pace = "word " * 500, 0.02
    body = {"messages": [{"role": "user", "content": QUESTION}], "stream": True}
    with (
        serve(bot.app) as address,
        httpx2.stream("POST", f"{address}/v1/chat/completions", json=body, headers=bot.headers("chat")) as response,
    ):
        lines = (line for line in response.iter_lines() if "word" in line)
        next(lines), next(lines)
        response.close()
        until(lambda: one_exchange(bot).state == "stopped")
    assert one_exchange(bot).answer.startswith("word word")
    assert bot.engine.last is not None and bot.engine.last.cancelled


def one_exchange(bot: QueuedBot) -> Exchange:
    with bot.database.read() as session:
        return session.exec(select(Exchange)).one()


def test_upload_over_the_limit_is_413_on_a_real_connection(bot: QueuedBot) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 1_000_000

    with serve(bot.app) as address:
        for size in ({"Content-Length": str(40 * 1_000_000)}, {}):
            headers = {**bot.headers("admin"), "Content-Type": "application/json", **size}
            response = httpx2.post(f"{address}/v1/documents", content=endless(), headers=headers, timeout=30)
            assert response.status_code == 413 and "limit of 1 MB" in error(response)["message"]
