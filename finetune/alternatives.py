"""What could be done instead of training: the base with another prompt, or with approved answers as examples (pure).

Every alternative answers held-out cases of the gate and is scored by the same judge; it is compared with the candidate.
These ask over the same passages; what other passages would do is prepared by `scheduler/refetched.py`.
The better of several prompts is taken by its result on those very cases, so that the
comparison leans towards not training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from finetune.bootstrap import interval, resampled_means
from finetune.comparison import Verdict
from finetune.evaluate import Case, Report, value_of
from finetune.wording import content_words, share_found
from store.answers import DECLINE

STRICT = (
    "Answer only from the numbered passages below. Write one or two short sentences. Every sentence must end with the "
    f"number of the passage it comes from in square brackets. If the passages do not hold the answer, write: {DECLINE}"
)
SHOWN = (
    "You answer questions from numbered passages and cite them.\n"
    "Passages: [1] The museum opens at nine. [2] Tickets cost eight euros.\nQuestion: What does a ticket cost?\n"
    f"Answer: A ticket costs eight euros [2].\nIf no passage answers, the answer is: {DECLINE}"
)
PROMPTS = {"the base with a stricter prompt": STRICT, "the base with a worked example in its prompt": SHOWN}
EXAMPLES = "the base with approved answers as examples"
MOST_EXAMPLES = 2
LONGEST_EXAMPLE = 600
"""Characters of an example's passage: it stands in the prompt beside the real ones."""
Fits = Callable[[Sequence[dict[str, str]]], bool]
"""Whether a prompt leaves the model room for an answer."""


def asked_otherwise(
    cases: Sequence[Case], approved: Sequence[Mapping[str, Any]], *, fits: Fits
) -> dict[str, list[Case]]:
    """The cases as each alternative would ask them; examples only where people wrote answers to learn from.

    Of the examples of a case, so many of the nearest stand as its prompt, which was fitted without them, has room for.
    """
    found = {name: [_with_system(case, text) for case in cases] for name, text in PROMPTS.items()}
    if approved:
        found[EXAMPLES] = [_with_turns(case, nearest(case, approved), fits) for case in cases]
    return found


def written_by_people(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The training examples whose answer somebody wrote or approved, with a short passage that answers."""
    return [
        row
        for row in rows
        if row["kind"] in ("approved", "correction") and row["gold"] and len(_passage(row)) <= LONGEST_EXAMPLE
    ]


def _passage(row: Mapping[str, Any]) -> str:
    return str(row["passages"][row["gold"] - 1])


def nearest(case: Case, approved: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The approved examples whose questions share most words with the case's, nearest last; none of its document."""
    wanted = content_words(case.question)
    others = [row for row in approved if row["cluster"] != case.cluster]
    ranked = sorted(others, key=lambda row: (share_found(wanted, content_words(row["question"])), row["id"]))
    return ranked[-MOST_EXAMPLES:]


def _with_system(case: Case, text: str) -> Case:
    return replace(case, messages=({"role": "system", "content": text}, *case.messages[1:]))


def _with_turns(case: Case, examples: Sequence[Mapping[str, Any]], fits: Fits) -> Case:
    tried = (_after(case, examples[left_out:]) for left_out in range(len(examples)))
    return next((one for one in tried if fits(one.messages)), case)


def _after(case: Case, examples: Sequence[Mapping[str, Any]]) -> Case:
    turns: list[dict[str, str]] = []
    for row in examples:
        turns.append({"role": "user", "content": f"[1] {_passage(row)}\n\nQuestion: {row['question']}"})
        turns.append({"role": "assistant", "content": row["target"].replace(f"[{row['gold']}]", "[1]")})
    return replace(case, messages=(case.messages[0], *turns, *case.messages[1:]))


def against(candidate: Report, others: Mapping[str, Report], *, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Each alternative on each metric over the cases it answered: its mean, and its mean minus the candidate's.

    `low` and `high` are the 95 % interval of the difference; `best` as in `with_best`.
    """
    rows = [
        one for metric in metrics for name, report in others.items() if (one := _row(candidate, name, report, metric))
    ]
    return with_best(rows)


def with_best(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, each with whether it is `best` on its metric: above 0, and above every other that the gate does not
    reject.
    """
    open_ = [row for row in rows if row.get("gate") != "reject"]
    tops = {row["metric"]: max(r["difference"] for r in open_ if r["metric"] == row["metric"]) for row in open_}
    return [{**row, "best": row in open_ and 0 < row["difference"] == tops[row["metric"]]} for row in rows]


def at_gate(rows: Sequence[dict[str, Any]], verdicts: Mapping[str, Verdict]) -> list[dict[str, Any]]:
    """The rows with what the gate says of each alternative against what serves: `gate` and, where it rejects, `why`."""
    said = {
        name: {"gate": one.verdict, "why": " ".join(one.reasons[1:]) if one.verdict == "reject" else ""}
        for name, one in verdicts.items()
    }
    return with_best([{**row, **said.get(row["what"], {})} for row in rows])


def _row(candidate: Report, name: str, report: Report, metric: str) -> dict[str, Any] | None:
    ours = {score.case_id: value_of(score, metric) for score in candidate.cases}
    pairs = [(value_of(score, metric), ours.get(score.case_id), score.cluster) for score in report.cases]
    both = [(theirs, mine, cluster) for theirs, mine, cluster in pairs if theirs is not None and mine is not None]
    if not both:
        return None
    gains = [theirs - mine for theirs, mine, _ in both]
    low, high = interval(resampled_means(gains, [cluster for _, _, cluster in both]))
    mean = sum(theirs for theirs, _, _ in both) / len(both)
    difference = sum(gains) / len(gains)
    return {
        **{"what": name, "metric": metric, "n": len(both), "mean": mean, "difference": difference},
        **{"low": low, "high": high, "best": False},
    }
