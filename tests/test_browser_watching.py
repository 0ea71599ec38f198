"""What an overview says of what answers and of what the watch asks, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from store import deployments, processes, rollbacks
from store.errors import Unavailable
from store.models import BASE, Cycle, CycleStep
from tests.browsing import desk, needs_chromium, open_section
from tests.queued import QueuedBot, until
from tests.test_store_adapters import made, state

pytestmark = needs_chromium


@pytest.fixture
def page(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    with desk(browser, bot, address) as page:
        yield page


def approved(bot: QueuedBot, **values: float) -> str:
    """Another adapter that was approved and that the bot has loaded."""
    with bot.database.read() as session:
        serving = deployments.deployment(session).adapter
    adapter = made(bot.database, compared_with=serving)
    deployments.approve(bot.database, adapter, actor="test", comment="good", **values)
    until(lambda: adapter in (bot.live.serving.adapter, bot.live.serving.canary))
    return adapter


def reported(bot: QueuedBot) -> list[str]:
    """What each bot last said that it answers with."""
    with bot.database.read() as session:
        return [one.adapter for one in processes.alive(session, "bot")]


def test_overview_names_what_answers_where_what_is_deployed_cannot_be_loaded(page: Page, bot: QueuedBot) -> None:
    first, second = approved(bot), approved(bot)
    open_section(page, "Adapters")
    open_section(page, "Overview")
    tile = page.locator(".tile", has_text="Live")
    expect(tile.locator(".big")).to_have_text(second)
    bot.engine.unload(first)
    bot.engine.broken[first] = Unavailable("there is no adapter folder.")
    rollbacks.rollback(bot.database, actor="watch", comment="thumbs-down rose", of=second)
    until(lambda: reported(bot) == [BASE])
    open_section(page, "Adapters")
    open_section(page, "Overview")
    expect(tile.locator(".big")).to_have_text("Base model")
    expect(tile).to_contain_text(f"{first} is deployed, and 1 of 1 process not there")


def test_what_the_watch_asks_of_a_live_adapter_beside_a_canary_is_answered_by_rolling_it_back(
    page: Page, bot: QueuedBot
) -> None:
    first = approved(bot)
    second = approved(bot, share=0.1)
    with bot.database.write() as session:
        session.add(Cycle(id="cy_1", slot_key="1", adapter_id=first, state="watching", step="watch"))
        asks = {"asks": "thumbs-down rose, but only 2 people show it."}
        session.add(CycleStep(cycle_id="cy_1", name="watch", position=0, progress=asks))
    open_section(page, "Adapters")
    open_section(page, "Overview")
    waiting = page.get_by_role("region", name="Waiting for you")
    expect(waiting.get_by_role("button", name="Keep it")).to_be_visible()
    waiting.get_by_role("button", name="Roll it back").click()
    box = page.get_by_role("dialog")
    box.get_by_label("Comment").fill("As the watch asked.")
    box.get_by_role("button", name="Roll it back").click()
    expect(page.locator("#toast")).to_contain_text(f"{first} is taken back.")
    assert (state(bot.database, first), state(bot.database, second)) == ("rolled_back", "canary")
    until(lambda: (bot.live.serving.adapter, bot.live.serving.canary) == (BASE, second))


def test_a_canary_whose_watch_failed_is_listed_and_tried_again(page: Page, bot: QueuedBot) -> None:
    adapter = approved(bot, share=0.1)
    with bot.database.write() as session:
        why = "the log is out of reach.\nTraceback (most recent call last):\n  …"
        session.add(Cycle(id="cy_1", slot_key="1", adapter_id=adapter, state="failed", step="watch", error=why))
        session.add(CycleStep(cycle_id="cy_1", name="watch", position=0, state="failed", error=why))
    open_section(page, "Adapters")
    open_section(page, "Overview")
    waiting = page.get_by_role("region", name="Waiting for you")
    failed = f"{adapter}: the watch of {adapter} failed (the log is out of reach): try again, or roll it back."
    expect(waiting.get_by_role("listitem")).to_contain_text(failed)
    expect(waiting.get_by_role("button", name="Roll it back")).to_be_visible()
    assert waiting.get_by_role("button", name="Keep it").count() == 0
    assert waiting.get_by_role("link", name="Complete it").count() == 0
    waiting.get_by_role("button", name="Try again").click()
    expect(page.locator("#toast")).to_contain_text(f"{adapter} is watched again.")
    with bot.database.read() as session:
        assert session.get_one(Cycle, "cy_1").state == "watching"
