"""The chat around an answer: asking again, editing, finding and deleting, consent, drafts, screen readers, keyboard."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import update
from sqlmodel import select

from store import exchanges
from store.models import Conversation, Exchange, Person
from tests.browsing import answered, ask, enter, has_focus, needs_chromium, watched
from tests.queued import QUESTION, QueuedBot, until

pytestmark = needs_chromium
LISTEN = """() => {
    window.said = [];
    const heard = (region) => region.textContent && said.push(region.textContent);
    for (const region of document.querySelectorAll('[role="status"], [role="alert"], [aria-live="polite"]'))
        new MutationObserver(() => heard(region)).observe(region, {childList: true, subtree: true});
}"""
"""Keeps what a screen reader would be told."""


@pytest.fixture
def page(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    with watched(browser) as page:
        page.goto(address)
        yield page


def logged(bot: QueuedBot) -> list[Exchange]:
    """All exchanges, oldest first."""
    with bot.database.read() as session:
        return list(reversed([row.exchange for row in exchanges.page(session)]))


def test_answer_again_replaces_the_answer_by_a_sibling(page: Page, bot: QueuedBot) -> None:
    bot.engine.answers.extend(["First [1].", "Second [1]."])
    ask(page)
    answered(page)
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator("article.answer .text")).to_contain_text("Second")
    expect(page.locator("article.asked")).to_have_count(1)
    first, second = logged(bot)
    assert (second.conversation_id, second.parent_id) == (first.conversation_id, first.parent_id)
    assert "First" not in str(second.messages)
    page.reload()
    page.get_by_role("navigation", name="Conversations").get_by_role("button", name=QUESTION, exact=True).click()
    answered(page)
    expect(page.locator("article.answer .text")).to_contain_text("Second")


def test_last_question_is_edited_with_the_up_arrow(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    ask(page, "And where dose it rise?")
    answered(page, 2)
    field = page.get_by_label("Your question")
    field.press("ArrowUp")
    expect(field).to_have_value("And where dose it rise?")
    expect(page.get_by_text("You are editing your last question.")).to_be_visible()
    field.fill("And where does it rise?")
    field.press("Enter")
    answered(page, 2)
    expect(page.locator("article.asked")).to_have_text([QUESTION, "And where does it rise?"])
    first, typo, edited = logged(bot)
    assert edited.parent_id == typo.parent_id == first.id


def refuse(bot: QueuedBot, *, on: bool) -> None:
    """Answer every question with 429, or none."""
    bot.engine.slots, bot.engine.queue_limit = (0, 0) if on else (1000, 64)


def are_siblings(bot: QueuedBot, question: str) -> None:
    first, second = logged(bot)
    assert second.question == question
    assert (second.conversation_id, second.parent_id) == (first.conversation_id, first.parent_id)


@pytest.mark.parametrize("again", ["Enter", "Answer again"])
def test_an_edit_that_is_refused_still_replaces_its_question_when_sent_again(
    page: Page, bot: QueuedBot, again: str
) -> None:
    ask(page)
    answered(page)
    field = page.get_by_label("Your question")
    field.press("ArrowUp")
    field.fill("How long is the Rhine?")
    refuse(bot, on=True)
    field.press("Enter")
    expect(page.locator("article.answer .status")).to_contain_text("answers are waiting already")
    refuse(bot, on=False)
    expect(field).to_have_value("How long is the Rhine?")
    field.press("Enter") if again == "Enter" else page.get_by_role("button", name=again).click()
    expect(page.locator("article.answer .text")).to_contain_text("288 kilometres")
    expect(page.locator("article.asked")).to_have_text(["How long is the Rhine?"])
    expect(field).to_have_value("")
    are_siblings(bot, "How long is the Rhine?")
    page.reload()
    expect(page.locator("article.asked")).to_have_text(["How long is the Rhine?"])


def test_answer_again_that_loses_its_connection_still_replaces_the_answer(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    page.context.set_offline(True)
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator("article.answer .status")).to_contain_text("The connection to the server was lost.")
    page.context.set_offline(False)
    ask(page, "How is bread baked?")
    expect(page.locator("article.answer .text")).to_contain_text("288 kilometres")
    expect(page.locator("article.asked")).to_have_text(["How is bread baked?"])
    are_siblings(bot, "How is bread baked?")


def test_what_is_asked_after_an_edit_that_never_began_replaces_what_that_should_have(
    page: Page, bot: QueuedBot
) -> None:
    ask(page)
    answered(page)
    field = page.get_by_label("Your question")
    field.fill("How is bread baked?")
    page.get_by_role("button", name="Edit this question").click()
    refuse(bot, on=True)
    field.press("Enter")
    expect(page.locator("article.answer .status")).to_contain_text("answers are waiting already")
    refuse(bot, on=False)
    expect(field).to_have_value("How is bread baked?")
    field.press("Enter")
    expect(page.locator("article.answer .text").last).to_contain_text("288 kilometres")
    are_siblings(bot, "How is bread baked?")


def test_the_page_sends_the_question_alone_and_the_model_sees_the_turns_before(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    with page.expect_request("**/v1/chat/completions") as sent:
        ask(page, "And where does it rise?")
    answered(page, 2)
    assert [message["content"] for message in sent.value.post_data_json["messages"]] == ["And where does it rise?"]
    assert "The Aare is 288 kilometres long [1]." in [message["content"] for message in bot.engine.prompts[-1]]


def test_an_edit_leaves_the_draft_beside_it_alone(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    field = page.get_by_label("Your question")
    field.fill("A long thought, half")
    page.get_by_role("button", name="Edit this question").click()
    expect(field).to_have_value(QUESTION)
    page.get_by_role("button", name="Cancel").click()
    expect(field).to_have_value("A long thought, half")
    page.get_by_role("button", name="Edit this question").click()
    field.fill("How long is the Rhine?")
    page.reload()
    expect(field).to_have_value("A long thought, half")
    page.get_by_role("button", name="Edit this question").click()
    field.fill("How long is the Rhine?")
    field.press("Enter")
    answered(page)
    expect(field).to_have_value("A long thought, half")


def test_an_answer_that_was_interrupted_says_so(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    with bot.database.write() as session:
        session.execute(update(Exchange).values(state="aborted", answer=""))
    page.reload()
    expect(page.locator("article.answer .status")).to_contain_text("This answer was interrupted")


def test_escape_leaves_editing_as_it_was(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    page.get_by_label("Your question").press("ArrowUp")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Your question")).to_have_value("")
    expect(page.locator("article.asked")).to_have_count(1)


def test_conversations_are_found_renamed_and_deleted(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    page.get_by_role("button", name="New conversation").click()
    ask(page, "How is bread baked?")
    answered(page)
    history = page.get_by_role("navigation", name="Conversations")
    history.get_by_label("Search").fill("288")
    expect(history.locator(".conversation")).to_have_count(2)
    history.get_by_label("Search").fill("bread")
    expect(history.locator(".conversation")).to_have_text(["How is bread baked?"])
    history.get_by_role("button", name="Rename How is bread baked?").click()
    history.get_by_label("New title").fill("Baking")
    page.keyboard.press("Enter")
    history.get_by_label("Search").fill("")
    expect(history.locator(".conversation")).to_have_text(["Baking", QUESTION])
    history.get_by_role("button", name="Delete Baking").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(history.locator(".conversation")).to_have_text([QUESTION])
    expect(page.get_by_role("heading", name="Ask your documents")).to_be_visible()
    assert [row.question for row in logged(bot)] == [QUESTION]


def test_consent_is_kept_per_chat_and_per_person(page: Page, bot: QueuedBot) -> None:
    learn = page.get_by_label("Ratchet may learn from this chat")
    ask(page)
    answered(page)
    assert logged(bot)[0].trainable
    learn.uncheck()
    until(lambda: not logged(bot)[0].trainable)
    ask(page, "And where does it rise?")
    answered(page, 2)
    assert [row.trainable for row in logged(bot)] == [False, False]
    page.get_by_role("button", name="New conversation").click()
    expect(learn).to_be_checked()
    page.get_by_role("button", name="Your data").click()
    page.get_by_label("My chats may be used for training").uncheck()
    expect(page.locator("#toast")).to_contain_text("Nothing you said will be learned from.")
    page.get_by_role("button", name="Close").click()
    expect(learn).to_be_disabled()
    with bot.database.read() as session:
        assert not session.exec(select(Person).where(Person.name == "local")).one().consent
    ask(page, "How is bread baked?")
    answered(page)
    assert not logged(bot)[-1].trainable


def test_chat_that_begins_without_consent_stays_out(page: Page, bot: QueuedBot) -> None:
    page.get_by_label("Ratchet may learn from this chat").uncheck()
    ask(page)
    answered(page)
    assert not logged(bot)[0].trainable
    until(lambda: not conversation(bot).trainable)


def conversation(bot: QueuedBot) -> Conversation:
    with bot.database.read() as session:
        return session.exec(select(Conversation)).one()


def test_delete_my_data_leaves_nothing_that_was_said(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    page.get_by_role("button", name="Good answer").click()
    page.get_by_role("button", name="Your data").click()
    page.get_by_role("button", name="Delete my data").click()
    page.get_by_role("button", name="Delete everything").click()
    expect(page.locator("#toast")).to_contain_text("Deleted: 1 question")
    expect(page.locator(".side .empty")).to_have_text("Your conversations will be kept here.")
    assert logged(bot) == []


def test_what_is_typed_survives_a_reload_and_a_lost_connection(page: Page, bot: QueuedBot) -> None:
    page.get_by_label("Your question").fill("A long thought, half")
    page.reload()
    expect(page.get_by_label("Your question")).to_have_value("A long thought, half")
    page.context.set_offline(True)
    page.keyboard.press("End")
    page.get_by_label("Your question").press("Enter")
    expect(page.locator("article.answer .status")).to_contain_text("The connection to the server was lost.")
    expect(page.get_by_label("Your question")).to_have_value("A long thought, half")
    page.context.set_offline(False)
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator("article.answer .text")).to_contain_text("288 kilometres")
    expect(page.locator("article.asked")).to_have_count(1)
    stored = page.evaluate("Object.entries(localStorage).flat().join(' ')")
    assert "rk_" not in stored and page.context.cookies()[0]["value"] not in stored


def test_connection_lost_in_the_middle_keeps_the_text_and_what_is_typed(page: Page, bot: QueuedBot) -> None:
    bot.engine.default, bot.engine.pace = "word " * 400, 0.05
    ask(page)
    expect(page.locator("article.answer .text")).to_contain_text("word word")
    page.get_by_label("Your question").fill("my next question")
    page.evaluate("window.stop()")
    expect(page.locator("article.answer")).to_have_attribute("aria-busy", "false")
    expect(page.locator("article.answer .text")).to_contain_text("word word")
    expect(page.get_by_label("Your question")).to_have_value("my next question")
    until(lambda: logged(bot)[0].state == "stopped")


def test_no_source_looks_different_from_an_answer(page: Page, bot: QueuedBot) -> None:
    bot.engine.default = "I could not find this in the documents."
    ask(page, "Zebra quantum?")
    answered(page)
    expect(page.locator("article.answer.declined .badge")).to_have_text("No source found")


def test_copy_puts_the_answer_on_the_clipboard(page: Page, bot: QueuedBot) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page)
    answered(page)
    page.get_by_role("button", name="Copy the answer").click()
    expect(page.locator("#toast")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "The Aare is 288 kilometres long [1]."


def test_tables_links_and_coloured_code_are_shown_and_pictures_are_not(page: Page, bot: QueuedBot) -> None:
    bot.engine.default = (
        "# Head\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[site](https://example.org/x) ![p](https://example.org/p.png)\n\n"
        "```python\ndef f():\n    return 1\n```"
    )
    ask(page)
    answered(page)
    text = page.locator("article.answer .text")
    assert text.locator("td").all_inner_texts() == ["1", "2"]
    expect(text.get_by_role("link", name="site")).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(text.locator("pre .hljs-keyword").first).to_have_text("def")
    expect(text.get_by_role("heading", name="Head")).to_be_visible()
    assert text.locator("img").count() == 0


def test_an_answer_is_announced_once(page: Page, bot: QueuedBot) -> None:
    bot.engine.pace = 0.02
    page.evaluate(LISTEN)
    ask(page)
    answered(page)
    expect(page.locator("#spoken")).to_contain_text("288 kilometres long")
    assert page.evaluate("said") == ["Answer: The Aare is 288 kilometres long 1."]
    log = page.get_by_role("log")
    expect(log).to_have_attribute("aria-live", "off")
    assert log.locator('[aria-live]:not([aria-live="off"]), [role="status"], [role="alert"]').count() == 0


def test_comment_and_reasons_are_kept_and_undone(page: Page, bot: QueuedBot) -> None:
    def kept() -> tuple[str, list[str], str] | None:
        with bot.database.read() as session:
            said = exchanges.page(session)[0].feedback
        return (said.rating, said.reasons, said.comment) if said else None

    ask(page)
    answered(page)
    page.get_by_role("button", name="Bad answer").click()
    page.get_by_role("button", name="Wrong form").click()
    page.get_by_label("Comment").fill("too short")
    page.locator(".correction").get_by_role("button", name="Send").click()
    until(lambda: kept() == ("down", ["Wrong form"], "too short"))
    page.locator("#toast").get_by_role("button", name="Undo").click()
    expect(page.locator("#toast")).to_contain_text("Taken back.")
    assert kept() == ("down", ["Wrong form"], "")


def test_the_page_shows_the_feedback_that_the_server_kept(page: Page, bot: QueuedBot) -> None:
    ask(page)
    answered(page)
    page.get_by_role("button", name="Suggest the right answer").click()
    blank = "\u0085"
    page.get_by_label("The right answer").fill(blank)
    page.locator(".correction").get_by_role("button", name="Send").click()
    expect(page.locator("#toast")).to_contain_text("Thank you")
    expect(page.locator(".feedback .note")).to_have_text("")
    expect(page.get_by_label("The right answer")).to_have_value("The Aare is 288 kilometres long [1].")
    assert exchange_feedback(bot) == ("", None)


def exchange_feedback(bot: QueuedBot) -> tuple[str, str | None]:
    with bot.database.read() as session:
        said = exchanges.page(session)[0].feedback
    assert said is not None
    return said.correction, said.rating


def test_only_admins_are_offered_to_add_documents(browser: Browser, page: Page, bot: QueuedBot, address: str) -> None:
    assert page.get_by_role("button", name="Add documents").count() == 0
    with watched(browser) as admin:
        enter(admin, bot, address, path="/")
        file = {"name": "cheese.md", "mimeType": "text/markdown", "buffer": b"# Cheese\n\nTurn the cheese every day."}
        admin.get_by_label("Documents", exact=True).set_input_files(file)
        expect(admin.locator("#toast")).to_contain_text("it can be asked about now", timeout=15_000)
        ask(admin, "How often is cheese turned?")
        answered(admin)
        expect(admin.locator(".source")).to_contain_text(["Cheese"])


def test_chat_is_used_with_the_keyboard_alone(page: Page, bot: QueuedBot) -> None:
    page.keyboard.press("Tab")
    page.keyboard.type(" ")
    field = page.get_by_label("Your question")
    field.focus()
    page.keyboard.type("How long is")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("the river Aare?")
    page.keyboard.press("Enter")
    answered(page)
    assert logged(bot)[0].question == "How long is\nthe river Aare?"
    has_focus(field)
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.className") == "cite":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Passage")).to_be_visible()
    page.keyboard.press("Escape")
    has_focus(page.locator("button.cite"))
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Good answer":
            break
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
