"""Claims about the registry: which moves there are, what approving checks, where a rollback leads."""

from itertools import product
from pathlib import Path

import pytest

from store import adapters, deployments, rollbacks
from store.adapters import ARROWS, allowed
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.models import BASE, Adapter
from store.models import AdapterState as S
from tests.deciding import signed


def made(database: Database, state: S = S.AWAITING_APPROVAL, *, compared_with: str = BASE) -> str:
    """An adapter in a state, as if it had come there."""
    row = adapters.create(database, actor="test")
    with database.write() as session:
        row.state, row.report, row.compared_with = state, {"cases": 30}, compared_with
        row.report_digest = adapters.report_digest(row.report)
        session.add(signed(database, row))
    return row.id


def live(database: Database) -> str:
    """A new adapter that was approved and loaded by a bot."""
    adapter = made(database, compared_with=serving(database))
    deployments.approve(database, adapter, actor="ann", comment="cites better")
    assert deployments.loaded(database, adapter)
    return adapter


def state(database: Database, adapter: str) -> str:
    with database.read() as session:
        return adapters.get(session, adapter).state


def serving(database: Database) -> str:
    with database.read() as session:
        return deployments.deployment(session).adapter


@pytest.mark.parametrize(("before", "after"), list(product(S, S)))
def test_an_adapter_moves_exactly_along_the_arrows(database: Database, before: S, after: S) -> None:
    adapter = made(database, before)
    may = after in ARROWS[before] or (after == S.QUARANTINED != before)
    assert allowed(before, after) == may
    with database.write() as session:
        if may:
            adapters.move(session, adapter, after, actor="test")
        else:
            with pytest.raises(Conflict, match=f"adapter {adapter} is {before}: it cannot become {after}"):
                adapters.move(session, adapter, after, actor="test")
    assert state(database, adapter) == (after if may else before)


def test_versions_are_numbered_in_order(database: Database) -> None:
    assert [adapters.create(database, actor="test").id for _ in range(3)] == ["v1", "v2", "v3"]


def test_approving_and_rejecting_need_a_comment(database: Database) -> None:
    adapter = made(database)
    with pytest.raises(Invalid, match="approving an adapter needs a comment"):
        deployments.approve(database, adapter, actor="ann", comment="  ")
    with pytest.raises(Invalid, match="rejecting an adapter needs a comment"):
        adapters.reject(database, adapter, actor="ann", comment="")
    assert state(database, adapter) == S.AWAITING_APPROVAL


def test_approving_deploys_and_the_first_bot_that_loads_makes_it_live(database: Database) -> None:
    adapter = made(database)
    deployments.approve(database, adapter, actor="ann", comment="cites better")
    assert (state(database, adapter), serving(database)) == (S.APPROVED, adapter)
    assert [deployments.loaded(database, adapter), deployments.loaded(database, adapter)] == [True, False]
    assert state(database, adapter) == S.LIVE


def test_a_candidate_that_did_not_pass_the_gate_cannot_be_approved(database: Database) -> None:
    adapter = made(database, S.CANDIDATE)
    with pytest.raises(Conflict, match="has not passed the gate"):
        deployments.approve(database, adapter, actor="ann", comment="please")
    assert serving(database) == BASE


def test_an_altered_report_cannot_be_approved(database: Database) -> None:
    adapter = made(database)
    with database.write() as session:
        row = session.get_one(Adapter, adapter)
        row.report = {"cases": 3000}
        session.add(row)
    with pytest.raises(Conflict, match="does not match the digest"):
        deployments.approve(database, adapter, actor="ann", comment="cites better")


def test_approving_after_the_serving_adapter_changed_is_refused_and_evaluated_again(database: Database) -> None:
    waiting = made(database)
    first = live(database)
    with pytest.raises(Conflict, match=f"{waiting} was compared with base, but {first} serves now") as error:
        deployments.approve(database, waiting, actor="ann", comment="cites better")
    assert error.value.status == 409
    assert (state(database, waiting), serving(database)) == (S.CANDIDATE, first)


def test_a_second_approval_supersedes_one_that_no_bot_has_loaded(database: Database) -> None:
    first = made(database)
    deployments.approve(database, first, actor="ann", comment="good")
    second = made(database, compared_with=first)
    deployments.approve(database, second, actor="ann", comment="better")
    assert (state(database, first), state(database, second)) == (S.SUPERSEDED, S.APPROVED)


def test_a_newer_live_adapter_retires_the_older(database: Database) -> None:
    first, second = live(database), live(database)
    assert (state(database, first), state(database, second)) == (S.RETIRED, S.LIVE)


def test_rolling_back_walks_from_v2_to_v1_to_base(database: Database) -> None:
    first, second = live(database), live(database)
    assert rollbacks.rollback(database, actor="ann", comment="complaints").adapter == first
    assert (state(database, first), state(database, second)) == (S.LIVE, S.ROLLED_BACK)
    assert rollbacks.rollback(database, actor="ann", comment="complaints").adapter == BASE
    assert state(database, first) == S.ROLLED_BACK
    with pytest.raises(Conflict, match="the base model serves already"):
        rollbacks.rollback(database, actor="ann", comment="once more")


def test_rolling_back_to_one_that_was_live_returns_to_it(database: Database) -> None:
    first, second = live(database), live(database)
    rollbacks.rollback(database, actor="ann", comment="bad", to=BASE)
    assert rollbacks.rollback(database, actor="ann", comment="it was fine", to=first).adapter == first
    assert (state(database, first), state(database, second)) == (S.LIVE, S.ROLLED_BACK)


