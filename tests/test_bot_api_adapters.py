"""Canaries and blind previews over HTTP: who gets which answer, what is told when, what stays out of the log."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from store import adapters, deployments, people
from store.errors import BrokenAdapter
from store.models import BASE, AdapterState, AuditEntry, Conversation, Exchange, Preview, Role
from tests.queued import QUESTION, QueuedBot, ask, error, queued_bot, until
from tests.test_store_adapters import made, state

THEIRS = {"base": "It is long [1].", "v1": "The Aare is 288 kilometres long [1].", "v2": "I could not find this."}
COMMENT = {"comment": "try it"}


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        bot.engine.by_adapter = THEIRS
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        yield client


def approve(client: TestClient, bot: QueuedBot, **values: object) -> str:
    adapter = made(bot.database)
    response = client.post(f"/v1/admin/adapters/{adapter}/approve", json={**COMMENT, **values})
    assert response.status_code == 200, response.text
    until(lambda: state(bot.database, adapter) in ("canary", "live"))
    return adapter


def answered_by(client: TestClient, bot: QueuedBot, who: str = "chat", **more: object) -> dict[str, Any]:
    found: dict[str, Any] = ask(client, headers=bot.headers(who), **more).json()["ratchet"]
    return found


# canary


def test_a_tester_gets_the_canary_and_others_what_served_before(client: TestClient, bot: QueuedBot) -> None:
    adapter = approve(client, bot, share=0, testers=["other"])
    assert state(bot.database, adapter) == "canary"
    assert {answered_by(client, bot)["adapter"] for _ in range(5)} == {BASE}
    assert answered_by(client, bot, "other")["adapter"] == adapter
    overview = client.get("/v1/admin/overview").json()
    assert overview["adapter"] == BASE
    assert overview["canary"] == {"adapter": adapter, "share": 0.0, "testers": ["other"]}
    assert [(p["adapter"], p["canary"]) for p in overview["processes"]] == [(BASE, adapter)]


def test_a_conversation_keeps_its_version_until_that_is_taken_back(client: TestClient, bot: QueuedBot) -> None:
    adapter = approve(client, bot, share=0.5)
    firsts = [answered_by(client, bot) for _ in range(20)]
    assert {first["adapter"] for first in firsts} == {BASE, adapter}
    for first in firsts:
        again = answered_by(client, bot, metadata={"conversation_id": first["conversation_id"]})
        assert again["adapter"] == first["adapter"]
    with bot.database.read() as session:
        pins = {row.id: row.pinned_adapter for row in session.exec(select(Conversation))}
    assert pins == {first["conversation_id"]: first["adapter"] for first in firsts}
    pinned = next(first["conversation_id"] for first in firsts if first["adapter"] == adapter)
    back = client.post("/v1/admin/rollback", json={"comment": "bad"}).json()
    assert (back["adapter"], back["canary"]) == (BASE, None)
    until(lambda: answered_by(client, bot, metadata={"conversation_id": pinned})["adapter"] == BASE)
    assert state(bot.database, adapter) == "rolled_back"


def test_the_share_is_changed_and_completed_by_an_admin(client: TestClient, bot: QueuedBot) -> None:
    adapter = approve(client, bot, share=0.1)
    changed = client.post("/v1/admin/canary", json={"share": 0.3, "testers": ["chat"], "comment": "more"}).json()
    assert changed["canary"] == {"adapter": adapter, "share": 0.3, "testers": ["chat"]}
    done = client.post("/v1/admin/canary", json={"share": 1, "comment": "all well"}).json()
    assert (done["adapter"], done["canary"]) == (adapter, None)
    assert client.get(f"/v1/admin/adapters/{adapter}").json()["state"] == "live"
    until(lambda: answered_by(client, bot, "other")["adapter"] == adapter)


def test_a_canary_is_changed_only_while_it_is_the_one_that_is_named(client: TestClient, bot: QueuedBot) -> None:
    first = approve(client, bot, share=0.1)
    client.post("/v1/admin/rollback", json={**COMMENT, "of": first})
    second = approve(client, bot, share=0.01)
    refused = client.post("/v1/admin/canary", json={**COMMENT, "share": 1, "of": first})
    assert refused.status_code == 409
    said = f"adapter {first} is not the canary any more, {second} is: nothing was changed."
    assert error(refused)["message"] == said
    changed = client.post("/v1/admin/canary", json={**COMMENT, "share": 0.02, "of": second}).json()
    assert changed["canary"] == {"adapter": second, "share": 0.02, "testers": []}


def test_an_approval_holds_for_the_report_that_was_read_and_no_other(client: TestClient, bot: QueuedBot) -> None:
    adapter = made(bot.database)
    path = f"/v1/admin/adapters/{adapter}"
    digest = client.get(f"{path}/dossier").json()["digests"]["report"]
    assert digest == client.get(path).json()["report_digest"]
    refused = client.post(f"{path}/approve", json={**COMMENT, "report_digest": "0" * 64})
    assert refused.status_code == 409 and "is another one than you read" in error(refused)["message"]
    assert error(refused)["hint"] == "Read it again, then decide."
    assert state(bot.database, adapter) == "awaiting_approval"
    assert client.post(f"{path}/approve", json={**COMMENT, "report_digest": digest}).status_code == 200
    assert state(bot.database, adapter) in ("approved", "live")


def test_who_agreed_to_what_and_how_many_are_missing_is_told(tmp_path: Path) -> None:
    with queued_bot(tmp_path, approvers=3) as bot, TestClient(bot.app, headers=bot.headers("admin")) as client:
        adapter = made(bot.database)
        body = {**COMMENT, "share": 0.1, "testers": ["chat"]}
        said = client.post(f"/v1/admin/adapters/{adapter}/approve", json=body).json()
        assert (said["state"], said["approvals_missing"]) == ("awaiting_approval", 2)
        [given] = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()["approvals"]
        assert (given["name"], given["share"], given["testers"]) == ("admin", 0.1, ["chat"])


def test_what_others_asked_for_and_who_is_told_until_enough_agree(tmp_path: Path) -> None:
    with queued_bot(tmp_path, approvers=2) as bot, TestClient(bot.app) as client:
        for name in ("ben", "cy"):
            person = people.add(bot.database, name, role=Role.ADMIN, actor="test")
            bot.keys[name] = people.add_key(bot.database, person, actor="test")

        def asks(who: str, path: str, comment: str, share: float, *testers: str) -> None:
            body = {"comment": comment, "share": share, "testers": testers}
            said = client.post(f"/v1/admin/{path}", json=body, headers=bot.headers(who))
            assert said.status_code == 200, said.text

        def asked(who: str) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = client.get("/v1/admin/overview", headers=bot.headers(who)).json()["asked_for"]
            return found

        adapter = made(bot.database)
        terms = {"adapter": adapter, "share": 0.1, "testers": ["chat"], "missing": 1}
        first = {**terms, "by": [{"name": "admin", "comment": "try it"}]}
        asks("admin", f"adapters/{adapter}/approve", "try it", 0.1, "chat")
        assert asked("ben") == [{**first, "mine": False, "canary": False}]
        assert asked("admin") == [{**first, "mine": True, "canary": False}]
        asks("ben", f"adapters/{adapter}/approve", "so do I", 0.1, "chat")
        assert asked("cy") == []
        asks("admin", "canary", "half", 0.5, "chat")
        asks("ben", "canary", "all", 1)
        shares = [(one["share"], one["testers"], one["by"][0]["name"], one["canary"]) for one in asked("cy")]
        assert shares == [(1.0, [], "ben", True), (0.5, ["chat"], "admin", True)]
        people.set_role(bot.database, "ben", Role.CHAT, actor="test")
        assert [one["share"] for one in asked("cy")] == [0.5]
        asks("cy", "canary", "half is well", 0.5, "chat")
        assert asked("admin") == []
        assert client.get("/v1/admin/overview", headers=bot.headers("admin")).json()["canary"]["share"] == 0.5


def test_nobody_asks_for_anything_where_one_person_decides(client: TestClient, bot: QueuedBot) -> None:
    approve(client, bot, share=0.1)
    made(bot.database)
    assert client.get("/v1/admin/overview").json()["asked_for"] == []


def test_how_many_must_still_agree_is_told_of_a_larger_share_alone(tmp_path: Path) -> None:
    with queued_bot(tmp_path, approvers=2) as bot, TestClient(bot.app, headers=bot.headers("admin")) as client:
        adapter = made(bot.database)
        deployments.approve(bot.database, adapter, actor="test", comment="try it", share=0.5)

        def change(**body: object) -> tuple[float, list[str], int]:
            said = client.post("/v1/admin/canary", json={**COMMENT, **body}).json()
            return said["canary"]["share"], said["canary"]["testers"], said["approvals_missing"]

        assert change(share=0.5, testers=["chat"]) == (0.5, ["chat"], 0)
        assert change(share=0.7, testers=["chat"]) == (0.5, ["chat"], 1)
        assert change(share=0.1) == (0.1, ["chat"], 0)


def test_what_serves_beside_a_canary_is_taken_back_and_the_canary_goes_on(client: TestClient, bot: QueuedBot) -> None:
    first = approve(client, bot)
    second = made(bot.database, compared_with=first)
    client.post(f"/v1/admin/adapters/{second}/approve", json={**COMMENT, "share": 0.5})
    until(lambda: state(bot.database, second) == "canary")
    back = client.post("/v1/admin/rollback", json={"comment": "the watch asked", "of": first}).json()
    assert (back["adapter"], back["canary"]["adapter"]) == (BASE, second)
    assert (state(bot.database, first), state(bot.database, second)) == ("rolled_back", "canary")


def test_an_empty_name_of_what_to_return_to_or_to_take_back_names_none(client: TestClient, bot: QueuedBot) -> None:
    adapter = approve(client, bot, share=0.5)
    for body in ({"to": ""}, {"of": ""}, {"to": "", "of": ""}, {"to": BASE, "of": ""}):
        back = client.post("/v1/admin/rollback", json={"comment": "enough", **body})
        assert (back.status_code, back.json()["adapter"], back.json()["canary"]) == (200, BASE, None)
        assert state(bot.database, adapter) == "rolled_back"
        adapter = approve(client, bot, share=0.5)


def test_which_of_those_taken_back_were_live_is_told(client: TestClient, bot: QueuedBot) -> None:
    first = approve(client, bot)
    client.post("/v1/admin/rollback", json=COMMENT)
    second = approve(client, bot, share=0.5)
    client.post("/v1/admin/rollback", json=COMMENT)
    rows = client.get("/v1/admin/adapters").json()["data"]
    assert {row["id"]: (row["state"], row["was_live"]) for row in rows} == {
        first: ("rolled_back", True),
        second: ("rolled_back", False),
    }
    assert [client.get(f"/v1/admin/adapters/{one}").json()["was_live"] for one in (first, second)] == [True, False]
    refused = client.post("/v1/admin/rollback", json={**COMMENT, "to": second})
    assert refused.status_code == 409 and "only one that was live can come back" in error(refused)["message"]


@pytest.mark.parametrize(
    ("path", "body", "status", "part"),
    [
        ("rollback", {"of": "v9", "comment": "x"}, 404, "no adapter v9"),
        ("rollback", {"of": "v1", "comment": "x"}, 409, "adapter v1 is not deployed any more"),
        ("rollback", {"of": "v1", "to": "base", "comment": "x"}, 422, "found both: return to base, and take v1 back"),
        ("rollback", {"of": 7, "comment": "x"}, 422, "of"),
        ("canary", {"share": 0.5, "comment": "more"}, 409, "no canary runs"),
        ("canary", {"share": 0.5, "of": "v1", "comment": "more"}, 409, "adapter v1 is not the canary any more"),
        ("canary", {"share": 0.5}, 422, "needs a comment"),
        ("canary", {"share": "much", "comment": "x"}, 422, "share"),
        ("adapters/v1/approve", {"share": 2, "comment": "x"}, 422, "the share is 2, expected a number from 0 to 1"),
        ("adapters/v1/approve", {"share": 0, "comment": "x"}, 422, "nobody would get the adapter"),
        ("adapters/v1/approve", {"share": 0, "testers": ["zoe"], "comment": "x"}, 404, 'nobody is called "zoe"'),
    ],
)
def test_a_wrong_decision_on_a_canary_is_a_sentence(
    client: TestClient, bot: QueuedBot, path: str, body: dict[str, Any], status: int, part: str
) -> None:
    made(bot.database)
    response = client.post(f"/v1/admin/{path}", json=body)
    assert response.status_code == status and part in error(response)["message"]


def test_a_second_approval_while_a_canary_runs_is_409(client: TestClient, bot: QueuedBot) -> None:
    approve(client, bot, share=0.1)
    response = client.post(f"/v1/admin/adapters/{made(bot.database)}/approve", json=COMMENT)
    assert response.status_code == 409 and "is a canary for 10%" in error(response)["message"]


def test_readyz_is_200_and_names_an_adapter_that_could_not_be_loaded(client: TestClient, bot: QueuedBot) -> None:
    assert client.get("/readyz").json()["checks"]["adapter"] == "ok"
    bot.engine.broken["v1"] = BrokenAdapter("the weights of adapter v1 are altered since they were published.")
    adapter = made(bot.database)
    client.post(f"/v1/admin/adapters/{adapter}/approve", json={**COMMENT, "share": 0.5})
    until(lambda: state(bot.database, adapter) == "quarantined")
    until(lambda: bot.live.serving.generation == 2)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ready")
    assert "adapter v1 is quarantined: the weights" in response.json()["checks"]["adapter"]
    assert answered_by(client, bot)["adapter"] == BASE
    assert "altered" in client.get("/v1/admin/adapters/v1").json()["note"]


# previews


def preview(client: TestClient, adapter: str, question: str = QUESTION) -> httpx2.Response:
    return client.post("/v1/admin/previews", json={"question": question, "adapter": adapter})


@pytest.mark.parametrize("at", ["candidate", "awaiting_approval", "canary"])
def test_a_preview_shows_two_answers_over_the_same_passages_and_not_whose(
    client: TestClient, bot: QueuedBot, at: str
) -> None:
    adapter = approve(client, bot, share=0.1) if at == "canary" else made(bot.database, AdapterState(at))
    shown = preview(client, adapter).json()
    assert {answer["text"] for answer in shown["answers"]} == {THEIRS["base"], THEIRS[adapter]}
    assert [set(answer) for answer in shown["answers"]] == [{"label", "text"}] * 2
    assert [answer["label"] for answer in shown["answers"]] == ["A", "B"]
    assert shown["passages"][0]["title"] == "The Aare" and "serving" not in shown
    assert bot.engine.prompts[-1] == bot.engine.prompts[-2]
    assert client.get("/v1/admin/previews").json()["data"] == [shown]


def test_the_order_of_the_answers_is_drawn_anew_each_time(client: TestClient, bot: QueuedBot) -> None:
    adapter = made(bot.database, AdapterState.CANDIDATE)
    firsts = {preview(client, adapter).json()["answers"][0]["text"] for _ in range(30)}
    assert firsts == {THEIRS["base"], THEIRS[adapter]}


@pytest.mark.parametrize("prefers", ["candidate", "serving", "tie"])
def test_a_choice_reveals_which_was_which_and_is_kept(client: TestClient, bot: QueuedBot, prefers: str) -> None:
    adapter = made(bot.database, AdapterState.CANDIDATE)
    shown = preview(client, adapter).json()
    wanted = {"candidate": THEIRS[adapter], "serving": THEIRS["base"], "tie": ""}[prefers]
    label = next((a["label"] for a in shown["answers"] if a["text"] == wanted), "tie")
    body = {"choice": label, "comment": "plainer"}
    told = client.post(f"/v1/admin/previews/{shown['id']}/choice", json=body).json()
    assert (told["preferred"], told["choice"], told["serving"]) == (prefers, label, BASE)
    assert {answer["adapter"]: answer["text"] for answer in told["answers"]} == {
        BASE: THEIRS["base"],
        adapter: THEIRS[adapter],
    }
    tally = client.get(f"/v1/admin/previews?adapter={adapter}").json()["tally"]
    assert tally == {"candidate": 0, "serving": 0, "tie": 0, "open": 0, prefers: 1}
    again = client.post(f"/v1/admin/previews/{shown['id']}/choice", json=body)
    assert again.status_code == 409 and "was decided already" in error(again)["message"]
    with bot.database.read() as session:
        entry = session.exec(select(AuditEntry).where(AuditEntry.action == "preview.chosen")).one()
    assert (entry.subject, entry.comment, entry.details["preferred"]) == (adapter, "plainer", prefers)


def test_previews_are_never_in_the_log_and_leave_nothing_loaded(client: TestClient, bot: QueuedBot) -> None:
    adapter = made(bot.database, AdapterState.CANDIDATE)
    preview(client, adapter)
    with bot.database.read() as session:
        assert session.exec(select(Exchange)).all() == [] == session.exec(select(Conversation)).all()
        assert len(session.exec(select(Preview)).all()) == 1
    until(lambda: bot.engine.loaded() == [BASE])


def test_the_previews_of_somebody_go_when_they_are_erased(client: TestClient, bot: QueuedBot) -> None:
    preview(client, made(bot.database, AdapterState.CANDIDATE))
    people.erase(bot.database, "admin", actor="test")
    with bot.database.read() as session:
        assert session.exec(select(Preview)).all() == []


@pytest.mark.parametrize("never", ["rejected", "quarantined", "superseded", "expired", "retired", "training", "live"])
def test_only_adapters_that_are_up_for_a_decision_are_previewed(client: TestClient, bot: QueuedBot, never: str) -> None:
    adapter = made(bot.database, AdapterState(never))
    response = preview(client, adapter)
    assert response.status_code == 409 and f"adapter {adapter} is {never}" in error(response)["message"]
    assert bot.engine.prompts == [] and bot.engine.loaded() == [BASE]


def test_a_preview_of_altered_files_is_refused_and_the_adapter_quarantined(client: TestClient, bot: QueuedBot) -> None:
    adapter = made(bot.database, AdapterState.CANDIDATE)
    bot.engine.broken[adapter] = BrokenAdapter("its weights are altered since they were published.")
    response = preview(client, adapter)
    assert response.status_code == 422 and "altered" in error(response)["message"]
    with bot.database.read() as session:
        assert adapters.get(session, adapter).state == "quarantined"


@pytest.mark.parametrize(
    ("path", "body", "status", "part"),
    [
        ("previews", {"question": " ", "adapter": "v1"}, 422, "the question is empty"),
        ("previews", {"question": "x", "adapter": "v9"}, 404, "no adapter v9"),
        ("previews", {"adapter": "v1"}, 422, "question is missing"),
        ("previews/pv_x/choice", {"choice": "A"}, 404, "no preview pv_x"),
        ("previews/pv_x/choice", {"choice": "C"}, 422, 'the choice is "C", expected "A", "B" or "tie"'),
    ],
)
def test_a_preview_that_cannot_be_made_is_a_sentence(
    client: TestClient, bot: QueuedBot, path: str, body: dict[str, Any], status: int, part: str
) -> None:
    made(bot.database, AdapterState.CANDIDATE)
    response = client.post(f"/v1/admin/{path}", json=body)
    assert response.status_code == status and part in error(response)["message"]
