"""The admin desk in a real browser: watching a cycle, reading the evidence, deciding, and taking a decision back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlmodel import select

from store import adapters, audit, cycles, people
from store.models import BASE, Adapter, AuditEntry, Cycle, Feedback, JudgeLabel, Label, Person, Role
from tests.browsing import answered, ask, begin_anew, enter, fresh_bot, needs_chromium, settled, sign_in, watched
from tests.deciding import GUARD, PRIMARY, awaiting, evaluated, one_exchange, running_cycle, train
from tests.queued import QUESTION, QueuedBot, serve, until
from tests.test_bot_api_admin import scheduler
from tests.test_store_case_labels import CASES, undecided

pytestmark = needs_chromium
PAGES = ("overview", "approval", "adapters", "cycles", "exchanges", "judge", "documents", "people", "schedule", "audit")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[tuple[QueuedBot, str]]:
    with fresh_bot(tmp_path_factory.mktemp("bot"), migrated) as bot, serve(bot.app) as address:
        yield bot, address


@pytest.fixture
def bot(served: tuple[QueuedBot, str]) -> QueuedBot:
    begin_anew(served[0])
    return served[0]


@pytest.fixture
def address(served: tuple[QueuedBot, str]) -> str:
    return served[1]


@pytest.fixture
def page(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    """An admin's page, signed in."""
    with watched(browser, width=1440, height=900) as page:
        enter(page, bot, address)
        settled(page)
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


def open_section(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Admin").get_by_role("link", name=name, exact=True).click()
    settled(page)


def test_every_page_fits_a_phone_a_tablet_and_a_screen(page: Page, bot: QueuedBot, address: str) -> None:
    awaiting(bot.database)
    one_exchange(bot)
    for path in ("/", *(f"/admin/{name}" for name in PAGES[1:]), "/admin/dossier/v1"):
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        for width in (360, 768, 1440):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)


def test_admin_reads_the_evidence_approves_and_the_next_answer_names_the_adapter(
    page: Page, bot: QueuedBot, address: str
) -> None:
    row = awaiting(bot.database)
    bot.engine.by_adapter = {row.id: "It is 288 km long [1]."}
    open_section(page, "Approval")
    card = page.locator(f"#{row.id}")
    expect(card.get_by_role("heading", name="Better: the gate says promote")).to_be_visible()
    expect(card.locator(".forest").get_by_role("row", name="source_attribution")).to_contain_text("+0.310")
    expect(card.get_by_role("img", name="source_attribution: +0.310, between +0.200 and +0.420")).to_be_visible()
    card.get_by_role("button", name="Approve and deploy").click()
    expect(page.locator("#toast")).to_contain_text("needs a comment")
    card.get_by_label("Comment", exact=True).fill("Cites far better.")
    card.get_by_role("button", name="Approve and deploy").click()
    expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    until(lambda: bot.live.serving.adapter == row.id)
    page.goto(address)
    ask(page)
    answered(page)
    expect(page.locator("article.answer")).to_contain_text(f"adapter {row.id}")
    page.goto(f"{address}/admin/adapters")
    page.get_by_role("button", name="Roll back").click()
    box = page.get_by_role("dialog")
    box.get_by_label("Comment").fill("People complain.")
    box.get_by_role("button", name="Roll back").click()
    expect(page.locator("#toast")).to_contain_text("The base model serves again.")
    expect(page.get_by_text("Serving: the base model")).to_be_visible()
    until(lambda: bot.live.serving.adapter == BASE)
    page.goto(address)
    ask(page)
    answered(page)
    expect(page.locator("article.answer")).to_contain_text("base model")
    with bot.database.read() as session:
        assert session.get_one(Adapter, row.id).state == "rolled_back"


def test_worst_regressions_come_first_with_their_differences_and_the_dossier_prints_them(
    page: Page, bot: QueuedBot, address: str
) -> None:
    report = evaluated(
        bot,
        ("It is long [1].", 0.9, "It is short.", 0.2),
        ("Blue [1].", 0.1, "Red [1].", 0.3),
        ("No.", 0.0, "Yes [1].", 1.0),
    )
    measured = {"metric": "depth", "task": "teaching", "mean": 0.75, "low": 0.5, "high": 1.0, "n": 12}
    report["candidate"]["summaries"] = [measured | {"human_share": 0.5}]
    row = awaiting(bot.database, report=report)
    open_section(page, "Approval")
    losses = page.get_by_role("region", name="Worst regressions (2)").locator("details.case")
    expect(losses.nth(0)).to_contain_text("−1.000 source_attribution · Question 2?")
    expect(losses.nth(1)).to_contain_text("−0.200 source_attribution · Question 1?")
    assert losses.nth(0).locator("mark").all_inner_texts() == ["Yes", "[", "1", "]", "No"]
    expect(page.get_by_role("region", name="Largest gains (1)")).to_contain_text("+0.700")
    page.get_by_role("link", name="Printable dossier").click()
    settled(page)
    expect(page.get_by_role("heading", name=f"Dossier of {row.id}")).to_be_visible()
    expect(page.locator("details.case").first).to_contain_text("The river Aare is 288 kilometres long.")
    figures = page.get_by_role("region", name="Every metric, by task", exact=True).locator("tbody tr")
    expect(figures).to_have_text("teachingdepth0.750.50 … 1.00–1250 %")