def test_rolling_back_raises_the_generation_so_that_bots_follow(database: Database) -> None:
    live(database)
    with database.read() as session:
        before = deployments.deployment(session).generation
    assert rollbacks.rollback(database, actor="ann", comment="bad").generation == before + 1


@pytest.mark.parametrize("never", [S.REJECTED, S.CANDIDATE, S.AWAITING_APPROVAL, S.EXPIRED, S.QUARANTINED, S.TRAINING])
def test_an_adapter_that_was_never_live_is_no_target_of_a_rollback(database: Database, never: S) -> None:
    live(database)
    adapter = made(database, never)
    with pytest.raises(Conflict, match="only one that was live can come back"):
        rollbacks.rollback(database, actor="ann", comment="bad", to=adapter)


@pytest.mark.parametrize(("share", "is_loaded"), [(0.1, True), (0.1, False), (1.0, False)])
def test_what_was_taken_back_before_it_was_live_is_no_target_of_a_rollback(
    database: Database, share: float, is_loaded: bool
) -> None:
    first = live(database)
    adapter = made(database, compared_with=first)
    deployments.approve(database, adapter, actor="ann", comment="try it", share=share)
    assert not is_loaded or deployments.loaded(database, adapter)
    rollbacks.rollback(database, actor="ann", comment="bad")
    with pytest.raises(Conflict, match=f"adapter {adapter} is rolled_back: only one that was live can come"):
        rollbacks.rollback(database, actor="ann", comment="after all", to=adapter)
    assert (serving(database), state(database, adapter)) == (first, S.ROLLED_BACK)


def test_a_canary_that_everybody_got_may_return_after_it_was_taken_back(database: Database) -> None:
    adapter = made(database)
    deployments.approve(database, adapter, actor="ann", comment="try it", share=0.1)
    deployments.loaded(database, adapter)
    deployments.change_canary(database, actor="ann", comment="all well", share=1)
    rollbacks.rollback(database, actor="ann", comment="bad")
    assert rollbacks.rollback(database, actor="ann", comment="after all", to=adapter).adapter == adapter


def test_a_rejected_adapter_is_never_deployable(database: Database) -> None:
    adapter = made(database)
    adapters.reject(database, adapter, actor="ann", comment="too long")
    with pytest.raises(Conflict, match="is rejected"):
        deployments.approve(database, adapter, actor="ann", comment="after all")
    with pytest.raises(Conflict, match="is rejected"):
        rollbacks.rollback(database, actor="ann", comment="after all", to=adapter)
    assert not deployments.loaded(database, adapter)
    assert (state(database, adapter), serving(database)) == (S.REJECTED, BASE)


def test_quarantining_the_live_adapter_deploys_what_it_replaced(database: Database) -> None:
    first, second = live(database), live(database)
    rollbacks.quarantine(database, second, actor="bot", comment="a flipped bit")
    assert (serving(database), state(database, first), state(database, second)) == (first, S.LIVE, S.QUARANTINED)
    rollbacks.quarantine(database, second, actor="bot", comment="again")
    rollbacks.quarantine(database, first, actor="bot", comment="a flipped bit")
    assert serving(database) == BASE


def test_quarantining_one_that_no_bot_could_load_keeps_the_live_one(database: Database) -> None:
    first = live(database)
    second = made(database, compared_with=first)
    deployments.approve(database, second, actor="ann", comment="better")
    rollbacks.quarantine(database, second, actor="bot", comment="a flipped bit")
    assert (serving(database), state(database, first)) == (first, S.LIVE)


def test_rolling_back_one_that_no_bot_had_loaded_keeps_the_live_one(database: Database) -> None:
    first = live(database)
    second = made(database, compared_with=first)
    deployments.approve(database, second, actor="ann", comment="better")
    assert rollbacks.rollback(database, actor="ann", comment="not yet").adapter == first
    assert (state(database, first), state(database, second)) == (S.LIVE, S.ROLLED_BACK)


def test_only_what_serves_is_live(database: Database) -> None:
    first = live(database)
    second = made(database, compared_with=first)
    deployments.approve(database, second, actor="ann", comment="better")
    rollbacks.rollback(database, actor="ann", comment="neither", to=BASE)
    assert serving(database) == BASE
    assert S.LIVE not in {state(database, first), state(database, second)}


def test_an_unknown_adapter_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="no adapter v9"), database.read() as session:
        adapters.get(session, "v9")


@pytest.mark.parametrize("manifest", ["no json", "{}", "[]", "5", '{"files": ["weights"]}'])
def test_a_malformed_manifest_is_a_sentence(tmp_path: Path, manifest: str) -> None:
    (tmp_path / adapters.MANIFEST).write_text(manifest)
    assert f"of adapter {tmp_path.name} cannot be read: it names no files" in adapters.altered(tmp_path, "")


def test_a_file_that_cannot_be_read_is_an_error_to_who_loads_and_a_sentence_to_who_decides(tmp_path: Path) -> None:
    (tmp_path / adapters.MANIFEST).symlink_to(adapters.MANIFEST)
    with pytest.raises(OSError, match="symbolic links"):
        adapters.altered(tmp_path, "")
    row = Adapter(id="v1", folder=str(tmp_path))
    assert adapters.unfit(row, tmp_path / "data").startswith(f"the files of adapter {tmp_path.name} cannot be read: ")
    assert adapters.unfit(Adapter(id="v2"), tmp_path) == ""
