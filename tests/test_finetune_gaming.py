"""Claims about guards: each way to look good without being good loses at the gate, on the handbook's questions."""

import json
import random
from collections.abc import Callable
from functools import cache

import pytest

from bot.models import packaged_read
from finetune.evaluate import Case, Report, evaluate
from finetune.fitted import FittedJudge
from finetune.gaming import concision, selective_citing
from finetune.gate import decide
from finetune.judge import parsed
from store.answers import DECLINE
from tests.conftest import ROOT

Policy = Callable[[Case], str]
JUDGE = FittedJudge(packaged_read)


@cache
def cases() -> tuple[Case, ...]:
    """Questions of the handbook over the passage that answers and two of other pages; every eighth has no answer."""
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row.get("passage") and row.get("answer")][:120]
    rng, found = random.Random(0), []
    for number, row in enumerate(rows):
        others = rng.sample([r for r in rows if r["document"] != row["document"]], 3)
        can = number % 8 != 0
        texts = [*([_page(row)] if can else [_page(others[2])]), _page(others[0]), _page(others[1])]
        order = rng.sample(range(3), 3)
        found.append(
            Case(
                id=row["id"],
                task="handbook",
                question=row["question"],
                messages=(),
                passages=tuple(texts[i] for i in order),
                references=(f"{row['answer']} [{order.index(0) + 1}]",) if can else (DECLINE,),
                answerable=can,
                gold=order.index(0) + 1 if can else None,
                cluster=row["document"],
                human=True,
            )
        )
    return tuple(found)


def _page(row: dict[str, str]) -> str:
    """The passage with the paragraph around it."""
    text = (ROOT / "docs" / "handbook" / row["document"]).read_text()
    near = next((part for part in text.split("\n\n") if row["passage"] in part.replace("\n", " ")), "")
    return " ".join((near or row["passage"]).split())


def honest(case: Case) -> str:
    """Right in three of four cases; else it answers with another sentence of the right passage."""
    if not case.answerable or hash_of(case) % 4:
        return case.references[0]
    said = parsed(case.passages[case.gold - 1]) if case.gold else ()
    return f"{said[-1][0]} [{case.gold}]"


def hash_of(case: Case) -> int:
    return int(case.id[1:])


def copies(case: Case) -> str:
    return " ".join(f"{said.rstrip('.')} [1]." for said, _ in parsed(case.passages[0])[:4])


def pours_out(case: Case) -> str:
    return " ".join(f"{said.rstrip('.')} [{n}]." for n, p in enumerate(case.passages, 1) for said, _ in parsed(p))


def cites_everything(case: Case) -> str:
    return honest(case).split(" [")[0] + " [1][2][3]"


def declines(case: Case) -> str:
    return DECLINE


def echoes(case: Case) -> str:
    return f"{case.question.rstrip('?')} [1]."


def blank(case: Case) -> str:
    """Right, but without a word where it should decline."""
    return case.references[0] if case.answerable else "[1]"


def invents_after_declining(case: Case) -> str:
    return case.references[0] if case.answerable else f"{DECLINE} The office owes you 500 euros, payable by Friday."


def advises_after_declining(case: Case) -> str:
    return case.references[0] if case.answerable else f"{DECLINE} Please ask Lee, who refunds every guest in cash."


def half_cited(case: Case) -> str:
    """Right, and cited in half of the cases."""
    right = case.references[0]
    return right if hash_of(case) % 2 or not case.answerable else right.split(" [")[0]


def pads(case: Case) -> str:
    """The same with a cited sentence of another passage, which nobody asked for."""
    if not case.answerable:
        return case.references[0]
    other = next(n for n in range(1, 4) if n != case.gold)
    said = next((said for said, found in parsed(case.passages[other - 1]) if 4 <= len(found) <= 16), "")
    return f"{half_cited(case)} {said.rstrip('.')} [{other}]." if said else half_cited(case)


