"""Correcting, approving and labelling answers in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlmodel import select

from store import exchanges
from store.models import Adapter, CaseLabel, Exchange, Feedback, JudgeLabel
from tests.browsing import (
    answered,
    ask,
    desk,
    enter,
    findings,
    has_focus,
    needs_chromium,
    open_section,
    settled,
    watched,
)
from tests.deciding import one_exchange
from tests.queued import QUESTION, QueuedBot
from tests.test_store_case_labels import CASES, undecided

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


def test_a_label_for_the_judge_is_seen_after_a_reload_put_right_and_taken_back(page: Page, bot: QueuedBot) -> None:
    row = one_exchange(bot)
    yes, no, back = (f"Is the answer right? {word}" for word in ("Yes", "No", "Take back"))
    for pressed, other in ((no, yes), (yes, no)):
        card = opened(page, row)
        card.get_by_text("Judge it yourself").click()
        card.get_by_role("button", name=pressed).click()
        expect(card.get_by_role("button", name=pressed)).to_have_attribute("aria-pressed", "true")
        page.reload()
        settled(page)
        card = opened(page, row)
        card.get_by_text("Judge it yourself").click()
        expect(card.get_by_role("button", name=pressed)).to_have_attribute("aria-pressed", "true")
        expect(card.get_by_role("button", name=other)).to_have_attribute("aria-pressed", "false")
        expect(card.get_by_text("said by admin")).to_have_count(1)
    card.get_by_role("button", name=back).click()
    expect(page.locator("#toast")).to_have_text("Taken back.")
    expect(card.get_by_role("button", name=back)).to_be_hidden()
    with bot.database.read() as session:
        assert session.exec(select(JudgeLabel)).all() == []


def labelling(page: Page, address: str, adapter: str) -> Locator:
    """The box in which an adapter's held-out answers are labelled."""
    page.goto(f"{address}/admin/judge?adapter={adapter}")
    settled(page)
    return page.get_by_label(f"Held-out answers of {adapter}")


def test_a_held_out_answer_that_was_labelled_by_mistake_is_put_right(page: Page, bot: QueuedBot, address: str) -> None:
    box = labelling(page, address, undecided(bot).id)
    question = box.locator("b").first.inner_text()
    expect(box.get_by_role("button", name="Back")).to_have_count(0)
    for right in box.get_by_role("button", name="Right").all():
        right.click()
    expect(box).to_contain_text(f"1 of {CASES} cases labelled")
    box.get_by_role("button", name="Back").click()
    expect(box.locator("b").first).to_have_text(question)
    first = box.get_by_label("Answer A")
    expect(first.get_by_role("button", name="Right")).to_have_attribute("aria-pressed", "true")
    first.get_by_role("button", name="Wrong").click()
    expect(first.get_by_role("button", name="Wrong")).to_have_attribute("aria-pressed", "true")
    expect(first.get_by_role("button", name="Right")).to_have_attribute("aria-pressed", "false")
    with bot.database.read() as session:
        assert [row.value for row in session.exec(select(CaseLabel))].count(False) == 1
    box.get_by_role("button", name="Go on").click()
    expect(box.locator("b").first).not_to_have_text(question)
    expect(box).to_contain_text(f"1 of {CASES} cases labelled")


def test_three_answers_are_labelled_with_the_keyboard_alone(page: Page, bot: QueuedBot, address: str) -> None:
    box = labelling(page, address, undecided(bot, "anchor").id)
    box.get_by_role("button", name="Right").first.focus()
    named = set()
    for number in range(CASES):
        expect(box).to_contain_text(f"{number} of {CASES} cases labelled")
        names = [part.get_attribute("aria-label") for part in box.locator("section").all()]
        named.add(tuple(names))
        for name in names:
            has_focus(box.get_by_label(str(name)).get_by_role("button", name="Right"))
            page.keyboard.press("Enter")
    expect(box).to_contain_text("There is no case left to label.")
    assert named == {("Answer A",), ("Answer A", "Answer B", "Answer C")}
    has_focus(box.get_by_label("Comment"))
    box.get_by_role("button", name="Back").press("Enter")
    has_focus(box.get_by_role("button", name="Right").first)


def test_too_few_cases_are_called_that_at_once(page: Page, bot: QueuedBot, address: str) -> None:
    adapter = undecided(bot)
    with bot.database.write() as session:
        row = session.get_one(Adapter, adapter.id)
        row.report = {
            side: {"cases": [case for case in row.report[side]["cases"] if not case["answer"].endswith("3")]}
            for side in ("candidate", "serving")
        }
        session.add(row)
    box = labelling(page, address, adapter.id)
    expect(box.locator(".alert")).to_contain_text(
        "3 held-out cases cannot settle it: the gate counts labels from 4 cases"
    )
    expect(box.locator(".alert")).to_contain_text("A new cycle that holds out more questions is needed.")


def test_chat_users_are_told_that_a_reviewer_stands_behind_a_verified_answer(
    browser: Browser, bot: QueuedBot, address: str
) -> None:
    row, right = one_exchange(bot), "It is 288 kilometres long [1]."
    exchanges.rate(bot.database, row.id, person=bot.people["admin"], rating=None, correction=right, approved=True)
    with watched(browser, width=390) as page:
        enter(page, bot, address, "other", "/")
        ask(page, QUESTION)
        answered(page)
        page.locator("article.answer .source").first.click()
        panel = page.locator("#passage")
        expect(panel.get_by_role("heading")).to_have_text("[1] Verified answer")
        expect(panel.locator(".score")).to_have_text("A reviewer stands behind this answer to the same question")


def test_a_reviewer_finds_and_approves_anybodys_answer_and_sees_nothing_else(
    browser: Browser, bot: QueuedBot, address: str
) -> None:
    row = one_exchange(bot)
    one_exchange(bot, question="How is bread baked?")
    with watched(browser, width=390) as page:
        enter(page, bot, address, "reviewer", "/")
        page.get_by_role("link", name="Review").click()
        settled(page)
        tabs = page.get_by_role("navigation", name="Admin").get_by_role("link")
        expect(tabs).to_have_text(["Exchanges"])
        page.get_by_label("Text").fill("river")
        page.get_by_role("button", name="Find").click()
        expect(page.locator("details.exchange")).to_have_count(1)
        card = page.locator(f"#{row.id}")
        card.locator("summary").first.click()
        expect(card.get_by_role("button")).to_have_text([APPROVE])
        expect(page.get_by_role("combobox")).to_have_count(1)
        card.get_by_label("The right answer").fill("It is 288 km long [1].")
        card.get_by_role("button", name=APPROVE).click()
        expect(card.get_by_role("button", name="Withdraw")).to_be_visible()
        assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert kept(bot, row).approved_by == bot.people["reviewer"].id
