"""Numbers with what makes them another value: a sign, a currency, per cent, the half of the day, a bound (pure).

"$50" and "50 euros", "9 am" and "9 pm", "-20" and "20", "<3.12" and ">3.12" share their digits and say otherwise.
"""

import re
from functools import lru_cache

_BOUNDS = {"<": "<", "≤": "<", ">": ">", "≥": ">"}
_UNITS = {
    "%": "%", "percent": "%", "per cent": "%", "prozent": "%",
    "$": "dollar", "dollar": "dollar", "dollars": "dollar", "usd": "dollar",
    "€": "euro", "euro": "euro", "euros": "euro", "eur": "euro",
    "£": "pound", "pound": "pound", "pounds": "pound", "gbp": "pound",
    "am": "am", "pm": "pm",
}  # fmt: skip
_VALUE = re.compile(
    r"(?:(?P<bound>[<>≤≥])=? ?)?(?P<minus>(?<![\w.)\]])[-−–](?=[\d$€£])|\bminus )?(?:(?P<before>[$€£]) ?)?"
    r"(?P<number>\d+(?:[.,:]\d+)*)"
    r"(?: ?(?P<behind>[%$€£]|(?:percent|per cent|prozent|dollars?|usd|euros?|eur|pounds?|gbp|[ap]\.?m)(?!\w)))?",
    re.IGNORECASE,
)
Mark = tuple[bool, str, str]
"""Whether it is below zero, its bound and its unit, each "" where none is named."""


@lru_cache(maxsize=4_096)
def marks(text: str) -> dict[str, frozenset[Mark]]:
    """For each number in a text its mark, each time that it stands there."""
    found: dict[str, set[Mark]] = {}
    for match in _VALUE.finditer(text):
        unit = (match["before"] or match["behind"] or "").lower().replace(".", "")
        mark = (bool(match["minus"]), _BOUNDS.get(match["bound"] or "", ""), _UNITS.get(unit, ""))
        found.setdefault(_number(match["number"]), set()).add(mark)
    return {number: frozenset(each) for number, each in found.items()}


def _number(text: str) -> str:
    plain = re.sub(r",(?=\d{3}(?!\d))", "", text).replace(",", ".").lstrip("0")
    return re.sub(r"[.:]0+$", "", plain) or "0"


def marked_otherwise(wanted: str, said: str) -> bool:
    """Whether a number of `wanted` stands in `said`, and nowhere as the same value.

    A bound or a unit that one of the texts leaves out is no difference, but a minus is.
    """
    theirs = marks(said)
    return any(_apart(mine, theirs[number]) for number, mine in marks(wanted).items() if number in theirs)


def _apart(mine: frozenset[Mark], theirs: frozenset[Mark]) -> bool:
    return not any(_same(one, other) for one in mine for other in theirs)


def _same(one: Mark, other: Mark) -> bool:
    return one[0] == other[0] and all(not a or not b or a == b for a, b in zip(one[1:], other[1:], strict=True))
