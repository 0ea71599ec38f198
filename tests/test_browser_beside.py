"""Deciding in a real browser beside somebody else: each button acts on what its page shows, or on nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from store import adapters, deployments, people, rollbacks
from store.models import BASE, Role
from tests.browsing import desk, enter, fresh_bot, needs_chromium, open_section, watched
from tests.deciding import awaiting, signed
from tests.queued import QueuedBot, serve, until
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


def row(bot: QueuedBot) -> tuple[str, str | None, float]:
    with bot.database.read() as session:
        found = deployments.deployment(session)
    return found.adapter, found.canary, found.share


def test_two_clicks_in_a_dialog_take_one_adapter_back(page: Page, bot: QueuedBot, address: str) -> None:
    first, second = deployed(bot), deployed(bot)
    page.goto(f"{address}/admin")
    page.get_by_role("button", name="Roll back").click()
    box = page.get_by_role("dialog")
    box.get_by_label("Comment").fill("People complain.")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url.removeprefix(address)) if one.method == "POST" else None)
    box.get_by_role("button", name="Roll back").dblclick()
    expect(page.locator("#toast")).to_contain_text(f"{first} serves again.")
    expect(box).to_have_count(0)
    assert asked == ["/v1/admin/rollback"]
    assert row(bot)[0] == first and state(bot.database, second) == "rolled_back"


def test_buttons_stay_locked_until_what_they_changed_is_shown(page: Page, bot: QueuedBot) -> None:
    deployed(bot, share=0.1)
    open_section(page, "Adapters")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/v1/admin/overview", hold)
    page.locator("#canary").get_by_label("Comment").fill("So far so good.")
    with page.expect_request("**/v1/admin/overview"):
        page.locator("#canary").get_by_role("button", name="Change").click()
    expect(page.locator("#toast")).to_contain_text("The share is changed.")
    for name in ("Change", "Give it to everybody", "Take it back"):
        expect(page.locator("#canary").get_by_role("button", name=name)).to_be_disabled()
    held[0].continue_()
    expect(page.locator("#canary").get_by_role("button", name="Change")).to_be_enabled()


def test_a_dialog_on_what_somebody_else_took_back_takes_nothing_back(page: Page, bot: QueuedBot, address: str) -> None:
    first, second = deployed(bot), deployed(bot)
    page.goto(f"{address}/admin")
    page.get_by_role("button", name="Roll back").click()
    box = page.get_by_role("dialog", name=f"Take {second} back?")
    box.get_by_label("Comment").fill("People complain.")
    rollbacks.rollback(bot.database, actor="ben", comment="I take it back")
    box.get_by_role("button", name="Roll back").click()
    expect(page.locator("#toast")).to_contain_text(f"Adapter {second} is not deployed any more")
    expect(box).to_have_count(0)
    expect(page.locator(".tile").filter(has_text="Live")).to_contain_text(first)
    assert row(bot)[0] == first


@pytest.mark.parametrize("button", ["Change", "Give it to everybody", "Take it back"])
def test_a_box_of_a_canary_that_ended_changes_nothing_of_the_next_one(page: Page, bot: QueuedBot, button: str) -> None:
    first = deployed(bot, share=0.1)
    open_section(page, "Adapters")
    box = page.locator("#canary")
    box.get_by_label("Comment").fill("It did well.")
    rollbacks.rollback(bot.database, actor="ben", comment="bad")
    second = deployed(bot, share=0.01)
    box.get_by_role("button", name=button).click()
    expect(page.locator("#toast")).to_contain_text(f"Adapter {first} is not ")
    assert row(bot) == (BASE, second, 0.01)
    page.locator("#toast").get_by_role("button", name="Load again").click()
    expect(box).to_contain_text(f"{second} answers 1 % of the conversations")


def test_what_was_evaluated_again_since_it_was_read_is_not_approved(page: Page, bot: QueuedBot) -> None:
    adapter = awaiting(bot.database)
    open_section(page, "Approval")
    card = page.locator(f"#{adapter.id}")
    card.get_by_label("Comment", exact=True).fill("31 points better.")
    with bot.database.write() as session:
        found = adapters.get(session, adapter.id)
        found.report = {"judge": {"name": "another"}}
        found.report_digest = adapters.report_digest(found.report)
        found.verdict = {**found.verdict, "reasons": ["It barely gains."]}
        session.add(signed(bot.database, found))
    card.get_by_role("button", name="Approve and deploy").click()
    expect(page.locator("#toast")).to_contain_text(f"The report of adapter {adapter.id} is another one than you read")
    assert state(bot.database, adapter.id) == "awaiting_approval"
    page.locator("#toast").get_by_role("button", name="Load again").click()
    expect(card).to_contain_text("It barely gains.")
    card.get_by_label("Comment", exact=True).fill("A little better.")
    card.get_by_role("button", name="Approve and deploy").click()
    expect(page.locator("#toast")).to_contain_text(f"{adapter.id} is approved")


def agree(page: Page, place: Locator, question: str) -> None:
    """Agree to the one thing that is asked for in a place."""
    place.get_by_role("button", name="Agree").click()
    box = page.get_by_role("dialog", name=question)
    box.get_by_label("Comment").fill("So do I.")
    box.get_by_role("button", name="Agree").click()


def test_a_second_admin_sees_what_others_ask_for_and_agrees_to_just_that(
    browser: Browser, tmp_path: Path, migrated: Path
) -> None:
    with fresh_bot(tmp_path, migrated, approvers=2) as bot, serve(bot.app) as address, watched(browser) as page:
        ann, ben = (people.add(bot.database, name, role=Role.ADMIN, actor="test") for name in ("ann", "ben"))
        adapter = awaiting(bot.database).id
        said: dict[str, Any] = {"actor": ann.id, "approvers": 2}
        deployments.approve(bot.database, adapter, comment="try it", share=0.1, testers=["chat"], **said)
        enter(page, bot, address)
        asks = page.get_by_role("region", name="Waiting for you").get_by_role("listitem")
        agreed = "Agreed so far, to 10 % of the conversations and chat: ann (“try it”). 1 more person must agree."
        expect(asks).to_have_text(f"Decide on {adapter} – it passed the gate. {agreed}")
        deployments.approve(
            bot.database, adapter, comment="yes", share=0.1, testers=["chat"], **{**said, "actor": ben.id}
        )
        until(lambda: state(bot.database, adapter) == "canary")
        deployments.change_canary(bot.database, comment="please half", share=0.5, testers=["other"], **said)
        open_section(page, "Adapters")
        box = page.locator("#canary")
        agreed = "Agreed so far, to 50 % of the conversations and other: ann (“please half”). 1 more person must agree."
        expect(box).to_contain_text(agreed)
        agree(page, box, f"Give {adapter} to 50 % of the conversations and other?")
        expect(box).to_contain_text(f"{adapter} answers 50 % of the conversations and other.")
        expect(box).not_to_contain_text("Agreed so far")
        deployments.change_canary(bot.database, comment="all well", share=1, **said)
        open_section(page, "Overview")
        expect(asks).to_contain_text("Agreed so far, to everybody: ann (“all well”). 1 more person must agree.")
        agree(page, asks, f"Give {adapter} to everybody?")
        expect(page.locator("#toast")).to_contain_text(f"{adapter} serves everybody.")
        assert row(bot) == (adapter, None, 0.0)


def test_who_asked_for_a_larger_share_is_offered_no_second_word(
    browser: Browser, tmp_path: Path, migrated: Path
) -> None:
    with fresh_bot(tmp_path, migrated, approvers=2) as bot, serve(bot.app) as address, watched(browser) as page:
        deployed(bot, share=0.1)
        enter(page, bot, address, path="/admin/adapters")
        box = page.locator("#canary")
        box.get_by_label("Share in percent").fill("50")
        box.get_by_label("Comment").fill("please half")
        box.get_by_role("button", name="Change").click()
        expect(page.locator("#toast")).to_contain_text("Kept: 1 more person must agree to that share.")
        expect(box).to_contain_text("Agreed so far, to 50 % of the conversations: admin (“please half”).")
        expect(box.get_by_role("button", name="Agree")).to_have_count(0)
        open_section(page, "Overview")
        expect(page.get_by_role("region", name="Waiting for you")).to_contain_text("Nothing.")
