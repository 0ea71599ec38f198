"""Correcting and approving answers in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from store import exchanges
from store.models import Exchange, Feedback
from tests.browsing import desk, needs_chromium, open_section
from tests.deciding import one_exchange
from tests.queued import QueuedBot

pytestmark = needs_chromium
APPROVE = "Approve as the right answer"


@pytest.fixture
def page(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    with desk(browser, bot, address) as page:
        yield page


def opened(page: Page, row: Exchange) -> Locator:
    """The card of an exchange on the exchanges page, opened."""
    open_section(page, "Exchanges")
    card = page.locator(f"#{row.id}")
    card.locator("summary").first.click()
    return card


def kept(bot: QueuedBot, row: Exchange) -> Feedback:
    """What is kept of what people said of an exchange."""
    with bot.database.read() as session:
        return session.get_one(Feedback, row.id)


def test_approving_from_a_card_that_was_open_before_leaves_the_later_thumb(page: Page, bot: QueuedBot) -> None:
    row = one_exchange(bot)
    card = opened(page, row)
    said = {"rating": "down", "reasons": ["Wrong"], "comment": "it is 300 km"}
    exchanges.rate(bot.database, row.id, person=bot.people["chat"], **said)
    card.get_by_label("The right answer").fill("It is 300 km long [1].")
    card.get_by_role("button", name=APPROVE).click()
    expect(page.locator("#toast")).to_contain_text("Kept as an approved answer")
    found = kept(bot, row)
    assert {name: getattr(found, name) for name in said} == said
    assert (found.correction, found.approved_by) == ("It is 300 km long [1].", bot.people["admin"].id)
    assert found.rated_by == bot.people["chat"].id


def test_an_approved_answer_is_withdrawn_and_an_empty_one_is_not_approved(page: Page, bot: QueuedBot) -> None:
    row = one_exchange(bot)
    card = opened(page, row)
    text, withdraw = card.get_by_label("The right answer"), card.get_by_role("button", name="Withdraw")
    expect(withdraw).to_be_hidden()
    text.fill("It is 300 km long [1].")
    card.get_by_role("button", name=APPROVE).click()
    expect(card.locator("summary .marks")).to_have_text("approved answer")
    text.fill(" ")
    card.get_by_role("button", name=APPROVE).click()
    expect(page.locator("#toast")).to_have_text("There is no right answer to approve: write it first.")
    assert kept(bot, row).correction == "It is 300 km long [1]."
    withdraw.click()
    expect(page.locator("#toast")).to_contain_text("Withdrawn: it is shown to nobody any more")
    expect(withdraw).to_be_hidden()
    expect(card.locator(".decide h3")).to_have_text("Right answer")
    expect(card.locator("summary .marks")).to_be_empty()
    found = kept(bot, row)
    assert (found.correction, found.approved_by, found.by_reviewer) == ("", None, False)
