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
_CODE = r"|```.*?(?:```|\Z)|`[^`\n]+`"
_MARKER_OR_CODE = re.compile(_MARKER.pattern + _CODE, re.DOTALL)
_MARKER_BEHIND = re.compile(r"[ \t]*" + _MARKER.pattern)
_MARKER_BEHIND_OR_CODE = re.compile(_MARKER_BEHIND.pattern + _CODE, re.DOTALL)
_FENCED = re.compile(r"(```.*?(?:```|\Z))", re.DOTALL)
_ONES = r"(?:(?:provided|given|available|numbered|shown|listed) )"
_NAMED = (
    rf"(?:(?:any|all|one|none) of )?(?:(?:(?:the|these|those|your|my|our) {_ONES}?|{_ONES})?"
    r"(?:documents|passages|sources|texts|excerpts)"
    rf"|(?:(?:the|this|that|any|your) {_ONES}?|{_ONES})(?:document|documentation|passage|context|source|text|excerpt))"
    # The documents folder and the text search are things that an answer may speak of.
    r"(?! (?:folder|list|page|tab|menu|directory|search|field|button|panel|window)s?\b)"
)
_NOT = r"(?: not|n't)"
_SAID = r"(?:mentioned|covered|stated|contained|provided|specified|found|answered|described|explained|given)"
_SAY = r"(?:say|mention|cover|contain|state|provide|specify|answer|include|describe|explain|give|tell)"
_FACTS = r"(?:information|mention|passages?|documents?|sources?|answers?|details?)"
_MISSING = (
    # Nobody but who answers, or no subject at all: guests who cannot see a page are an answer.
    rf"(?:(?:^|[,;:] |\b(?:but|that|sorry|{_NAMED}) )(?:I|we)(?:'m)?(?: (?:am|are|was|were|have|also|really))* "
    r"|^(?:(?:sorry|unfortunately),? )?)"
    rf"(?:could{_NOT}|cannot|can not|can't|did{_NOT}|unable to|not able to)"
    r" (?:find|see|locate|know|answer(?! (?:in|by|calls?|mails?|e-mails?|letters?)\b))\b",
    rf"(?:^|[,;:] |\b(?:but|that|sorry) )(?:I|we) do{_NOT} (?:know|find|see|have (?:any |enough )?information)\b",
    rf"^(?:sorry, )?do{_NOT} know[.!]?$",
    rf"\b(?:not|cannot|\w+n't)(?: be)?(?: \w+ly)? {_SAID} (?:in|by|from|with|using|based on|anywhere in) {_NAMED}\b",
    rf"\b(?:not|\w+n't) in {_NAMED}\b",
    # Preceded by no other word: the warranty documents, which do not cover water damage, are an answer.
    rf"(?:^(?:passage|document|context)|(?:^|[,;:] |\b(?:but|and|that|as|since|because) ){_NAMED})"
    rf"(?: \d[\d ,]*(?:and \d+)?)?(?: (?:you )?(?:provided|given|shown|above|here))? (?:do|does|did){_NOT}"
    rf"(?: \w+ly)? {_SAY}\b",
    rf"(?:^|[,;:] |\b(?:but|and|that|as|since|because) ){_NAMED} {_SAY}s? nothing\b",
    rf"^nothing (?:is|was) (?:said|{_SAID})\b[^.;:]{{0,80}}? in {_NAMED}\W*$",
    rf"^(?:no (?:document|passage|source|text)|(?:no|neither of|nothing in) {_NAMED}|none of {_NAMED})"
    rf"(?: (?:here|above))? {_SAY}s?\b",
    rf"^no {_FACTS} (?:about|on|of|regarding|concerning)\b.* (?:available|found|given|provided|in {_NAMED})[.!]?$",
    rf"^no (?:\w+ )?{_FACTS} (?:(?:is|was|were|are) )?(?:available|found|given|provided|in {_NAMED})\b",
    rf"\b(?:there (?:is|was|are)|there's|(?:I|we) (?:have|found|see)|{_NAMED} (?:have|has|contains?|provides?|gives?))"
    rf" no (?:\w+ )?{_FACTS}\b",
    rf"\bthere (?:is|was) nothing(?: (?:about|on|regarding|concerning|relevant)\b[^.;:]{{0,80}}?)? in {_NAMED}\W*$",
    r"\b(?:not possible|impossible) to (?:answer|say|tell|know|determine)\b[^.;:]{0,80}?"
    rf" (?:from|in|by|with|using|based on) {_NAMED}(?: (?:when|who|what|where|why|how|whether|which)\b.*)?\W*$",
)
_NEGATION = re.compile(r"\b(?:no|not|none|nothing|neither|cannot|unable|impossible)\b|n't", re.IGNORECASE)
"""Whatever declines holds one of these, which are found faster."""
_DECLINING = re.compile("|".join(_MISSING).replace(" ", r"\s+"), re.IGNORECASE)
_OF_DOCUMENTS = re.compile(rf"^(?:passage|document|context|text)\b|\b{_NAMED}\b".replace(" ", r"\s+"), re.IGNORECASE)
_DRESS = re.compile(r"^(?:[>*_\s\u2022-]|\d+[.)]\s)+")
"""What marks a line up before its first word."""
_HEADING = re.compile(r"^#{1,6}\s")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_SAYS_NOTHING = frozenset(
    re.findall(
        r"\w+",
        "sorry unfortunately could cannot unable able find found locate know known have enough exactly specific this "
        "that these those there what which about from with question questions answer answers answered information "
        "details mention mentioned available given provided based anything something your",
    )
)
"""Words of a decline that tell nothing else."""
_PLAINLY = re.compile(
    r"^(?:(?:sorry|unfortunately),? (?:but )?)?I\b[^,;:]*$"
    r"|\b(?:find|have|see|locate|know)\b[^.,;:]*\b(?:information|details|mention|anything)\b",
    re.IGNORECASE,
)
"""A decline of whoever answers that goes on to nothing else, whatever it names."""
_TELLS = 2
"""So many other words make a sentence that cites a passage an answer."""
_CAPITALS = "".join(letter for letter in map(chr, range(0xC0, 0x530)) if letter.isupper())
_MARKED = r"(?:\s*\[\d[\d\s,;]*\])*"
_BOUNDARY = re.compile(
    rf"(?<=[.!?]){_MARKED}\s+(?!\[\d[\d\s,;]*\])(?=[\"'(\[]?[A-Z0-9`*{_CAPITALS}-])|\n+"
    # Letters of scripts without capitals: Hebrew to Thai, Georgian, kana, Chinese, Korean.
    rf"|(?<=[.!?\u0964\u061f\u06d4]){_MARKED}\s+(?=[\u0590-\u0eff\u10a0-\u10ff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af])"
    # Chinese and Japanese put no blank between sentences.
    rf"|(?<=[\u3002\uff01\uff1f]){_MARKED}\s*(?!\[\d[\d\s,;]*\])(?=[^\s\u3002\uff01\uff1f\u300d\u300f\u201d\uff09)])"
)
_ENDED = re.compile(r"([.!?\u0964\u061f\u06d4\u2026\u3002\uff01\uff1f][\"'\u201d\u2019)\]*]*|\n```)$")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Dr|Mr|Mrs|Ms|St|No|Fig|Prof|bzw|ca|inkl|ggf|[zdu])\.|(?:^|\s)\d+\.|\b[A-Z]\.)$"
)
_BEFORE_NUMBER = re.compile(
    r"\b(?:art|abs|nr|nos?|ext|tel|sec|ch|vol|pp?|fig|tab|eq|kap|ziff|min|max|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov"
    r"|dec)\.$",
    re.IGNORECASE,
)
"""Abbreviations that a number goes with."""


