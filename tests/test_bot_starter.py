"""Claims about the starter adapter: a fresh store begins with it, others are left alone, the base is one call away."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import starter
from bot.live import Live
from store import adapters, deployments, rollbacks
from store.database import Database
from store.errors import BrokenAdapter
from store.models import BASE, Adapter
from store.models import AdapterState as S
from tests.queued import QueuedEngine
from tests.test_store_adapters import made, serving, state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / starter.MANIFEST).write_text(json.dumps({"base_digest": "abc", "files": {}}))
    return shipped


def installed(database: Database, folder: Path, tmp_path: Path, *, base_digest: str = "abc") -> bool:
    return starter.install(database, folder, data=tmp_path / "var", base_model="tiny", base_digest=lambda: base_digest)


@pytest.fixture
def bot(database: Database) -> Iterator[Live]:
    live = Live(database, QueuedEngine())
    yield live
    live.close()


def test_a_fresh_store_begins_with_the_starter_and_says_where_it_comes_from(
    database: Database, folder: Path, tmp_path: Path, bot: Live
) -> None:
    assert installed(database, folder, tmp_path)
    with database.read() as session:
        row = session.get_one(Adapter, deployments.STARTER)
    assert (row.state, row.origin, row.lineage["starter"], row.replaced) == (S.APPROVED, "starter", True, BASE)
    assert (Path(row.folder) / starter.MANIFEST).is_file() and Path(row.folder).is_relative_to(tmp_path / "var")
    bot.look()
    assert state(database, deployments.STARTER) == S.LIVE and bot.serving.adapter == deployments.STARTER


def test_rolling_back_to_the_base_is_one_call_and_a_restart_leaves_it_there(
    database: Database, folder: Path, tmp_path: Path, bot: Live
) -> None:
    installed(database, folder, tmp_path)
    bot.look()
    rollbacks.rollback(database, actor="ann", comment="plain, please")
    assert serving(database) == BASE and not installed(database, folder, tmp_path)
    assert serving(database) == BASE and state(database, deployments.STARTER) == S.ROLLED_BACK


def test_a_store_that_has_an_adapter_is_left_alone(database: Database, folder: Path, tmp_path: Path) -> None:
    made(database)
    assert not installed(database, folder, tmp_path) and serving(database) == BASE


@pytest.mark.parametrize("base_digest", ["another", ""])
def test_a_starter_for_another_base_model_is_not_used(
    database: Database, folder: Path, tmp_path: Path, base_digest: str
) -> None:
    assert not installed(database, folder, tmp_path, base_digest=base_digest)
    assert not starter.install(database, tmp_path / "none", data=tmp_path, base_model="tiny", base_digest=lambda: "abc")
    with database.read() as session:
        assert adapters.page(session) == []


def test_a_broken_starter_leaves_the_base_serving(database: Database, folder: Path, tmp_path: Path) -> None:
    installed(database, folder, tmp_path)
    engine = QueuedEngine()
    engine.broken[deployments.STARTER] = BrokenAdapter("adapter_model.safetensors of adapter starter is altered.")
    live = Live(database, engine)
    live.look()
    assert live.serving.adapter == serving(database) == BASE
    assert state(database, deployments.STARTER) == S.QUARANTINED
    live.close()
