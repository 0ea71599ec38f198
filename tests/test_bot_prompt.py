"""Claims about the prompt: whatever is asked, it fits; what goes first goes first; and what was cut is told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from transformers import AutoTokenizer

from bot import citations, prompt
from store import answers
from store.models import Exchange
from tests.queued import QueuedBot, ask, queued_bot

Count = Callable[[prompt.Messages], int]
PROSE = "The river Aare is 288 kilometres long and joins the Rhine at Koblenz, where barges wait for the lock. " * 1_500
BUDGET = 1_848
NOTHING = {"turns": 0, "passages": 0, "characters": 0}


@pytest.fixture(scope="module")
def count(tiny_model: str) -> Count:
    """The tokens of a prompt by the packaged chat model's own tokenizer."""
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model)

    def counted(messages: prompt.Messages) -> int:
        return len(
            tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
        )

    return counted


def passages(number: int, length: int, *, title: int = 10) -> list[dict[str, Any]]:
    """Passages with the best score first; each begins with a word of its own."""
    return [
        {
            "n": n,
            "title": PROSE[:title],
            "text": f"passage{n} {PROSE}"[:length],
            "score": 1 / n,
            "start": 50,
            "end": 50 + length,
        }
        for n in range(1, number + 1)
    ]


def turns(number: int, length: int = 200) -> prompt.Messages:
    pairs = [("user", f"question{i} {PROSE}"[:length]) for i in range(number)]
    return [
        message
        for role, text in pairs
        for message in ({"role": role, "content": text}, {"role": "assistant", "content": PROSE[:length]})
    ]


HARD: dict[str, tuple[str, list[dict[str, Any]], prompt.Messages, bool]] = {
    "200 turns": ("How long?", passages(3, 900), turns(200), False),
    "100 given passages": ("How long?", passages(100, 5_000), [], True),
    "100 given passages with long titles": ("How long?", passages(100, 5_000, title=1_000), [], True),
    "a passage of 150,000 characters": ("How long?", passages(1, 150_000), [], True),
    "150,000 characters without a space": ("?", [{**passages(1, 9)[0], "text": "x" * 150_000}], [], True),
    "150,000 characters of other scripts": ("?", [{**passages(1, 9)[0], "text": "漢🙂é" * 50_000}], [], True),
    "a question of 150,000 characters": (PROSE[:150_000], passages(3, 900), turns(5), False),
    "all of it": (PROSE[:150_000], passages(20, 150_000), turns(200, 1_000), False),
    "answers only": ("How long?", passages(3, 900), [{"role": "assistant", "content": PROSE}] * 9, False),
}


@pytest.mark.parametrize("budget", [BUDGET, 200])
@pytest.mark.parametrize("case", HARD)
def test_whatever_is_asked_fits_the_budget_and_little_text_is_counted_for_it(
    count: Count, case: str, budget: int
) -> None:
    question, shown, history, given = HARD[case]
    read: list[int] = []

    def counted(messages: prompt.Messages) -> int:
        read.append(sum(len(message["content"]) for message in messages))
        return count(messages)

    messages, kept, cut = prompt.fitted(question, shown, history, budget=budget, count=counted, keep_passages=given)
    assert 0 < len(read) <= 20 and max(read) <= prompt.CHARACTERS_PER_TOKEN * budget
    assert count(messages) <= budget
    assert messages[-1]["content"] == prompt.question_block(messages[-1]["content"].split("Question: ")[-1], kept)
    assert sum(cut.values()) > 0


def test_a_prompt_that_fits_is_counted_once_and_left_as_it_is(count: Count) -> None:
    calls = []

    def counted(messages: prompt.Messages) -> int:
        calls.append(messages)
        return count(messages)

    history, shown = turns(2), passages(3, 500)
    messages, kept, cut = prompt.fitted("How long?", shown, history, budget=BUDGET, count=counted)
    assert (kept, cut, len(calls)) == (shown, NOTHING, 1)
    assert messages == prompt.messages("How long?", shown, history)


def test_the_oldest_turns_go_first_and_only_as_many_as_must(count: Count) -> None:
    messages, kept, cut = prompt.fitted("How long?", passages(3, 900), turns(200), budget=BUDGET, count=count)
    left = [message["content"].split()[0] for message in messages[1:-1] if message["role"] == "user"]
    assert left == [f"question{i}" for i in range(cut["turns"], 200)] and 0 < len(left) < 200
    assert (len(kept), cut["passages"], cut["characters"]) == (3, 0, 0)
    one_more = turns(200)[2 * (cut["turns"] - 1) :]
    assert count(prompt.messages("How long?", kept, one_more)) > BUDGET


