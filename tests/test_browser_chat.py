"""The chat in a real browser: ask, watch the answer come, open a citation, correct it, find it again.

Skipped where Chromium is not installed (`apt-get install chromium`).
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlmodel import select

from store.models import BASE, Exchange, Feedback
from tests.browsing import ask, has_focus, needs_chromium, watched
from tests.queued import QUESTION, QueuedBot, until

pytestmark = needs_chromium


@pytest.fixture
def page(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    """The chat page; the test fails when a script raises or the content policy stops something."""
    with watched(browser) as page:
        page.goto(address)
        yield page


def stored(bot: QueuedBot) -> Exchange:
    with bot.database.read() as session:
        return session.exec(select(Exchange)).one()


def test_answer_comes_word_by_word_with_its_adapter_and_passages(page: Page, bot: QueuedBot) -> None:
    bot.engine.pace = 0.8
    ask(page)
    answer = page.locator("article.answer")
    expect(answer.locator(".text")).to_contain_text("The Aare")
    assert "kilometres long" not in answer.locator(".text").inner_text()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(answer).to_contain_text("288 kilometres long")
    expect(answer).to_contain_text("base model")
    expect(answer).to_have_attribute("aria-busy", "false")
    has_focus(page.get_by_label("Your question"))


def test_page_says_what_happens_before_the_first_word(page: Page, bot: QueuedBot) -> None:
    bot.engine.pace = 4.0
    ask(page)
    status = page.locator("article.answer .status")
    expect(status).to_have_text("Reading 1 passage…")
    expect(status).to_have_text("Thinking…")


def test_citation_opens_its_passage_in_the_document_and_escape_closes_it(page: Page) -> None:
    ask(page)
    cite = page.locator("article.answer .text").get_by_role("button", name="Passage 1: The Aare")
    cite.click()
    panel = page.get_by_role("complementary", name="Passage")
    expect(panel.get_by_role("heading")).to_have_text("[1] The Aare")
    expect(panel.locator("mark")).to_contain_text("288 kilometres long")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    has_focus(cite)


def test_thumbs_down_and_a_better_answer_are_stored_and_can_be_taken_back(page: Page, bot: QueuedBot) -> None:
    ask(page)
    down = page.get_by_role("button", name="Bad answer")
    down.click()
    expect(down).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Incomplete").click()
    page.get_by_label("The right answer").fill("It is 288 km long and joins the Rhine [1].")
    page.get_by_role("button", name="Send", exact=True).first.click()
    expect(page.get_by_text("Your answer is kept.", exact=True)).to_be_visible()
    with bot.database.read() as session:
        row = session.exec(select(Feedback)).one()
    assert (row.rating, row.reasons) == ("down", ["Incomplete"])
    assert row.correction == "It is 288 km long and joins the Rhine [1]."
    down.click()
    expect(down).to_have_attribute("aria-pressed", "false")
    with bot.database.read() as session:
        assert session.exec(select(Feedback)).one().rating is None


def test_page_says_how_many_are_ahead_and_then_answers(page: Page, bot: QueuedBot) -> None:
    bot.engine.slots, bot.engine.pace = 1, 0.02
    others = [bot.engine.stream([], adapter=BASE, max_tokens=9) for _ in range(3)]
    ask(page)
    status = page.locator("article.answer .status")
    expect(status).to_have_text("Queued, 2 ahead…")
    others[0].cancel()
    others[1].cancel()
    expect(status).to_have_text("Queued, next in line…")
    others[2].cancel()
    expect(page.locator("article.answer .text")).to_contain_text("288 kilometres long")


def test_stop_leaves_the_queue(page: Page, bot: QueuedBot) -> None:
    bot.engine.slots = 1
    other = bot.engine.stream([], adapter=BASE, max_tokens=9)
    ask(page)
    expect(page.locator("article.answer .status")).to_have_text("Queued, next in line…")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("article.answer .status")).to_have_text("Stopped.")
    until(lambda: bot.engine.waiting == [] and stored(bot).state == "stopped")
    assert bot.engine.writing == [other]


def test_page_says_what_was_left_out_also_when_opened_again(page: Page, bot: QueuedBot) -> None:
    note = page.locator("article.answer .cut")
    ask(page, "Tell me about the Aare. " + "x " * 2_000)
    expect(note).to_contain_text("characters were left out: together they were too long for the model.")
    page.get_by_role("button", name="New conversation").click()
    page.locator("#conversation-list .conversation").click()
    expect(note).to_contain_text("characters were left out")


def test_stop_keeps_what_was_written(page: Page, bot: QueuedBot) -> None:
    bot.engine.default, bot.engine.pace = "word " * 200, 0.05
    ask(page)
    expect(page.locator("article.answer .text")).to_contain_text("word word")
    page.keyboard.press("Escape")
    expect(page.locator("article.answer .status")).to_have_text("Stopped.")
    page.wait_for_timeout(300)
    assert stored(bot).state == "stopped" and stored(bot).answer.startswith("word word")


@pytest.mark.parametrize(
    "payload",
    [
        "<img src=x onerror=\"document.title='owned'\"> [1]",
        "<script>document.title='owned'</script>",
        "[click](javascript:document.title='owned') `<svg onload=document.title='owned'>`",
        "```html\n<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>\n```",
    ],
)
def test_markup_in_an_answer_is_shown_and_never_runs(page: Page, bot: QueuedBot, payload: str) -> None:
    bot.engine.default = payload
    ask(page, "<b>How long</b> is the Aare?")
    expect(page.locator("article.answer")).to_have_attribute("aria-busy", "false")
    expect(page.locator("article.asked")).to_have_text("<b>How long</b> is the Aare?")
    assert page.locator("article.answer .text").locator("img, script, svg, iframe, a").count() == 0
    assert "owned" in page.locator("article.answer .text").inner_text() and page.title() == "Ratchet"


def test_lists_code_and_paragraphs_look_like_it(page: Page, bot: QueuedBot) -> None:
    bot.engine.default = (
        "Two things:\n\n- the `Aare` [1]\n- the **Rhine**\n\n1. first\n2. second\n\n```py\nx = [1]\n```\nDone [7]."
    )
    ask(page)
    text = page.locator("article.answer .text")
    expect(text.locator("pre code")).to_have_text("x = [1]")
    assert text.locator("ul li").all_inner_texts() == ["the Aare 1", "the Rhine"]
    assert text.locator("ol li").all_inner_texts() == ["first", "second"]
    assert text.locator(".cite").count() == 1
    expect(text.locator("p").last).to_have_text("Done [7].")


def test_declined_answer_looks_different(page: Page, bot: QueuedBot) -> None:
    bot.engine.default = "I could not find this in the documents."
    ask(page)
    expect(page.locator("article.answer.declined")).to_contain_text("Not in the documents")


def test_error_is_a_sentence_and_the_question_comes_back(page: Page, bot: QueuedBot) -> None:
    bot.engine.problem = "the engine is out of memory."
    ask(page)
    expect(page.locator("article.answer .status")).to_contain_text("The engine is out of memory.")
    expect(page.get_by_label("Your question")).to_have_value(QUESTION)


def test_conversation_goes_on_and_can_be_opened_again(page: Page, bot: QueuedBot) -> None:
    ask(page)
    expect(page.locator("article.answer")).to_have_attribute("aria-busy", "false")
    ask(page, "And where does it rise?")
    expect(page.locator("article.answer")).to_have_count(2)
    expect(page.locator("article.answer").last).to_have_attribute("aria-busy", "false")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("article.answer")).to_have_count(0)
    page.locator("#conversation-list .conversation").click()
    expect(page.locator("article.asked")).to_have_text([QUESTION, "And where does it rise?"])
    with bot.database.read() as session:
        assert len({row.conversation_id for row in session.exec(select(Exchange))}) == 1
