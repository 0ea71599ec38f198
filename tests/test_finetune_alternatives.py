"""Claims about what is tried instead of training: who is asked what, and when it is better."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune import instead
from finetune.alternatives import EXAMPLES, PROMPTS, against, asked_otherwise, at_gate, nearest, written_by_people
from finetune.evaluate import Case, CaseScore, Report
from finetune.gate import decide
from finetune.judge import WordJudge

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
    found = asked_otherwise([CASE], ROWS, fits=lambda _: True)
    assert set(found) == {*PROMPTS, EXAMPLES}
    for name, [case] in found.items():
        assert case.messages[-1] == MESSAGES[-1]
        assert (case.messages[0] == MESSAGES[0]) == (name == EXAMPLES)
    turns = found[EXAMPLES][0].messages[1:3]
    assert turns == (
        {"role": "user", "content": "[1] It is 12 km long.\n\nQuestion: How long is the Reuss?"},
        {"role": "assistant", "content": "It is 12 km long [1]."},
    )


@pytest.mark.parametrize(("most", "left"), [(4, ["e1", "e3"]), (3, ["e1", "e3"]), (2, ["e3"]), (1, [])])
def test_examples_are_left_out_the_farthest_first_until_the_prompt_fits(most: int, left: list[str]) -> None:
    found = asked_otherwise([CASE], ROWS, fits=lambda messages: sum(map(is_question, messages)) <= most)
    asked = [one["content"].split("Question: ")[1] for one in found[EXAMPLES][0].messages if is_question(one)]
    questions = {row["question"]: row["id"] for row in ROWS[:3]}
    assert [questions[text] for text in asked[:-1]] == left and asked[-1] == "How long?"


def is_question(message: dict[str, str]) -> bool:
    return "Question: " in message["content"]


def test_without_approved_answers_there_are_no_examples() -> None:
    assert set(asked_otherwise([CASE], [], fits=lambda _: True)) == set(PROMPTS)


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


class Echo:
    """An engine that answers right when its prompt is the stricter one, or when the candidate is asked.

    At most two answers wait at once, as in a queue that is full after them.
    """

    waiting = 0

    def __init__(self, context_tokens: int = 2048) -> None:
        self.context_tokens = context_tokens

    def count(self, messages: list[dict[str, str]]) -> int:
        """Words as tokens."""
        return sum(len(one["content"].split()) for one in messages)

    def stream(self, messages: list[dict[str, str]], *, adapter: str, max_tokens: int) -> Iterator[str]:
        """The answer in two pieces."""
        assert self.count(messages) < self.context_tokens, "a prompt was asked that the context does not hold"
        self.waiting += 1
        assert self.waiting <= 2, "more answers were asked for at once than a batch"
        return self._answer(messages, adapter)

    def _answer(self, messages: list[dict[str, str]], adapter: str) -> Iterator[str]:
        self.waiting -= 1
        right = adapter == "v1" or "one or two short sentences" in messages[0]["content"]
        yield from ["The Aare is ", "288 km long [1]."] if right else ["I do ", "not know."]


def held_out(number: int) -> dict[str, Any]:
    values = {"id": f"c{number}", "task": "facts", "answerable": True, "cluster": f"d{number}", "kind": "approved"}
    values |= {"question": "How long is the Aare?", "passages": ["The Aare is 288 km long."], "gold": 1}
    return {**values, "messages": [*MESSAGES], "target": "The Aare is 288 km long [1]."}


def test_an_evaluation_also_asks_the_alternatives_and_the_approved_questions(tmp_path: Path) -> None:
    rows = [held_out(number) for number in range(4)]
    (tmp_path / "train.jsonl").write_text("")
    approved = [{**held_out(9), "id": f"ex_{number}", "approved": f"{number:064}"} for number in range(4)]
    approved.append({**held_out(9), "id": "ex_4"})  # As an earlier version wrote it.
    (tmp_path / "verified.jsonl").write_text("".join(json.dumps(row) + "\n" for row in approved))
    job = {
        **{"out": str(tmp_path / "out"), "alternatives": 3, "train": str(tmp_path / "train.jsonl"), "seed": 1},
        **{"verified": str(tmp_path / "verified.jsonl"), "primary": ["answer_accuracy"], "max_tokens": 9, "batch": 2},
    }
    candidate = Report("v1", "words", tuple(scored(row["id"]) for row in rows), ())
    second = Report("v2", "words", candidate.cases, ())
    instead.measure(job, rows, engine=Echo(), candidates=[candidate, second], judge=WordJudge(), show=lambda _: None)
    found = instead.read(tmp_path / "out", candidate.model)
    assert found["verified"] == {row["id"]: row.get("approved", True) for row in approved}
    theirs = instead.read(tmp_path / "out", "v2")
    assert theirs["verified"] == {row["id"]: False for row in approved}
    assert theirs["alternatives"] == found["alternatives"]
    by_name = {one["what"]: one for one in found["alternatives"]}
    strict = by_name["the base with a stricter prompt"]
    assert (strict["n"], strict["best"]) == (3, True)
    assert strict["difference"] == pytest.approx(0.5, abs=0.05)
    [said] = instead.better_than_training(found)
    assert said.startswith(
        "Training is not the best that was tried: the base with a stricter prompt has answer accuracy"
    )
    assert by_name["the base with a worked example in its prompt"]["best"] is False
    kept = instead.reports(tmp_path / "out")
    assert {one.model for one in kept} == set(PROMPTS) and {case.answer for one in kept for case in one.cases} == {""}


def test_a_fix_that_the_gate_rejects_is_not_the_best_that_was_tried(tmp_path: Path) -> None:
    """A prompt that never declines has more of what decides, and what cannot be answered wrong."""
    rows = [
        {**row(n, "How long is the Aare?", cluster=f"d{n}"), "answerable": n % 3 > 0, "gold": 1 if n % 3 else None}
        for n in range(30)
    ]

    def side(name: str, attribution: float, declining: float) -> Report:
        scores = {"source_attribution": attribution, "decline_correct": declining}
        cases = [(f"c{one['id']}", one["cluster"], one["answerable"]) for one in rows]
        made = (
            CaseScore(c, "facts", d, can, "x", scores if can else {"decline_correct": declining}, None, 0)
            for c, d, can in cases
        )
        return Report(name, "words", tuple(made), ())

    candidate, serving, never = side("v1", 0.6, 1.0), side("base", 0.5, 1.0), side("a prompt", 0.7, 0.0)
    compared = against(candidate, {"a prompt": never, "another": side("another", 0.65, 1.0)}, metrics=METRICS)
    assert [one["what"] for one in compared if one["best"]] == ["a prompt"]
    verdicts = {
        name: decide(one, serving, planned_tasks=["facts"], primary=METRICS, samples=300)
        for name, one in (("a prompt", never), ("another", side("another", 0.65, 1.0)))
    }
    found = {one["what"]: one for one in at_gate(compared, verdicts)}
    assert (found["a prompt"]["gate"], found["a prompt"]["best"]) == ("reject", False)
    assert "decline correct, all: 1.000 → 0.000" in found["a prompt"]["why"]
    assert (found["another"]["best"], found["another"]["why"]) == (True, "")


METRICS = ["source_attribution"]


def test_what_serves_is_asked_over_the_passages_of_other_settings(tmp_path: Path) -> None:
    rows = [held_out(number) for number in range(3)]
    changed = [{**row, "what": what} for what in ("five passages", "one passage") for row in rows[1:]]
    for row in changed[2:]:
        row |= {"passages": ["The port opens in May."], "gold": None}
    (tmp_path / "train.jsonl").write_text("")
    (tmp_path / "refetched.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    job = {
        **{"out": str(tmp_path / "out"), "alternatives": 3, "train": str(tmp_path / "train.jsonl"), "seed": 1},
        **{"refetched": str(tmp_path / "refetched.jsonl"), "serving": {"id": "v1"}, "batch": 2, "max_tokens": 9},
    }
    metrics = ["answer_accuracy", "source_attribution"]
    scores = {"answer_accuracy": 0.9, "source_attribution": 0.4}
    cases = tuple(CaseScore(row["id"], "facts", row["id"], True, "x", scores, None, 0) for row in rows)
    candidate = Report("v2", "words", cases, ())
    instead.measure(
        job | {"primary": metrics}, rows, engine=Echo(), candidates=[candidate], judge=WordJudge(), show=lambda _: None
    )
    found = {
        (one["what"], one["metric"]): one for one in instead.read(tmp_path / "out", candidate.model)["alternatives"]
    }
    five, one = found["five passages", "source_attribution"], found["one passage", "source_attribution"]
    assert (five["n"], five["mean"], five["best"]) == (2, 1.0, True)
    assert one["mean"] < 0.5 and not one["best"]
    said = instead.better_than_training(instead.read(tmp_path / "out", candidate.model))
    assert any("five passages has source attribution 1.00, +0.60 against the candidate" in line for line in said)


def test_what_is_too_long_to_be_asked_another_way_is_left_out_and_said(tmp_path: Path) -> None:
    """The context holds the logged prompts of 7 words, and the long passages of no other setting."""
    rows = [held_out(number) for number in range(3)]
    far = [{**row, "what": "five passages", "messages": [{"role": "user", "content": "long " * 60}]} for row in rows]
    (tmp_path / "refetched.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*far[:2], {**rows[2], **AS}]))
    (tmp_path / "train.jsonl").write_text(json.dumps({**row(1, "How long is the Reuss?"), "target": "word " * 60}))
    (tmp_path / "verified.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (far[0], rows[1])))
    job = {
        **{"out": str(tmp_path / "out"), "alternatives": 3, "train": str(tmp_path / "train.jsonl"), "seed": 1},
        **{"refetched": str(tmp_path / "refetched.jsonl"), "serving": {"id": "v1"}, "batch": 2, "max_tokens": 9},
        **{"verified": str(tmp_path / "verified.jsonl"), "primary": ["answer_accuracy"]},
    }
    candidate = Report("v1", "words", tuple(scored(one["id"]) for one in rows), ())
    engine = Echo(context_tokens=50)
    instead.measure(job, rows, engine=engine, candidates=[candidate], judge=WordJudge(), show=lambda _: None)
    found = instead.read(tmp_path / "out", candidate.model)
    assert {one["what"]: one["n"] for one in found["alternatives"]} == {EXAMPLES: 3, "five passages": 1}
    assert found["too_long"] == {**{name: [3, 3] for name in PROMPTS}, "five passages": [2, 3]}
    assert list(found["verified"]) == ["c1"]
    said = instead.better_than_training(found)
    assert "2 of 3 questions were too long for the model to be asked of five passages." in said


AS = {"what": "five passages"}


def scored(name: str) -> CaseScore:
    return CaseScore(name, "facts", name, True, "x", {"answer_accuracy": 0.5}, None, 0)


def test_an_approved_question_is_passed_by_being_right_and_citing_what_answers() -> None:
    judge = WordJudge()
    assert instead.passes(CASE, "It is 288 km long [1].", judge)
    assert not instead.passes(CASE, "It is 288 km long.", judge)
    assert not instead.passes(CASE, "It is 12 miles wide [1].", judge)
    assert not instead.passes(CASE, "I could not find this in the documents.", judge)


def test_nothing_is_asked_that_the_job_does_not_want(tmp_path: Path) -> None:
    job = {"out": str(tmp_path), "alternatives": 0, "verified": ""}
    candidate = Report("v1", "words", (), ())
    instead.measure(job, [], engine=Echo(), candidates=[candidate], judge=WordJudge(), show=lambda _: None)
    assert instead.read(tmp_path, candidate.model) == {}
