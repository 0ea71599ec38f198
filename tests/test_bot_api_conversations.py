"""Over HTTP: one's own conversations and consent; the log as admins look for it; what others' keys may not do."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from store import adapters, people
from store.models import Cycle, Role
from tests.deciding import many, one_exchange
from tests.queued import QUESTION, QueuedBot, ask, error, queued_bot
from tests.test_bot_api_admin import scheduler


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path_factory.mktemp("bot")) as bot:
        many(bot, 120)
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("other"), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def admin(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        yield client


def test_a_conversation_is_renamed_taken_out_of_training_and_deleted(client: TestClient) -> None:
    told = ask(client).json()["ratchet"]
    path = f"/v1/conversations/{told['conversation_id']}"
    changed = client.patch(path, json={"title": "Rivers", "train": False}).json()
    assert (changed["title"], changed["train"]) == ("Rivers", False)
    assert client.get(f"/v1/exchanges/{told['exchange_id']}").json()["trainable"] is False
    again = ask(client, metadata={"conversation_id": told["conversation_id"]}).json()["ratchet"]
    assert client.get(f"/v1/exchanges/{again['exchange_id']}").json()["trainable"] is False
    assert client.delete(path).json()["exchanges"] == 2
    assert client.get(path).status_code == 404


def test_nobody_changes_or_deletes_somebody_elses_conversation(client: TestClient, bot: QueuedBot) -> None:
    told = ask(client).json()["ratchet"]
    path = f"/v1/conversations/{told['conversation_id']}"
    for who in ("chat", "reviewer", "admin"):
        headers = bot.headers(who)
        assert client.patch(path, json={"title": "x"}, headers=headers).status_code == 404
        assert client.delete(path, headers=headers).status_code == 404
    mine = {"metadata": {"replaces": told["exchange_id"]}}
    assert ask(client, headers=bot.headers("chat"), **mine).status_code == 404


def test_consent_is_ones_own_and_holds_from_the_next_question(client: TestClient) -> None:
    assert client.get("/v1/me").json()["consent"] is True
    assert client.put("/v1/me", json={"consent": False}).json()["consent"] is False
    told = ask(client).json()["ratchet"]
    assert client.get(f"/v1/exchanges/{told['exchange_id']}").json()["trainable"] is False
    client.put("/v1/me", json={"consent": True})


def test_deleting_my_data_empties_my_list(client: TestClient) -> None:
    ask(client)
    assert client.delete("/v1/me/data").json()["exchanges"] >= 1
    assert client.get("/v1/conversations").json()["data"] == []
    assert client.get("/v1/me").status_code == 200


def test_asking_again_sees_what_the_first_one_saw(client: TestClient, bot: QueuedBot) -> None:
    first = ask(client).json()["ratchet"]
    body = {"conversation_id": first["conversation_id"], "replaces": first["exchange_id"]}
    again = ask(client, metadata=body).json()["ratchet"]
    one, two = (client.get(f"/v1/exchanges/{key['exchange_id']}").json() for key in (first, again))
    assert (two["conversation_id"], two["parent_id"]) == (one["conversation_id"], one["parent_id"])
    assert two["messages"] == one["messages"]


def test_admins_find_exchanges_by_text_task_rating_and_adapter(admin: TestClient) -> None:
    def found(query: str) -> list[dict]:
        return list(admin.get(f"/v1/admin/exchanges?limit=200&{query}").json()["data"])

    assert [row["id"] for row in found("q=number 77?")] == ["ex_00000077"]
    assert {row["labels"][0]["task"] for row in found("task=travel")} == {"travel"}
    assert {row["feedback"]["rating"] for row in found("rating=down")} == {"down"}
    assert {row["adapter"] for row in found("adapter=v1")} == {"v1"}
    assert {row["id"] for row in found("ids=ex_00000001&ids=ex_00000002")} == {"ex_00000001", "ex_00000002"}
    assert found("task=travel&rating=corrected&q=nothing") == []
    assert "expected one of up" in error(admin.get("/v1/admin/exchanges?rating=best"))["message"]


def test_admins_page_to_the_end_without_losing_a_row(admin: TestClient) -> None:
    seen, cursor = [], ""
    while cursor is not None:
        page = admin.get(f"/v1/admin/exchanges?limit=50&q=river number{cursor and f'&cursor={cursor}'}").json()
        seen += [row["id"] for row in page["data"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) == 120


def test_what_an_adapter_learned_from_is_found(admin: TestClient, bot: QueuedBot) -> None:
    row = adapters.create(bot.database, actor="test", lineage={"examples": {"ex_00000003": [], "ex_00000004": []}})
    found = admin.get(f"/v1/admin/exchanges?trained={row.id}").json()["data"]
    assert {one["id"] for one in found} == {"ex_00000003", "ex_00000004"}
    assert admin.get("/v1/admin/exchanges?trained=v99").status_code == 404


def test_funnel_names_the_exchanges_behind_each_line_and_reads_nothing_else(
    admin: TestClient, bot: QueuedBot, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data: Path = bot.app.state.parts.data
    (data / "made").mkdir()
    content = {"counts": {"left out: x": 2}, "rows": {"left out: x": ["ex_1", "ex_2"]}}
    (data / "made" / "funnel.json").write_text(json.dumps(content))
    secret = tmp_path_factory.mktemp("elsewhere")
    (secret / "funnel.json").write_text(json.dumps(content))
    with bot.database.write() as session:
        session.add(Cycle(id="cy_in", slot_key="in", results={"curate": {"data": "made"}}))
        session.add(Cycle(id="cy_out", slot_key="out", results={"curate": {"data": f"../../..{secret}"}}))
    found = admin.get("/v1/admin/cycles/cy_in/funnel").json()["data"]
    assert found == [{"line": "left out: x", "count": 2, "ids": ["ex_1", "ex_2"]}]
    assert admin.get("/v1/admin/cycles/cy_out/funnel").json()["data"] == []


def test_trends_cover_the_days_asked_for(admin: TestClient) -> None:
    days = admin.get("/v1/admin/trends?days=31").json()["data"]
    assert len(days) == 31 and sum(day["exchanges"] for day in days) >= 120
    assert admin.get("/v1/admin/trends?days=0").status_code == 422


def test_judging_is_asked_of_the_scheduler_for_a_known_exchange_only(admin: TestClient, bot: QueuedBot) -> None:
    row = one_exchange(bot, question=QUESTION)
    with scheduler(bot, {"judged": {"judge": "words"}, "groundedness": {"data": []}}) as asked:
        assert admin.get(f"/v1/admin/exchanges/{row.id}/judged").json() == {"judge": "words"}
        assert admin.get("/v1/admin/groundedness").json() == {"data": []}
        assert admin.get("/v1/admin/exchanges/ex_x/judged").status_code == 404
    assert asked == [("judged", {"exchange_id": row.id}), ("groundedness", {})]


def test_roles_are_changed_by_admins_and_audited(admin: TestClient, bot: QueuedBot) -> None:
    row = people.add(bot.database, "dora", role=Role.CHAT, actor="test")
    assert admin.put(f"/v1/admin/users/{row.id}", json={"role": "reviewer"}).json()["role"] == "reviewer"
    assert "expected one of chat" in error(admin.put(f"/v1/admin/users/{row.id}", json={"role": "king"}))["message"]
    last = admin.get("/v1/admin/audit?limit=1&q=person.role").json()["data"][0]
    assert (last["actor_name"], last["subject_name"], last["details"]) == (
        "admin",
        "dora",
        {"from": "chat", "to": "reviewer"},
    )
