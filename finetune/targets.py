"""What an exchange's answer should have been, by what people said and the judge supports (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune.judge import Judge
from store.answers import DECLINE, cited_numbers, declined, sentences, without_citations
from store.exchanges import Logged

SUPPORTED = 0.5


@dataclass(frozen=True)
class Target:
    """An answer to train on; `gold` is the number of the passage that answers."""

    text: str
    kind: str
    reason: str
    answerable: bool
    gold: int | None


def target_of(row: Logged, *, judge: Judge, reviewers: frozenset[str]) -> Target | str:
    """The target of an exchange, or why it has none."""
    feedback, exchange = row.feedback, row.exchange
    if feedback is not None and feedback.correction:
        return _corrected(row, judge, reviewed=bool(feedback.approved_by) or feedback.person_id in reviewers)
    if feedback is not None and feedback.rating == "down":
        return "thumbs-down without a correction"
    liked = feedback is not None and feedback.rating == "up"
    if exchange.state != "finished" or not exchange.answer:
        return "the answer was not finished"
    if declined(exchange.answer):
        return Target(DECLINE, "upvoted", "liked decline", False, None) if liked else "an unrated decline"
    text, whole = repaired(exchange.answer, exchange.passages, judge)
    if not text:
        return "no sentence is supported by its passages"
    gold = _gold(text, exchange.passages)
    if liked and whole:
        return Target(text, "upvoted", "thumbs up and every sentence supported", True, gold)
    if exchange.adapter == "base" and not liked:
        return "unrated answer of the base model"
    return Target(text, "repaired", "unsupported sentences removed, citations inserted", True, gold)


def _corrected(row: Logged, judge: Judge, *, reviewed: bool) -> Target | str:
    assert row.feedback is not None
    text, passages = row.feedback.correction.strip(), row.exchange.passages
    kind = "approved" if reviewed else "correction"
    if declined(text):
        return Target(DECLINE, kind, "a person said that the documents do not answer", False, None)
    cited = with_citations(text, passages, judge)
    gold = _gold(cited, passages)
    if gold is None and not reviewed:
        return f"held for review: {'the passages do not support' if passages else 'no passage supports'} the correction"
    reason = "a reviewer wrote or approved it" if reviewed else "a correction that the passages support"
    return Target(cited, kind, reason, True, gold)


def with_citations(text: str, passages: Sequence[dict[str, Any]], judge: Judge) -> str:
    """`text` without markers that name no passage, and with `[n]` where the judge finds support and none stands."""
    parts = sentences(text)
    valid = {passage["n"] for passage in passages}
    built: list[str] = []
    for part in parts:
        kept = [n for n in cited_numbers(part) if n in valid] if not part.startswith("```") else []
        best = kept or _supporting(part, passages, judge)
        built.append(_marked(part, best))
    return ("\n" if any("\n" in part or part[:2].strip(" .").isdigit() for part in parts) else " ").join(built)


def _marked(part: str, numbers: Sequence[int]) -> str:
    if part.startswith("```"):
        return part
    bare = without_citations(part)
    if not numbers:
        return bare
    markers = "".join(f"[{n}]" for n in numbers)
    stop = bare[-1] if bare[-1:] in ".!?:" else ""
    return f"{bare[: len(bare) - len(stop)]} {markers}{stop}"


def _supporting(claim: str, passages: Sequence[dict[str, Any]], judge: Judge) -> list[int]:
    scored = [(judge.support(without_citations(claim), passage["text"]), -passage["n"]) for passage in passages]
    best = max(scored, default=(0.0, 0))
    return [-best[1]] if best[0] >= SUPPORTED else []


def repaired(answer: str, passages: Sequence[dict[str, Any]], judge: Judge) -> tuple[str, bool]:
    """The supported sentences of an answer, each once and cited, and whether nothing had to go."""
    parts = sentences(answer)
    kept: list[str] = []
    seen: set[str] = set()
    for part in parts:
        numbers = _supporting(part, passages, judge)
        bare = without_citations(part)
        if numbers and bare not in seen:
            seen.add(bare)
            kept.append(_marked(part, numbers))
    return " ".join(kept), len(kept) == len(parts)


def _gold(text: str, passages: Sequence[dict[str, Any]]) -> int | None:
    valid = {passage["n"] for passage in passages}
    return next((n for n in cited_numbers(text) if n in valid), None)
