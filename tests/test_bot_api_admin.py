"""What admins see and decide over HTTP: cycles, adapters, rollback, the schedule, people and the audit record."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from store import adapters, cycles, processes, requests
from store.models import Adapter, AdapterState, AuditEntry, Cycle, CycleState, CycleStep, Exchange, now
from tests.deciding import signed
from tests.queued import QueuedBot, error, queued_bot, until

VERDICT = {
    "decision": "promote",
    "reasons": ["source_attribution gains 0.31 [0.20, 0.42]."],
    "deltas": [{"metric": "source_attribution", "candidate": 0.71, "serving": 0.4, "difference": 0.31, "n": 60}],
}
QUESTION = {"messages": [{"role": "user", "content": "How long is the Aare?"}]}


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        yield client


def awaiting(bot: QueuedBot) -> Adapter:
    report = {"cases": 60}
    row = adapters.create(
        bot.database, actor="test", digest="d" * 64, report=report, report_digest=adapters.report_digest(report)
    )
    with bot.database.write() as session:
        adapters.move(session, row.id, AdapterState.CANDIDATE, actor="test")
        row = adapters.move(session, row.id, AdapterState.AWAITING_APPROVAL, actor="test", verdict=VERDICT)
        return signed(bot.database, row)


@contextmanager
def scheduler(bot: QueuedBot, answers: dict[str, dict[str, Any]]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """A scheduler that is alive and answers what it is asked; gives what it was asked."""
    asked: list[tuple[str, dict[str, Any]]] = []
    over = threading.Event()
    processes.register(bot.database, "scheduler")

    def run() -> None:
        while not over.wait(0.02):
            row = requests.take(bot.database, only=answers)  # a page left may still want something else
            if row is not None:
                asked.append((row.kind, row.payload))
                requests.answer(bot.database, row.id, answers[row.kind])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield asked
    finally:
        over.set()
        thread.join()


def message(response: httpx2.Response) -> str:
    return error(response)["message"]


# the scheduler's work


def test_report_plan_and_run_are_asked_of_the_scheduler(client: TestClient, bot: QueuedBot) -> None:
    answers: dict[str, dict[str, Any]] = {
        "report": {"tasks": {"rag_enhanced": 3}},
        "plan": {"strategy": "single"},
        "run_cycle": {"cycle_id": "cy_1"},
    }
    with scheduler(bot, answers) as asked:
        assert client.get("/v1/admin/report").json() == answers["report"]
        assert client.get("/v1/admin/plan").json() == answers["plan"]
        run = client.post("/v1/admin/cycles")
    assert (run.status_code, run.json()) == (200, {"cycle_id": "cy_1"})
    assert asked[-1] == ("run_cycle", {"actor": bot.people["admin"].id, "strategy": None, "comment": ""})


def test_faults_gaps_and_discovered_tasks_are_asked_of_the_scheduler(client: TestClient, bot: QueuedBot) -> None:
    answers: dict[str, dict[str, Any]] = {kind: {"data": [], "next": None, "kind": kind} for kind in ("faults", "gaps")}
    answers |= {"discovered": {"data": [{"name": "dog_cat"}], "next": None}, "adopt": {"name": "pets"}}
    with scheduler(bot, answers) as asked:
        for kind in ("faults", "gaps", "discovered"):
            assert client.get(f"/v1/admin/{kind}").json() == answers[kind]
        body = {"name": "pets", "comment": "asked daily"}
        made = client.post("/v1/admin/discovered/dog_cat/adopt", json=body)
    assert (made.status_code, made.json()) == (200, {"name": "pets"})
    payload = {"found": "dog_cat", "description": "", **body, "actor": bot.people["admin"].id}
    assert asked[-1] == ("adopt", payload)


def test_without_a_scheduler_the_answer_is_503_with_a_hint(client: TestClient) -> None:
    asked = [("GET", "report"), ("GET", "plan"), ("POST", "cycles")]
    with ThreadPoolExecutor(len(asked)) as streams:  # each waits ten seconds for one that just starts
        responses = list(streams.map(lambda one: client.request(one[0], f"/v1/admin/{one[1]}"), asked))
    for response in responses:
        assert response.status_code == 503 and message(response) == "no scheduler is running."
        assert "python -m scheduler run" in response.json()["error"]["hint"]


def test_what_the_scheduler_refuses_is_409_with_its_sentence(client: TestClient, bot: QueuedBot) -> None:
    with scheduler(bot, {"plan": {"error": "the taxonomy file is missing."}}):
        response = client.get("/v1/admin/plan")
    assert response.status_code == 409 and "the taxonomy file is missing." in message(response)


# cycles


@pytest.mark.parametrize("path", ["cycles", "overview"])
def test_a_cycle_says_by_name_who_started_it(client: TestClient, bot: QueuedBot, path: str) -> None:
    me = client.get("/v1/me").json()
    cycles.start(bot.database, slot_key="s", first_step="collect", started_by=me["id"])
    found = client.get(f"/v1/admin/{path}").json()
    [shown] = found["data"] if path == "cycles" else found["cycles"]
    assert (shown["started_by"], shown["started_by_name"]) == (me["id"], me["name"])


def test_cycle_is_shown_with_its_timeline_and_cancelled_once(client: TestClient, bot: QueuedBot) -> None:
    cycle, _ = cycles.start(bot.database, slot_key="s", first_step="collect", started_by="test")
    claim = cycles.claim(bot.database)
    assert claim is not None
    cycles.renew(bot.database, claim, progress={"step": 3, "steps": 10, "loss": 1.5})
    shown = client.get(f"/v1/admin/cycles/{cycle.id}").json()
    assert (shown["state"], shown["outcome"], shown["adapter_id"]) == ("running", None, None)
    assert shown["steps"][0]["name"] == "collect" and shown["steps"][0]["progress"]["loss"] == 1.5
    assert [row["id"] for row in client.get("/v1/admin/cycles").json()["data"]] == [cycle.id]
    assert client.get("/v1/admin/overview").json()["cycles"][0]["id"] == cycle.id
    assert client.post(f"/v1/admin/cycles/{cycle.id}/cancel").json()["state"] == "cancelled"
    again = client.post(f"/v1/admin/cycles/{cycle.id}/cancel")
    assert again.status_code == 409 and "is cancelled already" in message(again)


def test_what_the_watch_asks_is_shown_however_many_cycles_came_after(client: TestClient, bot: QueuedBot) -> None:
    with bot.database.write() as session:
        old = now() - timedelta(days=60)
        session.add(Cycle(id="cy_old", slot_key="old", adapter_id="v1", state="watching", step="watch", created_at=old))
        session.add(CycleStep(cycle_id="cy_old", name="watch", position=0, progress={"asks": "keep it?"}))
        for number in range(51):
            session.add(Cycle(slot_key=str(number), state="done", outcome="rejected", step="gate"))
    found = client.get("/v1/admin/overview").json()
    assert [one["id"] for one in found["cycles"]] == ["cy_old"]
    assert [(one["cycle_id"], one["sentence"]) for one in found["watch_asks"]] == [("cy_old", "keep it?")]


@pytest.mark.parametrize("path", ["cycles/cy_x", "adapters/v99", "nothing"])
def test_unknown_things_are_404(client: TestClient, path: str) -> None:
    response = client.get(f"/v1/admin/{path}")
    assert response.status_code == 404 and path.rsplit("/", maxsplit=1)[-1] in message(response)


# adapters


def test_adapter_is_shown_with_evaluation_verdict_and_reasons(client: TestClient, bot: QueuedBot) -> None:
    row = awaiting(bot)
    shown = client.get(f"/v1/admin/adapters/{row.id}").json()
    assert (shown["state"], shown["evaluation"]) == ("awaiting_approval", {"cases": 60})
    assert shown["verdict"]["deltas"][0]["difference"] == 0.31 and shown["reasons"] == VERDICT["reasons"]
    assert shown["digest"] == "d" * 64
    assert client.get("/v1/admin/overview").json()["awaiting_approval"] == [row.id]


def test_approved_adapter_goes_live_and_a_rollback_returns_to_the_base(client: TestClient, bot: QueuedBot) -> None:
    row = awaiting(bot)
    approved = client.post(f"/v1/admin/adapters/{row.id}/approve", json={"comment": "better"})
    assert (approved.status_code, approved.json()["state"]) == (200, "approved")
    until(lambda: client.get(f"/v1/admin/adapters/{row.id}").json()["state"] == "live")
    assert client.post("/v1/chat/completions", json=QUESTION).json()["ratchet"]["adapter"] == row.id
    back = client.post("/v1/admin/rollback", json={"comment": "complaints", "to": None})
    assert (back.status_code, back.json()["adapter"]) == (200, "base")
    assert client.get(f"/v1/admin/adapters/{row.id}").json()["state"] == "rolled_back"
    until(lambda: client.post("/v1/chat/completions", json=QUESTION).json()["ratchet"]["adapter"] == "base")
    record = client.get("/v1/admin/audit?verify=true").json()
    assert record["broken_at"] is None
    assert {"adapter.approved", "adapter.rolled_back"} <= {entry["action"] for entry in record["data"]}


def test_rejected_adapter_cannot_be_approved(client: TestClient, bot: QueuedBot) -> None:
    row = awaiting(bot)
    assert client.post(f"/v1/admin/adapters/{row.id}/reject", json={"comment": "no"}).json()["state"] == "rejected"
    response = client.post(f"/v1/admin/adapters/{row.id}/approve", json={"comment": "yes"})
    assert response.status_code == 409 and "is rejected" in message(response)


@pytest.mark.parametrize("decision", ["adapters/v1/approve", "adapters/v1/reject", "rollback"])
@pytest.mark.parametrize("body", [{"comment": ""}, {}])
def test_decision_without_a_comment_is_422(
    client: TestClient, bot: QueuedBot, decision: str, body: dict[str, str]
) -> None:
    awaiting(bot)
    response = client.post(f"/v1/admin/{decision}", json=body)
    assert response.status_code == 422 and "needs a comment" in message(response)


def test_approving_what_was_compared_with_something_else_is_409(client: TestClient, bot: QueuedBot) -> None:
    first, second = awaiting(bot), awaiting(bot)
    client.post(f"/v1/admin/adapters/{first.id}/approve", json={"comment": "better"})
    response = client.post(f"/v1/admin/adapters/{second.id}/approve", json={"comment": "better still"})
    assert response.status_code == 409 and f"{first.id} serves now" in message(response)


def test_nothing_to_roll_back_is_409(client: TestClient) -> None:
    response = client.post("/v1/admin/rollback", json={"comment": "why not"})
    assert response.status_code == 409 and "the base model serves already" in message(response)


def test_lists_of_adapters_go_on_from_their_cursor(client: TestClient, bot: QueuedBot) -> None:
    for _ in range(3):
        awaiting(bot)
    first = client.get("/v1/admin/adapters?limit=2").json()
    rest = client.get(f"/v1/admin/adapters?limit=2&cursor={first['next']}").json()
    assert [row["id"] for row in first["data"] + rest["data"]] == ["v3", "v2", "v1"] and rest["next"] is None


# schedule


def test_schedule_starts_with_the_default_and_can_be_changed(client: TestClient) -> None:
    found = client.get("/v1/admin/schedule").json()
    assert (found["cron"], found["enabled"], len(found["next"])) == ("0 2 * * *", True, 5)
    assert all(datetime.fromisoformat(at).hour == 2 for at in found["next"])
    changed = client.put("/v1/admin/schedule", json={"cron": "30 4 * * 1", "enabled": True}).json()
    assert changed["next"][0][11:16] == "04:30"
    off = client.put("/v1/admin/schedule", json={"cron": "30 4 * * 1", "enabled": False}).json()
    assert off["next"] == [] and client.get("/v1/admin/schedule").json() == off


@pytest.mark.parametrize(
    "cron", ["", "nonsense", "0 2 * *", "99 2 * * *", "0 2 * * * *", "@daily", "0 0 31 2 *", "x" * 200]
)
def test_wrong_schedule_is_422_and_changes_nothing(client: TestClient, cron: str) -> None:
    assert client.put("/v1/admin/schedule", json={"cron": cron, "enabled": True}).status_code == 422
    assert client.get("/v1/admin/schedule").json()["cron"] == "0 2 * * *"


# people and the record


def test_person_is_added_gets_a_key_once_and_is_erased_with_everything(client: TestClient, bot: QueuedBot) -> None:
    made = client.post("/v1/admin/users", json={"name": "carol", "role": "chat"})
    assert made.status_code == 201
    key = client.post(f"/v1/admin/users/{made.json()['id']}/keys", json={"scopes": ["given_passages"]}).json()["key"]
    carol = {"Authorization": f"Bearer {key}"}
    assert client.post("/v1/chat/completions", json=QUESTION, headers=carol).status_code == 200
    assert key not in client.get("/v1/admin/users").text
    gone = client.post(f"/v1/admin/users/{made.json()['id']}/erase")
    assert (gone.status_code, gone.json()["exchanges"]) == (200, 1)
    assert client.get("/v1/models", headers=carol).status_code == 401
    assert client.post(f"/v1/admin/users/{made.json()['id']}/erase").status_code == 404
    with bot.database.read() as session:
        assert session.exec(select(Exchange)).all() == []


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ({"name": "chat", "role": "chat"}, 409, "already"),
        ({"name": "x", "role": "king"}, 422, 'role is "king"'),
        ({"name": " ", "role": "chat"}, 422, "1 to 100"),
        ({"name": "x", "role": "chat", "password": "short"}, 422, "at least 10"),
        ({"role": "chat"}, 422, "name is missing"),
    ],
)
def test_person_who_cannot_be_added_gets_a_sentence(
    client: TestClient, body: dict[str, str], status: int, part: str
) -> None:
    response = client.post("/v1/admin/users", json=body)
    assert response.status_code == status and part in message(response)


def test_unknown_scope_is_422(client: TestClient, bot: QueuedBot) -> None:
    response = client.post(f"/v1/admin/users/{bot.people['chat'].id}/keys", json={"scopes": ["everything"]})
    assert response.status_code == 422 and "unknown scope everything" in message(response)


def test_only_admin_cannot_be_erased(client: TestClient) -> None:
    response = client.post("/v1/admin/users/admin/erase")
    assert response.status_code == 409 and "the only admin" in message(response)


def test_exchanges_are_listed_with_a_filter_by_task(client: TestClient, bot: QueuedBot) -> None:
    client.post("/v1/chat/completions", json=QUESTION, headers=bot.headers("chat"))
    assert client.get("/v1/admin/exchanges").json()["data"][0]["question"] == "How long is the Aare?"
    assert client.get("/v1/admin/exchanges?task=legal").json() == {"data": [], "next": None}


def test_an_admins_label_wins_and_is_in_the_record(client: TestClient, bot: QueuedBot) -> None:
    client.post("/v1/chat/completions", json=QUESTION, headers=bot.headers("chat"))
    key = client.get("/v1/admin/exchanges").json()["data"][0]["id"]
    found = client.put(f"/v1/admin/exchanges/{key}/label", json={"task": "travel"})
    admin = bot.people["admin"].id
    assert found.json() == {"exchange_id": key, "task": "travel", "labelled_by": admin}
    assert client.get("/v1/admin/exchanges?task=travel").json()["data"][0]["id"] == key
    entry = client.get("/v1/admin/audit?limit=1").json()["data"][0]
    assert (entry["actor"], entry["action"], entry["subject"]) == (admin, "label.corrected", key)
    assert entry["details"] == {"from": "", "to": "travel"}
    wrong = client.put(f"/v1/admin/exchanges/{key}/label", json={"task": "tax"})
    assert wrong.status_code == 422 and "expected one of legal, travel, unclassified" in message(wrong)
    assert client.put("/v1/admin/exchanges/ex_none/label", json={"task": "legal"}).status_code == 404


def test_audit_record_says_where_it_was_altered(client: TestClient, bot: QueuedBot) -> None:
    page = client.get("/v1/admin/audit?limit=2").json()
    assert len(page["data"]) == 2 and page["next"] == page["data"][-1]["id"]
    with bot.database.write() as session:
        entry = session.get_one(AuditEntry, 2)
        entry.actor = "somebody else"
        session.add(entry)
    assert client.get("/v1/admin/audit?verify=true").json()["broken_at"] == 2


def test_what_the_watch_asks_is_shown_and_keeping_ends_it(client: TestClient, bot: QueuedBot) -> None:
    row, _ = cycles.start(bot.database, slot_key="k", first_step=cycles.WATCH, started_by="test")
    url = f"/v1/admin/cycles/{row.id}/keep"
    early = client.post(url, json={"comment": "fine"})
    assert (early.status_code, error(early)["message"]) == (409, f"cycle {row.id} is running: it watches no adapter.")
    with bot.database.write() as session:
        session.add(Adapter(id="v1", state=AdapterState.LIVE))
        cycle = cycles.get(session, row.id)
        cycle.state, cycle.adapter_id = CycleState.WATCHING, "v1"
        session.add(cycle)
    claim = cycles.claim(bot.database)
    assert claim is not None
    cycles.renew(bot.database, claim, progress={"asks": "keep it or roll it back."})
    asked = client.get("/v1/admin/overview").json()["watch_asks"]
    said = {"sentence": "keep it or roll it back.", "canary": False, "failed": False}
    assert asked == [{"cycle_id": row.id, "adapter": "v1", **said}]
    silent = client.post(url, json={})
    assert (silent.status_code, error(silent)["message"]) == (422, "keeping an adapter needs a comment that says why.")
    kept = client.post(url, json={"comment": "nobody complains"}).json()
    assert (kept["state"], kept["outcome"]) == ("done", "promoted")
    assert client.get("/v1/admin/overview").json()["watch_asks"] == []
    assert client.get("/v1/admin/audit").json()["data"][0]["comment"] == "nobody complains"


@pytest.mark.parametrize("of", ["exchanges", "admin/exchanges", "admin/adapters", "admin/cycles", "admin/audit"])
def test_an_unknown_cursor_is_an_error_and_not_the_first_page(client: TestClient, of: str) -> None:
    response = client.get(f"/v1/{of}?cursor=zzz")
    assert response.status_code == 422
    assert error(response)["message"].startswith('the cursor is "zzz"')
