"""Claims about verified answers: an approved answer helps at once, and only as long as it should."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bot.verified import TITLE, with_answer
from finetune.examples import Example, Kind, example_of
from finetune.judge import WordJudge
from store import documents, exchanges, people, verified
from store.models import Adapter, Exchange, Feedback, Role, now
from tests.queued import QUESTION, QueuedBot, ask, queued_bot

RIGHT = "The Aare is 288 kilometres long and joins the Rhine [1]."


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("chat"), raise_server_exceptions=False) as client:
        yield client


def corrected(
    client: TestClient,
    bot: QueuedBot,
    exchange: str = "",
    *,
    by: str = "reviewer",
    correction: str = RIGHT,
    question: str = QUESTION,
) -> str:
    exchange = exchange or ask(client, question).json()["ratchet"]["exchange_id"]
    body = {"exchange_id": exchange, "rating": "down", "correction": correction}
    assert client.post("/v1/feedback", json=body, headers=bot.headers(by)).status_code == 200
    return exchange


def shown(client: TestClient, bot: QueuedBot, question: str = QUESTION) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(client, question, headers=bot.headers("other")).json()["ratchet"]["passages"]
    return found


def test_an_approved_answer_is_the_first_passage_for_who_asks_the_same(client: TestClient, bot: QueuedBot) -> None:
    before = shown(client, bot)
    exchange = corrected(client, bot)
    first, *others = shown(client, bot)
    assert (first["title"], first["verified"], first["n"]) == (TITLE, exchange, 1)
    assert first["text"] == "The Aare is 288 kilometres long and joins the Rhine."
    assert [(p["n"], p["chunk_id"]) for p in others] == [(n, p["chunk_id"]) for n, p in enumerate(before[:2], start=2)]


def test_what_nobody_reviewed_is_shown_to_nobody(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot, by="chat")
    assert all(passage["title"] != TITLE for passage in shown(client, bot))


@pytest.mark.parametrize(("by", "then", "offered"), [("chat", Role.REVIEWER, False), ("reviewer", Role.CHAT, True)])
def test_who_wrote_it_counts_as_who_they_were_then(
    client: TestClient, bot: QueuedBot, by: str, then: Role, offered: bool
) -> None:
    row = ask(client).json()["ratchet"]["exchange_id"]
    exchanges.rate(bot.database, row, person=bot.people[by], rating="down", correction=RIGHT)
    people.set_role(bot.database, bot.people[by].id, then, actor="test")
    assert (shown(client, bot)[0]["title"] == TITLE) == offered
    with bot.database.read() as session:
        made = example(exchanges.get(session, row))
    assert isinstance(made, Example) and (made.kind == Kind.APPROVED) == offered


def test_another_question_does_not_get_it(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot)
    assert all(passage["title"] != TITLE for passage in shown(client, bot, "Where does the Aare end?"))


def test_it_goes_when_the_correction_is_withdrawn(client: TestClient, bot: QueuedBot) -> None:
    exchange = corrected(client, bot)
    assert shown(client, bot)[0]["title"] == TITLE
    client.post("/v1/feedback", json={"exchange_id": exchange, "rating": None}, headers=bot.headers("reviewer"))
    assert shown(client, bot)[0]["title"] != TITLE


@pytest.mark.parametrize("by", ["reviewer", "admin"])
@pytest.mark.parametrize("said", [{}, {"correction": RIGHT}, {"correction": ""}, {"rating": None, "correction": RIGHT}])
def test_it_goes_when_its_approval_is_withdrawn(
    client: TestClient, bot: QueuedBot, by: str, said: dict[str, Any]
) -> None:
    """An admin's key acts on behalf of others, and still withdraws by its owner's word."""
    exchange = corrected(client, bot)
    assert shown(client, bot)[0]["title"] == TITLE
    body = {"exchange_id": exchange, "approved": False, **said}
    kept = client.post("/v1/feedback", json=body, headers=bot.headers(by)).json()
    assert (kept["approved"], kept["correction"]) == (False, said.get("correction", RIGHT))
    assert shown(client, bot)[0]["title"] != TITLE
    with bot.database.read() as session:
        made = example(exchanges.get(session, exchange))
    assert not isinstance(made, Example) or made.kind != Kind.APPROVED


def test_it_goes_with_the_person_who_asked(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot)
    people.erase(bot.database, "chat", actor="admin")
    assert shown(client, bot)[0]["title"] != TITLE


def test_it_goes_with_the_document_that_it_rests_on(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot)
    document = next(p["document"] for p in shown(client, bot) if p["document"])
    bot.library.remove(document)
    assert all(passage["title"] != TITLE for passage in shown(client, bot))


def test_an_approved_decline_is_no_passage(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot, correction="I could not find this in the documents.")
    assert shown(client, bot)[0]["title"] != TITLE


def passed(bot: QueuedBot, exchange: str, what: str | bool | None = None) -> None:
    """Enter that the base was asked an approved question, and what of it it passed; unless told, the answer of now."""
    with bot.database.write() as session:
        row = session.get(Adapter, "base") or Adapter(id="base")
        answer = verified.standing(session, exchange)
        row.report = {"verified": {exchange: answer.digest if answer is not None and what is None else what}}
        session.add(row)


@pytest.mark.parametrize("with_digest", [True, False])
def test_an_adapter_that_passes_the_question_by_itself_needs_none(
    client: TestClient, bot: QueuedBot, with_digest: bool
) -> None:
    exchange = corrected(client, bot)
    with bot.database.read() as session:
        answer = verified.standing(session, exchange)
    assert answer is not None
    passed(bot, exchange, answer.digest if with_digest else True)
    assert shown(client, bot)[0]["title"] != TITLE
    passed(bot, exchange, False)
    assert shown(client, bot)[0]["title"] == TITLE


@pytest.mark.parametrize("with_digest", [True, False])
def test_what_was_corrected_anew_is_offered_to_an_adapter_that_passed_the_old_answer(
    client: TestClient, bot: QueuedBot, with_digest: bool
) -> None:
    exchange = corrected(client, bot)
    with bot.database.read() as session:
        answer = verified.standing(session, exchange)
    assert answer is not None
    passed(bot, exchange, answer.digest if with_digest else True)
    corrected(client, bot, exchange, correction="The Aare is 291 kilometres long since the survey [1].")
    assert shown(client, bot)[0]["text"] == "The Aare is 291 kilometres long since the survey."


def test_a_row_that_is_dated_ahead_hides_no_new_answer_and_keeps_no_old_one(client: TestClient, bot: QueuedBot) -> None:
    other = corrected(client, bot, question="Is bread good?")
    with bot.database.write() as session:
        row = session.get_one(Feedback, other)
        row.updated_at = now() + timedelta(hours=2)
        session.add(row)
    assert shown(client, bot)[0]["title"] != TITLE
    exchange = corrected(client, bot, correction="The Aare is 999 kilometres long [1].")
    assert shown(client, bot)[0]["text"] == "The Aare is 999 kilometres long."
    corrected(client, bot, exchange, correction="The Aare is 288 kilometres long [1].")
    assert shown(client, bot)[0]["text"] == "The Aare is 288 kilometres long."


def test_the_state_is_short_and_tells_of_a_change_of_an_older_answer(client: TestClient, bot: QueuedBot) -> None:
    def state(*, moved: timedelta = timedelta()) -> tuple[Any, ...]:
        with bot.database.write() as session:
            row = session.get_one(Feedback, older)
            row.updated_at += moved
            session.add(row)
        with bot.database.read() as session:
            return verified.state(session)

    older = corrected(client, bot)
    one = state()
    corrected(client, bot, question="Is bread good?")
    two = state()
    assert len(one) == len(two) < 5
    found = [one, two, state(moved=-timedelta(microseconds=1)), state(moved=-timedelta(days=1))]
    assert len(set(found)) == 4
    assert state() == found[-1]


def test_the_text_is_that_of_the_moment_even_where_the_time_did_not_change(client: TestClient, bot: QueuedBot) -> None:
    exchange = corrected(client, bot)
    assert shown(client, bot)[0]["title"] == TITLE
    with bot.database.write() as session:
        row = session.get_one(Feedback, exchange)
        row.correction = "The Aare is 291 kilometres long [1]."
        session.add(row)
    assert shown(client, bot)[0]["text"] == "The Aare is 291 kilometres long."


def test_an_exchange_that_was_shown_one_is_never_an_example(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot)
    again = ask(client, headers=bot.headers("other")).json()["ratchet"]["exchange_id"]
    exchanges.rate(bot.database, again, person=bot.people["other"], rating="up")
    with bot.database.read() as session:
        row = exchanges.get(session, again)
    assert example(row) == "it was shown a verified answer"


def test_an_approved_example_keeps_the_digest_of_what_was_approved(client: TestClient, bot: QueuedBot) -> None:
    exchange = corrected(client, bot)
    with bot.database.read() as session:
        made = example(exchanges.get(session, exchange))
        answer = verified.standing(session, exchange)
    assert isinstance(made, Example) and answer is not None
    assert made.approved == answer.digest != ""


def example(row: exchanges.Logged) -> Example | str:
    kept: dict[str, Any] = {"judge": WordJudge(), "rules": {}, "covering": {}, "sources": {}}
    return example_of(row, **kept, redact=lambda text, public="": text)


def test_the_opposite_question_does_not_get_the_answer(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot, question="Can a reviewer delete an admin?")
    assert all(passage["title"] != TITLE for passage in shown(client, bot, "Can an admin delete a reviewer?"))
    assert shown(client, bot, "Please, can a reviewer delete an admin?")[0]["title"] == TITLE


def test_who_types_no_capitals_gets_the_answer_about_a_name_in_capitals(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot, question="How do I reach the US support?")
    assert shown(client, bot, "how do i reach the us support")[0]["title"] == TITLE
    assert all(passage["title"] != TITLE for passage in shown(client, bot, "How do I reach the us support?"))


def test_passages_keep_their_number_beside_a_verified_answer() -> None:
    found = [{"n": n, "text": str(n)} for n in (1, 2, 3)]
    assert [(p["n"], p["text"]) for p in with_answer(found, {"n": 1, "text": "a"}, 3)] == [(1, "a"), (2, "1"), (3, "2")]
    assert with_answer(found, None, 3) == found


def test_a_follow_up_is_answered_where_it_is_asked_again_and_nowhere_else(client: TestClient, bot: QueuedBot) -> None:
    def asked(first: str, who: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": first}, {"role": "assistant", "content": "Yes."}]
        messages = [*turns, {"role": "user", "content": "How long does it take?"}]
        found: dict[str, Any] = ask(client, messages=messages, headers=bot.headers(who)).json()["ratchet"]
        return found

    body = {"exchange_id": asked("Is there a river tour?", "chat")["exchange_id"], "rating": "down"}
    corrected_ = client.post("/v1/feedback", json={**body, "correction": RIGHT}, headers=bot.headers("reviewer"))
    assert corrected_.status_code == 200
    assert asked("Is there a river tour?", "other")["passages"][0]["title"] == TITLE
    assert all(one["title"] != TITLE for one in shown(client, bot, "How long does it take?"))


def over_a_verified_answer(client: TestClient, bot: QueuedBot, correction: str) -> str:
    """Correct an answer that was given over a verified one."""
    row = ask(client, headers=bot.headers("other")).json()["ratchet"]
    assert row["passages"][0]["verified"]
    return corrected(client, bot, row["exchange_id"], correction=correction)


def without_documents(bot: QueuedBot) -> None:
    with bot.database.read() as session:
        found = [document for document, _ in documents.present(session)]
    for document in found:
        bot.library.remove(document.id)


def test_an_answer_over_a_verified_one_goes_with_the_documents_below_that(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot)
    over_a_verified_answer(client, bot, "The Aare is 288 kilometres long, says the handbook [1].")
    over_a_verified_answer(client, bot, "It is 288 kilometres long, says the handbook [1].")
    assert shown(client, bot)[0]["text"] == "It is 288 kilometres long, says the handbook."
    without_documents(bot)
    assert shown(client, bot) == []


def test_an_answer_over_a_verified_one_goes_when_that_is_withdrawn_or_says_otherwise(
    client: TestClient, bot: QueuedBot
) -> None:
    def stands() -> bool:
        with bot.database.read() as session:
            return verified.standing(session, above) is not None

    below = corrected(client, bot)
    above = over_a_verified_answer(client, bot, "The Aare is 288 kilometres long, says the handbook [1].")
    assert stands()
    corrected(client, bot, below, correction="The Aare is 291 kilometres long [1].")
    assert not stands()
    corrected(client, bot, below)
    assert stands()
    client.post("/v1/feedback", json={"exchange_id": below, "rating": None}, headers=bot.headers("reviewer"))
    assert not stands()
    assert shown(client, bot)[0]["title"] != TITLE


def test_answers_that_rest_on_one_another_end_the_search(client: TestClient, bot: QueuedBot) -> None:
    below = corrected(client, bot)
    above = over_a_verified_answer(client, bot, "The Aare is 288 kilometres long, says the handbook [1].")
    with bot.database.write() as session:
        row, over = session.get_one(Exchange, below), verified.standing(session, above)
        assert over is not None
        digest = documents.text_digest(over.answer)
        row.passages = [{**row.passages[0], "document": None, "verified": above, "digest": digest}]
        session.add(row)
    with bot.database.read() as session:
        assert verified.standing(session, above) == over


def test_an_answer_that_cites_what_was_not_shown_rests_on_all_that_was(client: TestClient, bot: QueuedBot) -> None:
    corrected(client, bot, correction="The Aare is 288 kilometres long [7].")
    assert shown(client, bot)[0]["title"] == TITLE
    without_documents(bot)
    assert shown(client, bot) == []


def test_an_adapter_that_passed_an_answer_needs_none_that_says_the_same_over_it(
    client: TestClient, bot: QueuedBot
) -> None:
    below = corrected(client, bot)
    above = over_a_verified_answer(client, bot, "The Aare is 288 kilometres long, and joins the Rhine [1].")
    passed(bot, below, False)
    assert shown(client, bot)[0]["verified"] == above
    passed(bot, below)
    assert shown(client, bot)[0]["title"] != TITLE


def test_an_adapter_that_passed_an_answer_needs_what_says_otherwise_over_it(client: TestClient, bot: QueuedBot) -> None:
    below = corrected(client, bot)
    above = over_a_verified_answer(client, bot, "The Aare is 291 kilometres long and joins the Rhine [1].")
    passed(bot, below)
    assert shown(client, bot)[0]["verified"] == above


def test_an_older_answer_is_offered_where_the_newest_is_withdrawn_and_not_where_it_is_passed(
    client: TestClient, bot: QueuedBot
) -> None:
    older, newest = (ask(client).json()["ratchet"]["exchange_id"] for _ in range(2))
    corrected(client, bot, older, correction="The Aare is 291 kilometres long [1].")
    corrected(client, bot, newest, correction="The Aare is 288 kilometres long [1].")
    assert shown(client, bot)[0]["verified"] == newest
    passed(bot, newest)
    assert shown(client, bot)[0]["title"] != TITLE
    client.post("/v1/feedback", json={"exchange_id": newest, "rating": None}, headers=bot.headers("reviewer"))
    assert shown(client, bot)[0]["verified"] == older
