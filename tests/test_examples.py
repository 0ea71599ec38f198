"""The handbook's questions fit the handbook."""

import json
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "handbook").glob("*.md"))}
LINES = (ROOT / "examples" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
QUESTIONS = [json.loads(line) for line in LINES]
TASKS = {
    "rag_enhanced",
    "technical_implementation",
    "ai_ml_education",
    "conversational_chat",
    "code_generation",
}
DECLINE = "I could not find this in the documents."


def plain(text: str) -> str:
    """Lower case, words only: two wordings that differ in punctuation are the same."""
    return " ".join(re.findall(r"\w+", text.lower()))


def prose_lines(page: str) -> list[str]:
    """The lines of a page outside its code fences."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S).splitlines()


def test_every_question_has_the_same_fields() -> None:
    fields = ["id", "task", "question", "answer", "document", "passage"]
    assert [q["id"] for q in QUESTIONS if list(q) != fields] == []
    assert [q["id"] for q in QUESTIONS if not q["question"].strip() or not q["answer"].strip()] == []


def test_there_are_enough_questions_of_every_task() -> None:
    assert len(QUESTIONS) >= 240
    assert {q["task"] for q in QUESTIONS} == TASKS


def test_ids_are_unique() -> None:
    assert len({q["id"] for q in QUESTIONS}) == len(QUESTIONS)


def test_unanswerable_questions_decline() -> None:
    unanswerable = [q for q in QUESTIONS if q["document"] is None]
    assert len(unanswerable) >= 30
    assert [q["id"] for q in unanswerable if q["passage"] is not None or q["answer"] != DECLINE] == []
    assert [q["id"] for q in QUESTIONS if q["document"] and q["answer"] == DECLINE] == []


def test_every_passage_stands_in_its_page() -> None:
    answerable = [q for q in QUESTIONS if q["document"]]
    assert [q["id"] for q in answerable if not q["passage"] or q["passage"] not in PAGES[q["document"]]] == []


def test_no_question_repeats() -> None:
    counts = Counter(plain(q["question"]) for q in QUESTIONS)
    assert [question for question, count in counts.items() if count > 1] == []


def test_no_question_is_a_heading() -> None:
    headings = {plain(line) for page in PAGES.values() for line in prose_lines(page) if line.startswith("#")}
    assert [q["id"] for q in QUESTIONS if plain(q["question"]) in headings] == []


def test_answers_are_short() -> None:
    assert [q["id"] for q in QUESTIONS if len(q["answer"]) > 700] == []


def test_every_page_is_asked_about() -> None:
    assert 20 <= len(PAGES) <= 30
    counts = Counter(q["document"] for q in QUESTIONS)
    assert [page for page in PAGES if counts[page] < 5] == []


def test_pages_have_one_title_and_several_sections() -> None:
    for name, page in PAGES.items():
        lines = prose_lines(page)
        assert lines[0].startswith("# "), name
        assert sum(line.startswith("# ") for line in lines) == 1, name
        assert 4 <= sum(line.startswith("## ") for line in lines) <= 7, name
