"""Claims about what answers: who gets the canary, what a conversation keeps, and that a bad load changes nothing."""

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from bot.adapters import WEIGHTS
from bot.engine import TransformersEngine
from bot.live import Live, chosen
from finetune import card
from store import adapters, deployments, exchanges, histories, people, processes, rollbacks
from store.database import Database
from store.errors import BrokenAdapter, OtherBase, Unavailable
from store.models import BASE, Conversation, Deployment, Exchange, Person, Role
from store.models import AdapterState as S
from tests.queued import QueuedEngine, ask, queued_bot, until
from tests.test_store_adapters import made, serving, state

CANARY = Deployment(adapter="v1", canary="v2", share=0.1, testers=["pe_ann"])


def choice(row: Deployment, number: int = 0, *, pinned: str | None = None, person: str = "pe_bob") -> str:
    return chosen(row, pinned=pinned, conversation_id=f"co_{number}", person_id=person)


# the choice, a function of values


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_share_is_met_on_ten_thousand_conversations(share: float) -> None:
    row = Deployment(adapter="v1", canary="v2", share=share)
    got = sum(choice(row, n) == "v2" for n in range(10_000))
    deviation = (10_000 * share * (1 - share)) ** 0.5
    assert abs(got - 10_000 * share) < 4 * deviation


def test_the_choice_is_the_same_each_time_and_in_each_process() -> None:
    row = Deployment(adapter="v1", canary="v2", share=0.5)
    assert [choice(row, n) for n in range(8)] == ["v2", "v2", "v2", "v2", "v1", "v2", "v2", "v1"]


def test_a_larger_share_takes_no_conversation_away_from_the_canary() -> None:
    small, large = (Deployment(adapter="v1", canary="v2", share=share) for share in (0.1, 0.4))
    got = {n for n in range(1_000) if choice(small, n) == "v2"}
    assert got and got < {n for n in range(1_000) if choice(large, n) == "v2"}


def test_a_tester_gets_the_canary_even_where_the_conversation_is_pinned_to_the_live_one() -> None:
    assert {choice(CANARY, n, person="pe_ann", pinned="v1") for n in range(100)} == {"v2"}


def test_share_zero_gives_the_canary_to_testers_only() -> None:
    row = Deployment(adapter="v1", canary="v2", share=0.0, testers=["pe_ann"])
    assert {choice(row, n) for n in range(1_000)} == {"v1"}
    assert choice(row, person="pe_ann") == "v2"


@pytest.mark.parametrize("pinned", ["v1", "v2"])
def test_a_conversation_keeps_the_version_that_answered_it_while_that_is_deployed(pinned: str) -> None:
    assert {choice(CANARY, n, pinned=pinned) for n in range(100)} == {pinned}


def test_a_pin_to_what_is_not_deployed_any_more_counts_for_nothing() -> None:
    assert [choice(CANARY, n, pinned="v0") for n in range(200)] == [choice(CANARY, n) for n in range(200)]
    assert choice(Deployment(adapter="v3"), pinned="v2") == "v3"


# a bot process


@pytest.fixture
def engine() -> QueuedEngine:
    return QueuedEngine()


@pytest.fixture
def bot(database: Database, engine: QueuedEngine) -> Iterator[Live]:
    live = Live(database, engine)
    yield live
    live.close()


def approved(database: Database, **values: object) -> str:
    adapter = made(database, compared_with=serving(database))
    deployments.approve(database, adapter, actor="ann", comment="good", **values)  # type: ignore[arg-type]
    return adapter


def served(bot: Live) -> tuple[str, str | None]:
    return bot.serving.adapter, bot.serving.canary


def test_a_canary_is_loaded_beside_what_serves_reported_and_unloaded_when_taken_back(
    database: Database, engine: QueuedEngine, bot: Live
) -> None:
    first = approved(database)
    bot.look()
    second = approved(database, share=0.5)
    bot.look()
    assert served(bot) == (first, second) and engine.loaded() == [BASE, first, second]
    assert (state(database, first), state(database, second)) == (S.LIVE, S.CANARY)
    with database.read() as session:
        (process,) = processes.alive(session, "bot")
    assert (process.adapter, process.canary) == (first, second)
    rollbacks.rollback(database, actor="ann", comment="bad")
    bot.look()
    assert served(bot) == (first, None)
    until(lambda: engine.loaded() == [BASE, first])


def test_the_version_before_stays_loaded_for_an_instant_rollback(
    database: Database, engine: QueuedEngine, bot: Live
) -> None:
    loaded = []
    for _ in range(3):
        loaded.append(approved(database))
        bot.look()
    bot.look()
    assert engine.loaded() == [BASE, *loaded[1:]]


