"""Learned weights over HTTP and from the command line: listed with reasons, decided with a comment, taken back."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from retrieval import ranking
from retrieval.__main__ import main
from store import rankings
from store.database import Database, open_database
from tests.queued import QueuedBot, error, queued_bot

WEIGHTS = dict.fromkeys(ranking.MEASURES, 1 / 7)
METRICS = {"questions": 90, "documents": 12, "right_passage_first": [0.5, 0.6, 0.04, 0.16]}


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        yield client


def waiting(database: Database, *, compared_with: str = "") -> str:
    verdict = {"verdict": "promote", "reasons": ["It comes first more often."]}
    row = rankings.keep(
        database, actor="test", weights=WEIGHTS, metrics=METRICS, verdict=verdict, compared_with=compared_with
    )
    return row.id


def test_weights_are_listed_with_what_the_gate_found(client: TestClient, bot: QueuedBot) -> None:
    assert client.get("/v1/admin/rankings").json() == {"data": [], "next": None, "in_force": None}
    first, second = waiting(bot.database), waiting(bot.database, compared_with="r9")
    page = client.get("/v1/admin/rankings?limit=1").json()
    assert [row["id"] for row in page["data"]] == [second] == [page["next"]]
    [row] = client.get(f"/v1/admin/rankings?cursor={second}").json()["data"]
    assert (row["id"], row["state"], row["weights"]) == (first, "superseded", WEIGHTS)
    assert row["reasons"] == ["It comes first more often."] and row["metrics"] == METRICS


def test_an_admin_approves_rejects_and_rolls_back_with_a_comment(client: TestClient, bot: QueuedBot) -> None:
    first = waiting(bot.database)
    approved = client.post(f"/v1/admin/rankings/{first}/approve", json={"comment": "better"}).json()
    assert (approved["state"], approved["comment"]) == ("approved", "better")
    assert client.get("/v1/admin/rankings").json()["in_force"] == first
    second = waiting(bot.database, compared_with=first)
    refused = client.post(f"/v1/admin/rankings/{second}/reject", json={"comment": "not now"}).json()
    assert refused["state"] == "rejected"
    assert client.post("/v1/admin/rankings/rollback", json={"comment": "worse"}).json() == {"in_force": None}
    actors = {row["actor"] for row in client.get("/v1/admin/audit").json()["data"] if row["subject"] == first}
    assert bot.people["admin"].id in actors


@pytest.mark.parametrize(
    ("path", "comment", "status", "part"),
    [
        ("r1/approve", " ", 422, "needs a comment"),
        ("r1/reject", "", 422, "needs a comment"),
        ("rollback", "", 422, "needs a comment"),
        ("rollback", "back", 409, "the default weights are in force"),
        ("r9/approve", "yes", 404, "no weights r9"),
        ("r9/reject", "no", 404, "no weights r9"),
    ],
)
def test_a_decision_that_cannot_be_made_gets_a_sentence(
    client: TestClient, bot: QueuedBot, path: str, comment: str, status: int, part: str
) -> None:
    waiting(bot.database)
    response = client.post(f"/v1/admin/rankings/{path}", json={"comment": comment})
    assert response.status_code == status and part in error(response)["message"]


def test_the_commands_list_approve_reject_and_roll_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_DATABASE_URL", f"sqlite:///{tmp_path}/ratchet.db")
    monkeypatch.setenv("RATCHET_DATA", str(tmp_path))

    def said(*arguments: str, status: int = 0) -> str:
        assert main([*arguments]) == status
        printed = capsys.readouterr()
        return printed.err if status else printed.out

    assert said("weights") == "nothing was learned yet.\nin force: the default.\n"
    assert "0 questions with a cited passage, at least 30" in said("learn", status=1)
    database = open_database(f"sqlite:///{tmp_path}/ratchet.db")
    waiting(database)
    assert "r1  awaiting_approval  promote: R@1 0.500 -> 0.600, gain 0.100 (0.040 to 0.160)" in said("weights")
    assert "approving weights needs a comment" in said("weights", "approve", "r1", status=1)
    assert "name the weights to approve." in said("weights", "approve", status=1)
    assert said("weights", "approve", "r1", "--comment", "better") == "r1 is in force.\n"
    assert said("weights").endswith("in force: r1.\n")
    waiting(database, compared_with="r1")
    assert said("weights", "reject", "r2", "--comment", "no") == "r2 is rejected.\n"
    assert [row["state"] for row in json.loads(said("weights", "--json"))] == ["rejected", "approved"]
    assert said("weights", "rollback", "--comment", "worse") == "the default is in force.\n"
    database.close()
