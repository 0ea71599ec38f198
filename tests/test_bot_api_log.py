"""The log, feedback, documents, search and health over HTTP, and what bad input gets."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from store import people
from store.models import Exchange, Feedback
from tests.queued import BREAD, QUESTION, QueuedBot, ask, error, queued_bot


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("chat"), raise_server_exceptions=False) as client:
        yield client


# feedback and the log


def test_feedback_is_kept_and_a_second_call_replaces_the_first(client: TestClient, bot: QueuedBot) -> None:
    found = ask(client).json()["ratchet"]["exchange_id"]
    first = client.post("/v1/feedback", json={"exchange_id": found, "rating": "up"})
    assert first.status_code == 200 and first.json()["rating"] == "up"
    body = {"exchange_id": found, "rating": "down", "reasons": ["Wrong"], "correction": "288 km [1]."}
    assert client.post("/v1/feedback", json=body).status_code == 200
    shown = client.get(f"/v1/exchanges/{found}").json()
    assert shown["feedback"]["rating"] == "down" and shown["feedback"]["correction"] == "288 km [1]."
    assert shown["feedback"]["approved"] is False
    assert client.post("/v1/feedback", json={"exchange_id": found, "rating": None}).json()["rating"] is None


def test_a_word_on_approval_changes_only_what_it_names(client: TestClient, bot: QueuedBot) -> None:
    found = ask(client).json()["ratchet"]["exchange_id"]
    said = {"rating": "down", "reasons": ["Wrong"], "comment": "it is longer", "correction": "300 km [1]."}

    def then(who: str, **body: Any) -> dict[str, Any]:
        kept: dict[str, Any] = client.post(
            "/v1/feedback", json={"exchange_id": found, **body}, headers=bot.headers(who)
        ).json()
        return {name: kept[name] for name in (*said, "approved", "rated_by")}

    first = then("chat", **said)
    assert then("reviewer", approved=True) == first | {"approved": True}
    checked = {"approved": True, "comment": "checked"}
    assert then("reviewer", **checked) == first | checked
    right = {"correction": "288 km [1].", "approved": True}
    assert then("reviewer", **right) == first | right | {"comment": "checked"}
    nothing = {"rating": None, "reasons": [], "comment": "", "correction": "", "approved": False, "rated_by": None}
    assert then("reviewer", rating=None) == nothing
    then("chat", **said)
    assert then("chat", correction="299 km.") == nothing | {"correction": "299 km."}


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"exchange_id": "ex_unknown", "rating": "up"}, 404, "no exchange ex_unknown"),
        ({"rating": "up"}, 422, "exchange_id is missing"),
        ({"rating": "sideways"}, 422, 'rating is "sideways"'),
        ({"rating": "up", "correction": "x" * 20_001}, 422, "20001 characters"),
        ({"rating": "up", "approved": True}, 403, "only reviewers"),
    ],
)
def test_bad_feedback_gets_a_sentence(client: TestClient, body: dict[str, Any], status: int, part: str) -> None:
    mine = {} if "exchange_id is" in part else {"exchange_id": ask(client).json()["ratchet"]["exchange_id"]}
    response = client.post("/v1/feedback", json={**mine, **body})
    assert response.status_code == status and part in error(response)["message"]


def test_feedback_on_somebody_elses_exchange_is_403_but_a_reviewers_counts(client: TestClient, bot: QueuedBot) -> None:
    found = ask(client).json()["ratchet"]["exchange_id"]
    body = {"exchange_id": found, "rating": "down", "correction": "It is 288 km long [1]."}
    assert client.post("/v1/feedback", json=body, headers=bot.headers("other")).status_code == 403
    reviewed = client.post("/v1/feedback", json=body, headers=bot.headers("reviewer"))
    assert reviewed.json()["approved"] is True


def test_feedback_through_a_key_on_behalf_counts_as_the_askers(client: TestClient, bot: QueuedBot) -> None:
    found = ask(client, user="alice", headers=bot.headers("admin")).json()["ratchet"]["exchange_id"]
    body = {"exchange_id": found, "rating": "down", "correction": "It is 288 km long [1]."}
    kept = client.post("/v1/feedback", json=body, headers=bot.headers("admin")).json()
    with bot.database.read() as session:
        alice = people.find(session, "alice")
        assert session.get_one(Feedback, found).person_id == alice.id
        assert session.get_one(Exchange, found).person_id == alice.id
    assert kept["approved"] is False
    approved = client.post("/v1/feedback", json={**body, "approved": True}, headers=bot.headers("admin")).json()
    assert approved["approved"] is True


def test_a_key_on_behalf_rates_for_nobody_of_a_greater_role_than_its_own(client: TestClient, bot: QueuedBot) -> None:
    admins = ask(client, headers=bot.headers("admin")).json()["ratchet"]["exchange_id"]
    mine = ask(client).json()["ratchet"]["exchange_id"]
    key = people.add_key(bot.database, bot.people["other"], actor="test", scopes=["on_behalf"])
    headers = {"Authorization": f"Bearer {key}"}
    refused = client.post("/v1/feedback", json={"exchange_id": admins, "correction": "Poison."}, headers=headers)
    assert refused.status_code == 403
    assert error(refused)["message"] == '"admin" is admin: a key of role chat cannot act for them.'
    assert client.get(f"/v1/exchanges/{admins}", headers=bot.headers("admin")).json()["feedback"] is None
    assert client.post("/v1/feedback", json={"exchange_id": mine, "rating": "up"}, headers=headers).status_code == 200


def test_exchange_is_shown_to_its_owner_and_to_reviewers_only(client: TestClient, bot: QueuedBot) -> None:
    found = ask(client).json()["ratchet"]["exchange_id"]
    shown = client.get(f"/v1/exchanges/{found}").json()
    assert shown["state"] == "finished" and shown["question"] == QUESTION and shown["labels"] == []
    assert shown["messages"] == bot.engine.prompts[0]
    assert {"timings", "prompt_tokens", "citations", "declined", "conversation_id", "created_at"} <= set(shown)
    for who, status in {"other": 404, "reviewer": 200, "admin": 200}.items():
        assert client.get(f"/v1/exchanges/{found}", headers=bot.headers(who)).status_code == status
    assert client.get("/v1/exchanges/ex_unknown").status_code == 404


def test_lists_of_exchanges_are_own_unless_a_reviewer_asks_for_all(client: TestClient, bot: QueuedBot) -> None:
    ask(client)
    assert client.get("/v1/exchanges", headers=bot.headers("other")).json() == {"data": [], "next": None}
    assert client.get("/v1/exchanges?everybody=true", headers=bot.headers("other")).status_code == 403
    assert len(client.get("/v1/exchanges?everybody=true", headers=bot.headers("reviewer")).json()["data"]) == 1


def test_a_reviewer_finds_exchanges_by_text_rating_and_adapter(client: TestClient, bot: QueuedBot) -> None:
    first, second = (ask(client, text).json()["ratchet"]["exchange_id"] for text in (QUESTION, "How is bread baked?"))
    client.post("/v1/feedback", json={"exchange_id": second, "rating": "down"})

    def found(wanted: str, who: str = "reviewer") -> list[str]:
        rows = client.get(f"/v1/exchanges?everybody=true&{wanted}", headers=bot.headers(who)).json()["data"]
        return [row["id"] for row in rows]

    assert (found("q=river"), found("rating=down"), found("adapter=v1")) == ([first], [second], [])
    assert found("rating=unrated&adapter=base") == [first]
    assert client.get("/v1/exchanges?rating=meh").status_code == 422


def test_lists_go_on_from_their_cursor_and_miss_nothing(client: TestClient) -> None:
    asked = [ask(client, f"Question {n} about the Aare?").json()["ratchet"]["conversation_id"] for n in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/v1/conversations?limit=2{cursor and f'&cursor={cursor}'}").json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next"]
    assert seen == asked[::-1]
    assert client.get("/v1/conversations?limit=0").status_code == 422


def test_conversation_shows_its_exchanges_oldest_first(client: TestClient) -> None:
    first = ask(client).json()["ratchet"]
    ask(client, "And where does it end?", metadata={"conversation_id": first["conversation_id"]})
    shown = client.get(f"/v1/conversations/{first['conversation_id']}").json()
    assert [row["question"] for row in shown["exchanges"]] == [QUESTION, "And where does it end?"]


# documents


def test_text_document_is_created_once_then_found_shown_and_removed(client: TestClient, bot: QueuedBot) -> None:
    admin = bot.headers("admin")
    body = {"title": "Cats", "text": "Cats sleep sixteen hours a day and purr at twenty-five hertz."}
    first, again = (client.post("/v1/documents", json=body, headers=admin) for _ in range(2))
    assert (first.status_code, first.json()["created"]) == (201, True)
    assert (again.status_code, again.json()["created"]) == (200, False)
    found = first.json()["id"]
    shown = client.get(f"/v1/documents/{found}").json()
    assert shown["text"] == body["text"]
    assert found in [row["id"] for row in client.get("/v1/documents").json()["data"]]
    assert client.delete(f"/v1/documents/{found}", headers=admin).status_code == 200
    assert client.get(f"/v1/documents/{found}").status_code == 404
    assert client.delete(f"/v1/documents/{found}", headers=admin).status_code == 404


def test_uploaded_file_is_kept_under_its_name_without_folders(client: TestClient, bot: QueuedBot) -> None:
    files = {"file": ("../../etc/cats.md", b"# Cats\n\nCats purr.", "text/markdown")}
    response = client.post("/v1/documents", files=files, headers=bot.headers("admin"))
    assert response.status_code == 201 and response.json()["source"] == "cats.md"


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"<a>" + b"0" * 250_000_000)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [("broken.pdf", b"%PDF-1.7 nonsense"), ("bomb.docx", bomb()), ("a.exe", b"MZ"), ("empty.txt", b"")],
)
def test_file_that_cannot_be_read_is_422(client: TestClient, bot: QueuedBot, name: str, content: bytes) -> None:
    response = client.post("/v1/documents", files={"file": (name, content)}, headers=bot.headers("admin"))
    assert response.status_code in (413, 422) and error(response)["message"]


@pytest.mark.parametrize(
    ("request_", "status", "part"),
    [
        ({"json": {"title": "x"}}, 422, "text"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "not JSON"),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 422, 'type "text/plain"'),
        ({"files": {"other": ("a.txt", b"x")}}, 422, "no file"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "boundary"),
        ({"json": {"title": "x", "text": "y" * 1_200_000}}, 413, "limit of 1 MB"),
    ],
)
def test_bad_document_gets_a_sentence(
    client: TestClient, bot: QueuedBot, request_: dict[str, Any], status: int, part: str
) -> None:
    headers = {**bot.headers("admin"), **request_.pop("headers", {})}
    response = client.post("/v1/documents", headers=headers, **request_)
    assert response.status_code == status and part in error(response)["message"]


def test_search_gives_passages_best_first_in_pages(client: TestClient) -> None:
    found = client.post("/v1/search", json={"query": "bake the bread", "k": 2}).json()
    assert found["data"][0]["text"] == BREAD and found["next"] is None
    assert client.post("/v1/search", json={"query": " "}).status_code == 422
    assert client.post("/v1/search", json={"query": "x", "k": 0}).status_code == 422
    assert client.post("/v1/search?cursor=x", json={"query": "x"}).status_code == 422


# health, errors, headers


def test_health_says_what_is_wrong(client: TestClient, bot: QueuedBot) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert ready.status_code == 200 and ready.json()["checks"]["model"] == "ok"
    bot.engine.problem = "the engine is out of memory."
    broken = client.get("/readyz")
    assert broken.status_code == 503 and "model: the engine is out of memory." in error(broken)["message"]


def test_unknown_route_and_method_are_json(client: TestClient) -> None:
    unknown, wrong = client.get("/v1/nothing"), client.put("/v1/models")
    assert unknown.status_code == 404 and "GET /v1/nothing" in error(unknown)["message"]
    assert wrong.status_code == 405 and "GET" in wrong.headers["allow"] and error(wrong)["type"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/livez", "/v1/models", "/login", "/static/app.css", "/v1/nothing", "/"])
def test_every_response_has_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] in ("no-store", "no-cache")
