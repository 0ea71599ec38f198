"""The admin desk in a real browser: a cycle, the log, the judge, documents, people, the schedule, the audit."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlmodel import select

from store import audit, cycles, people
from store.models import AuditEntry, Feedback, JudgeLabel, Label, Person, Role
from tests.browsing import desk, needs_chromium, open_section, settled, sign_in, watched
from tests.deciding import awaiting, one_exchange, running_cycle, train
from tests.queued import QueuedBot
from tests.test_bot_api_admin import scheduler

pytestmark = needs_chromium
PAGES = ("overview", "approval", "adapters", "cycles", "exchanges", "judge", "documents", "people", "schedule", "audit")


@pytest.fixture
def page(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    with desk(browser, bot, address) as page:
        yield page


def test_signing_in_leads_to_where_one_wanted_to_go(browser: Browser, bot: QueuedBot, address: str) -> None:
    with watched(browser) as page:
        page.goto(f"{address}/admin/people")
        page.get_by_label("Name").fill("admin")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("wrong name or password.")
        sign_in(page, address, path="/admin/people")
        expect(page.get_by_role("heading", name="People")).to_be_visible()


def test_every_page_fits_a_phone_a_tablet_and_a_screen(page: Page, bot: QueuedBot, address: str) -> None:
    awaiting(bot.database)
    one_exchange(bot)
    for path in ("/", *(f"/admin/{name}" for name in PAGES[1:]), "/admin/dossier/v1"):
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        for width in (360, 768, 1440):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def test_cycle_is_seen_to_progress_and_a_reload_keeps_its_course(page: Page, bot: QueuedBot) -> None:
    cycle, claim = running_cycle(bot.database)
    for step in (1, 2, 3):
        train(bot.database, claim, step=step)
    open_section(page, "Cycles")
    now = page.locator("#now")
    expect(now).to_contain_text("3 of 40 · loss 1.538 · 150 tokens/s · 1 min 51 s left")
    expect(now.get_by_role("img", name="Training loss")).to_be_visible()
    train(bot.database, claim, step=20)
    expect(now).to_contain_text("20 of 40", timeout=10_000)
    page.reload()
    settled(page)
    now.get_by_text("The figures as a table").click()
    assert now.locator("table tbody tr").all_inner_texts()[0].split() == ["1", "1.818"]
    cycles.finish_step(bot.database, claim, result={}, next_step="evaluate")
    expect(now.locator(".timeline li", has_text="train the adapter")).to_have_attribute(
        "data-state", "done", timeout=10_000
    )
    now.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").last.click()
    expect(page.locator("#before .state").first).to_have_text("cancelled", timeout=10_000)
    with bot.database.read() as session:
        assert cycles.get(session, cycle.id).state == "cancelled"


def test_failed_cycle_says_why_and_can_be_tried_again(page: Page, bot: QueuedBot) -> None:
    cycle, claim = running_cycle(bot.database)
    for _ in range(cycles.MAX_ATTEMPTS):
        cycles.fail_step(bot.database, claim, "the disk is full.")
        claim = cycles.claim(bot.database, cycle_id=cycle.id) or claim
    open_section(page, "Cycles")
    card = page.locator(f"#{cycle.id}")
    card.locator("summary").first.click()
    expect(card.locator(".alert")).to_have_text("the disk is full.")
    expect(card.locator(".timeline")).to_contain_text("attempt 3")
    card.get_by_role("button", name="Try again").click()
    expect(page.locator("#toast")).to_have_text("It goes on from the step that failed.")
    with bot.database.read() as session:
        row = cycles.get(session, cycle.id)
        assert (row.state, row.step, row.attempts) == ("running", "train", 0)


def test_exchange_shows_what_the_model_saw_and_takes_a_task_and_the_right_answer(page: Page, bot: QueuedBot) -> None:
    row = one_exchange(bot)
    one_exchange(bot, question="How is bread baked?")
    open_section(page, "Exchanges")
    page.get_by_label("Text").fill("river")
    page.get_by_role("button", name="Find").click()
    expect(page.locator("details.exchange")).to_have_count(1)
    card = page.locator(f"#{row.id}")
    card.locator("summary").first.click()
    card.get_by_text("Exactly what the model saw").click()
    expect(card.locator(".message").first).to_contain_text("Answer from the passages.")
    card.get_by_label("Task").select_option("travel")
    card.get_by_role("button", name="Keep this task").click()
    expect(page.locator("#toast")).to_contain_text("Its task is travel")
    card.get_by_label("The right answer").fill("It is 288 km long [1].")
    card.get_by_role("button", name="Approve as the right answer").click()
    expect(page.locator("#toast")).to_contain_text("Kept as an approved answer")
    card.get_by_text("Judge it yourself").click()
    card.get_by_role("button", name="Is the answer right? No").click()
    expect(page.locator("#toast")).to_contain_text("Noted: Is the answer right? No.")
    with bot.database.read() as session:
        assert session.get_one(JudgeLabel, (row.id, "accuracy")).value is False
        label, said = session.get_one(Label, row.id), session.get_one(Feedback, row.id)
    assert (label.task, label.labelled_by) == ("travel", bot.people["admin"].id)
    assert (said.correction, said.approved_by) == ("It is 288 km long [1].", bot.people["admin"].id)
    page.get_by_label("Rating").select_option("corrected")
    expect(page.locator("details.exchange")).to_have_count(1)
    page.reload()
    settled(page)
    expect(page.get_by_label("Rating")).to_have_value("corrected")


def test_judge_and_faults_are_asked_of_the_scheduler(page: Page, bot: QueuedBot) -> None:
    row = one_exchange(bot)
    judged = {"judge": "words", "groundedness": 0.8, "supported_from": 0.5}
    judged["sentences"] = [{"sentence": "288 km [1].", "support": 0.8, "passage": 1}]
    fault = {"exchange_id": row.id, "cause": "context_misused", "evidence": "It contradicts [1]."}
    with scheduler(bot, {"judged": judged, "faults": {"data": [fault]}}) as asked:
        open_section(page, "Exchanges")
        page.get_by_label("Fault").select_option("context_misused")
        expect(page.get_by_text("1 exchange: passage misused.")).to_be_visible(timeout=15_000)
        card = page.locator(f"#{row.id}")
        card.locator("summary").first.click()
        expect(card.locator(".alert")).to_contain_text("It contradicts [1].")
        card.get_by_role("button", name="What the judge says").click()
        expect(card.locator(".judged")).to_contain_text("80 % by [1] 288 km [1].")
    assert asked[-1] == ("judged", {"exchange_id": row.id})


def test_judge_shows_its_agreement_and_asks_for_the_labels_that_help_most(page: Page, bot: QueuedBot) -> None:
    row = one_exchange(bot)
    measured = {
        "metric": "support",
        "task": "all",
        "n": 40,
        "accuracy": 0.8,
        "balanced": 0.78,
        "kappa": 0.6,
        "auroc": 0.85,
    }
    tried = {"name": "nli:small", "counts": ["support"], "reasons": ["accuracy: 3 labels."], "agreement": []}
    tried["suite"] = [{"variant": "negated", "wins": 57.0, "n": 60, "share": 0.95}]
    found = {"name": "fitted", "trusted": False, "distrusted": ["relevance"], "agreement": [measured]}
    answers = {"judge": {**found, "label_next": [row.id], "tried": tried}, "groundedness": {"data": []}}
    with scheduler(bot, answers):
        open_section(page, "Judge")
        expect(page.get_by_label("Agreement", exact=True)).to_contain_text("agrees too little with people on relevance")
        expect(page.get_by_role("region", name="Table: Agreement with people")).to_contain_text("0.78")
        expect(page.get_by_label("Tried")).to_contain_text("It counts for support.")
        expect(page.get_by_role("region", name="Table: Answers made worse")).to_contain_text("95 %")
        card = page.locator(f"#{row.id}")
        card.locator("summary").first.click()
        expect(card.get_by_role("button", name="What the judge says")).to_be_visible()


def test_a_box_asks_again_while_the_scheduler_counts_and_says_how_old_its_answer_is(page: Page, bot: QueuedBot) -> None:
    found = {"data": [], "unclassified": 3, "text": "", "as_of": "2026-01-02T03:04:05+00:00"}
    late = {"error": {"message": "the scheduler did not answer within 10 s.", "hint": "It is at it."}}
    page.route("**/v1/admin/discovered", lambda route: route.fulfill(status=503, json=late), times=1)
    open_section(page, "Cycles")
    with scheduler(bot, {"discovered": found}):
        page.get_by_text("Tasks that the taxonomy lacks").click()
        expect(page.get_by_text("The scheduler did not answer within 10 s. It is at it.")).to_be_visible()
        expect(page.get_by_text("Counted", exact=False)).to_contain_text("2026")
    expect(page.get_by_text("did not answer within")).to_have_count(0)


def test_document_is_added_with_progress_and_a_bad_one_is_skipped_with_its_reason(page: Page, bot: QueuedBot) -> None:
    open_section(page, "Documents")
    files = [
        {"name": "cheese.md", "mimeType": "text/markdown", "buffer": b"# Cheese\n\nTurn it every day."},
        {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4 broken"},
    ]
    page.get_by_label("Files").set_input_files(files)
    page.get_by_role("button", name="Upload").click()
    lines = page.locator(".uploads li")
    expect(lines.nth(0)).to_contain_text("added", timeout=20_000)
    expect(lines.nth(1)).to_contain_text("skipped:", timeout=20_000)
    expect(page.get_by_role("row", name="cheese.md")).to_be_visible()
    page.get_by_role("button", name="Remove Cheese").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("row", name="cheese.md")).to_have_count(0)


def test_people_are_added_raised_given_keys_and_erased(page: Page, bot: QueuedBot) -> None:
    open_section(page, "People")
    page.get_by_label("Name", exact=True).fill("dora")
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("row", name="dora")
    row.get_by_label("Role of dora").select_option("reviewer")
    expect(page.locator("#toast")).to_have_text("dora is reviewer now.")
    with bot.database.read() as session:
        assert people.find(session, "dora").role == Role.REVIEWER
    row.get_by_role("button", name="New key for dora").click()
    expect(page.locator(".made code")).to_contain_text("rk_")
    row.get_by_role("button", name="Erase dora").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase").click()
    expect(page.locator("#toast")).to_contain_text("Erased with 0 exchanges")
    expect(page.get_by_role("row", name="dora")).to_have_count(0)


def test_the_only_admin_cannot_be_lowered(page: Page, bot: QueuedBot) -> None:
    open_section(page, "People")
    page.get_by_label("Role of admin").select_option("chat")
    expect(page.locator("#toast")).to_contain_text("is the only admin")
    with bot.database.read() as session:
        assert session.get_one(Person, bot.people["admin"].id).role == Role.ADMIN


def test_schedule_is_changed_in_words_in_cron_and_paused(page: Page, bot: QueuedBot) -> None:
    open_section(page, "Schedule")
    expect(page.get_by_role("heading", name="Every day at 02:00 UTC")).to_be_visible()
    page.get_by_label("How often").select_option("week")
    page.get_by_label("Weekday").select_option("Sunday")
    page.get_by_label("Time, UTC").fill("03:30")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", name="Every Sunday at 03:30 UTC")).to_be_visible()
    expect(page.locator("#content ol li")).to_have_count(5)
    page.get_by_label("Cron expression").fill("not a cron")
    page.get_by_role("button", name="Save cron").click()
    expect(page.locator("#toast")).to_contain_text("expected five cron fields")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", name="Paused")).to_be_visible()
    expect(page.get_by_text("None: the schedule is paused.")).to_be_visible()


def test_audit_shows_who_did_what_and_says_when_the_chain_is_broken(page: Page, bot: QueuedBot) -> None:
    with bot.database.write() as session:
        audit.record(session, actor=bot.people["admin"].id, action="test.done", subject="x", comment="because")
    open_section(page, "Audit")
    expect(page.get_by_role("heading", name="The chain is whole")).to_be_visible()
    page.get_by_label("Find in the record").last.fill("test.done")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("row", name="test.done")).to_contain_text("admin")
    with bot.database.write() as session:
        row = session.exec(select(AuditEntry).where(AuditEntry.action == "test.done")).one()
        row.comment = "changed afterwards"
        session.add(row)
    page.reload()
    expect(page.get_by_role("heading", name=f"The chain is broken at entry {row.id}")).to_be_visible()