@dataclass(frozen=True)
class Citation:
    """A marker `[n]` in an answer; `start` and `end` are character offsets of the marker."""

    n: int
    start: int
    end: int


def citations(text: str) -> list[Citation]:
    """The citation markers of `text` in order; `[1, 2]` counts as two with the same span.

    In code, inline or fenced, `[1]` is an index and no citation, here and wherever citations are changed.
    """
    found = (_MARKER_OR_CODE if "`" in text else _MARKER).finditer(text)
    return [
        Citation(int(number), match.start(), match.end())
        for match in found
        if match.group(1)
        for number in re.split(r"\s*[,;]\s*", match.group(1))
    ]


def cited_numbers(text: str) -> list[int]:
    """The distinct passage numbers that `text` cites, in order of first appearance."""
    return list(dict.fromkeys(citation.n for citation in citations(text)))


def renumbered(text: str, new: Mapping[int, int]) -> str:
    """`text` with the number `n` of every citation replaced by `new[n]`; a number that `new` lacks stays."""

    def changed(marker: re.Match[str]) -> str:
        if not marker.group(1):
            return marker.group()
        return re.sub(r"\d+", lambda n: str(new.get(int(n.group()), int(n.group()))), marker.group())

    return (_MARKER_OR_CODE if "`" in text else _MARKER).sub(changed, text)