def test_the_rules_say_what_each_was_held_against_and_which_are_not_settled(
    page: Page, bot: QueuedBot, address: str
) -> None:
    row = awaiting(bot.database)
    anchored = {**PRIMARY, "against": "the anchor v1", "serving": 0.125, "difference": 0.585, "passed": None}
    with bot.database.write() as session:
        found = session.get_one(Adapter, row.id)
        found.verdict = {**found.verdict, "deltas": [PRIMARY, anchored, GUARD | {"role": "shown", "passed": None}]}
        session.add(found)
    page.goto(f"{address}/admin/dossier/{row.id}")
    settled(page)
    shown = page.get_by_role("region", name="Table: Rules of the gate").locator("tbody tr")
    expect(shown.nth(0)).to_contain_text("✓ passed0.710what serves0.400")
    expect(shown.nth(1)).to_contain_text("? not settled0.710the anchor v10.125")
    expect(shown.nth(2)).to_contain_text("– shown only")
    expect(page.locator(".forest").get_by_text("against the anchor v1")).to_have_count(1)


def test_the_dossier_shows_what_a_tournament_tried_and_what_was_kept(page: Page, bot: QueuedBot) -> None:
    left = "Left the tournament after 50% of its examples."
    rounds = [{"share": 0.5, "steps": 4, "loss": 2.5}, {"share": 1.0, "steps": 9, "loss": 1.25}]
    tried = [
        {"name": "multi", "adapter": "v1", "rounds": rounds, "left": ""},
        {"name": "single", "adapter": "v2", "rounds": rounds[:1], "left": left},
    ]
    gate = {"winner": {"adapter": "v1", "variant": "multi", "why": "The best at the gate."}}
    row = Cycle(slot_key="tournament", state="done", results={"train": {"variants": tried}, "gate": gate})
    with bot.database.write() as session:
        session.add(row)
    assert awaiting(bot.database, cycle_id=row.id).id == "v1"
    open_section(page, "Approval")
    shown = page.get_by_role("region", name="The tournament", exact=True).locator("tbody tr")
    expect(shown.nth(0)).to_contain_text("multi (kept)")
    expect(shown.nth(0)).to_contain_text("50 %, 4 steps, 2.500; 100 %, 9 steps, 1.250")
    expect(shown.nth(0)).to_contain_text("The best at the gate.")
    expect(shown.nth(1)).to_contain_text(left)


def test_cases_are_compared_blind_and_the_tally_goes_into_the_comment(page: Page, bot: QueuedBot) -> None:
    report = evaluated(bot, ("It is long [1].", 0.9, "It is short.", 0.2), ("Blue [1].", 0.1, "Red [1].", 0.3))
    awaiting(bot.database, report=report)
    open_section(page, "Approval")
    blind = page.get_by_role("group", name="Blind comparison")
    for number in (1, 2):
        expect(blind).to_contain_text(f"Case {number} of 2")
        assert blind.locator("h3").all_inner_texts() == ["A", "B"]
        blind.get_by_role("button", name="A is better").click()
        names = blind.locator("h3").all_inner_texts()
        assert sorted(name[3:] for name in names) == ["the candidate", "what serves"]
        expect(blind).to_contain_text("You preferred " + names[0][3:])
        if number == 1:
            blind.get_by_role("button", name="Next case").click()
    expect(blind).to_contain_text("That was the last one.")
    said = page.get_by_label("Comment", exact=True).input_value()
    assert said.startswith("Blind: the candidate preferred") and "no difference 0 times." in said


def test_a_second_person_must_agree_and_sees_who_did(browser: Browser, tmp_path: Path, migrated: Path) -> None:
    with fresh_bot(tmp_path, migrated, approvers=2) as bot, serve(bot.app) as address:
        bot.people["ben"] = people.add(bot.database, "ben", role=Role.ADMIN, actor="test")
        row = awaiting(bot.database)
        for who, told in (("admin", "2 people must agree"), ("ben", "Agreed so far: admin (“admin says yes”).")):
            with watched(browser) as page:
                enter(page, bot, address, who, "/admin/approval")
                expect(page.locator("aside")).to_contain_text(told)
                page.get_by_label("Comment", exact=True).fill(f"{who} says yes")
                page.get_by_role("button", name="Approve and deploy").click()
                expect(page.locator("#toast")).to_contain_text("needs one more" if who == "admin" else "is approved")
        until(lambda: bot.live.serving.adapter == row.id)