def test_then_the_passages_with_the_lowest_score_go_and_the_rest_is_numbered_anew(count: Count) -> None:
    shown = passages(6, 2_000)
    for passage, score in zip(shown, (0.2, 0.9, 0.1, 0.8, 0.3, 0.7), strict=True):
        passage["score"] = score
    messages, kept, cut = prompt.fitted("How long?", shown, turns(1), budget=BUDGET, count=count)
    assert [passage["text"].split()[0] for passage in kept] == ["passage2", "passage4", "passage6"]
    assert [passage["n"] for passage in kept] == [1, 2, 3]
    assert cut == {"turns": 1, "passages": 3, "characters": 0}
    assert "[2] " in messages[-1]["content"] and "[4] " not in messages[-1]["content"]
    assert [c["n"] for c in citations.valid("It is long [2], not short [4].", kept)] == [2]


def test_given_passages_keep_their_numbers_and_the_longest_are_shortened(count: Count) -> None:
    shown = passages(3, 20_000)
    shown[1]["text"] = "short and whole."
    _, kept, cut = prompt.fitted("How long?", shown, [], budget=BUDGET, count=count, keep_passages=True)
    assert [passage["n"] for passage in kept] == [1, 2, 3] and kept[1] == shown[1]
    lengths = [len(passage["text"]) for passage in kept]
    assert lengths[0] == lengths[2] > 1_000
    assert shown[0]["text"].startswith(kept[0]["text"]) and kept[0]["end"] == 50 + lengths[0]
    assert cut == {**NOTHING, "characters": 2 * (20_000 - lengths[0])}


def test_the_text_of_passages_is_cut_before_the_question(count: Count) -> None:
    question = PROSE[:3_000]
    messages, kept, cut = prompt.fitted(question, passages(1, 9_000), [], budget=BUDGET, count=count)
    assert messages[-1]["content"].endswith(question)
    assert cut["characters"] == 9_000 - len(kept[0]["text"])


# over HTTP


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        yield client


def test_what_was_cut_is_in_the_answer_and_in_the_exchange(client: TestClient, bot: QueuedBot) -> None:
    earlier = turns(199, 400)
    found = ask(client, messages=[*earlier, {"role": "user", "content": "How long is the Aare?"}]).json()["ratchet"]
    assert found["cut"]["turns"] > 100 and found["cut"]["passages"] == 0
    shown = client.get(f"/v1/exchanges/{found['exchange_id']}").json()
    assert shown["cut"] == found["cut"]
    assert len(shown["messages"]) == 2 + 2 * (199 - found["cut"]["turns"])
    assert client.get("/v1/admin/exchanges").json()["data"][0]["cut"] == found["cut"]


def test_an_exchange_that_was_logged_without_a_cut_shows_none(client: TestClient, bot: QueuedBot) -> None:
    found = ask(client).json()["ratchet"]
    with bot.database.write() as session:
        row = session.get_one(Exchange, found["exchange_id"])
        row.sampling = {"max_tokens": 200}
        session.add(row)
    assert client.get(f"/v1/exchanges/{found['exchange_id']}").json()["cut"] == NOTHING


def test_a_clients_own_system_message_is_not_shown_to_the_model(client: TestClient, bot: QueuedBot) -> None:
    messages = [{"role": "system", "content": PROSE[:100_000]}, {"role": "user", "content": "How long is the Aare?"}]
    assert ask(client, messages=messages).status_code == 200
    assert bot.engine.prompts[-1][0]["content"] == prompt.SYSTEM and len(bot.engine.prompts[-1]) == 2


def test_a_question_of_150_000_characters_is_answered_and_kept_whole(client: TestClient, bot: QueuedBot) -> None:
    question = PROSE[:150_000]
    found = ask(client, question).json()["ratchet"]
    shown = client.get(f"/v1/exchanges/{found['exchange_id']}").json()
    assert shown["question"] == question.strip() and shown["cut"]["characters"] > 100_000
    assert bot.engine.count(shown["messages"]) <= bot.engine.context_tokens


def test_citations_of_a_cut_prompt_name_the_passages_that_were_shown(client: TestClient, bot: QueuedBot) -> None:
    bot.engine.default = "It is long [3], and wide [9]."
    given = [{"title": f"Page {n}", "text": PROSE[:20_000]} for n in range(1, 9)]
    found = ask(client, ratchet={"passages": given}).json()["ratchet"]
    assert [passage["title"] for passage in found["passages"]] == [page["title"] for page in given]
    assert found["cut"]["characters"] > 100_000 and found["citations"] == [{"n": 3, "start": 11, "end": 14}]
    assert {c.n for c in answers.citations(bot.engine.default)} == {3, 9}
