"""Claims about canaries in the registry: who gets one, how it ends, and that what serves the others stays."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlmodel import select

from store import adapters, approvals, deployments, people, rollbacks
from store.__main__ import main as store_command
from store.database import Database, open_database
from store.errors import Conflict, Invalid, NotFound
from store.models import BASE, AuditEntry, Cycle, Deployment, Person, Role, now
from store.models import AdapterState as S
from store.signing import SIGNATURE, Signer
from tests.deciding import signed
from tests.test_store_adapters import live, made, serving, state

MIGRATIONS = Path(deployments.__file__).parent / "migrations"


def canary(database: Database, share: float = 0.1, testers: tuple[str, ...] = ()) -> str:
    """A new adapter that was approved for a share and loaded by a bot."""
    adapter = made(database, compared_with=serving(database))
    deployments.approve(database, adapter, actor="ann", comment="try it", share=share, testers=testers)
    assert deployments.loaded(database, adapter)
    return adapter


def row(database: Database) -> Deployment:
    with database.read() as session:
        return deployments.deployment(session)


def test_a_share_below_one_makes_a_canary_beside_what_serves(database: Database) -> None:
    first = live(database)
    ann = people.add(database, "ann", role=Role.CHAT, actor="test")
    adapter = made(database, compared_with=first)
    deployments.approve(database, adapter, actor="eve", comment="try it", share=0.1, testers=["ann", "ann"])
    assert state(database, adapter) == S.APPROVED
    assert [deployments.loaded(database, adapter), deployments.loaded(database, adapter)] == [True, False]
    found = row(database)
    assert (found.adapter, found.canary, found.share, found.testers) == (first, adapter, 0.1, [ann.id])
    assert (state(database, first), state(database, adapter)) == (S.LIVE, S.CANARY)


def test_share_zero_is_for_named_testers_only(database: Database) -> None:
    people.add(database, "ann", role=Role.CHAT, actor="test")
    canary(database, share=0, testers=("ann",))
    assert (row(database).share, len(row(database).testers)) == (0, 1)


@pytest.mark.parametrize(
    ("share", "testers", "error", "sentence"),
    [
        (1.5, [], Invalid, "the share is 1.5, expected a number from 0 to 1"),
        (-0.1, [], Invalid, "the share is -0.1"),
        (float("nan"), [], Invalid, "the share is nan"),
        (0.0, [], Invalid, "nobody would get the adapter"),
        (1.0, ["ann"], Invalid, "testers mean nothing"),
        (0.5, ["zoe"], NotFound, 'nobody is called "zoe"'),
    ],
)
def test_a_wrong_share_or_tester_is_a_sentence_and_deploys_nothing(
    database: Database, share: float, testers: list[str], error: type[Exception], sentence: str
) -> None:
    people.add(database, "ann", role=Role.CHAT, actor="test")
    adapter = made(database)
    with pytest.raises(error, match=sentence):
        deployments.approve(database, adapter, actor="ann", comment="good", share=share, testers=testers)
    assert (state(database, adapter), row(database).generation) == (S.AWAITING_APPROVAL, 0)


def test_a_canary_is_changed_then_completed_and_the_one_before_retires(database: Database) -> None:
    first = live(database)
    second = canary(database)
    people.add(database, "ann", role=Role.CHAT, actor="test")
    changed, _ = deployments.change_canary(database, actor="eve", comment="more", share=0.5, testers=["ann"])
    assert (changed.adapter, changed.canary, changed.share, len(changed.testers)) == (first, second, 0.5, 1)
    kept, _ = deployments.change_canary(database, actor="eve", comment="fewer", share=0.2)
    assert (kept.share, kept.testers) == (0.2, changed.testers)
    done, _ = deployments.change_canary(database, actor="eve", comment="all well", share=1)
    assert (done.adapter, done.canary, done.share, done.testers) == (second, None, 0, [])
    assert (state(database, first), state(database, second)) == (S.RETIRED, S.LIVE)
    assert rollbacks.rollback(database, actor="eve", comment="after all").adapter == first


def test_each_change_of_a_canary_is_a_new_generation_with_its_reason(database: Database) -> None:
    canary(database)
    before = row(database).generation
    deployments.change_canary(database, actor="eve", comment="so far so good", share=0.5)
    assert row(database).generation == before + 1
    with database.read() as session:
        last = session.exec(select(AuditEntry).order_by(AuditEntry.id.desc())).first()  # type: ignore[union-attr]
    assert last is not None and (last.action, last.comment) == ("deployment.changed", "so far so good")
    assert last.details["share"] == 0.5


def test_a_canary_completed_before_a_bot_has_loaded_it_goes_live_when_one_has(database: Database) -> None:
    adapter = made(database)
    deployments.approve(database, adapter, actor="ann", comment="try it", share=0.5)
    deployments.change_canary(database, actor="ann", comment="at once", share=1)
    assert (serving(database), state(database, adapter)) == (adapter, S.APPROVED)
    assert deployments.loaded(database, adapter)
    assert state(database, adapter) == S.LIVE


def test_changing_a_canary_needs_one_and_a_comment(database: Database) -> None:
    with pytest.raises(Conflict, match="no canary runs"):
        deployments.change_canary(database, actor="ann", comment="more", share=0.5)
    adapter = canary(database)
    with pytest.raises(Invalid, match="needs a comment"):
        deployments.change_canary(database, actor="ann", comment=" ", share=0.5)
    with pytest.raises(Invalid, match="nobody would get the adapter"):
        deployments.change_canary(database, actor="ann", comment="none", share=0)
    assert (row(database).canary, row(database).share) == (adapter, 0.1)


def test_a_canary_is_completed_only_while_it_is_the_one_that_was_meant(database: Database) -> None:
    first = canary(database)
    rollbacks.rollback(database, actor="eve", comment="it leaks names")
    second = canary(database)
    with pytest.raises(Conflict, match=f"adapter {first} is not the canary any more, {second} is"):
        deployments.change_canary(database, actor="watch", comment="fewer thumbs-down", share=1, of=first)
    assert (row(database).adapter, row(database).canary, row(database).share) == ("base", second, 0.1)
    deployments.change_canary(database, actor="watch", comment="fewer thumbs-down", share=1, of=second)
    assert serving(database) == second
    with pytest.raises(Conflict, match=f"adapter {second} is not the canary any more, no canary runs"):
        deployments.change_canary(database, actor="watch", comment="fewer thumbs-down", share=1, of=second)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_rolling_back_takes_the_canary_and_leaves_what_serves(database: Database, named: bool, is_loaded: bool) -> None:
    first = live(database)
    second = made(database, compared_with=first)
    deployments.approve(database, second, actor="ann", comment="try it", share=0.1)
    if is_loaded:
        deployments.loaded(database, second)
    found = rollbacks.rollback(database, actor="ann", comment="bad", to=first if named else None)
    assert (found.adapter, found.canary, found.testers) == (first, None, [])
    assert (state(database, first), state(database, second)) == (S.LIVE, S.ROLLED_BACK)


def test_a_canary_beside_the_base_can_be_taken_back(database: Database) -> None:
    adapter = canary(database)
    assert rollbacks.rollback(database, actor="ann", comment="bad").adapter == BASE
    assert state(database, adapter) == S.ROLLED_BACK


def test_rolling_back_to_another_one_ends_the_canary_as_well(database: Database) -> None:
    first, second = live(database), live(database)
    third = canary(database)
    found = rollbacks.rollback(database, actor="ann", comment="all bad", to=first)
    assert (found.adapter, found.canary) == (first, None)
    assert [state(database, one) for one in (first, second, third)] == [S.LIVE, S.ROLLED_BACK, S.ROLLED_BACK]


def test_a_refused_rollback_leaves_the_canary_running(database: Database) -> None:
    adapter = canary(database)
    with pytest.raises(Conflict, match=f"adapter {adapter} is canary: only one that was live can come back"):
        rollbacks.rollback(database, actor="ann", comment="?", to=adapter)
    other = made(database)
    with pytest.raises(Conflict, match=f"adapter {other} is not deployed any more"):
        rollbacks.rollback(database, actor="watch", comment="declines rose", of=other)
    with pytest.raises(NotFound, match="no adapter v9"):
        rollbacks.rollback(database, actor="watch", comment="declines rose", of="v9")
    with pytest.raises(Invalid, match=f"found both: return to {BASE}, and take {adapter} back"):
        rollbacks.rollback(database, actor="ann", comment="?", to=BASE, of=adapter)
    assert (row(database).canary, state(database, adapter)) == (adapter, S.CANARY)


def test_approving_another_one_while_a_canary_runs_is_refused(database: Database) -> None:
    first = canary(database)
    second = made(database)
    with pytest.raises(Conflict, match=f"adapter {first} is a canary for 10% of the conversations") as error:
        deployments.approve(database, second, actor="ann", comment="better")
    assert "Complete it with share 1 or roll it back" in error.value.hint
    assert (state(database, first), state(database, second)) == (S.CANARY, S.AWAITING_APPROVAL)


def test_no_canary_runs_beside_what_no_bot_has_loaded_yet(database: Database) -> None:
    first = made(database)
    deployments.approve(database, first, actor="ann", comment="good")
    second = made(database, compared_with=first)
    with pytest.raises(Conflict, match=f"adapter {first} is approved, and no bot has loaded it yet") as refused:
        deployments.approve(database, second, actor="ann", comment="try it", share=0.1)
    assert refused.value.hint == f"Wait until {first} is live, or roll it back."
    assert (state(database, first), state(database, second)) == (S.APPROVED, S.AWAITING_APPROVAL)
    deployments.loaded(database, first)
    deployments.approve(database, second, actor="ann", comment="try it", share=0.1)
    assert (row(database).adapter, row(database).canary) == (first, second)


def test_quarantining_a_canary_ends_it_and_says_why(database: Database) -> None:
    first = live(database)
    second = canary(database)
    rollbacks.quarantine(database, second, actor="bot", comment="a flipped bit.")
    assert (serving(database), row(database).canary) == (first, None)
    assert (state(database, first), state(database, second)) == (S.LIVE, S.QUARANTINED)
    with database.read() as session:
        assert adapters.get(session, second).note == "a flipped bit."


def test_quarantining_what_serves_keeps_the_canary_running(database: Database) -> None:
    first, second = live(database), live(database)
    third = canary(database, share=0.3)
    rollbacks.quarantine(database, second, actor="bot", comment="a flipped bit.")
    found = row(database)
    assert (found.adapter, found.canary, found.share) == (first, third, 0.3)
    assert state(database, third) == S.CANARY


def test_what_serves_beside_a_canary_is_taken_back_alone(database: Database) -> None:
    first, second = live(database), live(database)
    third = canary(database, share=0.3)
    found = rollbacks.rollback(database, actor="watch", comment="declines rose", of=second)
    assert (found.adapter, found.canary, found.share) == (first, third, 0.3)
    assert [state(database, one) for one in (first, second, third)] == [S.LIVE, S.ROLLED_BACK, S.CANARY]
    deployments.change_canary(database, actor="ann", comment="all well", share=1)
    assert rollbacks.rollback(database, actor="ann", comment="worse").adapter == first


@pytest.mark.parametrize("is_loaded", [False, True])
def test_a_canary_replaces_what_serves_when_it_is_completed(database: Database, is_loaded: bool) -> None:
    first, second = live(database), live(database)
    third = made(database, compared_with=second)
    deployments.approve(database, third, actor="ann", comment="good", share=0.3)
    if is_loaded:
        deployments.loaded(database, third)
    rollbacks.rollback(database, actor="watch", comment="declines rose", of=second)
    deployments.change_canary(database, actor="ann", comment="all well", share=1)
    with database.read() as session:
        assert adapters.get(session, third).replaced == first


def test_a_rollback_does_not_return_to_what_was_taken_back_itself(database: Database) -> None:
    first = live(database)
    canary(database)
    rollbacks.rollback(database, actor="watch", comment="declines rose", of=first)
    deployments.change_canary(database, actor="ann", comment="all well", share=1)
    assert rollbacks.rollback(database, actor="ann", comment="worse").adapter == BASE
    assert state(database, first) == S.ROLLED_BACK


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("digest", "another"),
        ("dataset_digest", "another"),
        ("recipe", {"phases": []}),
        ("verdict", {"verdict": "promote", "reasons": ["better"]}),
        ("verdict", {}),
    ],
)
def test_what_the_gate_did_not_sign_is_not_approved(database: Database, tmp_path: Path, name: str, value: Any) -> None:
    adapter = made(database)
    signer = Signer(Path(database.url.removeprefix("sqlite:///")).parent)
    with database.write() as session:
        kept = adapters.get(session, adapter)
        mark = {SIGNATURE: kept.verdict[SIGNATURE]} if value else {}
        setattr(kept, name, {**value, **mark} if name == "verdict" else value)
        session.add(kept)
    with pytest.raises(Conflict, match="what the gate signed of adapter v1 is not what the database holds now"):
        deployments.approve(database, adapter, actor="ann", comment="good", signer=signer)
    assert state(database, adapter) == S.AWAITING_APPROVAL


def with_files(database: Database, data: Path) -> tuple[str, Path]:
    """An awaiting, signed adapter with one file, and its folder."""
    folder, adapter = data / adapters.FOLDER / "v1-1", made(database)
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"good")
    manifest = json.dumps({"files": {"weights": hashlib.sha256(b"good").hexdigest()}}).encode()
    (folder / adapters.MANIFEST).write_bytes(manifest)
    with database.write() as session:
        kept = adapters.get(session, adapter)
        kept.folder, kept.digest = str(folder), hashlib.sha256(manifest).hexdigest()
        session.add(signed(database, kept))
    return adapter, folder


def test_files_that_were_altered_are_not_approved_by_command_either(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RATCHET_DATA", str(tmp_path))
    monkeypatch.setenv("RATCHET_DATABASE_URL", database.url)
    adapter, folder = with_files(database, tmp_path)
    (folder / "weights").write_bytes(b"evil")
    command = ["approve", adapter, "--comment", "good"]
    assert store_command(command) == 1 and state(database, adapter) == S.AWAITING_APPROVAL
    said = capsys.readouterr().err
    assert f"adapter {adapter} cannot be approved: weights of adapter v1-1 is missing or altered" in said
    assert "Put the files back, or run a new cycle." in said
    (folder / "weights").write_bytes(b"good")
    assert store_command(command) == 0 and state(database, adapter) == S.APPROVED


def test_only_the_report_that_was_read_is_approved_by_command_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RATCHET_DATA", str(tmp_path))
    monkeypatch.setenv("RATCHET_DATABASE_URL", database.url)
    adapter = made(database)
    with database.write() as session:
        kept = adapters.get(session, adapter)
        read, kept.report = kept.report_digest, {"cases": 31}
        kept.report_digest = adapters.report_digest(kept.report)
        session.add(signed(database, kept))
        now_there = kept.report_digest
    command = ["approve", adapter, "--comment", "31 points better", "--report-digest"]
    assert store_command([*command, read]) == 1 and state(database, adapter) == S.AWAITING_APPROVAL
    said = capsys.readouterr().err
    assert f"the report of adapter {adapter} is another one than you read" in said and "Read it again" in said
    assert store_command([*command, now_there]) == 0 and state(database, adapter) == S.APPROVED


def test_two_people_agree_to_the_same_share_and_are_admins_still(database: Database) -> None:
    adapter, comment = made(database), "cites better"
    ann, ben, eve = (people.add(database, name, role=Role.ADMIN, actor="test") for name in ("ann", "ben", "eve"))

    def agree(who: str, **terms: Any) -> str:
        deployments.approve(database, adapter, actor=who, comment=comment, approvers=2, **terms)
        return state(database, adapter)

    with pytest.raises(Conflict, match="command is none that is known as an admin"):
        agree("command")
    assert agree(ann.id, share=0.01) == S.AWAITING_APPROVAL
    assert agree(ben.id) == S.AWAITING_APPROVAL
    with database.write() as session:
        demoted = session.get_one(Person, ben.id)
        demoted.role = Role.REVIEWER
        session.add(demoted)
    assert agree(eve.id) == S.AWAITING_APPROVAL
    assert agree(ann.id) == S.APPROVED
    assert (serving(database), row(database).canary) == (adapter, None)


def test_a_canary_past_the_share_that_two_people_agreed_to_needs_two_people_again(database: Database) -> None:
    adapter = made(database)
    ann, ben = (people.add(database, name, role=Role.ADMIN, actor="test").id for name in ("ann", "ben"))
    for who in (ann, ben):
        deployments.approve(database, adapter, actor=who, comment="try it", share=0.2, approvers=2)
    deployments.loaded(database, adapter)

    def change(who: str, share: float) -> tuple[str, float]:
        deployments.change_canary(database, actor=who, comment="so far so good", share=share, approvers=2)
        return state(database, adapter), row(database).share

    assert change(ann, 0.1) == (S.CANARY, 0.1)
    assert change(ben, 0.2) == (S.CANARY, 0.2)
    assert change(ann, 1.0) == (S.CANARY, 0.2)
    with pytest.raises(Conflict, match=f"you have approved adapter {adapter} already; 1 more must"):
        change(ann, 1.0)
    with pytest.raises(Conflict, match="command is none that is known as an admin"):
        change("command", 1.0)
    assert change(ben, 1.0) == (S.LIVE, 0.0) and serving(database) == adapter


def canary_of_two(database: Database, *agreed: tuple[str, float]) -> tuple[str, Callable[..., bool]]:
    """A canary approved by two of ann, ben and cy, as `agreed` in this order; and who asks for a change of it.

    Asking says whether that was done; a second time in a row is refused.
    """
    adapter = made(database)
    ids = {name: people.add(database, name, role=Role.ADMIN, actor="test").id for name in ("ann", "ben", "cy")}
    for who, share in agreed:
        deployments.approve(database, adapter, actor=ids[who], comment="try it", share=share, approvers=2)
    assert deployments.loaded(database, adapter)

    def asks(who: str, **wanted: Any) -> bool:
        return not deployments.change_canary(database, actor=ids[who], comment="more", approvers=2, **wanted)[1]

    return adapter, asks


def test_a_word_that_was_replaced_agrees_to_no_larger_share(database: Database) -> None:
    adapter, asks = canary_of_two(database, ("ann", 1.0), ("ben", 0.1), ("ann", 0.1))
    assert not asks("ben", share=1.0)
    with pytest.raises(Conflict, match=f"you have approved adapter {adapter} already; 1 more must"):
        asks("ben", share=1.0)
    assert (state(database, adapter), row(database).share) == (S.CANARY, 0.1)
    assert asks("ann", share=1.0) and serving(database) == adapter


def test_the_word_of_who_is_no_admin_any_more_agrees_to_no_larger_share(database: Database) -> None:
    adapter, asks = canary_of_two(database, ("cy", 1.0), ("ann", 0.1), ("ben", 0.1))
    people.set_role(database, "cy", Role.CHAT, actor="test")
    assert not asks("ann", share=1.0)
    with pytest.raises(Conflict, match="you have approved adapter"):
        asks("ann", share=1.0)
    assert (state(database, adapter), row(database).share) == (S.CANARY, 0.1)


def test_people_agree_to_a_larger_share_only_with_the_same_testers(database: Database) -> None:
    _, asks = canary_of_two(database, ("ann", 0.1), ("ben", 0.1))
    assert not asks("ann", share=0.5, testers=["ann"])
    assert not asks("ben", share=0.5)
    assert not asks("ben", share=0.5, testers=["ben"])
    assert asks("ben", share=0.5, testers=["ann"]) and row(database).share == 0.5
    assert asks("cy", share=0.1) and asks("cy", share=0.5, testers=[])
    assert asks("cy", share=0.1) and not asks("cy", share=0.5, testers=["cy"])


def test_one_admin_narrows_a_canary_that_two_people_never_agreed_to(database: Database) -> None:
    ann = people.add(database, "ann", role=Role.ADMIN, actor="test").id
    canary(database, share=0.5)

    def change(who: str, share: float) -> float:
        deployments.change_canary(database, actor=who, comment="harmful", share=share, approvers=2)
        return row(database).share

    assert (change(ann, 0.5), change(ann, 0.05), change("command", 0.01)) == (0.5, 0.05, 0.01)
    assert change(ann, 0.05) == 0.01


def test_a_change_that_is_only_noted_says_so(database: Database) -> None:
    ann, ben = (people.add(database, name, role=Role.ADMIN, actor="test").id for name in ("ann", "ben"))
    canary(database, share=0.5)

    def noted(who: str, **change: Any) -> bool:
        return deployments.change_canary(database, actor=who, comment="try", approvers=2, **change)[1]

    assert not noted(ann, share=0.5, testers=["ann"]) and row(database).testers == [ann]
    assert not noted(ann, share=0.1)
    assert noted(ann, share=1.0) and row(database).share == 0.1
    assert not noted(ben, share=1.0) and row(database).canary is None


def test_an_approval_after_its_days_is_refused_without_a_scheduler(database: Database) -> None:
    adapter = made(database)
    with database.write() as session:
        kept = adapters.get(session, adapter)
        kept.cycle_id = "cy_1"
        session.add_all([kept, Cycle(id="cy_1", slot_key="x", created_at=now() - timedelta(days=8))])
    with pytest.raises(Conflict, match="passed the gate more than 7 days ago: its approval has expired"):
        deployments.approve(database, adapter, actor="ann", comment="late", days=7)
    deployments.approve(database, adapter, actor="ann", comment="in time", days=9)
    assert state(database, adapter) == S.APPROVED


def test_a_database_of_the_first_schema_is_upgraded_with_what_it_holds(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with create_engine(url).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with sqlite3.connect(tmp_path / "old.db") as old:
        old.execute(
            "INSERT INTO deployment (id, adapter, share, generation, changed_at) VALUES (1, 'v3', 0, 7, '2026-01-01')"
        )
        old.execute(
            "INSERT INTO process (id, kind, pid, generation, adapter, error, started_at, heartbeat) "
            "VALUES ('bot_x', 'bot', 1, 7, 'v3', '', '2026-01-01', '2026-01-01')"
        )
    found = row(open_database(url))
    assert (found.adapter, found.generation, found.canary, found.testers) == ("v3", 7, None, [])


def test_an_adapter_for_another_base_model_is_taken_back_and_may_return(database: Database) -> None:
    first, second = live(database), live(database)
    beside = canary(database, share=0.2)
    rollbacks.set_aside(database, second, actor="bot", comment="made for another model.")
    assert (row(database).adapter, row(database).canary, row(database).share) == (BASE, beside, 0.2)
    assert (state(database, second), state(database, first)) == (S.ROLLED_BACK, S.RETIRED)
    rollbacks.set_aside(database, beside, actor="bot", comment="made for another model.")
    generation = row(database).generation
    rollbacks.set_aside(database, second, actor="bot", comment="again.")
    assert (row(database).adapter, row(database).canary, row(database).generation) == (BASE, None, generation)
    rollbacks.rollback(database, actor="ann", comment="the old model is back", to=second)
    assert (row(database).adapter, state(database, second)) == (second, S.LIVE)


def test_agreements_that_stand_are_the_last_of_each_and_to_one_share(database: Database) -> None:
    adapter = made(database)
    ann, ben = (people.add(database, name, role=Role.ADMIN, actor="test") for name in ("ann", "ben"))

    def standing() -> list[str]:
        with database.read() as session:
            return [entry.actor for entry in approvals.given(session, adapters.get(session, adapter))]

    def agree(who: Person, share: float) -> None:
        deployments.approve(database, adapter, actor=who.id, comment="good", approvers=2, share=share)

    agree(ann, 0.1)
    assert standing() == [ann.id]
    agree(ben, 1.0)
    assert standing() == [ben.id] and state(database, adapter) == S.AWAITING_APPROVAL
    with pytest.raises(Conflict, match="approved adapter v1 already; 1 more must"):
        agree(ben, 1.0)
    agree(ann, 1.0)
    assert state(database, adapter) == S.APPROVED


def test_a_canary_that_rests_on_an_erased_person_gets_no_larger_share_and_does_not_come_back(
    database: Database,
) -> None:
    adapter = canary(database)
    with database.write() as session:
        kept = adapters.get(session, adapter)
        kept.lineage = {"erased": ["pe_1"]}
        session.add(kept)
    with pytest.raises(Conflict, match="cannot get a larger share: it rests on what somebody said who was erased"):
        deployments.change_canary(database, actor="ann", comment="all well", share=1)
    assert deployments.change_canary(database, actor="ann", comment="less", share=0.05)[0].share == 0.05
    rollbacks.rollback(database, actor="ann", comment="bad")
    assert state(database, adapter) == S.QUARANTINED