def test_approval_is_decided_with_the_keyboard_alone(page: Page, bot: QueuedBot, address: str) -> None:
    row = awaiting(bot.database)
    page.goto(f"{address}/admin/approval")
    settled(page)
    typed = {"Comment": "Good.", "Share in percent": "", "Testers": ""}
    for _ in range(80):
        page.keyboard.press("Tab")
        label = page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent")
        if typed.get(label):
            page.keyboard.type(typed[label])
        if label == "Approve and deploy":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    until(lambda: bot.live.serving.adapter == row.id)


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


def test_held_out_answers_are_labelled_until_the_gate_may_decide_again(page: Page, bot: QueuedBot) -> None:
    adapter = undecided(bot)
    page.goto(f"{page.url.split('/admin')[0]}/admin/judge?adapter={adapter.id}")
    settled(page)
    box = page.get_by_label(f"Held-out answers of {adapter.id}")
    again = box.get_by_role("button", name="Decide again")
    for number in range(CASES):
        expect(box).to_contain_text(f"{number} of {CASES} cases labelled")
        for answer in box.get_by_label(re.compile("^Answer [AB]$")).all():
            answer.get_by_role("button", name="Right").click()
            if number < CASES - 1:
                expect(again).to_be_hidden()
    expect(box).to_contain_text("There is no case left to label.")
    box.get_by_label("Comment").fill("four labelled")
    again.click()
    expect(page.locator("#toast")).to_contain_text("The gate decides again.")
    with bot.database.read() as session:
        assert session.get_one(Cycle, adapter.cycle_id).state == "running"


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


def test_lineage_draws_each_version_after_what_it_was_measured_against(page: Page, bot: QueuedBot) -> None:
    first = awaiting(bot.database)
    adapters.create(bot.database, actor="test", compared_with=first.id, lineage={"erased": ["pe_1"]})
    open_section(page, "Adapters")
    picture = page.get_by_role("img", name="Lineage: v1 after base, awaiting_approval; v2 after v1, training")
    expect(picture).to_be_visible()
    expect(page.locator("#v2 .state").nth(1)).to_have_text("flagged")
    page.locator("#v2 > summary").click()
    expect(page.locator("#v2 .alert")).to_contain_text("1 person whose words it learned from asked to be erased")


def test_admin_compares_blind_and_is_told_after_the_choice(page: Page, bot: QueuedBot) -> None:
    bot.engine.by_adapter = {"v1": "It is 288 km long [1].", BASE: "Long [1]."}
    row = awaiting(bot.database)
    open_section(page, "Adapters")
    card = page.locator(f"#{row.id}")
    card.locator("summary").first.click()
    card.get_by_text("Preview, blind").click()
    card.get_by_label("Question for both").fill(QUESTION)
    card.get_by_role("button", name="Compare blind").click()
    answers = card.get_by_label("Answer")
    expect(answers).to_have_count(2)
    assert answers.locator("h3").all_inner_texts() == ["A", "B"]
    first = "It is 288 km" in answers.first.inner_text()
    card.get_by_role("button", name="A is better" if first else "B is better").click()
    expect(card.get_by_text("You preferred")).to_have_text("You preferred this adapter.")
    shown = answers.locator("h3").all_inner_texts()
    assert shown == (["A: v1", "B: base"] if first else ["A: base", "B: v1"])
    expect(card).to_contain_text("this adapter was preferred 1 times")


def test_admin_starts_a_canary_changes_its_share_and_gives_it_to_everybody(page: Page, bot: QueuedBot) -> None:
    row = awaiting(bot.database)
    open_section(page, "Approval")
    card = page.locator(f"#{row.id}")
    card.get_by_label("Share in percent").fill("10")
    card.get_by_label("Testers").fill("chat, other")
    card.get_by_label("Comment", exact=True).fill("Try it.")
    card.get_by_role("button", name="Approve and deploy").click()
    expect(page.get_by_text("Nothing waits for a decision.")).to_be_visible()
    until(lambda: bot.live.serving.canary == row.id)
    open_section(page, "Adapters")
    box = page.locator("#canary")
    expect(box).to_contain_text("v1 answers 10 % of the conversations and chat, other.")
    for share, button in (("25", "Change"), ("25", "Give it to everybody")):
        box.get_by_label("Share in percent").fill(share)
        box.get_by_label("Comment").fill("So far so good.")
        box.get_by_role("button", name=button).click()
        expect(page.locator("#toast")).to_be_visible()
        if button == "Change":
            expect(box).to_contain_text("v1 answers 25 % of the conversations and chat, other.")
    expect(box).to_have_count(0)
    expect(page.get_by_text("Serving: v1")).to_be_visible()