def without_citations(text: str) -> str:
    """`text` with its citation markers and the spaces before them removed."""
    if "[" not in text:
        return text.strip()
    if "`" not in text:
        return _MARKER_BEHIND.sub("", text).strip()
    return _MARKER_BEHIND_OR_CODE.sub(lambda found: "" if found.group(1) else found.group(), text).strip()


def sentences(text: str) -> list[str]:
    """The sentences or lines of an answer, each with the citation markers that follow its full stop.

    A fenced code block is one sentence; a number or an abbreviation before a full stop does not end one.
    """
    found: list[str] = []
    for part, code in _parts(text):
        start = 0
        for end in [len(part)] if code else _ends(part):
            if said := part[start:end].strip():
                found.append(said)
            start = end
    return found


def spans(text: str) -> list[tuple[int, int]]:
    """Where the sentences of `text` begin and end, as character offsets, without the blanks around them."""
    found: list[tuple[int, int]] = []
    for said in sentences(text):
        start = text.index(said, found[-1][1] if found else 0)
        found.append((start, start + len(said)))
    return found


def _parts(text: str) -> list[tuple[str, bool]]:
    """Prose and fenced code by turns, and which of them is code."""
    if "```" not in text:
        return [(text, False)]
    return [(part, bool(place % 2)) for place, part in enumerate(_FENCED.split(text))]


def _ends(prose: str) -> list[int]:
    found: list[int] = []
    start = 0
    for match in _BOUNDARY.finditer(prose):
        before, after = prose[start : match.start()], prose[match.end() : match.end() + 1]
        goes_on = _ABBREVIATION.search(before) or (after.isdigit() and _BEFORE_NUMBER.search(before))
        if goes_on and "\n" not in match.group():
            continue
        found.append(match.end())
        start = match.end()
    return [*found, len(prose)]


def ended_part(text: str) -> str:
    """`text` without a last sentence, line or block of code that has no end, as where an answer ran out of tokens."""
    parts = sentences(text)
    if not parts or _ENDED.search(without_citations(parts[-1])):
        return text
    return text[: text.rindex(parts[-1])].rstrip()


def declined(text: str) -> bool:
    """Whether an answer as a whole says that the documents do not answer.

    True for an empty answer, and when the first sentence declines and at most one more follows: an answer that
    declines one part and answers another is an answer. A sentence declines by naming the documents, or by saying that
    whoever answers did not find or know it; what others cannot do, or a warranty does not cover, is an answer, and so
    is what names no documents, cites one and tells something ("We could not find a link between the two [1]").
    """
    told = _told(text)
    if not told:
        return not without_citations(text)
    first = _DRESS.sub("", without_citations(told[0])).replace("\u2019", "'")
    if len(told) > 2 or first.rstrip("*_ ").endswith("?") or not _NEGATION.search(first):
        return False
    return bool(_DECLINING.search(first)) and not (citations(told[0]) and _tells(first))


def after_decline(text: str) -> list[str]:
    """What an answer that declines says beyond it: its sentences after the first."""
    return _told(text)[1:]


def _told(text: str) -> list[str]:
    """The sentences of a text that are no heading and no marker alone."""
    return [one for one in sentences(text) if without_citations(one) and not _HEADING.match(one)]


def _tells(sentence: str) -> bool:
    """Whether a sentence names no documents and has words that a decline needs not."""
    more = [word for word in _LONG_WORD.findall(sentence.lower()) if word not in _SAYS_NOTHING]
    return len(more) >= _TELLS and not _OF_DOCUMENTS.search(sentence) and not _PLAINLY.search(sentence)
