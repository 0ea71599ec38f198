"""Claims about staleness over HTTP: what rests on a document is listed, and what is stale says so."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from store import adapters
from tests.queued import BREAD, RIVER, QueuedBot, ask, error, queued_bot


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


@pytest.fixture
def admin(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        yield client


def river(client: TestClient) -> str:
    """The id of the document about the river."""
    rows = client.get("/v1/documents").json()["data"]
    return str(next(row["id"] for row in rows if row["source"] == "river.md"))


def asked(client: TestClient) -> str:
    return str(ask(client).json()["ratchet"]["exchange_id"])


def stale_of(client: TestClient, exchange: str) -> dict[str, bool]:
    passages: list[dict[str, Any]] = client.get(f"/v1/exchanges/{exchange}").json()["passages"]
    return {passage["text"]: passage["stale"] for passage in passages}


def test_a_changed_document_tells_which_exchanges_rest_on_what_it_said(admin: TestClient, bot: QueuedBot) -> None:
    before = [asked(admin) for _ in range(3)]
    assert stale_of(admin, before[0])[RIVER] is False
    assert admin.get("/v1/admin/documents/stale").json() == {"data": [], "next": None}
    bot.library.add_text(source="river.md", title="The Aare", text=RIVER.replace("288", "295"))
    assert stale_of(admin, before[0])[RIVER] is True
    assert stale_of(admin, asked(admin)) == {RIVER.replace("288", "295"): False}
    key = river(admin)
    found = admin.get(f"/v1/documents/{key}/resting", params={"limit": 3}).json()
    assert (found["document"], found["removed"]) == (key, False)
    assert found["counts"] == {"exchanges": 4, "stale_exchanges": 3, "examples": 0, "adapters": 0}
    rest = admin.get(f"/v1/documents/{key}/resting", params={"cursor": found["next"]}).json()
    rows = [*found["data"], *rest["data"]]
    assert len(found["data"]) == 3 and rest["next"] is None and rest["counts"] == found["counts"]
    assert {row["id"] for row in rows if row["stale"]} == set(before)
    [document] = admin.get("/v1/admin/documents/stale").json()["data"]
    assert (document["id"], document["stale_exchanges"], document["removed"]) == (key, 3, False)


def test_a_removed_document_answers_too_and_names_examples_and_adapters(admin: TestClient, bot: QueuedBot) -> None:
    key, exchange = river(admin), asked(admin)
    admin.post("/v1/feedback", json={"exchange_id": exchange, "rating": "up"})
    digest = admin.get(f"/v1/exchanges/{exchange}").json()["passages"][0]["digest"]
    rows = {"examples": {exchange: [digest], "ex_gone": []}, "withheld": {exchange: [], "ex_gone": []}}
    lineage = {"people": [], "documents": [], **rows}
    made = adapters.create(bot.database, actor="test", lineage=lineage)
    assert admin.get(f"/v1/admin/adapters/{made.id}").json()["stale_examples"] == 0
    assert admin.delete(f"/v1/documents/{key}").status_code == 200
    found = admin.get(f"/v1/documents/{key}/resting").json()
    assert found["removed"] is True
    assert found["counts"] == {"exchanges": 1, "stale_exchanges": 1, "examples": 1, "adapters": 1}
    assert found["adapters"] == [{"id": made.id, "state": "training", "examples": 1}]
    assert found["data"] == [{"id": exchange, "stale": True, "example": True}]
    told = admin.get(f"/v1/admin/adapters/{made.id}").json()
    assert (told["examples"], told["stale_examples"], told["stale_share"]) == (4, 1, 0.25)
    assert (told["lineage"]["examples"], told["lineage"]["withheld"]) == (4, 2)


def test_given_passages_are_not_stale(admin: TestClient) -> None:
    given = {"passages": [{"title": "Bread", "text": f"{BREAD} Or not."}]}
    exchange = ask(admin, ratchet=given).json()["ratchet"]["exchange_id"]
    assert list(stale_of(admin, exchange).values()) == [False]


def test_an_adapter_of_an_older_version_does_not_say_what_is_stale(admin: TestClient, bot: QueuedBot) -> None:
    made = adapters.create(bot.database, actor="test", lineage={"documents": ["document:river.md"]})
    told = admin.get(f"/v1/admin/adapters/{made.id}").json()
    assert (told["examples"], told["stale_examples"], told["stale_share"]) == (None, None, None)
    found = admin.get(f"/v1/documents/{river(admin)}/resting").json()
    assert found["adapters"] == [{"id": made.id, "state": "training", "examples": None}]


@pytest.mark.parametrize("path", ["documents/doc_x/resting", "admin/adapters/v9"])
def test_what_is_unknown_is_404(admin: TestClient, path: str) -> None:
    response = admin.get(f"/v1/{path}")
    assert response.status_code == 404 and re.search("doc_x|v9", error(response)["message"])
