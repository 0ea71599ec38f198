"""Deciding in a real browser: reading the evidence, approving, comparing blind, canaries, and taking it back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from store import adapters, deployments, people, rollbacks
from store.models import BASE, Adapter, AdapterState, Cycle, Role
from tests.browsing import (
    answered,
    ask,
    desk,
    enter,
    fresh_bot,
    needs_chromium,
    open_section,
    settled,
    watched,
)
from tests.deciding import GUARD, PRIMARY, awaiting, evaluated
from tests.queued import QUESTION, QueuedBot, serve, until
from tests.test_store_case_labels import CASES, undecided

pytestmark = needs_chromium


@pytest.fixture
def page(browser: Browser, bot: QueuedBot, address: str) -> Iterator[Page]:
    with desk(browser, bot, address) as page:
        yield page


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


def test_the_printed_dossier_leaves_nothing_out_and_names_the_decision(
    page: Page, bot: QueuedBot, address: str
) -> None:
    report = evaluated(bot, ("It is long [1].", 0.9, "It is short.", 0.2))
    row = awaiting(bot.database, report=report, recipe={"phases": [{"recipe": {"rank": 16, "alpha": 32}}]})
    long = "source attribution rose from 0.400 to 0.710 (+0.200 to +0.420), better than what serves, by Holm's rule."
    with bot.database.write() as session:
        found = session.get_one(Adapter, row.id)
        found.verdict = {**found.verdict, "deltas": [PRIMARY | {"sentence": long, "against": "the anchor v1"}]}
        session.add(found)
        adapters.move(session, row.id, AdapterState.REJECTED, actor=bot.people["admin"].id, comment="too brief")
    page.goto(f"{address}/admin/dossier/{row.id}")
    settled(page)
    folded = page.locator("#content details:not([open])")
    expect(folded).to_have_count(2)
    page.set_viewport_size({"width": 718, "height": 1000})
    page.emulate_media(media="print")
    expect(folded).to_have_count(0)
    expect(page.get_by_role("heading", name="Right answer")).to_be_visible()
    expect(page.get_by_text('"alpha": 32')).to_be_visible()
    decided = page.get_by_role("region", name="Table: Decisions").locator("tbody tr")
    expect(decided).to_contain_text("rejectedadmin")
    expect(decided).to_contain_text("too brief")
    hidden = "[...document.querySelectorAll('.scroll, pre')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.evaluate(hidden) == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    page.emulate_media(media="screen")
    expect(folded).to_have_count(2)


def test_the_dossier_names_the_judges_accuracy_and_the_one_that_people_corrected(
    page: Page, bot: QueuedBot, address: str
) -> None:
    row = awaiting(bot.database)
    mean = {"metric": "answer_accuracy", "task": "all", "mean": 0.7, "low": 0.6, "high": 0.8, "n": 9, "human_share": 1}
    part = {"slice": "one passage", "metric": "answer_accuracy", "n": 9, "difference": 0.2, "low": 0.1, "high": 0.3}
    told = [mean | {"mean": 0.4}, mean | {"mean": 0.4, "task": PRIMARY["task"]}]
    fixed = {"candidate": told, "serving": [], "slices": [part | {"difference": -0.2}]}
    with bot.database.write() as session:
        found = session.get_one(Adapter, row.id)
        found.report = {
            "candidate": {"judge": "words", "cases": [], "summaries": [mean]},
            "slices": [part],
            "corrected": {"labels": 30, "anchor": False, **fixed},
        }
        found.verdict = {**found.verdict, "deltas": [PRIMARY | {"metric": "answer_accuracy"}]}
        session.add(found)
    page.goto(f"{address}/admin/dossier/{row.id}")
    settled(page)
    people = "answer_accuracy (judge, corrected by people's labels of 30 cases)"
    figures = page.get_by_role("region", name="Every metric, by task", exact=True).locator("tbody tr")
    expect(figures.nth(0)).to_contain_text("answer_accuracy (judge)0.70")
    expect(figures.nth(1)).to_contain_text(f"{people}0.40")
    slices = page.get_by_role("region", name="Slices", exact=True).locator("tbody tr")
    expect(slices.nth(0)).to_contain_text("answer_accuracy (judge)")
    expect(slices.nth(1)).to_contain_text(people)
    expect(page.get_by_role("region", name="Table: Rules of the gate").locator("tbody tr")).to_contain_text(people)


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


def test_a_case_that_gained_and_lost_is_in_both_lists_and_compared_blind_once(page: Page, bot: QueuedBot) -> None:
    report = evaluated(bot, ("It is short [1].", 1.0, "It is long.", 0.0))
    for side, right in (("candidate", 0.0), ("serving", 0.9)):
        report[side]["cases"][0]["scores"]["answer_accuracy"] = right
    row = awaiting(bot.database, report=report)
    with bot.database.write() as session:
        found = session.get_one(Adapter, row.id)
        found.verdict = {**found.verdict, "deltas": [PRIMARY, PRIMARY | {"metric": "answer_accuracy"}]}
        session.add(found)
    open_section(page, "Approval")
    expect(page.get_by_role("region", name="Worst regressions (1)")).to_contain_text("−0.900 answer_accuracy")
    expect(page.get_by_role("region", name="Largest gains (1)")).to_contain_text("+1.000 source_attribution")
    expect(page.get_by_role("group", name="Blind comparison")).to_contain_text("Case 1 of 1")


def test_a_second_person_sees_the_terms_of_the_first_and_agrees_to_them(
    browser: Browser, tmp_path: Path, migrated: Path
) -> None:
    with fresh_bot(tmp_path, migrated, approvers=2) as bot, serve(bot.app) as address:
        bot.people["ben"] = people.add(bot.database, "ben", role=Role.ADMIN, actor="test")
        row = awaiting(bot.database)
        for who, told in (
            ("admin", "2 people must agree"),
            ("ben", "Agreed so far, to 10 % of the conversations and chat: admin (“admin says yes”)."),
        ):
            with watched(browser) as page:
                enter(page, bot, address, who, "/admin/approval")
                expect(page.locator("aside")).to_contain_text(told)
                if who == "admin":
                    page.get_by_label("Share in percent").fill("10")
                    page.get_by_label("Testers").fill("chat")
                page.get_by_label("Comment", exact=True).fill(f"{who} says yes")
                page.get_by_role("button", name="Approve and deploy").click()
                expect(page.locator("#toast")).to_contain_text("1 more person" if who == "admin" else "is approved")
        until(lambda: bot.live.serving.canary == row.id)
        assert (bot.live.serving.share, bot.live.serving.testers) == (0.1, [bot.people["chat"].id])


def test_the_dossier_shows_what_came_of_each_agreement(browser: Browser, tmp_path: Path, migrated: Path) -> None:
    with fresh_bot(tmp_path, migrated, approvers=2) as bot, serve(bot.app) as address:
        row = awaiting(bot.database)
        ids = [people.add(bot.database, name, role=Role.ADMIN, actor="test").id for name in ("ben", "cy")]
        for who in ids:
            deployments.approve(bot.database, row.id, actor=who, comment="good", share=0.5, approvers=2)
        deployments.change_canary(bot.database, actor=ids[1], comment="all well", share=1, approvers=2)
        with watched(browser) as page:
            enter(page, bot, address, "admin", f"/admin/dossier/{row.id}")
            rows = page.get_by_role("region", name="Table: Decisions").locator("tbody tr")
            half = "agreed to 50 %approved for 50 %, decided by cy"
            expect(rows).to_contain_text([f"{half}ben", f"{half}cy", "approvedcy", "agreed to 100 %open"])
            rollbacks.rollback(bot.database, actor=ids[0], comment="people complain")
            page.reload()
            expect(rows.nth(3)).to_contain_text("agreed to 100 %not put into effectcy")
            expect(rows.nth(4)).to_contain_text("rolled backben")


def test_a_form_begins_with_the_newest_terms_that_are_open(browser: Browser, tmp_path: Path, migrated: Path) -> None:
    with fresh_bot(tmp_path, migrated, approvers=2) as bot, serve(bot.app) as address:
        row = awaiting(bot.database)
        for name, share in (("ben", 0.1), ("cy", 0.2)):
            who = people.add(bot.database, name, role=Role.ADMIN, actor="test").id
            deployments.approve(bot.database, row.id, actor=who, comment=f"{name} agrees", share=share, approvers=2)
        with watched(browser) as page:
            enter(page, bot, address, "admin", "/admin/approval")
            told = "Agreed so far, to 20 % of the conversations: cy (“cy agrees”). 1 more person must agree."
            expect(page.locator("aside")).to_contain_text(told)
            expect(page.get_by_label("Share in percent")).to_have_value("20")


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


def test_held_out_answers_are_labelled_until_the_gate_may_decide_again(page: Page, bot: QueuedBot) -> None:
    adapter = undecided(bot)
    page.goto(f"{page.url.split('/admin')[0]}/admin/judge?adapter={adapter.id}")
    settled(page)
    box = page.get_by_label(f"Held-out answers of {adapter.id}")
    again = box.get_by_role("button", name="Decide again")
    expect(box).to_contain_text("from 4 on they count at the gate.")
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


def test_the_page_says_when_the_gate_may_look_again(page: Page, bot: QueuedBot) -> None:
    adapter = undecided(bot)
    with bot.database.write() as session:
        row = adapters.get(session, adapter.id)
        row.report = {**row.report, "looks": [2]}
        session.add(row)
    page.goto(f"{page.url.split('/admin')[0]}/admin/judge?adapter={adapter.id}")
    box = page.get_by_label(f"Held-out answers of {adapter.id}")
    expect(box).to_contain_text(f"0 of {CASES} cases labelled; the gate decided with 2 and may again from 4 on.")
    expect(box.get_by_role("button", name="Decide again")).to_be_hidden()


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
