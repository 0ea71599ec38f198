"""Dates and spans of time as a text names them, and whether two texts name others (pure).

"Three weeks" and "21 days" are the same; "three weeks" and "three months" are not, nor are 15 September and 15 October.
A year is compared as a number is (`finetune.metrics.numbers`).
"""

import re
from functools import lru_cache

from finetune.metrics import content_words, words

Time = tuple[str, str]
"""A kind, and which one of it."""
MONTH, DAY, SHORT, LONG = "month", "day of a month", "minutes", "months"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|"
    "aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_DATE = re.compile(
    rf"(?:\b(?P<before>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?\b(?P<month>{_NAMES})\b\.?"
    r"(?:,? (?P<after>\d{1,2})(?:st|nd|rd|th)?\b(?![:.,]\d))?(?P<year>,? \d{4}\b)?",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"\b(?:in|of|since|until|till|by|from|to|last|next|this|every|each|early|late|mid|during)[ -]$", re.I
)
"""What stands before a month that has neither day nor year."""
_WORDS_TOO = frozenset({"may", "march", "mar"})
_SPANS = {
    "second": (SHORT, 1 / 60),
    "minut": (SHORT, 1),
    "hour": (SHORT, 60),
    "day": (SHORT, 1_440),
    "week": (SHORT, 10_080),
    "fortnight": (SHORT, 20_160),
    "month": (LONG, 1),
    "year": (LONG, 12),
    "decad": (LONG, 120),
    "centuri": (LONG, 1_200),
}
_SPAN_KINDS = frozenset({SHORT, LONG})


def _dates(text: str) -> list[Time]:
    """The months that a text names as dates, and the days of them."""
    found: list[Time] = []
    told = any(letter.isupper() for letter in text)
    for match in _DATE.finditer(text):
        name, day = match["month"], match["before"] or match["after"]
        if told and name.islower() and name in _WORDS_TOO and not match["before"]:
            continue
        if not (day or match["year"] or _BEFORE.search(text[: match.start()])):
            continue
        month = name[:3].lower()
        found.append((MONTH, month))
        if day and 1 <= int(day) <= 31:
            found.append((DAY, f"{month} {int(day)}"))
    return found


def _spans(text: str) -> list[Time]:
    """Numbers with a unit of time behind them, in minutes up to weeks, in months from there on."""
    found: list[Time] = []
    said = words(text)
    for number, unit in zip(said, said[1:], strict=False):
        stem = (content_words(unit) or ("",))[0]
        if stem in _SPANS and re.fullmatch(r"\d+(?:\.\d+)?", number):
            kind, size = _SPANS[stem]
            found.append((kind, f"{float(number) * size:g}"))
    return found


@lru_cache(maxsize=65_536)
def times(text: str) -> frozenset[Time]:
    """The months, days of months and spans of time in a text."""
    return frozenset([*_dates(text), *_spans(text)])


def names_others(text: str, known: str) -> bool:
    """Whether a kind of time that `text` names is in `known` too, but none of it is the same."""
    mine, theirs = times(text), times(known)
    kinds = {kind for kind, _ in theirs}
    for kind in {kind for kind, _ in mine}:
        if kind in _SPAN_KINDS and kinds & _SPAN_KINDS:
            told = {one for one in theirs if one[0] in _SPAN_KINDS}
        else:
            told = {one for one in theirs if one[0] == kind}
        if told and not told & mine:
            return True
    return False
