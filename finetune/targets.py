"""What an exchange's answer should have been, by what people said and the judge supports (pure)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune.judge import Judge
from store.answers import DECLINE, cited_numbers, declined, ended_part, sentences, without_citations
from store.exchanges import Logged
from store.models import Exchange

SUPPORTED = 0.5
_OF_DOCUMENTS = re.compile(r"\b(?:document|passage|context|source|text|excerpt)", re.IGNORECASE)
UNCORRECTED = "thumbs-down without a correction"
"""Why a disliked answer has no target: it says what is wrong, not what is right."""


@dataclass(frozen=True)
class Target:
    """An answer to train on; `gold` is the number of the passage that answers."""

    text: str
    kind: str
    reason: str
    answerable: bool
    gold: int | None


UNRELATED = 0.25
"""The relevance of its passages below which an answer that nothing supports should have been a decline."""


def target_of(row: Logged, *, judge: Judge, reviewers: frozenset[str], least: float = SUPPORTED) -> Target | str:
    """The target of an exchange, or why it has none; `least` is the support that an answer of the bot needs."""
    feedback, exchange = row.feedback, row.exchange
    if feedback is not None and feedback.correction:
        return _corrected(row, judge, reviewed=bool(feedback.approved_by) or feedback.person_id in reviewers)
    if feedback is not None and feedback.rating == "down":
        return _taught(row, judge, least) or UNCORRECTED
    liked = feedback is not None and feedback.rating == "up"
    if exchange.state != "finished" or not exchange.answer:
        return "the answer was not finished"
    if _declines(exchange.answer, exchange.passages, judge):
        return Target(DECLINE, "upvoted", "liked decline", False, None) if liked else "an unrated decline"
    answer = ended_part(exchange.answer) if cut_off(exchange) else exchange.answer
    if not answer:
        return "the answer was cut off in its first sentence"
    text, whole = repaired(answer, exchange.passages, judge, question=exchange.question, least=least)
    if not text:
        return _unsupported(row, judge, liked=liked)
    gold = _gold(text, exchange.passages)
    if liked and whole:
        return Target(text, "upvoted", "thumbs up and every sentence supported", True, gold)
    if exchange.adapter == "base" and not liked:
        return "unrated answer of the base model"
    if whole and not liked and text.split() == answer.split():
        return Target(text, "replay", "an adapter's answer whose every sentence is supported", True, gold)
    return Target(text, "repaired", "unsupported sentences removed, citations inserted", True, gold)


def _declines(text: str, passages: Sequence[dict[str, Any]], judge: Judge) -> bool:
    """Whether a text declines: what names no documents, and cites one or is supported by one, is an answer."""
    if not declined(text) or _OF_DOCUMENTS.search(text):
        return declined(text)
    if _gold(text, passages) is not None:
        return False
    claim = without_citations(text)
    return not any(judge.support(claim, passage["text"]) >= SUPPORTED for passage in passages)


def cut_off(exchange: Exchange) -> bool:
    """Whether an answer ended because its tokens were used up."""
    return bool(0 < exchange.sampling.get("max_tokens", 0) <= exchange.completion_tokens)


def _taught(row: Logged, judge: Judge, least: float) -> Target | None:
    """A teacher's answer where every sentence is supported, or its decline over passages about something else."""
    passages = row.exchange.passages
    if not row.taught or not passages:
        return None
    if _declines(row.taught, passages, judge):
        beside = judge.relevance(row.exchange.question, [passage["text"] for passage in passages]) < UNRELATED
        reason = "a teacher model declined, and its passages are about something else"
        return Target(DECLINE, "taught", reason, False, None) if beside else None
    text, whole = repaired(row.taught, passages, judge, question=row.exchange.question, least=least)
    reason = "a teacher model's answer whose every sentence is supported"
    return Target(text, "taught", reason, True, _gold(text, passages)) if whole and text else None


