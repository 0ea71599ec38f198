"""Every page with no rows, one and 10,000; nothing that people write runs on any page; axe finds nothing grave."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page, expect
from sqlmodel import Session

from store import people
from store.models import Adapter, AuditEntry, Chunk, Cycle, CycleStep, Document, Person, now
from tests.browsing import answered, ask, enter, findings, fresh_bot, needs_chromium, settled, watched
from tests.deciding import awaiting, many, one_exchange, running_cycle, train
from tests.queued import QueuedBot, serve

pytestmark = needs_chromium
SECTIONS = ("approval", "adapters", "cycles", "exchanges", "judge", "documents", "people", "schedule", "audit")
PATHS = ("/admin", *(f"/admin/{name}" for name in SECTIONS))
FIRE, AWAY = "window.fired=(window.fired||0)+1", "https://example.org/x"
LINES = (Path(__file__).parent / "payloads.txt").read_text().splitlines()
PAYLOADS = [line.encode().decode("unicode_escape").format(fire=FIRE, away=AWAY) for line in LINES]


@pytest.fixture
def bot(tmp_path: Path, migrated: Path) -> Iterator[QueuedBot]:
    with fresh_bot(tmp_path, migrated) as bot:
        yield bot


@pytest.fixture
def address(bot: QueuedBot) -> Iterator[str]:
    with serve(bot.app) as address:
        yield address


def visit(page: Page, address: str, path: str) -> None:
    page.goto(address + path)
    settled(page)
    assert page.locator("#content [role=alert]").count() == 0, path


def rows(bot: QueuedBot, count: int) -> None:
    """So many rows for every page."""
    many(bot, count)
    at = now()
    with bot.database.write() as session:
        fill(session, Person, [Person(name=f"person {n}") for n in range(count)])
        documents = [Document(source=f"d{n}", title=f"Doc {n}", digest=f"{n}", text="x") for n in range(count)]
        fill(session, Document, documents)
        chunk = {
            "ordinal": 0,
            "title": "t",
            "text": "x",
            "digest": "x",
            "start": 0,
            "end": 1,
            "embedding": bytes(1_024),
        }
        fill(session, Chunk, [Chunk(document_id=one.id, embedding_model="words", **chunk) for one in documents])
        cycles = [Cycle(slot_key=f"s{n}", state="done", outcome="rejected", finished_at=at) for n in range(count)]
        fill(session, Cycle, cycles)
        steps = [CycleStep(cycle_id=one.id, name="collect", position=0, state="done", finished_at=at) for one in cycles]
        fill(session, CycleStep, steps)
        fill(session, Adapter, [Adapter(id=f"v{n + 1}", state="rejected") for n in range(count)])
        entries = [AuditEntry(actor="a", action="b", subject="c", digest=f"{n}") for n in range(count)]
        session.execute(sa.insert(AuditEntry), [one.model_dump(exclude={"id"}) for one in entries])


def fill(session: Session, table: type, values: list) -> None:
    session.execute(sa.insert(table), [one.model_dump() for one in values])


def test_every_admin_page_without_rows_says_what_to_do_next(browser: Browser, bot: QueuedBot, address: str) -> None:
    with watched(browser) as page:
        enter(page, bot, address)
        for path in PATHS:
            visit(page, address, path)
            if path in ("/admin/approval", "/admin/adapters", "/admin/cycles", "/admin/exchanges"):
                assert len(page.locator("#content .empty").first.inner_text()) > 30, path


def test_every_admin_page_with_one_row(browser: Browser, bot: QueuedBot, address: str) -> None:
    rows(bot, 1)
    with watched(browser) as page:
        enter(page, bot, address)
        for path in PATHS:
            visit(page, address, path)
        for section, told in (("adapters", "v1"), ("cycles", "rejected"), ("exchanges", "river number 0")):
            visit(page, address, f"/admin/{section}")
            expect(page.locator("#content details").filter(has_text=told).first).to_be_visible()


@pytest.mark.slow
def test_every_admin_page_with_10000_rows_comes_in_seconds_and_pages(
    browser: Browser, bot: QueuedBot, address: str
) -> None:
    rows(bot, 10_000)
    with watched(browser) as page:
        enter(page, bot, address)
        for path in PATHS:
            begun = time.monotonic()
            visit(page, address, path)
            print(f"{path}: {time.monotonic() - begun:.2f} s")
            assert time.monotonic() - begun < 8, path
        for section, shown in (("exchanges", ".exchange"), ("people", "tbody tr"), ("audit", "tbody tr")):
            visit(page, address, f"/admin/{section}")
            lines = page.locator(f"#content {shown}")
            before = lines.count()
            page.get_by_role("button", name="Show more").click()
            expect(lines).to_have_count(2 * before)
        names = page.locator("#content tbody tr td:nth-child(6)").all_inner_texts()
        assert len(names) == 100


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_grave_on_any_page(browser: Browser, bot: QueuedBot, address: str, dark: bool) -> None:
    rows(bot, 3)
    awaiting(bot.database)
    _, claim = running_cycle(bot.database)
    for step in range(1, 6):
        train(bot.database, claim, step=step)
    with watched(browser, dark=dark, width=1440, height=900) as page:
        page.goto(f"{address}/login")
        assert findings(page) == []
        enter(page, bot, address)
        for path in (*PATHS, "/admin/dossier/v4"):
            visit(page, address, path)
            for opened in page.locator("#content details:not([open]) > summary").all()[:6]:
                if opened.is_visible():
                    opened.click()
            assert findings(page) == [], path
        page.goto(address)
        assert findings(page) == []
        bot.engine.default = "It is **288** km [1].\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1  # one\n```"
        ask(page)
        answered(page)
        expect(page.locator("code .hljs-number").first).to_be_visible()
        page.get_by_role("button", name="Bad answer").click()
        page.locator("button.cite").first.click()
        expect(page.locator("#passage")).to_be_visible()
        assert findings(page) == []
        page.get_by_role("button", name="Your data").click()
        assert findings(page) == []


def test_at_least_a_hundred_payloads_fire_nowhere(browser: Browser, bot: QueuedBot, address: str) -> None:
    assert len(PAYLOADS) >= 100
    for text in PAYLOADS:
        one_exchange(bot, question=text, answer=f"{text} [1]")
    everywhere(bot)
    with watched(browser) as page:
        enter(page, bot, address)
        for path in (*PATHS, "/admin/dossier/v1", "/admin/dossier/%3Cimg src=x onerror=window.fired=1%3E"):
            page.goto(address + path)
            settled(page)
            for more in page.locator("#content .more:visible").all():
                more.click()
            page.evaluate("for (const one of document.querySelectorAll('#content details')) one.open = true")
            page.wait_for_timeout(150)
            assert page.evaluate("window.fired ?? 0") == 0, path
        in_the_chat(page, bot, address)


def everywhere(bot: QueuedBot) -> None:
    """The payloads in names, documents, feedback, plans, verdicts, labels and the audit record."""
    for n, text in enumerate(PAYLOADS):
        people.add(bot.database, f"{n} {text}"[:100], role="chat", actor=text)
    bot.library.add_text(
        source="bad", title=PAYLOADS[0] * 2, text="\n\n".join(PAYLOADS) + " How long is the river Aare?"
    )
    lost = "\n".join(PAYLOADS)
    verdict = {"decision": "promote", "sentence": lost, "reasons": list(PAYLOADS)}
    awaiting(bot.database, note=lost, lineage={"erased": [lost]}, recipe={"x": lost}, base_model=lost)
    with bot.database.write() as session:
        row = session.get_one(Adapter, "v1")
        row.verdict = {**row.verdict, **verdict}
        for one in row.verdict["deltas"]:
            one |= {"metric": PAYLOADS[8], "sentence": lost, "task": PAYLOADS[9]}
        session.add(row)
        plan = {"strategy": PAYLOADS[0], "reasons": list(PAYLOADS), "tasks": list(PAYLOADS)}
        session.add(Cycle(slot_key="bad", state="failed", error=lost, plan=plan, started_by=lost, step="collect"))
    with bot.database.write() as session:
        session.execute(sa.text("UPDATE feedback SET comment = :text"), {"text": lost})


def in_the_chat(page: Page, bot: QueuedBot, address: str) -> None:
    """Each payload as an answer with its citation, as a question, as a passage's title and as a conversation's name."""
    page.goto(address)
    for start in range(0, len(PAYLOADS), 12):
        some = PAYLOADS[start : start + 12]
        bot.engine.default = "\n\n".join(some) + "\n\n[1]"
        ask(page, some[0] + " How long is the river Aare?")
        answered(page, start // 12 + 1)
        assert page.evaluate("window.fired ?? 0") == 0, some
    for cite in page.locator("#log .source").all()[:3]:
        cite.click()
        expect(page.locator("#passage .document")).not_to_be_empty()
        page.keyboard.press("Escape")
    assert (
        page.locator("#log")
        .locator("img, script, svg:not(button svg), iframe, object, embed, style, form:not(.correction)")
        .count()
        == 0
    )
    for name in page.locator(".conversation").all()[:3]:
        name.click()
        page.wait_for_timeout(100)
    assert page.evaluate("window.fired ?? 0") == 0
