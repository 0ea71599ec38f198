"""Claims about what is tried instead of training: who is asked what, and when it is better."""

from typing import Any

from finetune.alternatives import EXAMPLES, PROMPTS, against, asked_otherwise, nearest, written_by_people
from finetune.evaluate import Case, CaseScore, Report

MESSAGES = ({"role": "system", "content": "Cite."}, {"role": "user", "content": "[1] Long.\n\nQuestion: How long?"})
CASE = Case("c1", "facts", "How long is the Aare?", MESSAGES, ("Long.",), ("288 km.",), True, 1, "doc-a", True)


def row(number: int, question: str, *, kind: str = "correction", cluster: str = "doc-b", **more: Any) -> dict[str, Any]:
    passages = ["Nothing.", "It is 12 km long."]
    values = {"passages": passages, "gold": 2, "target": "It is 12 km long [2].", **more}
    return {"id": f"e{number}", "question": question, "kind": kind, "cluster": cluster, **values}


ROWS = [
    row(1, "How long is the Reuss?"),
    row(2, "Where is the mill?"),
    row(3, "How long is the river?"),
    row(4, "How long is the Aare?", cluster="doc-a"),
]


def test_only_short_answers_that_people_wrote_are_examples() -> None:
    others = [
        row(5, "Liked?", kind="upvoted"),
        row(6, "Declined?", gold=None),
        row(7, "Long?", passages=["Nothing.", "x" * 900]),
    ]
    assert written_by_people([*ROWS, *others]) == ROWS


def test_the_nearest_questions_of_other_documents_are_the_examples() -> None:
    assert [one["id"] for one in nearest(CASE, ROWS)] == ["e1", "e3"]


def test_each_alternative_asks_the_same_question_over_the_same_passages() -> None:
    found = asked_otherwise([CASE], ROWS)
    assert set(found) == {*PROMPTS, EXAMPLES}
    for name, [case] in found.items():
        assert case.messages[-1] == MESSAGES[-1]
        assert (case.messages[0] == MESSAGES[0]) == (name == EXAMPLES)
    turns = found[EXAMPLES][0].messages[1:3]
    assert turns == (
        {"role": "user", "content": "[1] It is 12 km long.\n\nQuestion: How long is the Reuss?"},
        {"role": "assistant", "content": "It is 12 km long [1]."},
    )


def test_without_approved_answers_there_are_no_examples() -> None:
    assert set(asked_otherwise([CASE], [])) == set(PROMPTS)


def report(name: str, scores: list[float | None]) -> Report:
    rows = [
        CaseScore(f"c{n}", "facts", f"d{n}", True, "x", {"accuracy": score}, None, 0) for n, score in enumerate(scores)
    ]
    return Report(name, "words", tuple(rows), ())


def test_an_alternative_is_best_when_it_beats_the_candidate_and_the_others() -> None:
    candidate = report("v1", [0.0, 1.0, 0.0, None])
    rows = against(
        candidate, {"a": report("a", [1.0, 1.0, 1.0]), "b": report("b", [1.0, 1.0, 0.0, 1.0])}, metrics=["accuracy"]
    )
    assert [(one["what"], one["n"], one["best"]) for one in rows] == [("a", 3, True), ("b", 3, False)]
    assert rows[0]["difference"] == 2 / 3
    assert rows[0]["low"] <= 2 / 3 <= rows[0]["high"]


def test_an_alternative_that_is_no_better_than_the_candidate_is_not_best() -> None:
    rows = against(report("v1", [1.0, 1.0]), {"a": report("a", [1.0, 1.0])}, metrics=["accuracy", "unknown"])
    assert [one["best"] for one in rows] == [False]