def test_what_a_request_has_just_chosen_is_still_there_right_after_a_change(
    database: Database, engine: QueuedEngine, bot: Live
) -> None:
    adapter = approved(database, share=0.5)
    bot.look()
    rollbacks.rollback(database, actor="ann", comment="bad")
    until(lambda: bot.serving.canary is None)
    assert "".join(engine.stream([], adapter=adapter, max_tokens=9)) == engine.default


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_an_adapter_that_is_broken_is_quarantined_and_the_one_before_serves_on(
    database: Database, engine: QueuedEngine, bot: Live, share: float
) -> None:
    first = approved(database)
    bot.look()
    engine.broken["v2"] = BrokenAdapter("adapter_model.safetensors of adapter v2 is altered.")
    second = approved(database, share=share)
    bot.look()
    assert served(bot) == (first, None) and bot.healthy() == ""
    assert (state(database, first), state(database, second)) == (S.LIVE, S.QUARANTINED)
    sentence = "adapter v2 is quarantined: adapter_model.safetensors of adapter v2 is altered."
    bot.look()
    assert bot.trouble() == sentence
    with database.read() as session:
        assert "is altered" in adapters.get(session, second).note
        assert processes.alive(session, "bot")[0].error == sentence
    approved(database)
    bot.look()
    assert bot.trouble() == ""


def test_a_load_that_fails_for_want_of_room_is_tried_again_and_quarantines_nothing(
    database: Database, engine: QueuedEngine
) -> None:
    bot = Live(database, engine, retry_seconds=0)
    first = approved(database)
    bot.look()
    engine.broken["v2"] = Unavailable("there is no room for another copy.")
    second = approved(database)
    bot.look()
    assert served(bot) == (first, None) and state(database, second) == S.APPROVED
    assert bot.trouble() == "adapter v2 cannot be loaded: there is no room for another copy." and not bot.healthy()
    engine.broken.clear()
    until(lambda: served(bot) == (second, None))
    until(lambda: state(database, second) == S.LIVE)
    assert bot.trouble() == ""
    bot.close()


@pytest.mark.parametrize("way", ["rolled back", "quarantined"])
def test_what_was_taken_back_answers_no_more_though_what_was_before_cannot_be_loaded(
    database: Database, engine: QueuedEngine, way: str
) -> None:
    bot = Live(database, engine, retry_seconds=0)
    first = approved(database)
    bot.look()
    second = approved(database)
    bot.look()
    engine.unload(first)
    engine.broken[first] = Unavailable("there is no adapter folder.")
    if way == "quarantined":
        rollbacks.quarantine(database, second, actor="ann", comment="it leaks names")
    else:
        rollbacks.rollback(database, actor="watch", comment="thumbs-down rose", of=second)
    until(lambda: served(bot) == (BASE, None))
    assert serving(database) == first and "there is no adapter folder" in bot.trouble()

    def reported() -> str:
        with database.read() as session:
            return processes.alive(session, "bot")[0].adapter

    until(lambda: reported() == BASE)
    engine.broken.clear()
    until(lambda: served(bot) == (first, None) and bot.trouble() == "")
    bot.close()


def test_a_canary_goes_on_beside_the_base_while_what_was_returned_to_cannot_be_loaded(
    database: Database, engine: QueuedEngine
) -> None:
    bot = Live(database, engine, retry_seconds=0)
    first = approved(database)
    bot.look()
    second = approved(database)
    bot.look()
    third = approved(database, share=0.5)
    bot.look()
    engine.unload(first)
    engine.broken[first] = Unavailable("there is no adapter folder.")
    rollbacks.rollback(database, actor="watch", comment="thumbs-down rose", of=second)
    until(lambda: served(bot) == (BASE, third))
    assert bot.serving.share == 0.5
    rollbacks.rollback(database, actor="ann", comment="bad too")
    until(lambda: served(bot) == (BASE, None))
    bot.close()


def test_a_disk_that_fails_is_tried_again_and_quarantines_nothing(database: Database, engine: QueuedEngine) -> None:
    bot = Live(database, engine, retry_seconds=0)
    engine.broken["v1"] = OSError(errno.EIO, "Input/output error", "adapter_model.safetensors")
    adapter = approved(database)
    sentence = "adapter v1 cannot be loaded: its files cannot be read: Input/output error."
    until(lambda: bot.trouble() == sentence)
    assert served(bot) == (BASE, None) and state(database, adapter) == S.APPROVED
    with pytest.raises(Unavailable, match="Input/output error"), bot.hold(adapter):
        pass
    engine.broken.clear()
    until(lambda: served(bot) == (adapter, None) and bot.trouble() == "")
    bot.close()


