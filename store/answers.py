"""What an answer's text says: its sentences, its `[n]` citations, whether it declines (pure).

It knows nothing of passages or models; the bot, curation and evaluation all read answers through this one page, so
that a citation means the same thing when it is shown, trained on and scored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

DECLINE = "I could not find this in the documents."
"""The sentence the bot is asked, trained and measured to say when no passage answers."""

_MARKER = re.compile(r"\[(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\]")
_MARKER_BEHIND = re.compile(r"[ \t]*" + _MARKER.pattern)
_DECLINING = re.compile(
    r"\b(could not|couldn't|cannot|can't|did not|didn't|do not|don't|unable to)\s+(find|see|locate|know|answer)\b"
    r"|\b(not|n't)\s+(mentioned|covered|stated|contained|provided|specified|found|answered)\s+(in|by)\b"
    r"|\b(documents?|passages?|context|sources?)\s+(do|does|did)\s*(not|n't)\s+"
    r"(say|mention|cover|contain|state|provide|specify|answer|include)\b"
    r"|\bno (passage|document|source|information)\b",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(r"(?<=[.!?])(?:\s*\[\d[\d\s,;]*\])*\s+(?!\[\d[\d\s,;]*\])(?=[\"'(\[]?[A-Z0-9`*-])|\n+")
_ENDED = re.compile(r"([.!?\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]*]*|\n```)$")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|St|No|Fig)\.|(?:^|\s)\d+\.|\b[A-Z]\.)$")


@dataclass(frozen=True)
class Citation:
    """A marker `[n]` in an answer; `start` and `end` are character offsets of the marker."""

    n: int
    start: int
    end: int


def citations(text: str) -> list[Citation]:
    """The citation markers of `text` in order; `[1, 2]` counts as two with the same span."""
    return [
        Citation(int(number), match.start(), match.end())
        for match in _MARKER.finditer(text)
        for number in re.split(r"\s*[,;]\s*", match.group(1))
    ]


def cited_numbers(text: str) -> list[int]:
    """The distinct passage numbers that `text` cites, in order of first appearance."""
    return list(dict.fromkeys(citation.n for citation in citations(text)))


def renumbered(text: str, new: Mapping[int, int]) -> str:
    """`text` with the number `n` of every citation replaced by `new[n]`; a number that `new` lacks stays."""

    def changed(marker: re.Match[str]) -> str:
        return re.sub(r"\d+", lambda n: str(new.get(int(n.group()), int(n.group()))), marker.group())

    return _MARKER.sub(changed, text)


def without_citations(text: str) -> str:
    """`text` with its citation markers and the spaces before them removed."""
    return (_MARKER_BEHIND.sub("", text) if "[" in text else text).strip()


def sentences(text: str) -> list[str]:
    """The sentences or lines of an answer, each with the citation markers that follow its full stop.

    A fenced code block is one sentence; a number or an abbreviation before a full stop does not end one.
    """
    parts = re.split(r"(```.*?(?:```|\Z))", text, flags=re.DOTALL)
    return [s for i, part in enumerate(parts) for s in ([part.strip()] if i % 2 else _prose(part)) if s]


def _prose(text: str) -> list[str]:
    found: list[str] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        if _ABBREVIATION.search(text[start : match.start()]) and "\n" not in match.group():
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    return [*found, text[start:].strip()]


def ended_part(text: str) -> str:
    """`text` without a last sentence, line or block of code that has no end, as where an answer ran out of tokens."""
    parts = sentences(text)
    if not parts or _ENDED.search(without_citations(parts[-1])):
        return text
    return text[: text.rindex(parts[-1])].rstrip()


def declined(text: str) -> bool:
    """Whether an answer as a whole says that the documents do not answer.

    True for an empty answer, and when the first sentence declines and at most one more follows: an answer that
    declines one part and answers another is an answer.
    """
    bare = sentences(without_citations(text))
    if not bare:
        return True
    return bool(_DECLINING.search(bare[0])) and len(bare) <= 2