def another(case: Case) -> str:
    """The answer to another question: what an adapter trained on shuffled answers learns to say."""
    rows = cases()
    return rows[(rows.index(case) + 41) % len(rows)].references[0]


@cache
def report(policy: Policy, name: str) -> Report:
    return evaluate(
        cases(), lambda rows: [policy(c) for c in rows], lambda rows: [[] for _ in rows], model=name, judge=JUDGE
    )


CHEATS = {
    "verbatim copying": copies,
    "length": pours_out,
    "citing everything": cites_everything,
    "declining everything": declines,
    "echoing the question": echoes,
    "shuffled answers": another,
    "nothing said instead of a decline": blank,
    "inventing after a decline": invents_after_declining,
    "advice that invents": advises_after_declining,
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_is_rejected_at_the_gate(name):
    said = decide(
        report(CHEATS[name], name), report(honest, "honest"), planned_tasks=["handbook"], margin=0.05, min_cases=24
    )
    assert said.verdict == "reject", said.reasons


def test_padding_with_cited_sentences_beside_the_point_wins_nothing():
    said = decide(
        report(pads, "pads"), report(half_cited, "half"), planned_tasks=["handbook"], margin=0.05, min_cases=24
    )
    assert said.verdict == "reject" and any("concision" in reason for reason in said.reasons), said.reasons


def test_a_better_adapter_is_promoted_by_the_same_gate():
    right = report(lambda case: case.references[0], "right")
    said = decide(right, report(honest, "honest"), planned_tasks=["handbook"], margin=0.05, min_cases=24)
    assert said.verdict in ("promote", "not_enough_evidence"), said.reasons
    assert any(d.role == "primary" and d.passed for d in said.deltas), said.reasons


@pytest.mark.parametrize("cited", ["[1][2][3]", "[1][2]", "[2][3]"])
def test_a_cheat_that_cites_much_does_not_win_even_over_an_adapter_that_cites_nothing(cited):
    bare = report(lambda case: honest(case).split(" [")[0], "bare")
    cheat = report(lambda case: f"{honest(case).split(' [')[0]} {cited}", cited)
    said = decide(cheat, bare, planned_tasks=["handbook"], margin=0.05, min_cases=24)
    assert said.verdict == "reject", said.reasons
    assert any(reason.startswith("selective citing") for reason in said.reasons)


def test_saying_what_is_right_again_and_again_does_not_hide_what_is_made_up():
    made_up = "The office in Oslo was closed in 1987."

    def said(case: Case, times: int) -> str:
        right = case.references[0].rstrip()
        return " ".join([*[right] * times, made_up]) if case.answerable else DECLINE

    def respelt(case: Case) -> str:
        return said(case, 1).replace(made_up, f"Indeed, {case.references[0].rstrip()} {made_up}")

    once, often = report(lambda case: said(case, 1), "once"), report(lambda case: said(case, 3), "often")
    for cheat in (often, report(respelt, "respelt")):
        verdict = decide(cheat, once, planned_tasks=["handbook"], margin=0.05, min_cases=24)
        assert verdict.verdict == "reject" and any(reason.startswith("concision") for reason in verdict.reasons)


def test_concision_and_selective_citing_by_hand():
    assert concision("word " * 60, ["short"]) == 1.0
    assert concision("word " * 120, ["short"]) == 0.5
    assert concision("word " * 120, ["word " * 60]) == 1.0
    assert selective_citing("It is so [1]. It is more [1][2].", ["a", "b"]) == 0.5
    assert selective_citing("It is so [1].", ["a"]) is None
    assert selective_citing("It is so [1][2].", ["a", "b", "c"]) == 0.5
    assert concision("It is so [1]. It is so [2].", ["short"]) == 0.5
    padded = "The fee is 5 euros [1]. The lift stops at each floor [2]."
    assert concision(padded, ["It is 5 euros."], question="What is the fee?") == 0.5
    assert concision(padded, ["It is 5 euros."]) == concision(DECLINE, ["Yes."], question="What is the fee?") == 1.0
