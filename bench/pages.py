"""The pages: what chat weighs, when it is painted first, and how long 10,000 logged exchanges take to page through.

python -m bench.pages

Chromium on this machine against the real app with queued answers: no model takes part. The peer for paging is the same
log fetched by OFFSET, as list views are often built. Skips with a sentence where Chromium is not installed.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from sqlmodel import col, select
from starlette.testclient import TestClient

from bench.table import show
from store.models import Exchange, Feedback, Label
from tests.browsing import ARGUMENTS, CHROMIUM, answered, ask, enter, settled
from tests.deciding import many
from tests.queued import QueuedBot, queued_bot, serve

ROWS, PAGE, VISITS = 10_000, 50, 5
PAINT = "performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint')?.startTime"
WEIGHT = "performance.getEntries().reduce((sum, one) => sum + (one.encodedBodySize || 0), 0)"
ANSWER = "It is **288** km [1].\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```"


def main() -> None:
    """Measure and print."""
    if not CHROMIUM.exists():
        sys.exit(f"there is no {CHROMIUM}: apt-get install chromium, then run this again.")
    with tempfile.TemporaryDirectory() as folder, queued_bot(Path(folder), open_chat=True) as bot:
        many(bot, ROWS)
        rows = paging(bot)
        with serve(bot.app) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
            rows += painted(browser, bot, address)
            browser.close()
    show("pages", rows, exchanges=ROWS, page=PAGE, visits=VISITS)


def paging(bot: QueuedBot) -> list[dict[str, Any]]:
    """Milliseconds of each page of the log from the first to the last, by cursor and by OFFSET; of a search too."""
    client = TestClient(bot.app, headers=bot.headers("admin"))
    cursor, taken = "", []
    while cursor is not None:
        begun = time.perf_counter()
        found = client.get(f"/v1/admin/exchanges?limit={PAGE}{cursor and f'&cursor={cursor}'}").json()
        taken.append(1000 * (time.perf_counter() - begun))
        cursor = found["next"]
    searches = [timed(client, f"/v1/admin/exchanges?limit={PAGE}&q=number%20{n}") for n in range(10, 30)]
    filtered = [timed(client, f"/v1/admin/exchanges?limit={PAGE}&task=travel&rating=down") for _ in range(20)]
    trends = [timed(client, "/v1/admin/trends?days=30") for _ in range(10)]
    return [
        line("page of 10,000 exchanges, by cursor", "ms", taken, goal="200"),
        line("peer: the same rows by OFFSET, without JSON", "ms", [by_offset(bot, n) for n in range(0, ROWS, 500)]),
        line("search in 10,000 exchanges", "ms", searches, goal="200"),
        line("filter by task and rating", "ms", filtered, goal="200"),
        line("30 days of trends over 10,000 exchanges", "ms", trends),
    ]


def timed(client: TestClient, path: str) -> float:
    """Milliseconds of one request."""
    begun = time.perf_counter()
    assert client.get(path).status_code == 200
    return 1000 * (time.perf_counter() - begun)


def by_offset(bot: QueuedBot, start: int) -> float:
    """Milliseconds of fetching a page by OFFSET."""
    query = select(Exchange, Feedback, Label).select_from(Exchange)
    query = query.join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
    query = query.join(Label, col(Label.exchange_id) == col(Exchange.id), isouter=True)
    begun = time.perf_counter()
    with bot.database.read() as session:
        assert session.exec(query.order_by(col(Exchange.created_at).desc()).offset(start).limit(PAGE)).all()
    return 1000 * (time.perf_counter() - begun)


def painted(browser: Browser, bot: QueuedBot, address: str) -> list[dict[str, Any]]:
    """First paint and weight of the chat and of admin pages, each visit with an empty cache."""
    paints, weights = [], []
    for _ in range(VISITS):
        context = browser.new_context()
        page = context.new_page()
        page.goto(address, wait_until="networkidle")
        paints.append(page.wait_for_function(PAINT).json_value())
        bot.engine.default = ANSWER
        ask(page)
        answered(page)
        page.locator("code .hljs-number").wait_for()
        weights.append(page.evaluate(WEIGHT) / 1000)
        context.close()
    found = [
        line("chat: first paint", "ms", paints, goal="1000"),
        line("chat: weight, with code coloured", "kB", weights, goal="300"),
    ]
    for section in ("overview", "exchanges", "approval"):
        found.append(
            line(
                f"admin, {section}: until all is shown", "ms", [shown(browser, bot, address, section) for _ in range(3)]
            )
        )
    return found


def shown(browser: Browser, bot: QueuedBot, address: str, section: str) -> float:
    """Milliseconds from opening an admin page until it has what it shows."""
    context = browser.new_context()
    page = context.new_page()
    enter(page, bot, address, path="/admin/schedule")
    begun = time.perf_counter()
    page.goto(f"{address}/admin" if section == "overview" else f"{address}/admin/{section}")
    settled(page)
    taken = 1000 * (time.perf_counter() - begun)
    context.close()
    return taken


def line(what: str, unit: str, values: list[float], *, goal: str = "") -> dict[str, Any]:
    """One row of the table."""
    return {"what": what, "unit": unit, "n": len(values), "median": median(values), "worst": max(values), "goal": goal}


if __name__ == "__main__":
    main()
