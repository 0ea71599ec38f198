"""Claims about the analysis of a log."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.report import ReportRow, TaskReport, analyse, length_class, question_pattern, structured
from scheduler.report_text import SHOWN_WEEKS, as_text

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GUIDE = {
    "rag_enhanced": 11,
    "technical_implementation": 8,
    "ai_ml_education": 6,
    "conversational_chat": 4,
    "code_generation": 2,
}


def row(label, question="What is it?", answer="It is a cache.", **values):
    return ReportRow(question, answer, label, {label: 0.9}, created_at=NOW, **values)


def log(counts):
    return [row(label, answer="x" * 228) for label, count in counts.items() for _ in range(count)]


def test_the_guides_log_prints_the_guides_analysis():
    text = as_text(analyse(log(GUIDE)))
    for line in (
        "  rag_enhanced: 35.5% (score: 11)",
        "  technical_implementation: 25.8% (score: 8)",
        "  ai_ml_education: 19.4% (score: 6)",
        "  conversational_chat: 12.9% (score: 4)",
        "  code_generation: 6.5% (score: 2)",
        "Recommended Tasks: " + ", ".join(GUIDE),
        "Primary Task: rag_enhanced (35.5%)",
        "Secondary Task: technical_implementation (25.8%)",
        "Tertiary Task: ai_ml_education (19.4%)",
        "  Response Length: 228.0 characters average (medium-long responses)",
    ):
        assert line in text.splitlines()


def test_an_empty_log_is_a_sentence():
    report = analyse([], tasks=["a"], usable={"a": 3})
    assert as_text(report) == "The log holds no exchanges yet: chat with the bot, then look again."
    assert json.loads(json.dumps(report.to_json()))["exchanges"] == 0


def test_a_log_that_nothing_fits_recommends_nothing():
    report = analyse([row("unclassified")] * 3, tasks=["a", "b"])
    assert report.recommended == ()
    assert report.unclassified == 3
    assert "  unclassified: 100.0% (score: 3)" in as_text(report)


def test_one_exchange_is_a_report():
    report = analyse([row("a")], tasks=["a", "b"])
    assert [(line.name, line.count, line.share) for line in report.tasks] == [("a", 1, 1.0), ("b", 0, 0.0)]
    assert report.recommended == ("a",)


def test_a_rare_task_is_shown_but_not_recommended():
    report = analyse([row("a")] * 30 + [row("b")])
    assert report.recommended == ("a",)
    assert "b: 3.2%" in as_text(report)


def test_ties_keep_the_order_of_the_taxonomy():
    assert analyse([row("b"), row("a")], tasks=["a", "b"]).recommended == ("a", "b")


def test_thumbs_become_satisfaction_per_task():
    rows = [row("a", rating="up"), row("a", rating="up"), row("a", rating="down"), row("a"), row("b")]
    report = analyse(rows, usable={"a": 2}, held_out={"a": 1})
    liked = {line.name: line.satisfaction for line in report.tasks}
    assert liked == {"a": pytest.approx(2 / 3), "b": None}
    assert "  a: 2 up, 1 down (67% satisfied); 2 usable examples, 1 held out" in as_text(report)


def test_a_task_that_scores_everywhere_has_a_mean_score_above_its_share():
    rows = [ReportRow("q", "a", "other", {"other": 0.8, "wide": 0.4}), ReportRow("q", "a", "wide", {"wide": 0.9})]
    wide = next(line for line in analyse(rows).tasks if line.name == "wide")
    assert (wide.share, wide.mean_score) == (0.5, 0.65)


@pytest.mark.parametrize(
    ("question", "pattern"),
    [
        ("How do I install it?", "how-to"),
        ("Walk me through the release.", "how-to"),
        ("What are the steps to build it?", "how-to"),
        ("What is a cache?", "definition"),
        ("Explain caching.", "definition"),
        ("What's the difference between A and B?", "definition"),
        ("Who are the reviewers?", "definition"),
        ("Does it cost anything?", "other"),
        ("How many seats are there?", "other"),
        ("Thanks!", "other"),
        ("", "other"),
    ],
)
def test_questions_are_how_to_definition_or_other(question, pattern):
    assert question_pattern(question) == pattern


def test_the_patterns_of_a_log_add_up_to_all():
    questions = ["How do I start?", "How can I stop?", "What is a lease?", "Thanks."]
    report = analyse([row("a", question=question) for question in questions])
    assert (report.how_to_share, report.definition_share, report.other_share) == (0.5, 0.25, 0.25)


@pytest.mark.parametrize(
    ("characters", "name"), [(0, "short"), (79, "short"), (80, "medium"), (228.3, "medium-long"), (900, "long")]
)
def test_answers_are_short_medium_or_long(characters, name):
    assert length_class(characters) == name


@pytest.mark.parametrize("answer", ["1. Open\n2. Close", "- a\n- b", "Run\n```\nls\n```", "# Title\ntext", "| a | b |"])
def test_lists_code_headings_and_tables_are_structure(answer):
    assert structured(answer)


@pytest.mark.parametrize("answer", ["", "One sentence - with a dash.", "- a single entry", "2. only one"])
def test_plain_sentences_are_no_structure(answer):
    assert not structured(answer)


def test_the_focus_names_what_titles_and_answers_share():
    rows = [row("a", answer="The adapter is loaded with a lease.", titles=("Adapter leases",))] * 3
    assert analyse(rows).terms[0] == "adapter"
    assert "adapter" in as_text(analyse(rows))


def test_the_json_holds_ranks_satisfaction_weeks_and_drift():
    plain = json.loads(json.dumps(analyse(log(GUIDE), last_cycle=NOW).to_json()))
    assert [line["rank"] for line in plain["tasks"]] == ["primary", "secondary", "tertiary", None, None]
    assert [(week["start"], week["exchanges"]) for week in plain["weeks"]] == [("2026-11-16", 31)]
    assert plain["weeks"][0]["tasks"]["code_generation"]["count"] == 2 and plain["drift"] is None


def test_a_report_without_anything_can_be_made_by_hand():
    assert as_text(TaskReport(0)).startswith("The log holds no exchanges")


def weekly(*labels, before=NOW):
    """One exchange for each letter, a week apart, the last one `before`."""
    return [
        ReportRow("q", "a", label, created_at=before - timedelta(weeks=age), rating="up" if label == "a" else "down")
        for age, label in enumerate(reversed(labels))
    ]


def test_the_table_of_weeks_shows_the_last_eight_with_share_and_satisfaction():
    report = analyse(weekly(*"abababababab"), tasks=["a", "b"])
    lines = as_text(report).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("By week, the last 8 of 12"))
    assert lines[start + 1].split() == ["week", "from", *(week.start[5:] for week in report.weeks[-SHOWN_WEEKS:])]
    assert lines[start + 2].split() == ["exchanges", *["1"] * 8]
    assert lines[start + 4].split() == ["a", *["100%/100%", "-"] * 4]
    assert lines[start + 5].split() == ["b", *["-", "100%/0%"] * 4]
    assert len(report.weeks) == 12


def test_drift_names_what_grew_and_what_shrank_since_the_last_cycle():
    rows = [row("a")] * 60 + [row("b")] * 40
    later = [ReportRow("q", "a", label, created_at=NOW + timedelta(days=2)) for label in "a" * 20 + "b" * 80]
    text = as_text(analyse([*rows, *later], last_cycle=NOW + timedelta(days=1)))
    assert "Drift since the last cycle (2026-11-23, 100 exchanges before, 100 since):" in text
    assert "  Tasks: strong (population stability index 0.7" in text
    assert "  Grew: b +40.0%" in text and "  Shrank: a -40.0%" in text


@pytest.mark.parametrize("rows", [[], [row("a")], [ReportRow("q", "", "unclassified")]])
@pytest.mark.parametrize("cycle", [None, NOW - timedelta(days=1), NOW + timedelta(days=1)])
def test_with_nothing_on_one_side_of_the_last_cycle_there_is_no_drift(rows, cycle):
    report = analyse(rows, last_cycle=cycle)
    assert report.drift is None and json.dumps(report.to_json())
    assert not rows or "Drift: nothing to compare with" in as_text(report)
