"""Claims about where it hurts: a bad exchange is put down to its cause; what training cannot mend becomes a list."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs.settings import ROOT
from finetune.examples import Rules
from finetune.judge import WordJudge
from retrieval.embedding import Embedder
from retrieval.index import Index
from retrieval.library import Library
from scheduler import jobs, planning, said, trouble
from scheduler.causes import Case, Cause, Held, Look, cause_of
from scheduler.faults import Fault, Gap, as_text, faults, gaps, signs_of
from scheduler.said import Remark, asked_again, remarks, wanted
from scheduler.workbench import Workbench, curated
from store import exchanges, labels
from store.answers import DECLINE
from store.database import Database
from store.exchanges import Logged
from store.models import Ask, Conversation, Exchange, ExchangeState, Feedback, Label
from store.people import named
from tests.test_scheduler_workbench import bench

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RIVER = "The river Aare is 288 kilometres long. It rises in the Bernese Alps and joins the Rhine at Koblenz."
BREAD = "Bake the bread for forty minutes at 220 degrees. Let it cool on a rack before you cut it."
QUESTION = "How long is the river Aare?"
GOOD = "The river Aare is 288 kilometres long [1]."
RIGHT = "The river Aare is 288 kilometres long."
CHIPS = ("Wrong", "Not in the passages", "Incomplete", "Wrong form", "Should have answered")
NUMBERS = itertools.count()


def passage(n: int, text: str, score: float = 0.6) -> dict[str, Any]:
    return {"n": n, "document": "d", "title": text.split()[1], "text": text, "digest": text[:20], "score": score}


def logged(
    answer: str = GOOD,
    *shown: dict[str, Any],
    question: str = QUESTION,
    rating: str | None = "down",
    reasons: Sequence[str] = (),
    comment: str = "",
    correction: str = "",
    task: str = "rivers",
    **values: Any,
) -> Logged:
    number = next(NUMBERS)
    row = Exchange(
        **{
            "conversation_id": f"c{number}",
            "person_id": f"p{number}",
            "created_at": NOW,
            "state": "finished",
            **values,
        },
        id=f"ex_{number}",
        question=question,
        answer=answer,
        passages=list(shown),
    )
    said_so = Feedback(
        exchange_id=row.id, person_id=row.person_id, rating=rating, reasons=list(reasons), comment=comment
    )
    said_so.correction = correction
    label = Label(exchange_id=row.id, task=task, confidence=1, taxonomy="t")
    return Logged(row, said_so if rating or reasons or comment or correction else None, label)


def library(*texts: str, score: float = 0.5) -> Look:
    """A library that holds some texts, all as near to anything."""
    return lambda query: [Held(text.split()[1], text, text[:20], score) for text in texts]


def put_down(row: Logged, look: Look | None = None, *, rules: Rules | None = None) -> tuple[Cause, str]:
    cause, evidence, _ = cause_of(Case(row, WordJudge(), 0.24, look, rules))
    return cause, evidence


# causes


@pytest.mark.parametrize(
    ("row", "look", "cause", "evidence"),
    [
        (logged(DECLINE, passage(1, BREAD), correction=RIGHT), library(BREAD), Cause.MISSING_DOCUMENT, '"kilometres"'),
        (logged(DECLINE, correction=RIGHT), library(BREAD), Cause.MISSING_DOCUMENT, "no live passage supports"),
        (logged(GOOD, passage(1, BREAD), correction=DECLINE), library(), Cause.MISSING_DOCUMENT, "a person says"),
        (logged("It is long."), library(BREAD, score=0.1), Cause.MISSING_DOCUMENT, '"the" (0.10)'),
        (logged("It is long.", passage(1, BREAD, 0.2)), library(), Cause.MISSING_DOCUMENT, "reaches 0.20, under 0.24"),
        (logged("It is long.", passage(1, BREAD), correction=RIGHT), library(RIVER), Cause.RETRIEVAL_MISS, "1 shown"),
        (logged(DECLINE, correction=RIGHT), library(BREAD, RIVER), Cause.RETRIEVAL_MISS, '"river" supports'),
        (logged(DECLINE), library(RIVER), Cause.RETRIEVAL_MISS, '"river" reaches 0.50 now'),
        (logged(DECLINE, comment="The Aare is 288 kilometres long"), library(RIVER), Cause.RETRIEVAL_MISS, "supports"),
        (logged(DECLINE, passage(1, RIVER), correction=RIGHT), None, Cause.CONTEXT_MISUSED, "but the answer declines"),
        (logged("It is 12 km.", passage(1, RIVER), correction=RIGHT), None, Cause.CONTEXT_MISUSED, "something else"),
        (logged(RIGHT, passage(1, RIVER), correction=RIGHT), None, Cause.CONTEXT_MISUSED, "does not cite it"),
        (logged(DECLINE, passage(1, RIVER)), None, Cause.CONTEXT_MISUSED, "passage [1] is near (0.60), but the answer"),
        (logged("Monks dug it [1].", passage(1, RIVER)), None, Cause.CONTEXT_MISUSED, "support the answer little"),
        (logged(RIGHT, passage(1, RIVER)), None, Cause.CONTEXT_MISUSED, "but it cites none"),
        (logged(GOOD, passage(1, RIVER), reasons=["Incomplete"]), None, Cause.CONTEXT_MISUSED, '"Incomplete"'),
        (
            logged(DECLINE, passage(1, BREAD, 0.2), reasons=["Should have answered"]),
            library(),
            Cause.CONTEXT_MISUSED,
            "should have been answered",
        ),
        (logged(GOOD, passage(1, RIVER)), None, Cause.STYLE_OR_FORM, "cites [1], yet thumbs-down"),
        (logged(GOOD, passage(1, RIVER), correction=RIGHT), None, Cause.STYLE_OR_FORM, "the answer says the same"),
        (logged(RIGHT, passage(1, RIVER, 0.1), reasons=["Wrong form"]), None, Cause.STYLE_OR_FORM, '"Wrong form"'),
        (logged(GOOD, passage(1, RIVER), comment="far too long"), None, Cause.STYLE_OR_FORM, '"far too long"'),
        (logged(GOOD, passage(1, RIVER), reasons=["Wrong"]), None, Cause.UNCLEAR, "a person says that it is wrong"),
        (logged(GOOD, passage(1, RIVER), rating=None), None, Cause.UNCLEAR, "nobody said what is wrong"),
        (logged("Hi!", question="Hello!"), library(RIVER), Cause.UNCLEAR, "too little to search by"),
        (logged(DECLINE, passage(1, BREAD), correction=RIGHT, given=True), library(RIVER), Cause.UNCLEAR, "no shown"),
    ],
)
def test_each_bad_exchange_is_put_down_to_its_cause_with_evidence(
    row: Logged, look: Look | None, cause: Cause, evidence: str
) -> None:
    found, told = put_down(row, look)
    assert (found, evidence in told) == (cause, True), told


def test_an_answer_that_breaks_its_tasks_rules_is_put_down_to_form() -> None:
    row = logged(GOOD, passage(1, RIVER), reasons=["Wrong"])
    assert put_down(row, rules=Rules(max_length=20)) == (
        Cause.STYLE_OR_FORM,
        "grounded (0.93) and cites [1], but 42 characters long; the task's rules say 1 to 20.",
    )


def test_without_the_library_nothing_is_said_to_be_missing_from_it() -> None:
    for row in (logged(DECLINE, correction=RIGHT), logged(DECLINE), logged("Long.", passage(1, BREAD, 0.1))):
        assert put_down(row)[0] == Cause.UNCLEAR


def test_a_comment_that_no_passage_supports_is_no_statement_of_what_is_right() -> None:
    row = logged(GOOD, passage(1, RIVER), comment="Please ask my colleague Walter tomorrow morning instead")
    assert put_down(row, library(BREAD))[0] == Cause.STYLE_OR_FORM


def test_the_reasons_that_the_chat_page_offers_are_understood() -> None:
    page = (ROOT / "bot" / "web" / "static" / "feedback.js").read_text()
    assert f"const REASONS = {json.dumps(list(CHIPS))};" in page
    understood = [Remark.WRONG, Remark.UNGROUNDED, Remark.INCOMPLETE, Remark.FORM, Remark.ANSWERABLE]
    assert [remarks([chip], "") for chip in CHIPS] == [{remark} for remark in understood]


def test_a_complaint_is_not_taken_for_the_right_answer() -> None:
    assert wanted("", "this is wrong, the whole answer about rivers is invented") == ""
    assert wanted("", "nonsense") == wanted(DECLINE, "") == ""
    assert wanted(" So it is. ", "wrong") == "So it is."


# signs


def test_thumbs_down_a_correction_and_little_support_are_signs_and_a_thumbs_up_is_none() -> None:
    judge, again = WordJudge(), dict[str, str]()
    assert signs_of(logged(GOOD, passage(1, RIVER)), judge, again) == ("thumbs-down",)
    assert signs_of(logged(GOOD, passage(1, RIVER), correction=RIGHT), judge, again) == ("thumbs-down", "corrected")
    assert signs_of(logged(GOOD, passage(1, RIVER), rating="up"), judge, again) == ()
    assert signs_of(logged(GOOD, passage(1, RIVER), rating=None), judge, again) == ()
    [low] = signs_of(logged("Monks dug it out.", passage(1, RIVER), rating=None), judge, again)
    assert low.startswith("judged low (0.")
    assert signs_of(logged("Monks dug it out.", passage(1, RIVER), rating="up"), judge, again) == ()
    assert signs_of(logged(DECLINE, passage(1, RIVER), rating=None), judge, again) == ()


@pytest.mark.parametrize(
    ("second", "seconds", "conversation", "again"),
    [
        ("how long is the aare river?", 60, "one", True),
        ("What is the length of the Aare?", 60, "one", True),
        ("how long is the aare river?", 200, "one", False),
        ("how long is the aare river?", 60, "two", False),
        ("How do I bake bread?", 60, "one", False),
    ],
)
def test_nearly_the_same_question_at_once_in_the_same_conversation_is_a_sign(
    embedder: Embedder, second: str, seconds: int, conversation: str, again: bool
) -> None:
    first = logged(rating=None, conversation_id="one", finished_at=NOW + timedelta(seconds=10))
    later = NOW + timedelta(seconds=10 + seconds)
    rows = [first, logged(question=second, rating=None, conversation_id=conversation, created_at=later)]
    found = asked_again(rows, embedder.encode)
    assert set(found) == ({first.exchange.id} if again else set())
    assert not again or found[first.exchange.id].startswith("asked again after 60 s")


def test_the_last_question_of_a_log_and_an_empty_log_are_not_asked_again(embedder: Embedder) -> None:
    assert asked_again([], embedder.encode) == asked_again([logged()], embedder.encode) == {}


# lists to act on


def fault(question: str, person: str, cause: Cause = Cause.MISSING_DOCUMENT, day: int = 1, source: str = "") -> Fault:
    at = f"2026-11-{day:02}T00:00:00+00:00"
    return Fault(f"e{day}", "c", person, question, cause, ("thumbs-down",), "Why.", "t", at, source)


def test_questions_on_one_thing_become_one_line_that_counts_people(embedder: Embedder) -> None:
    asked = ["Can I get a parking permit?", "How do I apply for a parking permit?", "What does a parking permit cost?"]
    found = [
        fault(question, person, day=day) for day, (question, person) in enumerate(zip(asked, "aab", strict=True), 1)
    ]
    found += [fault("Who won the chess final?", "c", day=9)]
    found += [fault("How is a backup restored?", "d", Cause.RETRIEVAL_MISS, source="Backups")]
    found += [fault("Why so long?", "e", Cause.STYLE_OR_FORM)]
    first, *others = gaps(found, embedder.encode([one.question for one in found]))
    assert first.sentence == f"2 people asked about {first.topic}; no document covers it."
    assert {"parking", "permit"} <= set(first.topic.split(", "))
    assert (first.people, first.questions, first.newest[:10]) == (2, 3, "2026-11-03")
    assert first.exchanges == ("e3", "e2", "e1") and set(first.examples) == set(asked)
    assert [(one.cause, one.questions) for one in others] == [("retrieval_miss", 1), ("missing_document", 1)]
    assert others[0].sentence.endswith('; "Backups" covers it but was not found.')


def test_faults_without_gaps_and_no_faults_are_texts() -> None:
    assert gaps([], np.zeros((0, 3))) == []
    assert as_text([], [], 0) == "The log holds no exchanges yet."
    assert as_text([], [], 7) == "Where it hurts: none of 7 exchanges is bad."
    text = as_text([fault("Why so long?", "e", Cause.STYLE_OR_FORM)], [], 1)
    assert "1 of 1 exchanges are bad, 1 of them can be trained away" in text and "To act on" not in text


def test_a_fault_and_a_gap_are_plain_json() -> None:
    plain = json.loads(json.dumps(fault("Why?", "e").to_json()))
    assert (plain["cause"], plain["trainable"]) == ("missing_document", False)
    gap = Gap(Cause.RETRIEVAL_MISS, "tides", 1, 2, ("Why?",), "2026", ("e",), "Sea")
    told = json.loads(json.dumps(gap.to_json()))["sentence"]
    assert told == '1 person asked about tides; "Sea" covers it but was not found.'


def test_what_was_not_found_is_listed_by_the_passage_that_answers(embedder: Embedder) -> None:
    values = (("How high is the tide?", "Sea"), ("Who bakes bread?", "Bakery"), ("Is the moon to blame?", "Sea"))
    found = [fault(question, question, Cause.RETRIEVAL_MISS, source=source) for question, source in values]
    listed = gaps(found, embedder.encode([one.question for one in found]))
    assert [(gap.source, gap.questions, gap.people) for gap in listed] == [("Sea", 2, 2), ("Bakery", 1, 1)]
    assert listed[1].sentence == '1 person asked "Who bakes bread?"; "Bakery" covers it but was not found.'


def test_a_long_list_is_printed_in_part_and_says_so() -> None:
    found = [fault(f"Question {n}?", f"p{n}") for n in range(50)]
    listed = [Gap(Cause.MISSING_DOCUMENT, f"q{n}", 1, 1, (), "2026-11-22", ()) for n in range(23)]
    text = as_text(found, listed, 60)
    assert "  and 3 more: --json has all." in text and "The newest 40, each with its evidence:" in text
    assert "Question 49?" in text and "Question 9?" not in text


# on a real log and library


@pytest.fixture
def work(database: Database, tmp_path: Path, embedder: Embedder) -> Iterator[Workbench]:
    """A workbench whose library holds one page on rivers and whose labels need no classifier."""
    index = Index(database, embedder, folder=None, dense_weight=0.6)
    library = Library(database, embedder, index, chunk_characters=1000, min_score=0.16)
    library.add_text(source="river.md", title="The Aare", text=RIVER)
    made = bench(database, tmp_path)
    yield replace(made, encode=embedder.encode, index=lambda: index, min_score=0.16, taxonomy="t", recipes={})
    index.close()


def kept(work: Workbench, row: Logged) -> str:
    """Enter a row into the log, with its feedback and label."""
    database, exchange = work.database, row.exchange
    person = named(database, exchange.person_id)
    with database.write() as session:
        session.add(Conversation(id=exchange.conversation_id, person_id=person.id))
    exchange.person_id, answer = person.id, exchange.answer
    exchange.messages = [{"role": "user", "content": exchange.question}]
    exchanges.begin(database, exchange)
    exchanges.finish(database, exchange.id, state=ExchangeState.FINISHED, answer=answer)
    if row.feedback is not None:
        given = {name: getattr(row.feedback, name) for name in ("rating", "reasons", "comment", "correction")}
        exchanges.rate(database, exchange.id, person=person, **given)
    if row.label is not None:
        labels.save(database, [labels.Found(exchange.id, row.label.task, 1.0, {})], taxonomy=row.label.taxonomy)
    return exchange.id


def test_the_log_and_the_library_tell_what_is_missing_from_what_was_not_found(work: Workbench) -> None:
    lost = kept(work, logged(DECLINE, correction=RIGHT))
    missing = kept(
        work, logged(DECLINE, question="Who may park behind the office?", correction="Only nurses may park.")
    )
    misused = kept(work, logged("Monks dug it.", passage(1, RIVER)))
    kept(work, logged(GOOD, passage(1, RIVER), rating="up"))
    found = jobs.answer(work, Ask(kind="faults"))
    assert {one["exchange_id"]: one["cause"] for one in found["data"]} == {
        lost: "retrieval_miss",
        missing: "missing_document",
        misused: "context_misused",
    }
    assert (found["exchanges"], found["bad"], found["trainable"]) == (4, 3, 1)
    listed = jobs.answer(work, Ask(kind="gaps"))
    assert [gap["exchanges"] for gap in listed["data"]] == [(lost,), (missing,)]
    assert '"The Aare" covers it but was not found.' in listed["text"]
    assert all(gap["sentence"] in found["text"] for gap in listed["data"])
    assert json.dumps(found) and json.dumps(listed)


def test_only_what_training_can_mend_counts_as_trouble_of_a_task(work: Workbench) -> None:
    kept(work, logged(DECLINE, correction=RIGHT))
    kept(work, logged("Monks dug it.", passage(1, RIVER)))
    kept(work, logged(GOOD, passage(1, RIVER), task="speeches"))
    counts = trouble.trainable_now(work)
    assert counts == {"rivers": 1, "speeches": 1}
    assert trouble.trainable_text(counts) == "Bad answers that training can mend: rivers 1, speeches 1."


def test_what_needs_a_document_or_a_better_search_is_never_an_example_of_an_unsupported_answer(work: Workbench) -> None:
    kept(work, logged(DECLINE, correction=RIGHT))
    kept(work, logged(DECLINE, passage(1, BREAD), correction=RIGHT))
    kept(work, logged("Long.", passage(1, BREAD), correction="Only nurses may park."))
    made, _ = curated(work)
    assert made.train == made.held_out == []
    assert set(made.rows) == {
        "left out: held for review: no passage supports the correction",
        "left out: held for review: the passages do not support the correction",
    }


def test_an_empty_log_and_one_exchange_are_answers(work: Workbench) -> None:
    assert trouble.faults_now(work)["text"] == "The log holds no exchanges yet."
    assert trouble.gaps_now(work) == {"data": [], "next": None, "text": ""}
    assert trouble.trainable_now(work) == {}
    kept(work, logged(GOOD, passage(1, RIVER), rating="up"))
    assert trouble.faults_now(work)["bad"] == 0
    assert planning.report_now(work)["exchanges"] == 1


def test_most_questions_over_the_handbook_are_put_down_to_what_was_done_to_them(
    database: Database, embedder: Embedder
) -> None:
    index = Index(database, embedder, folder=None, dense_weight=0.6)
    library = Library(database, embedder, index, chunk_characters=1000, min_score=0.16)
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["passage"]][:40]
    for name in sorted({row["document"] for row in rows}):
        library.add_text(source=name, title=name, text=(ROOT / "docs" / "handbook" / name).read_text())
    right = {cause: 0 for cause in (Cause.CONTEXT_MISUSED, Cause.RETRIEVAL_MISS, Cause.MISSING_DOCUMENT)}
    for row in rows:
        for cause in right:
            right[cause] += _done_to(row, cause, index) == cause
    assert {cause: count / len(rows) >= 0.85 for cause, count in right.items()} == dict.fromkeys(right, True), right


def _done_to(row: dict[str, str], cause: Cause, index: Index) -> Cause:
    """Show a question's own passage, or hide it, or take it from the library as well; what is that put down to?"""

    def look(text: str) -> list[Held]:
        hits = [hit for hit in index.search(text, 8) if cause != Cause.MISSING_DOCUMENT or not own(hit.passage.text)]
        return [Held(hit.passage.title, hit.passage.text, hit.passage.digest, hit.score) for hit in hits]

    def own(text: str) -> bool:
        return row["passage"][:80] in text

    held = look(row["question"]) + look(row["answer"])
    shown = [one for one in held if not own(one.text)][:2]
    shown += [one for one in held if own(one.text)][:1] if cause == Cause.CONTEXT_MISUSED else []
    given = [
        {**passage(n, one.text, one.score), "digest": one.digest, "title": one.title} for n, one in enumerate(shown, 1)
    ]
    return put_down(logged(DECLINE, *given, question=row["question"], correction=row["answer"]), look)[0]


def test_the_newest_are_searched_for_first_and_the_rest_stays_unclear() -> None:
    rows = [logged(DECLINE, question=f"How long is river number {n}?") for n in range(5)]
    found = faults(rows, judge=WordJudge(), near=0.24, rules={}, again={}, look=library(RIVER), searches=2)
    assert [one.cause for one in found] == ["unclear"] * 3 + ["retrieval_miss"] * 2
    assert found[0].evidence == "No passage was shown, and the library was not searched."


def test_faults_keep_the_order_of_the_log_and_their_task() -> None:
    rows = [logged(GOOD, passage(1, RIVER)), logged(GOOD, passage(1, RIVER), rating="up"), logged(DECLINE)]
    found = faults(rows, judge=WordJudge(), near=0.24, rules={}, again={rows[0].exchange.id: "asked again"})
    assert [one.exchange_id for one in found] == [rows[0].exchange.id, rows[2].exchange.id]
    assert found[0].signs == ("thumbs-down", "asked again") and found[0].task == "rivers"
    assert said.quoted(None) == "nothing"