def test_an_error_that_nobody_foresaw_is_shown_and_a_rollback_is_still_followed(
    database: Database, engine: QueuedEngine, bot: Live
) -> None:
    first = approved(database)
    bot.look()
    engine.broken["v2"] = LookupError("a shelf is empty")
    approved(database)
    until(lambda: bot.trouble() == "the deployment could not be followed: LookupError('a shelf is empty').")
    assert served(bot) == (first, None) and bot.healthy() == ""
    rollbacks.rollback(database, actor="ann", comment="back")
    rollbacks.rollback(database, actor="ann", comment="back to the base", to=BASE)
    until(lambda: served(bot) == (BASE, None) and bot.trouble() == "")


def test_a_bot_that_cannot_load_what_serves_when_it_starts_is_not_ready(
    database: Database, engine: QueuedEngine
) -> None:
    adapter = approved(database)
    engine.broken[adapter] = Unavailable("there is no room for another copy.")
    live = Live(database, engine)
    assert live.healthy() == f"adapter {adapter} cannot be loaded: there is no room for another copy."
    live.close()


class SlowEngine(QueuedEngine):
    """Loads only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.loading, self.let = threading.Event(), threading.Event()

    def load(self, adapter: str, folder: Path, *, digest: str) -> None:
        self.loading.set()
        assert self.let.wait(10)
        super().load(adapter, folder, digest=digest)


def test_a_bot_that_starts_while_a_swap_is_under_way_ends_on_the_right_adapter(database: Database) -> None:
    approved(database)
    engine, started = SlowEngine(), []
    thread = threading.Thread(target=lambda: started.append(Live(database, engine)))
    thread.start()
    assert engine.loading.wait(10)
    second = approved(database)
    engine.let.set()
    thread.join(10)
    until(lambda: served(started[0]) == (second, None))
    until(lambda: (state(database, "v1"), state(database, second)) == (S.SUPERSEDED, S.LIVE))
    started[0].close()


def test_every_bot_on_a_database_follows_a_canary_and_its_promotion(database: Database) -> None:
    bots = [Live(database, QueuedEngine()) for _ in range(2)]
    adapter = approved(database, share=0.5)
    until(lambda: [served(bot) for bot in bots] == [(BASE, adapter)] * 2)
    deployments.change_canary(database, actor="ann", comment="all well", share=1)
    until(lambda: [served(bot) for bot in bots] == [(adapter, None)] * 2)
    assert {bot.adapter_for(f"co_{n}", "pe_bob") for bot in bots for n in range(20)} == {adapter}
    for bot in bots:
        bot.close()


def test_a_held_adapter_is_loaded_until_the_last_one_lets_go(
    database: Database, engine: QueuedEngine, bot: Live
) -> None:
    adapter = made(database, S.CANDIDATE)
    with bot.hold(adapter):
        with bot.hold(adapter):
            bot.look()
        bot.look()
        assert adapter in engine.loaded()
    bot.look()
    assert engine.loaded() == [BASE]


def test_a_broken_adapter_that_is_to_be_held_is_quarantined(
    database: Database, engine: QueuedEngine, bot: Live
) -> None:
    adapter = made(database, S.CANDIDATE)
    engine.broken[adapter] = BrokenAdapter("its weights are altered.")
    with pytest.raises(BrokenAdapter, match="altered"), bot.hold(adapter):
        pass
    assert state(database, adapter) == S.QUARANTINED and bot.trouble() == ""


def test_an_adapter_for_another_base_model_is_set_aside_not_quarantined(database: Database, bot: Live) -> None:
    first = approved(database)
    bot.look()
    second = approved(database)
    bot.look()
    bot.close()
    engine = QueuedEngine()
    engine.broken[second] = OtherBase(f"adapter {second} was made for the base model tiny.")
    bot = Live(database, engine)
    assert served(bot) == (BASE, None) and state(database, second) == S.ROLLED_BACK
    assert bot.trouble() == f"adapter {second} was made for the base model tiny."
    with pytest.raises(OtherBase), bot.hold(second):
        pass
    assert state(database, second) == S.ROLLED_BACK
    del engine.broken[second]
    rollbacks.rollback(database, actor="ann", comment="the old model is back", to=second)
    bot.look()
    assert served(bot) == (second, None) and state(database, first) == S.RETIRED
    bot.close()


def test_a_question_asked_while_a_rollback_comes_is_answered_by_what_serves_then(tmp_path: Path) -> None:
    with queued_bot(tmp_path) as bot, TestClient(bot.app, headers=bot.headers("chat")) as client:
        adapter = approved(bot.database)
        until(lambda: bot.live.adapter == adapter)

        def roll_back() -> None:
            bot.engine.meanwhile = lambda: None
            rollbacks.rollback(bot.database, actor="ann", comment="bad")
            until(lambda: bot.engine.loaded() == [BASE])

        bot.engine.meanwhile = roll_back
        response = ask(client)
        assert response.status_code == 200 and response.json()["ratchet"]["adapter"] == BASE
        with bot.database.read() as session:
            assert exchanges.page(session)[0].exchange.adapter == BASE


# the real engine


@pytest.fixture(scope="module")
def tiny(tiny_model: str) -> Iterator[TransformersEngine]:
    engine = TransformersEngine(tiny_model, dtype="float32", slots=2, context_tokens=256, threads=1)
    yield engine
    engine.close()


def files(database: Database, tiny: TransformersEngine, source: Path, target: Path) -> str:
    """An adapter that awaits approval, with files and digest."""
    adapter = made(database, compared_with=serving(database))
    digest = card.adopt(source, target, base_model="tiny", base_digest=tiny.base_digest, facts={"rank": 4})
    with database.write() as session:
        row = adapters.get(session, adapter)
        row.folder, row.digest = str(target), digest
        session.add(row)
    return adapter


def said(tiny: TransformersEngine, adapter: str) -> str:
    return "".join(tiny.stream([{"role": "user", "content": "How long?"}], adapter=adapter, max_tokens=12))


def test_an_adapter_whose_folder_is_not_there_serves_as_soon_as_it_is(
    database: Database, tiny: TransformersEngine, tiny_adapter: Path, tmp_path: Path
) -> None:
    bot = Live(database, tiny, retry_seconds=0)
    adapter = files(database, tiny, tiny_adapter, tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    deployments.approve(database, adapter, actor="ann", comment="good")
    until(lambda: "there is no adapter folder" in bot.trouble())
    assert served(bot) == (BASE, None) and state(database, adapter) == S.APPROVED
    (tmp_path / "elsewhere").rename(tmp_path / "first")
    until(lambda: served(bot) == (adapter, None) and state(database, adapter) == S.LIVE)
    bot.close()


def test_a_real_canary_answers_beside_the_base_and_one_with_a_flipped_bit_never_does(
    database: Database, tiny: TransformersEngine, tiny_adapter: Path, tmp_path: Path
) -> None:
    bot = Live(database, tiny)
    first = files(database, tiny, tiny_adapter, tmp_path / "first")
    deployments.approve(database, first, actor="ann", comment="try it", share=0.5)
    bot.look()
    assert state(database, first) == S.CANARY and said(tiny, first) != said(tiny, BASE)
    rollbacks.rollback(database, actor="ann", comment="the next one")
    second = files(database, tiny, tiny_adapter, tmp_path / "second")
    weights = bytearray((tmp_path / "second" / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (tmp_path / "second" / WEIGHTS).write_bytes(weights)
    deployments.approve(database, second, actor="ann", comment="try it", share=0.5)
    bot.look()
    assert state(database, second) == S.QUARANTINED and served(bot) == (BASE, None)
    assert "missing or altered" in bot.trouble() and second not in tiny.loaded()
    with pytest.raises(BrokenAdapter, match="missing or altered"), bot.hold(second):
        pass
    bot.close()


def test_adapters_are_found_after_the_data_folder_was_moved_and_one_that_is_nowhere_is_put_off(
    database: Database, tiny: TransformersEngine, tiny_adapter: Path, tmp_path: Path
) -> None:
    first = files(database, tiny, tiny_adapter, tmp_path / "var" / "adapters" / "v1-3")
    tiny.unload(first)  # another test's of that name
    (tmp_path / "var").rename(tmp_path / "moved")
    deployments.approve(database, first, actor="ann", comment="good")
    bot = Live(database, tiny, data=tmp_path / "elsewhere", retry_seconds=0)
    assert served(bot) == (BASE, None) and state(database, first) == S.APPROVED
    assert "there is no adapter folder" in bot.trouble()
    bot.close()
    bot = Live(database, tiny, data=tmp_path / "moved")
    assert served(bot) == (first, None) and state(database, first) == S.LIVE
    bot.close()


# the pin


def conversation(database: Database) -> Person:
    ann = people.add(database, "ann", role=Role.CHAT, actor="test")
    with database.write() as session:
        session.add(Conversation(id="co_1", person_id=ann.id))
    return ann


def test_a_conversation_is_pinned_with_its_first_exchange_and_a_rollback_breaks_the_pin(
    database: Database, bot: Live
) -> None:
    ann = conversation(database)
    assert histories.pinned(database, "co_1") is None
    first = approved(database, share=0.99)
    bot.look()
    assert bot.adapter_for("co_1", ann.id) == first
    exchanges.begin(database, Exchange(conversation_id="co_1", person_id=ann.id, question="?", adapter=first))
    assert histories.pinned(database, "co_1") == first
    deployments.change_canary(database, actor="eve", comment="less", share=0.0001)
    bot.look()
    assert bot.adapter_for("co_1", ann.id) == first and bot.adapter_for("co_2", ann.id) == BASE
    rollbacks.rollback(database, actor="eve", comment="bad")
    bot.look()
    assert bot.adapter_for("co_1", ann.id) == BASE
