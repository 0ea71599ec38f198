"""A picture of the chat page of a running bot, for the README.

python scripts/screenshot.py http://127.0.0.1:8000 docs/chat.png "What is a good chunk size?"
"""

import sys

from playwright.sync_api import sync_playwright

ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]


def main(address: str, target: str, *questions: str) -> None:
    """Ask the questions, open the last answer's first citation, and keep what is seen."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        for number, question in enumerate(questions, start=1):
            page.get_by_label("Your question").fill(question)
            page.keyboard.press("Enter")
            page.get_by_role("button", name="Good answer").nth(number - 1).wait_for(timeout=120_000)
        citations = page.locator("#log button.cite")
        if citations.count():
            citations.last.click()
            page.wait_for_timeout(1_000)
        page.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
