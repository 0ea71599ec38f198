"""Dates and spans of time as a text names them, and whether two texts name others (pure).

"Three weeks" and "21 days" are the same; "three weeks" and "three months" are not, nor are 15 September and 15 October.
A year is compared as a number is (`finetune.wording.numbers`).
"""

import re
from functools import lru_cache
from itertools import product

from finetune.wording import words

Time = tuple[str, str]
"""A kind, and which one of it."""
MONTH, DAY, SHORT, LONG = "month", "day of a month", "minutes", "months"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAMES = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|"
    "aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?"
)
_DATE = re.compile(
    r"(?:(?<![\d:.,])(?:(?P<from>\d{1,2}) ?(?:-|\u2013|to|and|or) ?)?(?P<before>\d{1,2})(?:st|nd|rd|th)?(?: of)? )?"
    rf"\b(?P<month>{_NAMES})\b\.?"
    r"(?:,? (?P<after>\d{1,2})(?:st|nd|rd|th)?\b(?! ?[:.,]\d| [a-z])(?: ?(?:-|\u2013) ?(?P<till>\d{1,2})\b)?)?"
    r"(?P<year>,? \d{4}\b)?",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"\b(?:in|of|since|until|till|by|from|to|last|next|this|every|each|early|late|mid|during)[ -]$", re.I
)
"""What stands before a month that has neither day nor year."""
_WORDS_TOO = frozenset({"may", "march", "mar"})
_SPANS = {
    "second": (SHORT, 1 / 60),
    "minute": (SHORT, 1),
    "hour": (SHORT, 60),
    "day": (SHORT, 1_440),
    "week": (SHORT, 10_080),
    "fortnight": (SHORT, 20_160),
    "month": (LONG, 1),
    "year": (LONG, 12),
    "decade": (LONG, 120),
}
_SPAN = re.compile(
    rf"(?:\b(?P<low>\d+(?:\.\d+)?) (?:to|and|or) )?(?<!\d )\b(?P<high>\d+(?:\.\d+)?) (?P<unit>{'|'.join(_SPANS)})s?\b"
)
_HYPHEN = re.compile(r"(?<=\d) ?[-\u2013] ?(?=\d)")


def _dates(text: str) -> list[Time]:
    """The months that a text names as dates, and the days of them."""
    found: list[Time] = []
    told = any(letter.isupper() for letter in text)
    for match in _DATE.finditer(text):
        name, days = match["month"], [day for day in match.group("from", "before", "after", "till") if day]
        if told and name.islower() and name in _WORDS_TOO:
            continue
        if not (
            days or match["year"] or _BEFORE.search(text[max(0, match.start("month") - 10) : match.start("month")])
        ):
            continue
        month = name[:3].lower()
        found.append((MONTH, month))
        numbers = [int(day) for day in days if 1 <= int(day) <= 31]
        through = range(min(numbers), max(numbers) + 1) if numbers else ()
        found += [(DAY, f"{month} {day}") for day in through]
    return found


@lru_cache(maxsize=65_536)
def _spans(text: str) -> tuple[tuple[Time, str], ...]:
    """The spans of time in a text, each with its number as it stands there.

    "1 hour and 30 minutes" is one, and of "1 to 2 weeks" both ends are.
    """
    found: list[tuple[Time, str]] = []
    said, end, before = " ".join(words(_HYPHEN.sub(" to ", text))), 0, 0.0
    for match in _SPAN.finditer(said):
        kind, size = _SPANS[match["unit"]]
        joined = (
            found and said[end : match.start()].strip() in ("", "and") and found[-1][0][0] == kind and size < before
        )
        more = float(found.pop()[0][1]) if joined else 0.0
        numbers = [number for number in (match["low"], match["high"]) if number is not None]
        found += [((kind, f"{more + float(number) * size:g}"), number) for number in numbers]
        end, before = match.end(), size
    return tuple(found)


@lru_cache(maxsize=65_536)
def times(text: str) -> frozenset[Time]:
    """The months, days of months and spans of time in a text."""
    return frozenset([*_dates(text), *(span for span, _ in _spans(text))])


def names_others(text: str, known: str) -> bool:
    """Whether a kind of time that `text` names is in `known` too, but none of it is the same.

    A short span and a long one differ where they have the same number: three weeks, three months.
    """
    mine, theirs = times(text), times(known)
    for kind in {kind for kind, _ in mine}:
        told = {one for one in theirs if one[0] == kind}
        if told and not told & mine:
            return True
    pairs = product(_spans(text), _spans(known))
    return not mine & theirs and any(one[0] != other[0] and n == m for (one, n), (other, m) in pairs)
