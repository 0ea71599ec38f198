"""The queue as clients see it: their place in it, when to come again, and that leaving frees the place at once."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from sqlmodel import select

from bot.pace import LONGEST_SECONDS, Pace, estimate
from store import people
from store.models import Exchange
from tests.queued import QUESTION, QueuedBot, error, queued_bot, serve, until

BODY = {"model": "ratchet", "messages": [{"role": "user", "content": QUESTION}]}


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        bot.engine.slots = 1
        yield bot


@pytest.fixture
def address(bot: QueuedBot) -> Iterator[str]:
    with serve(bot.app) as address:
        yield address


@contextmanager
def sent(address: str, bot: QueuedBot, *, stream: bool) -> Iterator[socket.socket]:
    """A question sent on a bare connection, which closes at the end."""
    host, port = address.removeprefix("http://").split(":")
    content = json.dumps({**BODY, "stream": stream}).encode()
    head = [
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: {host}:{port}",
        f"Authorization: Bearer {bot.keys['admin']}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + content)
        yield connection


def exchanges(bot: QueuedBot) -> list[Exchange]:
    with bot.database.read() as session:
        return list(session.exec(select(Exchange).order_by(Exchange.created_at)))  # type: ignore[arg-type]


def states(bot: QueuedBot) -> list[str]:
    return [row.state for row in exchanges(bot)]


def client(address: str, bot: QueuedBot) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=bot.keys["admin"], max_retries=0)


# the place in the queue


def test_a_waiting_stream_says_its_position_and_openais_client_reads_it(bot: QueuedBot, address: str) -> None:
    bot.engine.default, bot.engine.pace = "word " * 500, 0.02
    with sent(address, bot, stream=True) as first, sent(address, bot, stream=True) as second:
        until(lambda: len(bot.engine.waiting) == 1)
        messages: Any = BODY["messages"]
        positions, text = [], ""
        with client(address, bot) as api:
            for chunk in api.chat.completions.create(model="ratchet", messages=messages, stream=True):
                queue = (chunk.model_extra or {}).get("ratchet_queue")
                text += chunk.choices[0].delta.content or ""
                if queue is not None:
                    assert chunk.choices[0].delta.content is None and chunk.choices[0].finish_reason is None
                    positions.append(queue["position"])
                    (first if queue["position"] == 2 else second).close()
                    bot.engine.pace = 0.0 if queue["position"] < 2 else 0.02
    assert positions == [2, 1, 0]
    assert text.strip() == ("word " * 500).strip()


def test_an_answer_that_need_not_wait_says_nothing_of_a_queue(bot: QueuedBot, address: str) -> None:
    response = httpx2.post(f"{address}/v1/chat/completions", json={**BODY, "stream": True}, headers=bot.headers("chat"))
    assert response.status_code == 200 and "ratchet_queue" not in response.text


# when to come again


def test_beyond_the_queue_is_429_with_a_time_estimated_from_recent_answers(bot: QueuedBot, address: str) -> None:
    bot.engine.default, bot.engine.pace = "word " * 10, 0.12
    url, headers = f"{address}/v1/chat/completions", bot.headers("admin")
    assert httpx2.post(url, json=BODY, headers=headers, timeout=30).status_code == 200
    bot.engine.default, bot.engine.queue_limit = "word " * 500, 2
    with (
        sent(address, bot, stream=True),
        sent(address, bot, stream=False),
        sent(address, bot, stream=True),
    ):
        until(lambda: len(bot.engine.waiting) == 2)
        until(lambda: len(exchanges(bot)) == 4)
        response = httpx2.post(url, json=BODY, headers=headers)
        assert response.status_code == 429 and "2 answers are waiting already" in error(response)["message"]
        assert 4 <= int(response.headers["retry-after"]) <= 20
    assert len(exchanges(bot)) == 4


@pytest.mark.parametrize(
    ("waiting", "writing", "seconds", "expected"),
    [
        (64, 8, [], 1),
        (0, 1, [0.1], 1),
        (7, 8, [4.0], 4),
        (64, 8, [2.0, 4.0], 25),
        (3, 0, [2.0], 8),
        (10_000, 1, [60.0], LONGEST_SECONDS),
    ],
)
def test_the_time_to_come_again_is_that_of_those_who_wait(
    waiting: int, writing: int, seconds: list[float], expected: int
) -> None:
    assert estimate(waiting, writing, seconds) == expected


def test_answers_that_have_ended_are_counted_no_more() -> None:
    pace = Pace()
    written, left = pace.queued(), pace.queued()
    written.begin()
    time.sleep(0.6)
    written.end()
    assert 2 <= pace.retry_after() <= 10
    left.end()
    assert pace.retry_after() == 1


# leaving


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot_and_its_part_is_kept(bot: QueuedBot, address: str, stream: bool) -> None:
    bot.engine.default, bot.engine.pace = "word " * 500, 0.05
    with sent(address, bot, stream=stream):
        until(lambda: bot.engine.last is not None and bot.engine.last.completion_tokens > 2)
        assert len(bot.engine.writing) == 1
    until(lambda: bot.engine.writing == [])
    until(lambda: states(bot) == ["stopped"])
    assert 2 <= exchanges(bot)[0].answer.split().count("word") < 100


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_the_queue_is_out_of_it_at_once(bot: QueuedBot, address: str, stream: bool) -> None:
    bot.engine.default, bot.engine.pace = "word " * 500, 0.05
    with sent(address, bot, stream=True):
        until(lambda: len(bot.engine.writing) == 1)
        with sent(address, bot, stream=stream):
            until(lambda: len(bot.engine.waiting) == 1)
            until(lambda: len(exchanges(bot)) == 2)
        until(lambda: bot.engine.waiting == [])
        until(lambda: states(bot) == ["streaming", "stopped"])
        assert exchanges(bot)[1].answer == "" and exchanges(bot)[1].completion_tokens == 0


def test_a_stream_holds_its_persons_place_until_it_ends(tmp_path: Path) -> None:
    with queued_bot(tmp_path, requests_per_person=1) as bot, serve(bot.app) as address:
        bot.engine.default, bot.engine.pace = "word " * 500, 0.02
        url = f"{address}/v1/chat/completions"
        with httpx2.stream("POST", url, json={**BODY, "stream": True}, headers=bot.headers("chat")) as response:
            lines = response.iter_lines()
            next(lines)
            refused = httpx2.post(url, json=BODY, headers=bot.headers("chat"))
            assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
            assert error(refused)["message"] == '1 requests for "chat" are running, which is the limit.'
        bot.engine.pace = 0.0
        until(lambda: httpx2.post(url, json=BODY, headers=bot.headers("chat")).status_code == 200)


def test_requests_are_counted_per_person_behind_a_key_that_acts_for_people_and_not_behind_an_admins(
    tmp_path: Path,
) -> None:
    with queued_bot(tmp_path, requests_per_person=2) as bot, serve(bot.app) as address:
        bot.keys["service"] = people.add_key(bot.database, bot.people["reviewer"], actor="test", scopes=("on_behalf",))
        bot.engine.default, bot.engine.pace = "word " * 20, 0.05

        def ask_at_once(who: str, **body: object) -> list[int]:
            codes: list[int] = []

            def ask() -> None:
                url = f"{address}/v1/chat/completions"
                response = httpx2.post(url, json={**BODY, **body}, headers=bot.headers(who), timeout=60)
                codes.append(response.status_code)

            threads = [threading.Thread(target=ask) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return sorted(codes)

        assert ask_at_once("service", user="chat") == [200] * 2 + [429] * 3
        assert ask_at_once("service", user="chat") == [200] * 2 + [429] * 3
        assert ask_at_once("admin", user="chat") == ask_at_once("admin") == [200] * 5
