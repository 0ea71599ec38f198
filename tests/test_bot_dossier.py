"""Claims about the dossier of an adapter, its signature, and approval by two people."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bot.adapters import WEIGHTS
from bot.dossier import ERASED, SHOWN, measured, sliced, steps_of, told_by, wins_and_losses
from bot.dossier_cycle import contenders, cost
from scheduler.decisions import judged
from store import adapters, people
from store.models import BASE, Adapter, AdapterState, Cycle, CycleStep, Exchange, now
from store.signing import KEY, Signer
from tests.queued import QueuedBot, ask, error, queued_bot, until
from tests.test_store_adapters import state

DELTA = {
    **{"metric": "source_attribution", "task": "all", "candidate": 0.8, "serving": 0.2, "difference": 0.6, "low": 0.4},
    **{"high": 0.8, "n": 30, "role": "primary", "margin": 0.0, "passed": True, "sentence": "It gained."},
}

DEPTH = {"metric": "depth", "task": "travel", "mean": 0.75, "low": 0.5, "high": 1.0, "n": 12, "human_share": 0.5}


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path, approvers=2) as bot:
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        yield client


def case(name: str, score: float | None, text: str = "It is long [1].") -> dict[str, Any]:
    scores = {"source_attribution": score, "answer_accuracy": None}
    return {"case_id": name, "task": "travel", "cluster": name, "answerable": True, "answer": text, "scores": scores}


def gated(bot: QueuedBot, data: Path, exchange: str) -> str:
    """An adapter that a cycle trained, evaluated on one logged exchange, and signed."""
    funnel = {"exchanges": 9, "left out: not to be trained on": 2, "left out: stale": 4, "train: correction": 3}
    results = {"curate": {"funnel": funnel, "held_out": 1}, "train": {"seconds": 12.5, "tokens": 900, "peak_mb": 1216}}
    plan = {"expected": {"source_attribution": 0.5}}
    row = adapters.create(bot.database, actor="test", cycle_id="cy_1", base_model="tiny")
    folder = data / adapters.FOLDER / "v1-1"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"weights")
    manifest = json.dumps({"files": {WEIGHTS: hashlib.sha256(b"weights").hexdigest()}})
    (folder / adapters.MANIFEST).write_text(manifest)
    with bot.database.write() as session:
        session.add(Cycle(id="cy_1", slot_key="x", adapter_id=row.id, results=results, plan=plan))
        values = {
            "digest": hashlib.sha256(manifest.encode()).hexdigest(),
            "dataset_digest": "d2",
            "folder": str(folder),
            "lineage": {"people": ["pe_1"], "kinds": {"correction": 2}},
        }
        adapters.move(session, row.id, AdapterState.CANDIDATE, actor="test", **values)
    report = {
        "candidate": {"judge": "words", "cases": [case(exchange, 1.0), case("gone", 0.0)], "summaries": [DEPTH]},
        "serving": {"judge": "words", "cases": [case(exchange, 0.0, "No idea."), case("gone", 1.0)]},
    }
    report["serving"]["summaries"] = [DEPTH | {"mean": 0.25}, DEPTH | {"task": "cooking", "mean": 0.5}]
    anchored = DELTA | {"difference": 0.9, "against": "the anchor v1"}
    verdict = {"verdict": "promote", "reasons": ["It gained."], "deltas": [DELTA, anchored], "cases_needed": None}
    judged(bot.database, row.id, report, verdict, serving=BASE, signer=Signer(data))
    return row.id


@pytest.fixture
def adapter(bot: QueuedBot, client: TestClient, tmp_path: Path) -> str:
    exchange = ask(client, headers=bot.headers("chat")).json()["ratchet"]["exchange_id"]
    return gated(bot, tmp_path, exchange)


def test_a_dossier_shows_both_answers_with_the_passages_that_were_seen(
    client: TestClient, bot: QueuedBot, adapter: str
) -> None:
    found = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()
    [win], [loss] = found["wins"], found["losses"]
    with bot.database.read() as session:
        exchange = session.get(Exchange, win["id"])
    assert exchange is not None
    assert win["question"] == exchange.question
    assert [p["text"] for p in win["passages"]] == [p["text"] for p in exchange.passages]
    assert (win["candidate"]["text"], win["serving"]["text"], win["delta"]) == ("It is long [1].", "No idea.", 1.0)
    assert (loss["delta"], loss["question"]) == (-1.0, ERASED)


def test_a_dossier_tells_data_cost_and_expectation(client: TestClient, adapter: str) -> None:
    found = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()
    assert found["data"]["kinds"] == {"correction": 2}
    assert found["data"]["funnel"][0] == {"rule": "stale", "removed": 4, "left": 5}
    assert (found["cost"]["train_seconds"], found["cost"]["evaluate_seconds"]) == (12.5, None)
    assert found["cost"]["peak_mb"] == 1216
    assert found["expectation"] == {
        "expected": "source attribution +0.50",
        "found": "source attribution +0.60 (+0.40 to +0.80)",
    }
    assert [one["against"] for one in found["rules"]] == ["serving", "the anchor v1"]
    assert found["metrics"] == [{**DEPTH, "serving": 0.25}]
    assert found["verdict"] == {"decision": "promote", "reasons": ["It gained."], "needed": None, "needed_of": ""}


def test_the_dossier_of_an_erased_person_holds_none_of_their_questions(
    client: TestClient, bot: QueuedBot, adapter: str
) -> None:
    people.erase(bot.database, "chat", actor="admin")
    found = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()
    assert {one["question"] for one in found["wins"] + found["losses"]} == {ERASED}


def test_an_unknown_adapter_has_no_dossier(client: TestClient) -> None:
    response = client.get("/v1/admin/adapters/v9/dossier")
    assert response.status_code == 404
    assert error(response)["message"] == "no adapter v9."


def test_the_gate_signs_and_a_changed_verdict_cannot_be_approved(
    client: TestClient, bot: QueuedBot, adapter: str
) -> None:
    found = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()["digests"]
    assert found["signature_fits"] is True
    assert found["report_fits"] is True
    with bot.database.write() as session:
        row = adapters.get(session, adapter)
        row.recipe = {"phases": []}
        session.add(row)
    assert client.get(f"/v1/admin/adapters/{adapter}/dossier").json()["digests"]["signature_fits"] is False
    response = client.post(f"/v1/admin/adapters/{adapter}/approve", json={"comment": "good"})
    assert response.status_code == 409
    assert error(response)["message"].startswith(f"what the gate signed of adapter {adapter} is not what the database")


def test_files_that_were_altered_after_the_gate_are_not_approved(
    client: TestClient, bot: QueuedBot, adapter: str
) -> None:
    with bot.database.read() as session:
        folder = Path(adapters.get(session, adapter).folder)

    def fits() -> bool | None:
        found: bool | None = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()["digests"]["files_fit"]
        return found

    assert fits() is True
    for file, bad in ((folder / WEIGHTS, b"Weights"), (folder / adapters.MANIFEST, b"{}")):
        good = file.read_bytes()
        file.write_bytes(bad)
        assert fits() is False
        response = client.post(f"/v1/admin/adapters/{adapter}/approve", json={"comment": "good"})
        assert response.status_code == 409 and f"adapter {adapter} cannot be approved: " in error(response)["message"]
        file.write_bytes(good)
    assert client.post(f"/v1/admin/adapters/{adapter}/approve", json={"comment": "good"}).status_code == 200


def test_files_that_cannot_be_read_are_a_sentence(client: TestClient, bot: QueuedBot, adapter: str) -> None:
    with bot.database.read() as session:
        weights = Path(adapters.get(session, adapter).folder) / WEIGHTS
    weights.unlink()
    weights.symlink_to(WEIGHTS)
    assert client.get(f"/v1/admin/adapters/{adapter}/dossier").json()["digests"]["files_fit"] is False
    response = client.post(f"/v1/admin/adapters/{adapter}/approve", json={"comment": "good"})
    sentence = f"adapter {adapter} cannot be approved: the files of adapter {weights.parent.name} cannot be read: "
    assert response.status_code == 409 and error(response)["message"].startswith(sentence)


@pytest.mark.parametrize("refused", ["rejected", "superseded", "expired", "quarantined"])
def test_files_of_a_refused_adapter_that_were_tidied_away_were_not_altered(
    client: TestClient, bot: QueuedBot, adapter: str, refused: str
) -> None:
    with bot.database.write() as session:
        row = adapters.move(session, adapter, AdapterState(refused), actor="test")

    def fits() -> bool | None:
        found: bool | None = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()["digests"]["files_fit"]
        return found

    assert fits() is True
    (Path(row.folder) / WEIGHTS).unlink()
    assert fits() is False
    shutil.rmtree(row.folder)
    assert fits() is None
    response = client.post(f"/v1/admin/adapters/{adapter}/approve", json={"comment": "good"})
    sentence = f"adapter {adapter} is {refused}: only one that awaits approval can be approved."
    assert (response.status_code, error(response)["message"]) == (409, sentence)


def test_the_key_is_readable_by_its_owner_alone_and_stays_the_same(tmp_path: Path) -> None:
    signature = Signer(tmp_path).sign("a")
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    assert Signer(tmp_path).verifies("a", signature)
    assert not Signer(tmp_path).verifies("b", signature)
    assert not Signer(tmp_path / "other").verifies("a", signature)
    assert not Signer(tmp_path).verifies("a", "no hex")


def test_a_second_person_must_agree_before_anything_is_deployed(
    client: TestClient, bot: QueuedBot, adapter: str
) -> None:
    second = people.add(bot.database, "second", role="admin", actor="test")
    key = people.add_key(bot.database, second, actor="test")
    url = f"/v1/admin/adapters/{adapter}/approve"
    first = client.post(url, json={"comment": "cites better"})
    assert (first.status_code, first.json()["state"]) == (200, "awaiting_approval")
    again = client.post(url, json={"comment": "really"})
    assert again.status_code == 409
    assert error(again)["message"] == f"you have approved adapter {adapter} already; 1 more must."
    shown = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()
    assert [(one["comment"], shown["approvers"]) for one in shown["approvals"]] == [("cites better", 2)]
    done = client.post(url, json={"comment": "I agree"}, headers={"Authorization": f"Bearer {key}"})
    assert done.json()["state"] == "approved"
    until(lambda: state(bot.database, adapter) == "live")


def test_a_dossier_keeps_who_approved_when_somebody_asks_for_more(
    client: TestClient, bot: QueuedBot, adapter: str
) -> None:
    second = people.add(bot.database, "second", role="admin", actor="test")
    bot.keys["second"] = people.add_key(bot.database, second, actor="test")

    def says(who: str, path: str, comment: str, share: float) -> None:
        body = {"comment": comment, "share": share}
        assert client.post(f"/v1/admin/{path}", json=body, headers=bot.headers(who)).status_code == 200

    says("admin", f"adapters/{adapter}/approve", "cites better", 0.5)
    says("second", f"adapters/{adapter}/approve", "I agree", 0.5)
    until(lambda: state(bot.database, adapter) == "canary")
    says("second", "canary", "all well", 1)
    found = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()
    [approved] = found["decisions"]
    made = {**approved, "share": 0.5, "testers": []}
    told = [(one["name"], one["share"], one["comment"], one["made"], one["open"]) for one in found["approvals"]]
    assert told == [
        ("admin", 0.5, "cites better", [made], False),
        ("second", 0.5, "I agree", [made], False),
        ("second", 1.0, "all well", [], True),
    ]
    client.post("/v1/admin/rollback", json={"comment": "people complain"})
    after = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()
    assert after["approvals"] == [{**one, "open": False} for one in found["approvals"]]
    assert [(one["state"], one["name"]) for one in after["decisions"]] == [
        ("approved", "second"),
        ("rolled_back", "admin"),
    ]


def test_a_dossier_tells_who_decided_when_and_why(client: TestClient, bot: QueuedBot, tmp_path: Path) -> None:
    exchange = ask(client, headers=bot.headers("chat")).json()["ratchet"]["exchange_id"]
    adapter = gated(bot, tmp_path, exchange)

    def decided() -> list[tuple[str, str, str]]:
        found = client.get(f"/v1/admin/adapters/{adapter}/dossier").json()["decisions"]
        assert all(one["at"] for one in found)
        return [(one["state"], one["name"], one["comment"]) for one in found]

    assert decided() == []
    with bot.database.write() as session:
        for state_, who in (("approved", "admin"), ("live", "bot"), ("rolled_back", "watch")):
            actor = bot.people[who].id if who in bot.people else who
            adapters.move(session, adapter, AdapterState(state_), actor=actor, comment=f"{who} says so")
    assert decided() == [("approved", "admin", "admin says so"), ("rolled_back", "watch", "watch says so")]


def test_agreement_with_another_report_does_not_count(client: TestClient, bot: QueuedBot, adapter: str) -> None:
    client.post(f"/v1/admin/adapters/{adapter}/approve", json={"comment": "good"})
    with bot.database.write() as session:
        row: Adapter = adapters.get(session, adapter)
        row.verdict = {**row.verdict, "signature": None}
        row.report = {**row.report, "more": 1}
        row.report_digest = adapters.report_digest(row.report)
        session.add(row)
    assert client.get(f"/v1/admin/adapters/{adapter}/dossier").json()["approvals"] == []


def test_losses_come_worst_first_and_at_most_twenty() -> None:
    names = [f"c{n}" for n in range(30)]
    report = {
        "candidate": {"cases": [case(name, 0.0) for name in names]},
        "serving": {"cases": [case(name, n / 30) for n, name in enumerate(names)]},
    }
    wins, losses = wins_and_losses(report, ["source_attribution", "answer_accuracy"])
    assert wins == []
    assert [one["id"] for one in losses] == names[: -SHOWN - 1 : -1]


def test_an_answer_that_became_wrong_is_a_loss_however_much_its_citations_gained() -> None:
    """Of 40 uncited answers all gain their citations, and ten fall from right to wrong."""

    def side(attribution: float, wrong: int) -> dict[str, Any]:
        scores = [
            {"source_attribution": attribution, "answer_accuracy": 0.02 if n < wrong else 0.95} for n in range(40)
        ]
        return {"cases": [{**case(f"c{n}", None), "scores": one} for n, one in enumerate(scores)]}

    report = {"candidate": side(1.0, 10), "serving": side(0.0, 0)}
    wins, losses = wins_and_losses(report, ["source_attribution", "answer_accuracy"])
    assert {(one["metric"], one["delta"]) for one in wins} == {("source_attribution", 1.0)}
    assert [one["id"] for one in losses] == [f"c{n}" for n in range(10)]
    assert {one["metric"] for one in losses} == {"answer_accuracy"} and wins[0]["id"] == losses[0]["id"]


def test_accuracies_are_shown_by_the_judge_and_as_people_corrected_them_each_by_name() -> None:
    judged_ = {"metric": "answer_accuracy", "task": "all", "mean": 0.7, "low": 0.6, "high": 0.8, "n": 60}
    slice_ = {"slice": "one passage", "metric": "answer_accuracy", "n": 60, "difference": 0.2, "low": 0.1, "high": 0.3}
    report: dict[str, Any] = {
        "candidate": {"summaries": [judged_, DEPTH]},
        "serving": {"summaries": [judged_ | {"mean": 0.5}]},
        "slices": [slice_, slice_ | {"metric": "source_attribution"}],
    }
    assert [one.get("by") for one in (*measured(report), *sliced(report))] == [None] * 4
    fixed = {
        "candidate": [judged_ | {"mean": 0.4}, judged_ | {"mean": 0.4, "task": "facts"}],
        "serving": [judged_ | {"mean": 0.6}],
    }
    report["corrected"] = {"labels": 30, "anchor": False, "slices": [slice_ | {"difference": -0.2}], **fixed}
    people_ = "judge, corrected by people's labels of 30 cases"
    found = [(one["metric"], one["mean"], one["serving"], one.get("by")) for one in measured(report)]
    assert found == [
        ("answer_accuracy", 0.7, 0.5, "judge"),
        ("answer_accuracy", 0.4, 0.6, people_),
        ("depth", 0.75, None, None),
    ]
    assert [(one["difference"], one.get("by")) for one in sliced(report)] == [
        (0.2, "judge"),
        (-0.2, people_),
        (0.2, None),
    ]
    report["planned"] = ["facts"]
    accuracy = {"metric": "answer_accuracy", "against": "serving", "task": "planned tasks"}
    assert told_by(report, accuracy) == told_by(report, accuracy | {"task": "facts"}) == {"by": people_}
    assert told_by(report, accuracy | {"task": "talk"}) == {"by": "judge"}
    assert told_by({**report, "planned": ["talk"]}, accuracy) == {"by": "judge"}
    assert told_by(report, accuracy | {"against": "the anchor v1"}) == {"by": "judge"}
    assert told_by(report, DELTA) == {}


def test_a_case_to_which_no_metric_applies_is_neither_won_nor_lost() -> None:
    report = {"candidate": {"cases": [case("a", None)]}, "serving": {"cases": [case("a", 1.0)]}}
    assert wins_and_losses(report, ["source_attribution"]) == ([], [])


def test_the_funnel_goes_down_to_what_is_left() -> None:
    steps = steps_of({"exchanges": 10, "left out: a": 1, "left out: b": 6, "train: correction": 3})
    assert [(step["rule"], step["left"]) for step in steps] == [("b", 4), ("a", 3)]
    assert steps_of({}) == []


def test_the_ways_of_training_that_were_tried_are_told_with_what_became_of_each() -> None:
    round_ = {"share": 0.5, "steps": 4, "loss": 2.5}
    tried = [{"name": name, "adapter": row, "rounds": [round_], "left": left} for name, row, left in WAYS]
    gate = {"winner": {"adapter": "v2", "variant": "multi", "why": "The best at the gate."}}
    found = contenders(Cycle(slot_key="x", results={"train": {"variants": tried}, "gate": gate}))
    assert [(one["kept"], one["why"]) for one in found] == [
        (False, "Left the tournament."),
        (True, "The best at the gate."),
        (False, "v2 did better at the same gate."),
    ]
    assert all(one["rounds"] == [round_] for one in found)
    waiting = contenders(Cycle(slot_key="x", results={"train": {"variants": tried}}))
    assert [one["why"] for one in waiting] == ["Left the tournament.", None, None]
    assert contenders(None) == contenders(Cycle(slot_key="x", results={})) == []


def test_a_day_of_watching_is_no_cost_of_the_cycle() -> None:
    begun, times = now(), {"train": 60, "evaluate": 30, "watch": 86_400}
    done = {name: begun + timedelta(seconds=seconds) for name, seconds in times.items()}
    steps = [
        CycleStep(cycle_id="cy_1", name=name, position=1, started_at=begun, finished_at=end)
        for name, end in done.items()
    ]
    found = cost(None, steps)
    assert (found["evaluate_seconds"], found["cycle_seconds"]) == (30.0, 90.0)
    assert cost(None, steps[2:])["cycle_seconds"] is None


WAYS = [("single", "v1", "Left the tournament."), ("multi", "v2", ""), ("progressive", "v3", "")]
