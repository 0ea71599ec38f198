"""What an exchange's answer should have been, by what people said and the judge supports (pure)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from finetune.judge import Judge
from finetune.terse import TERSE
from finetune.wording import STOP_WORDS, content_words, numbers, words
from store.answers import DECLINE, cited_numbers, declined, ended_part, spans, without_citations
from store.exchanges import Logged, reviewed
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


def target_of(row: Logged, *, judge: Judge, least: float = SUPPORTED) -> Target | str:
    """The target of an exchange, or why it has none; `least` is the support that an answer of the bot needs."""
    feedback, exchange = row.feedback, row.exchange
    if feedback is not None and feedback.correction:
        return _corrected(row, judge, reviewed=reviewed(feedback))
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
    cited, whole = with_citations(text, passages, judge, question=row.exchange.question, believed=reviewed)
    gold = _gold(cited, passages)
    if reviewed:
        return Target(cited, kind, "a reviewer wrote or approved it", True, gold)
    if gold is None:
        return f"held for review: {'the passages do not support' if passages else 'no passage supports'} the correction"
    if not whole:
        return "held for review: the passages do not support every sentence of the correction"
    return Target(cited, kind, "a correction that the passages support", True, gold)


def with_citations(
    text: str, passages: Sequence[dict[str, Any]], judge: Judge, *, question: str = "", believed: bool = False
) -> tuple[str, bool]:
    """`text` with `[n]` at the end of each sentence that a passage supports, and whether this is all that it states.

    Of several passages that support a sentence, those that it cites stand, else the one that also speaks of the
    question; a figure alone may cite what has it. With `believed`, whatever passages it cites stand, supported or not.
    Tables, headings and code stay as they are; where nothing else could be marked, the marker follows them in a line
    of its own.
    """
    places = spans(text)
    parts = [text[start:end] for start, end in places]
    valid = {passage["n"] for passage in passages}
    chosen: list[list[int]] = []
    whole = True
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        written = [n for n in cited_numbers(part) if n in valid]
        found = written if believed and written else _supporting(part, passages, judge, question, cited=written)
        whole = whole and (bool(found) or _led_in(part, after, passages, judge) or not _states(part))
        chosen.append(found)
    cited = _in_place(text, places, [_marked(part, found) for part, found in zip(parts, chosen, strict=True)])
    return _marked_below(cited, chosen), whole


def _states(part: str) -> bool:
    """Whether a sentence says anything that could be wrong."""
    return not STOP_WORDS.issuperset(words(without_citations(part)))


def _led_in(part: str, after: str, passages: Sequence[dict[str, Any]], judge: Judge) -> bool:
    """Whether a heading, a single word or what ends in a colon is supported together with what comes after it."""
    bare = without_citations(part)
    if not after or not (bare.endswith(":") or bare.startswith("#") or len(words(bare)) == 1):
        return False
    return bool(_able(f"{bare} {without_citations(after)}", passages, judge))


def _marked(part: str, cited: Sequence[int]) -> str:
    if part.startswith("```"):
        return part
    bare = without_citations(part)
    if part.startswith(("|", "#")):
        return part if set(cited_numbers(part)) <= set(cited) else bare
    if not cited:
        return bare
    stop = bare[-1] if bare[-1:] in ".!?:" else ""
    return f"{bare[: len(bare) - len(stop)]} {_markers(cited)}{stop}".lstrip()


def _marked_below(text: str, chosen: Sequence[Sequence[int]]) -> str:
    """A text that nothing could be marked in, as of a table alone, with the first of the markers below it."""
    first = next((found for found in chosen if found), [])
    return text if cited_numbers(text) or not first else f"{text}\n\n{_markers(first)}"


def _markers(cited: Sequence[int]) -> str:
    return "".join(f"[{n}]" for n in cited)


def _supporting(
    part: str,
    passages: Sequence[dict[str, Any]],
    judge: Judge,
    question: str,
    least: float = SUPPORTED,
    *,
    cited: Sequence[int] = (),
) -> list[int]:
    """The numbers of the cited passages that support a sentence, else that of the passage that supports it best.

    The best one does so both by itself and as an answer to the question.
    """
    bare = without_citations(part)
    able = _able(bare, passages, judge, least)
    if kept := [p["n"] for p in passages if p["n"] in cited and (p["n"] in able or _has_figure(bare, p["text"]))]:
        return kept
    if len(able) < 2:
        return list(able)
    asked = {p["n"]: able[p["n"]] + judge.support(f"{question} {bare}", p["text"]) for p in passages if p["n"] in able}
    return [max(asked, key=lambda n: (asked[n], -n))]


def _able(claim: str, passages: Sequence[dict[str, Any]], judge: Judge, least: float = SUPPORTED) -> dict[int, float]:
    """The support of each passage that supports a claim, by its number."""
    found = {passage["n"]: judge.support(claim, passage["text"]) for passage in passages}
    return {n: support for n, support in found.items() if support >= least}


def _has_figure(claim: str, passage: str) -> bool:
    """Whether a terse claim is of a figure that the passage has: `288 km` of 288 kilometres."""
    said = numbers(claim)
    return bool(said) and len(content_words(claim)) <= TERSE and said <= numbers(passage)


def _in_place(text: str, places: Sequence[tuple[int, int]], built: Sequence[str]) -> str:
    """`text` with other sentences, where "" leaves one out, and with the blanks and lines that stand between them."""
    said, last = "", 0
    gaps: list[str] = []
    for (start, end), new in zip(places, built, strict=True):
        gaps.append(text[last:start])
        last = end
        if new:
            said += (max(gaps, key=lambda gap: gap.count("\n")) if said else "") + new
            gaps.clear()
    return said


def repaired(
    answer: str, passages: Sequence[dict[str, Any]], judge: Judge, *, question: str = "", least: float = SUPPORTED
) -> tuple[str, bool]:
    """The supported sentences of an answer, each once and cited, and whether nothing had to go.

    The rule below the head of a table is no sentence and stays.
    """
    places = spans(answer)
    built: list[str] = []
    chosen: list[list[int]] = []
    seen: set[str] = set()
    whole = True
    for start, end in places:
        part = answer[start:end]
        bare = without_citations(part)
        found = _supporting(part, passages, judge, question, least)
        fresh = bool(found) and bare not in seen
        if fresh:
            seen.add(bare)
            chosen.append(found)
        rule = part.startswith("|") and not words(bare)
        whole = whole and (fresh or rule or not bare)
        built.append(part if rule else _marked(part, found) if fresh else "")
    return _marked_below(_in_place(answer, places, built), chosen) if chosen else "", whole


def _gold(text: str, passages: Sequence[dict[str, Any]]) -> int | None:
    valid = {passage["n"] for passage in passages}
    return next((n for n in cited_numbers(text) if n in valid), None)
