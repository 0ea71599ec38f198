"""Claims about labelling held-out answers: in a fixed order, for a text; with enough the gate decides again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from store import adapters, case_labels, cycles
from store.conversations import forget
from store.models import Adapter, AdapterState, CaseLabel, CycleState, Outcome
from tests.deciding import one_exchange
from tests.queued import QueuedBot, queued_bot
from tests.test_bot_api_admin import message

CASES = 4


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path, min_labels=2) as bot:
        yield bot


@pytest.fixture
def client(bot: QueuedBot) -> Iterator[TestClient]:
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        yield client


def undecided(bot: QueuedBot, *sides_measured: str) -> Adapter:
    """A candidate that the gate could not tell about; on the first case both sides said the same."""
    cycle, _ = cycles.start(bot.database, slot_key="s", first_step="gate", started_by="test")
    claim = cycles.claim(bot.database)
    assert claim is not None
    sides: dict[str, list[dict[str, Any]]] = {side: [] for side in ("candidate", "serving", *sides_measured)}
    for number in range(CASES):
        row = one_exchange(bot, question=f"Question {number}?")
        for side, cases in sides.items():
            text = "The same." if number == 0 else f"{side} {number}"
            cases.append({"case_id": row.id, "answer": text, "scores": {"answer_accuracy": 0.5}})
    report = {side: {"judge": "fitted", "cases": cases} for side, cases in sides.items()}
    row = adapters.create(bot.database, actor="test", cycle_id=cycle.id, report=report, digest="d" * 64)
    with bot.database.write() as session:
        adapters.move(session, row.id, AdapterState.CANDIDATE, actor="test")
    outcome = Outcome.NOT_ENOUGH_EVIDENCE
    ended: dict[str, Any] = {"state": CycleState.DONE, "outcome": outcome, "adapter_id": row.id}
    cycles.finish_step(bot.database, claim, result={}, next_step=None, **ended)
    return row


def label(client: TestClient, adapter: Adapter, *, value: bool = True) -> dict[str, Any]:
    """Label every answer of the next case; gives what was asked."""
    found: dict[str, Any] = client.get(f"/v1/admin/adapters/{adapter.id}/label-next").json()
    for answer in found["next"]["answers"]:
        path = f"/v1/admin/adapters/{adapter.id}/cases/{found['next']['case_id']}/label"
        said = client.put(path, json={"answer": answer["digest"], "value": value})
        assert (said.status_code, said.json()["value"]) == (200, value)
    return found


def test_cases_are_asked_in_order_until_none_is_left(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    asked = [label(client, adapter) for _ in range(CASES)]
    assert [one["labelled"] for one in asked] == [0, 1, 2, 3]
    assert len({one["next"]["case_id"] for one in asked}) == CASES
    assert sorted(len(one["next"]["answers"]) for one in asked) == [1, 2, 2, 2]
    assert asked[0]["needed"] == 2 and asked[0]["next"]["references"] == ["288 km [1]."]
    last = client.get(f"/v1/admin/adapters/{adapter.id}/label-next").json()
    assert (last["labelled"], last["next"]) == (CASES, None)
    with bot.database.read() as session:
        assert len(case_labels.counted(session, adapter)) == 2 * CASES - 1


def test_a_label_that_was_given_by_mistake_is_seen_and_put_right(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    path = f"/v1/admin/adapters/{adapter.id}"
    first, second = (label(client, adapter)["next"] for _ in range(2))
    now = client.get(f"{path}/label-next").json()
    assert now["previous"] == second["case_id"]
    assert {answer["value"] for answer in now["next"]["answers"]} == {None}
    back = client.get(f"{path}/label-next?case={second['case_id']}").json()
    assert (back["previous"], back["labelled"]) == (first["case_id"], 2)
    assert back["next"] == {**second, "answers": [{**answer, "value": True} for answer in second["answers"]]}
    slip = {"answer": second["answers"][0]["digest"], "value": False}
    assert client.put(f"{path}/cases/{second['case_id']}/label", json=slip).status_code == 200
    again = client.get(f"{path}/label-next?case={second['case_id']}").json()["next"]["answers"]
    assert [answer["value"] for answer in again] == [False, *[True] * (len(again) - 1)]
    assert client.get(f"{path}/label-next?case={first['case_id']}").json()["previous"] is None
    other = client.get(f"{path}/label-next?case=ex_no")
    assert other.status_code == 404 and "was not measured on a case ex_no" in message(other)


def test_a_case_that_is_half_labelled_is_asked_whole_with_what_was_said(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot, "anchor")
    path = f"/v1/admin/adapters/{adapter.id}"
    while len((one := client.get(f"{path}/label-next").json()["next"])["answers"]) == 1:
        label(client, adapter)
    word = {"answer": one["answers"][1]["digest"], "value": False}
    client.put(f"{path}/cases/{one['case_id']}/label", json=word)
    again = client.get(f"{path}/label-next").json()["next"]
    assert [answer["value"] for answer in again["answers"]] == [None, False, None]


def test_the_anchors_answers_are_asked_about_where_it_is_another(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot, "anchor")
    asked = [label(client, adapter) for _ in range(CASES)]
    assert sorted(len(one["next"]["answers"]) for one in asked) == [1, 3, 3, 3]
    with bot.database.read() as session:
        assert len(case_labels.counted(session, adapter)) == 3 * CASES - 2


def test_the_planned_tasks_are_asked_first(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    names = [case["case_id"] for case in adapter.report["candidate"]["cases"]]
    planned = set(names[2:])
    with bot.database.write() as session:
        row = adapters.get(session, adapter.id)
        sides = {
            side: {
                **row.report[side],
                "cases": [
                    {**case, "task": "facts" if case["case_id"] in planned else "talk"}
                    for case in row.report[side]["cases"]
                ],
            }
            for side in ("candidate", "serving")
        }
        row.report = {**sides, "planned": ["facts"]}
        session.add(row)
    asked = [label(client, adapter)["next"]["case_id"] for _ in range(CASES)]
    assert set(asked[:2]) == planned and set(asked) == set(names)


def test_a_case_out_of_turn_does_not_count(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    first = client.get(f"/v1/admin/adapters/{adapter.id}/label-next").json()["next"]["case_id"]
    for case in adapter.report["candidate"]["cases"]:
        if case["case_id"] != first:
            for side in ("candidate", "serving"):
                texts = {one["case_id"]: one["answer"] for one in adapter.report[side]["cases"]}
                digest = case_labels.digest_of(texts[case["case_id"]])
                path = f"/v1/admin/adapters/{adapter.id}/cases/{case['case_id']}/label"
                assert client.put(path, json={"answer": digest, "value": True}).status_code == 200
    with bot.database.read() as session:
        assert case_labels.counted(session, adapter) == {}
    label(client, adapter)
    with bot.database.read() as session:
        assert len(case_labels.counted(session, adapter)) == 2 * CASES - 1


def test_wrong_words_are_refused_in_sentences(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    case = client.get(f"/v1/admin/adapters/{adapter.id}/label-next").json()["next"]["case_id"]
    path = f"/v1/admin/adapters/{adapter.id}/cases/{case}/label"
    assert "no such answer" in message(client.put(path, json={"answer": "f" * 64, "value": True}))
    other = client.put(path.replace(case, "ex_no"), json={"answer": "f" * 64, "value": True})
    assert other.status_code == 404 and "was not measured on a case ex_no" in message(other)
    assert client.get("/v1/admin/adapters/v99/label-next").status_code == 404


def test_the_gate_is_asked_again_once_and_with_a_comment(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    path = f"/v1/admin/adapters/{adapter.id}/decide-again"
    assert client.post(path, json={}).status_code == 422
    said = client.post(path, json={"comment": "labelled 2 cases"})
    assert (said.status_code, said.json()["state"], said.json()["step"]) == (200, "running", "gate")
    again = client.post(path, json={"comment": "twice"})
    assert again.status_code == 409 and "could not tell about" in message(again)
    assert cycles.claim(bot.database) is not None


def looked(bot: QueuedBot, adapter: Adapter, *looks: int) -> None:
    """The gate has decided with so many labels, and could still not tell."""
    claim = cycles.claim(bot.database)
    assert claim is not None
    ended: dict[str, Any] = {"state": CycleState.DONE, "outcome": Outcome.NOT_ENOUGH_EVIDENCE}
    with bot.database.write() as session:
        row = adapters.get(session, adapter.id)
        row.report = {**row.report, "looks": list(looks)}
        session.add(row)
    cycles.finish_step(bot.database, claim, result={}, next_step=None, **ended, adapter_id=adapter.id)


def test_the_gate_looks_again_only_at_twice_the_labels_or_all(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    path = f"/v1/admin/adapters/{adapter.id}"

    def again() -> tuple[int, str]:
        said = client.post(f"{path}/decide-again", json={"comment": "labelled"})
        return said.status_code, "" if said.status_code == 200 else " ".join(said.json()["error"].values())

    def due() -> int | None:
        found: int | None = client.get(f"{path}/label-next").json()["needed"]
        return found

    label(client, adapter)
    status, said = again()
    assert (status, due()) == (409, 2)
    assert f"1 of 4 held-out cases of {adapter.id} are labelled, and the gate has not counted any yet" in said
    assert "it decides again from 2 on. Label 1 more." in said
    label(client, adapter)
    assert again() == (200, "")
    looked(bot, adapter, 2)
    label(client, adapter)
    status, said = again()
    assert (status, due()) == (409, 4) and "the gate last looked with 2: it decides again from 4 on." in said
    label(client, adapter)
    assert again() == (200, "")
    looked(bot, adapter, 2, 4)
    status, said = again()
    assert (status, due()) == (409, None) and "which were all there are" in said


def test_a_label_put_right_after_the_last_look_is_worth_another(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    path = f"/v1/admin/adapters/{adapter.id}"
    asked = [label(client, adapter) for _ in range(CASES)]

    def look() -> list[int]:
        with bot.database.write() as session:
            row = adapters.get(session, adapter.id)
            kept = case_labels.looked(row.report, case_labels.counted(session, row), CASES, least=2)
            row.report = {**row.report, **kept}
            session.add(row)
            return list(kept["looks"])

    assert (look(), look()) == ([CASES], [CASES])
    assert client.get(f"{path}/label-next").json()["needed"] is None
    one = asked[-1]["next"]
    word = {"answer": one["answers"][0]["digest"], "value": False}
    client.put(f"{path}/cases/{one['case_id']}/label", json=word)
    assert client.get(f"{path}/label-next").json()["needed"] == CASES
    assert client.post(f"{path}/decide-again", json={"comment": "it was a slip"}).status_code == 200
    assert (look(), look()) == ([CASES, CASES], [CASES, CASES])
    with bot.database.write() as session:
        forget(session, [asked[0]["next"]["case_id"]])
    assert client.get(f"{path}/label-next").json()["needed"] is None


def test_labels_go_with_the_question(bot: QueuedBot, client: TestClient) -> None:
    adapter = undecided(bot)
    case = label(client, adapter)["next"]["case_id"]
    with bot.database.write() as session:
        forget(session, [case])
        assert session.exec(select(CaseLabel)).all() == []
    assert client.get(f"/v1/admin/adapters/{adapter.id}/label-next").json()["next"]["case_id"] != case