def _unsupported(row: Logged, judge: Judge, *, liked: bool) -> Target | str:
    """An unrated answer of an adapter that nothing supports, over passages about something else: it should decline."""
    exchange = row.exchange
    texts = [passage["text"] for passage in exchange.passages]
    if not liked and exchange.adapter != "base" and judge.relevance(exchange.question, texts) < UNRELATED:
        return Target(
            DECLINE, "repaired", "nothing supports it, and its passages are about something else", False, None
        )
    return "no sentence is supported by its passages"


def _corrected(row: Logged, judge: Judge, *, reviewed: bool) -> Target | str:
    assert row.feedback is not None
    text, passages = row.feedback.correction.strip(), row.exchange.passages
    kind = "approved" if reviewed else "correction"
    if _declines(text, passages, judge):
        return Target(DECLINE, kind, "a person said that the documents do not answer", False, None)
    cited = with_citations(text, passages, judge, question=row.exchange.question)
    gold = _gold(cited, passages)
    if gold is None and not reviewed:
        return f"held for review: {'the passages do not support' if passages else 'no passage supports'} the correction"
    reason = "a reviewer wrote or approved it" if reviewed else "a correction that the passages support"
    return Target(cited, kind, reason, True, gold)


def with_citations(text: str, passages: Sequence[dict[str, Any]], judge: Judge, *, question: str = "") -> str:
    """`text` without markers that name no passage, and with `[n]` where the judge finds support and none stands.

    Of several passages that support a sentence, the one that also speaks of the question is cited.
    """
    parts = sentences(text)
    valid = {passage["n"] for passage in passages}
    built: list[str] = []
    for part in parts:
        kept = [n for n in cited_numbers(part) if n in valid] if not part.startswith("```") else []
        best = kept or _supporting(part, passages, judge, question)
        built.append(_marked(part, best))
    return _joined(built, parts)


def _marked(part: str, numbers: Sequence[int]) -> str:
    if part.startswith("```"):
        return part
    bare = without_citations(part)
    if not numbers:
        return bare
    markers = "".join(f"[{n}]" for n in numbers)
    stop = bare[-1] if bare[-1:] in ".!?:" else ""
    return f"{bare[: len(bare) - len(stop)]} {markers}{stop}"


def _supporting(
    claim: str, passages: Sequence[dict[str, Any]], judge: Judge, question: str, least: float = SUPPORTED
) -> list[int]:
    """The number of the passage that supports a claim best, both by itself and as an answer to its question."""
    bare = without_citations(claim)
    alone = {passage["n"]: judge.support(bare, passage["text"]) for passage in passages}
    able = [passage for passage in passages if alone[passage["n"]] >= least]
    if len(able) < 2:
        return [passage["n"] for passage in able]
    asked = {p["n"]: alone[p["n"]] + judge.support(f"{question} {bare}", p["text"]) for p in able}
    return [max(asked, key=lambda n: (asked[n], -n))]


def _joined(built: Sequence[str], parts: Sequence[str]) -> str:
    """Sentences as one text, a line each where they were lines of a list or of code."""
    lines = any("\n" in part or part[:2].strip(" .").isdigit() or part[:2] in ("- ", "* ") for part in parts)
    return ("\n" if lines else " ").join(built)


def repaired(
    answer: str, passages: Sequence[dict[str, Any]], judge: Judge, *, question: str = "", least: float = SUPPORTED
) -> tuple[str, bool]:
    """The supported sentences of an answer, each once and cited, and whether nothing had to go."""
    parts = sentences(answer)
    kept: list[str] = []
    seen: set[str] = set()
    for part in parts:
        numbers = _supporting(part, passages, judge, question, least)
        bare = without_citations(part)
        if numbers and bare not in seen:
            seen.add(bare)
            kept.append(_marked(part, numbers))
    return _joined(kept, parts), len(kept) == len(parts)


def _gold(text: str, passages: Sequence[dict[str, Any]]) -> int | None:
    valid = {passage["n"] for passage in passages}
    return next((n for n in cited_numbers(text) if n in valid), None)
