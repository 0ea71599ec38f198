"""Claims about what people say of answers for the judge's sake, and how far the judge agrees with them."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from finetune.agreement import Judged, agreement, distrusted, most_useful
from finetune.fitted import FittedJudge
from scheduler import judging
from scheduler.workbench import Workbench
from store import judge_labels, people
from store.__main__ import main
from store.database import Database
from store.errors import Invalid, NotFound
from store.models import AuditEntry, JudgeLabel, Role
from tests.queued import QueuedBot, error, queued_bot
from tests.test_store_exchanges import asked, user


def test_a_second_word_on_the_same_metric_replaces_the_first_and_both_are_on_record(database: Database) -> None:
    ann = people.add(database, "ann", role=Role.ADMIN, actor="test")
    row = asked(database, ann, [user("How long is the Aare?")], "It is 288 km [1].")
    judge_labels.put(database, row.id, metric="support", value=True, actor=ann.id)
    judge_labels.put(database, row.id, metric="support", value=False, comment="not in the passage", actor=ann.id)
    judge_labels.put(database, row.id, metric="accuracy", value=True, actor=ann.id)
    with database.read() as session:
        found = {(label.metric, label.value): logged.exchange.id for label, logged in judge_labels.labelled(session)}
        assert found == {("support", False): row.id, ("accuracy", True): row.id}
        actions = session.exec(select(AuditEntry).where(AuditEntry.action == "judge.labelled")).all()
        assert [entry.details["value"] for entry in actions] == [True, False, True]


def test_unknown_metrics_and_exchanges_are_refused(database: Database) -> None:
    with pytest.raises(Invalid, match='the metric is "taste", expected one of support, accuracy, relevance'):
        judge_labels.put(database, "ex_none", metric="taste", value=True, actor="ann")
    with pytest.raises(NotFound, match="no exchange ex_none"):
        judge_labels.put(database, "ex_none", metric="support", value=True, actor="ann")


def test_an_erased_persons_labels_go_with_the_exchange(database: Database) -> None:
    ann = people.add(database, "ann", role=Role.CHAT, actor="test")
    row = asked(database, ann, [user("How long is the Aare?")], "It is 288 km [1].")
    judge_labels.put(database, row.id, metric="support", value=True, actor="rita")
    people.erase(database, ann.id, actor="rita")
    with database.read() as session:
        assert session.exec(select(JudgeLabel)).all() == []


def rows(*found: tuple[float, bool | None], metric: str = "support") -> list[Judged]:
    return [Judged(f"ex_{n}", metric, "facts", score, value) for n, (score, value) in enumerate(found)]


def test_agreement_by_hand() -> None:
    found = agreement(rows((0.9, True), (0.8, True), (0.6, False), (0.2, False)))
    everything = next(one for one in found if one.task == "all")
    assert (everything.n, everything.accuracy, everything.balanced) == (4, 0.75, 0.75)
    assert everything.kappa == pytest.approx(0.5)
    assert everything.auroc == 1.0
    assert {one.task for one in found} == {"all", "facts"}


def test_labels_of_one_answer_only_give_no_auroc_and_are_held_against_plain_accuracy() -> None:
    agreed = agreement(rows(*[(0.9, True)] * 60))
    assert agreed[0].auroc is None and agreed[0].balanced is None
    assert distrusted(agreed, least=0.6, labels=20) == []
    told = distrusted(agreement(rows(*[(0.9, False)] * 60)), least=0.6, labels=20)
    assert {(one.metric, one.task, one.worth) for one in told} == {("support", "all", 0.0), ("support", "facts", 0.0)}
    assert distrusted(agreement(rows(*[(0.9, False)] * 19)), least=0.6, labels=20) == []


def test_a_task_in_which_the_judge_is_surely_wrong_is_not_hidden_by_another() -> None:
    good = [Judged(f"a{n}", "support", "a", 0.9 if n % 2 else 0.1, bool(n % 2)) for n in range(200)]
    bad = [Judged(f"b{n}", "support", "b", 0.1 if n % 2 else 0.9, bool(n % 2)) for n in range(40)]
    assert [one.task for one in distrusted(agreement([*good, *bad]), least=0.6, labels=20)] == ["b"]
    unlucky = [Judged(f"b{n}", "support", "b", 0.9 if n % 5 < 3 else 0.1, n < 10) for n in range(20)]
    few = agreement([*good, *unlucky])
    assert next(one.worth for one in few if one.task == "b") < 0.6 < next(one.most for one in few if one.task == "b")
    assert distrusted(few, least=0.6, labels=20) == []


def test_a_judge_that_guesses_is_distrusted_once_there_are_labels_enough() -> None:
    guesses = agreement(rows(*[(0.9, n % 2 == 0) for n in range(30)]))
    assert [one.metric for one in distrusted(guesses, least=0.6, labels=20)] == ["support"]
    assert distrusted(guesses, least=0.6, labels=40) == []


def test_labels_that_are_asked_for_leave_a_good_judge_its_trust() -> None:
    rng, distrusting = np.random.default_rng(0), 0
    for world in range(100):
        scores = rng.beta(0.7, 0.7, 200)
        truth = rng.random(200) < scores  # a judge that says exactly how sure it is
        ids = {f"w{world}_{n}": n for n in range(200)}
        asked_for = [ids[one] for one in most_useful(ids, 20)]
        found = agreement(rows(*[(float(scores[n]), bool(truth[n])) for n in asked_for]))
        distrusting += bool(distrusted(found, least=0.6, labels=20))
    assert distrusting <= 12


def test_one_label_of_the_rarer_answer_neither_condemns_nor_makes_a_perfect_judge() -> None:
    found = agreement(rows(*[(0.9, True)] * 39, (0.9, False)))
    assert found[0].balanced == 0.5 and distrusted(found, least=0.6, labels=20) == []
    several = agreement(rows(*[(0.9, True)] * 35, *[(0.9, False)] * 5))
    assert [one.task for one in distrusted(several, least=0.6, labels=20)] == ["all"]
    assert agreement(rows((0.9, True)))[0].kappa is None


def test_a_label_by_command(database: Database, monkeypatch: Any, capsys: Any) -> None:
    ann = people.add(database, "ann", role=Role.ADMIN, actor="test")
    row = asked(database, ann, [user("How long is the Aare?")], "It is 288 km [1].")
    monkeypatch.setenv("RATCHET_DATABASE_URL", database.url)
    assert main(["judge-label", row.id, "--metric", "support", "--value", "no"]) == 0
    assert f"{row.id}: support is no." in capsys.readouterr().out


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[QueuedBot]:
    with queued_bot(tmp_path) as bot:
        yield bot


def test_admins_label_over_http(bot: QueuedBot) -> None:
    ann = people.add(bot.database, "the-asker", role=Role.CHAT, actor="test")
    row = asked(bot.database, ann, [user("How long is the Aare?")], "It is 288 km [1].")
    path = f"/v1/admin/exchanges/{row.id}/judge-label"
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:
        said = client.put(path, json={"metric": "support", "value": True, "comment": "word for word"})
        assert (said.status_code, said.json()["value"]) == (200, True)
        assert 'the metric is "taste"' in error(client.put(path, json={"metric": "taste", "value": True}))["message"]
        assert client.put(path.replace(row.id, "ex_no"), json={"metric": "support", "value": True}).status_code == 404


def test_a_label_is_shown_with_its_exchange_and_can_be_taken_back(bot: QueuedBot) -> None:
    row = asked(bot.database, bot.people["chat"], [user("How long is the Aare?")], "It is 288 km [1].")
    path = f"/v1/admin/exchanges/{row.id}/judge-label"
    with TestClient(bot.app, headers=bot.headers("admin"), raise_server_exceptions=False) as client:

        def shown() -> list[tuple[str, bool, str]]:
            one = client.get(f"/v1/exchanges/{row.id}").json()["judge_labels"]
            [listed] = client.get("/v1/admin/exchanges").json()["data"]
            assert listed["judge_labels"] == one
            return [(label["metric"], label["value"], label["name"]) for label in one]

        assert shown() == []
        client.put(path, json={"metric": "accuracy", "value": False})
        client.put(path, json={"metric": "support", "value": True})
        assert shown() == [("accuracy", False, "admin"), ("support", True, "admin")]
        assert "judge_labels" not in client.get(f"/v1/exchanges/{row.id}", headers=bot.headers("chat")).json()
        for _ in range(2):
            back = client.put(path, json={"metric": "accuracy", "value": None, "comment": "a slip"})
            assert (back.status_code, back.json()["value"]) == (200, None)
        assert shown() == [("support", True, "admin")]
        assert client.put(path, json={"metric": "taste", "value": None}).status_code == 422
        assert client.put(path.replace(row.id, "ex_no"), json={"metric": "support", "value": None}).status_code == 404
    with bot.database.read() as session:
        [entry] = session.exec(select(AuditEntry).where(AuditEntry.action == "judge.withdrawn")).all()
        assert (entry.subject, entry.comment) == (row.id, "a slip")
        assert entry.details == {"metric": "accuracy", "value": False, "labelled_by": bot.people["admin"].id}


def test_the_scheduler_tells_the_agreement_and_whose_label_would_help_most(database: Database, tmp_path: Path) -> None:
    ann = people.add(database, "ann", role=Role.ADMIN, actor="test")
    unused: dict[str, Any] = dict.fromkeys(field.name for field in fields(Workbench))
    bench = Workbench(
        **{
            **unused,
            "database": database,
            "data": tmp_path,
            "min_agreement": 0.6,
            "min_labels": 4,
            "fitted": FittedJudge(),
        }
    )
    texts = ["It is 288 km.", "Parking is cheap.", "It rains.", "The moon is far."]
    ids = []
    for number, text in enumerate(texts):
        row = asked(database, ann, [user("How long is the Aare?")], text)
        ids.append(row.id)
        judge_labels.put(database, row.id, metric="support", value=number % 2 == 0, actor=ann.id)
    found = judging.judged_now(bench)
    assert found["name"] == "fitted"
    assert [one["n"] for one in found["agreement"]] == [4, 4]
    assert found["trusted"] is (not judging.doubt(bench))
    assert found["tried"] is None
    for name in ids:
        judge_labels.put(database, name, metric="support", value=True, actor=ann.id)
    assert "accuracy, as people gave one answer only, of support 0.00 over 4 labels" in judging.doubt(bench)
    assert judging.doubt(bench, {"name": "nli:x", "counts": ["support"]}) == ""
    assert "does not notice" in judging.doubt(bench, {"name": "fitted", "blind": ["negated: lost."]})
