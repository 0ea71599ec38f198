"""A real browser for the tests of the pages: Debian's Chromium with no way to the network beyond this machine.

A page that is watched fails its test when a script raises, the content policy stops something, or a request leaves.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect
from sqlalchemy import update
from sqlmodel import col, delete, select

from bot.auth import COOKIE
from store import people
from store.models import BASE, Document, Key, Login, Person, Row
from tests.queued import EVERYBODY, PASSWORD, QUESTION, QueuedBot, queued_bot, until

KEPT = ("person", "key", "login", "document", "chunk", "indexevent", "process")
"""Tables that outlive a test: who there is, what was indexed, which process holds the folder."""
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
ARGUMENTS += [
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
AXE = Path(__file__).parent / "vendor" / "axe.js"
needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")


@contextmanager
def fresh_bot(folder: Path, migrated: Path, *, approvers: int = 1) -> Iterator[QueuedBot]:
    """A bot in `folder` whose chat is open on this machine; `migrated` is an empty database to begin with."""
    shutil.copyfile(migrated, folder / "ratchet.db")
    with queued_bot(folder, open_chat=True, approvers=approvers, min_labels=4) as bot:
        yield bot


def begin_anew(bot: QueuedBot) -> None:
    """Forget what was said and decided and how the engine was set, so that the tests of a file can share a bot."""
    names = [*EVERYBODY, "local"]
    with bot.database.write() as session:
        for table in reversed(Row.metadata.sorted_tables):
            if table.name not in KEPT:
                session.execute(table.delete())
        session.exec(delete(Key).where(~col(Key.person_id).in_([person.id for person in bot.people.values()])))
        session.exec(
            delete(Login).where(~col(Login.person_id).in_(select(Person.id).where(col(Person.name).in_(names))))
        )
        session.exec(delete(Person).where(~col(Person.name).in_(names)))
        session.execute(update(Person).values(consent=True))
        added = select(Document.id).where(~col(Document.source).in_(["river.md", "bread.md"]))
        extra = list(session.exec(added.where(col(Document.removed_at).is_(None))))
    for document in extra:
        bot.library.remove(document)
    engine = bot.engine
    for kept in (engine.answers, engine.prompts, engine.writing, engine.waiting, engine.by_adapter, engine.broken):
        kept.clear()
    engine.default, engine.pace, engine.slots, engine.problem = "The Aare is 288 kilometres long [1].", 0.0, 1000, ""
    until(lambda: (bot.live.serving.adapter, bot.live.serving.canary) == (BASE, None))


@contextmanager
def watched(browser: Browser, *, width: int = 1280, height: int = 800, dark: bool = False) -> Iterator[Page]:
    """A new page; afterwards nothing may have gone wrong on it and no request may have left this machine."""
    scheme = "dark" if dark else "light"
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    problems: list[str] = []

    def leaving(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            problems.append(f"a request to {request.url}")

    page.on("request", leaving)
    page.on("pageerror", lambda error: problems.append(f"{error} {error.stack or ''}"))
    page.on("console", lambda line: problems.append(line.text) if "Content Security Policy" in line.text else None)
    page.on("dialog", lambda box: (problems.append(f"a dialog: {box.message}"), box.dismiss()))
    try:
        yield page
    finally:
        context.close()
    assert problems == []


def ask(page: Page, question: str = QUESTION) -> None:
    """Type a question into the chat and send it."""
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def answered(page: Page, count: int = 1) -> None:
    """Wait until so many answers are written."""
    expect(page.locator("article.answer")).to_have_count(count)
    expect(page.locator("article.answer").last).to_have_attribute("aria-busy", "false")


def sign_in(page: Page, address: str, who: str = "admin", path: str = "/admin") -> None:
    """Sign in and go on to a page."""
    page.goto(f"{address}/login?next={path}")
    page.get_by_label("Name").fill(who)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"**{path}")


def enter(page: Page, bot: QueuedBot, address: str, who: str = "admin", path: str = "/admin") -> None:
    """Open a page as somebody who has signed in."""
    secret = people.open_session(bot.database, bot.people[who])
    page.context.add_cookies([{"name": COOKIE, "value": secret, "url": address}])
    page.goto(address + path)


def settled(page: Page) -> None:
    """Wait until an admin page has what it shows."""
    expect(page.locator("#section")).to_have_attribute("aria-busy", "false", timeout=15_000)


@contextmanager
def desk(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    """An admin's page, signed in."""
    with watched(browser, width=1440, height=900) as page:
        enter(page, bot, address)
        settled(page)
        yield page


def open_section(page: Page, name: str) -> None:
    """Go to another part of the admin's page."""
    page.get_by_role("navigation", name="Admin").get_by_role("link", name=name, exact=True).click()
    settled(page)


def findings(page: Page) -> list[str]:
    """The serious and critical findings of axe on a page, each with its first place."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    grave = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:200]}" for one in grave]


def has_focus(locator: Locator) -> None:
    """Wait until an element has the focus in its page, whether or not the page's window is the active one."""
    locator.page.wait_for_function("element => element === document.activeElement", arg=locator.element_handle())
