"""Canaries and rollbacks in a real browser: each button acts on what its page names, or on nothing."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from store import deployments, rollbacks
from tests.browsing import desk, needs_chromium, open_section
from tests.deciding import awaiting
from tests.queued import QueuedBot, until
from tests.test_store_adapters import serving, state

pytestmark = needs_chromium


@pytest.fixture
def page(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    with desk(browser, bot, address) as page:
        yield page


def deployed(bot: QueuedBot, share: float = 1.0) -> str:
    """A new adapter for so many of the conversations that the bot has loaded."""
    row = awaiting(bot.database, compared_with=serving(bot.database))
    deployments.approve(bot.database, row.id, actor="ann", comment="good", share=share)
    until(lambda: state(bot.database, row.id) in ("canary", "live"))
    return row.id


def test_only_what_was_live_once_can_be_returned_to(page: Page, bot: QueuedBot) -> None:
    first, second = deployed(bot), deployed(bot, share=0.1)
    for _ in (second, first):
        rollbacks.rollback(bot.database, actor="ann", comment="bad")
    open_section(page, "Adapters")
    for adapter, count in ((first, 1), (second, 0)):
        page.locator(f"#{adapter} > summary").click()
        expect(page.locator(f"#{adapter}")).to_contain_text("Dossier")
        expect(page.locator(f"#{adapter}").get_by_role("button", name="Return to it")).to_have_count(count)
