"""Pictures of chat, overview, cycle and approval for the README, from the data that a demo left behind.

python examples/demo.py FOLDER && python scripts/screenshots.py FOLDER [TARGET]

It works on a copy of FOLDER. The demo ends with the adapter rolled back, so the copy is put back to the moment before
the decision; there the picture of the approval is taken, then the adapter is approved through the page and asked.
"""

import os
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402
from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

from store import people  # noqa: E402
from store.database import open_database  # noqa: E402
from store.models import Role  # noqa: E402

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
QUESTION = "What is a good chunk size?"
PORT = 8397
SIZE = {"width": 1280, "height": 860}
BACK = """
UPDATE adapter SET state = 'awaiting_approval', decided_at = NULL WHERE id = :adapter;
UPDATE deployment SET adapter = 'base', canary = NULL;
UPDATE cycle SET state = 'awaiting_approval', outcome = NULL, finished_at = NULL WHERE adapter_id = :adapter;
"""


def main(folder: str, target: str = str(ROOT / "docs")) -> None:
    """Copy the data, start a bot on it, take the pictures."""
    with tempfile.TemporaryDirectory() as copied:
        data = Path(copied) / "data"
        shutil.copytree(folder, data)
        adapter = put_back(data / "ratchet.db")
        password = secrets.token_urlsafe(12)
        database = open_database(f"sqlite:///{data / 'ratchet.db'}")
        people.add(database, "anna", role=Role.ADMIN, actor="screenshots", password=password)
        database.close()
        bot = start(data)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
                take(browser, adapter, password, Path(target))
                browser.close()
        finally:
            bot.terminate()
            bot.wait(timeout=30)


def put_back(path: Path) -> str:
    """Bring a copied database back to the moment before the decision on its last adapter; returns the adapter's id."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT id FROM adapter WHERE state IN ('rolled_back', 'awaiting_approval', 'live')"
            " ORDER BY created_at DESC"
        ).fetchone()
        if found is None:
            sys.exit(f"{path} has no adapter that was ever put up for approval: run examples/demo.py to its end.")
        for statement in BACK.strip().split(";\n"):
            connection.execute(statement, {"adapter": found[0]} if ":adapter" in statement else {})
    connection.close()
    return str(found[0])


def start(data: Path) -> subprocess.Popen[bytes]:
    """A bot on the copied data, ready."""
    settings = {"RATCHET_DATA": str(data), "RATCHET_PORT": str(PORT), "RATCHET__STARTER": "false"}
    settings |= {"RATCHET__GENERATION__MAX_TOKENS": "60", "RATCHET__SCHEDULER__CRON": '"0 0 1 1 *"'}
    log = (data / "screenshots.log").open("w")
    bot = subprocess.Popen(
        [sys.executable, "-m", "bot", "serve"], cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log
    )
    for _ in range(240):
        try:
            if httpx.get(f"http://127.0.0.1:{PORT}/readyz").status_code == 200:
                return bot
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    bot.terminate()
    sys.exit(f"the bot did not start:\n{(data / 'screenshots.log').read_text()[-2000:]}")


def take(browser: Browser, adapter: str, password: str, target: Path) -> None:
    """The pictures, in the order in which an admin would see the pages."""
    page = browser.new_page(viewport=SIZE, device_scale_factor=1)
    page.goto(f"http://127.0.0.1:{PORT}/login?next=/admin")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    picture(page, target / "overview.png")
    page.goto(f"http://127.0.0.1:{PORT}/admin/cycles")
    page.locator("#before details.cycle > summary").first.click()
    picture(page, target / "cycle.png")
    page.goto(f"http://127.0.0.1:{PORT}/admin/approval")
    picture(page, target / "approval.png")
    page.get_by_label("Comment", exact=True).fill("It cites measurably better on held-out questions.")
    page.get_by_role("button", name="Approve and deploy").click()
    page.get_by_text("Nothing waits for a decision.").wait_for()
    time.sleep(5)
    page.goto(f"http://127.0.0.1:{PORT}/")
    page.get_by_label("Your question").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator("article.answer")).to_have_attribute("aria-busy", "false", timeout=120_000)
    expect(page.locator("article.answer")).to_contain_text(f"adapter {adapter}")
    page.locator("#log :is(button.cite, button.source)").first.click()
    picture(page, target / "chat.png", admin=False)


def picture(page: Page, path: Path, *, admin: bool = True) -> None:
    """Keep what is seen once the page has it."""
    if admin:
        expect(page.locator("#section")).to_have_attribute("aria-busy", "false", timeout=30_000)
    page.wait_for_timeout(1_500)
    page.screenshot(path=str(path))
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
