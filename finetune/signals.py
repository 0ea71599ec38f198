"""A claim and the text that should support it -> cheap signals in [0, 1], each with its direction (pure).

It compares words, pairs, letters, names, numbers, times and negations; it reads no meaning and needs no model. What the
signals are worth together is the business of `finetune/scorecard.py`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from finetune.judge import best_window, names_missed, parsed
from finetune.meaning import Meaning
from finetune.times import names_others
from finetune.wording import content_words, contradicts, denies, numbers, share_found, words
from store.answers import without_citations

DIRECTIONS = {
    "order": 1,
    "letters": 1,
    "pairs": 1,
    "together": 1,
    "close": 1,
    "weakest_clause": 1,
    "said_back": 1,
    "names_missed": -1,
    "numbers_missed": -1,
    "turned": -1,
    "denied_alone": -1,
    "very_long": -1,
}
"""Every signal, and whether more of it may only raise (1) or only lower (-1) the support."""

MEANING = {"meaning": 1, "about": 1, "weakest_met": 1, "met_back": 1}
"""The signals that an embedding adds."""

LONG = (250, 500)
"""Content words of a text from which on, and up to which, words are increasingly found in it by chance."""
_CLAUSE = re.compile(r"[,;:]| (?:and|but|because|which|that|as|by) ")
_LETTERS = 4
_NEIGHBOURS = 5
_TURNED_FROM = 0.5
"""The share of a claim's words that a sentence must have for a negation that differs to count."""


def in_order(wanted: Sequence[str], found: Sequence[str]) -> int:
    """The length of the longest common subsequence of two lists of words."""
    row = [0] * (len(found) + 1)
    for word in wanted:
        above, corner = row, 0
        row = [0]
        for place, other in enumerate(found, start=1):
            row.append(corner + 1 if word == other else max(above[place], row[-1]))
            corner = above[place]
    return row[-1]


def close_together(wanted: Sequence[str], text: Sequence[str]) -> float:
    """The largest share of the distinct wanted words in any stretch of twice as many words of the text."""
    aim, inside, found, best = set(wanted), Counter[str](), 0, 0
    for place, word in enumerate(text):
        if word in aim:
            inside[word] += 1
            found += inside[word] == 1
        left = place - 2 * len(wanted)
        if left >= 0 and text[left] in aim:
            inside[text[left]] -= 1
            found -= inside[text[left]] == 0
        best = max(best, found)
    return best / len(aim) if aim else 0.0


@lru_cache(maxsize=8_192)
def _letters(text: str) -> frozenset[str]:
    """The runs of four letters of a text, spaces included."""
    joined = " ".join(words(text))
    return frozenset(joined[i : i + _LETTERS] for i in range(len(joined) - _LETTERS + 1))


def _share(wanted: Iterable[object], found: Iterable[object], otherwise: float) -> float:
    target = set(wanted)
    return len(target & set(found)) / len(target) if target else otherwise


def _together(wanted: Sequence[str], sentences: Sequence[Sequence[str]]) -> float:
    """The share of neighbouring pairs of wanted words that stand in one sentence of the text."""
    distinct = list(dict.fromkeys(wanted))
    pairs = [(a, b) for i, a in enumerate(distinct) for b in distinct[i + 1 : i + 1 + _NEIGHBOURS]]
    sets = [set(sentence) for sentence in sentences]
    return sum(any(a in s and b in s for s in sets) for a, b in pairs) / len(pairs) if pairs else 0.0


def _weakest_clause(claim: str, wanted: Sequence[str], sentences: Sequence[Sequence[str]]) -> float:
    """How much of the least supported clause of the claim any two neighbouring sentences have."""
    clauses = [part for text in _CLAUSE.split(claim) if len(part := content_words(text)) >= 2] or [tuple(wanted)]
    windows = [[*a, *b] for a, b in pairwise(sentences)] or [list(s) for s in sentences]
    return min(max((share_found(clause, window) for window in windows), default=0.0) for clause in clauses)


def _denied_alone(claim: str, nearest: str, window: str) -> float:
    """1 when the claim denies something and the window nothing, a half when its nearest sentence does not."""
    if not denies(claim):
        return 0.0
    return 0.0 if denies(nearest) else 0.5 if denies(window) else 1.0


@lru_cache(maxsize=32_768)
def support_signals(claim: str, text: str) -> tuple[float, ...]:
    """The signals of a claim against a text (one passage, or several joined by line breaks), in order of DIRECTIONS.

    All 0 for a claim or a text without words.
    """
    claim = without_citations(claim)
    wanted, known = content_words(claim), content_words(text)
    if not wanted or not known:
        return (0.0,) * len(DIRECTIONS)
    sentences = [part for _, part in parsed(text)]
    best, nearest = best_window(wanted, text)
    window = [word for _, part in best for word in part]
    bare = " ".join(said for said, _ in best)
    asked, other_times = numbers(claim), int(names_others(claim, bare))
    missed = len(asked - numbers(text)) + other_times
    turned = share_found(wanted, content_words(nearest)) >= _TURNED_FROM and contradicts(claim, nearest)
    span = math.log(LONG[1] / LONG[0])
    found = {
        "order": in_order(wanted, window) / len(wanted),
        "letters": _share(_letters(claim), _letters(bare), 0.0),
        "pairs": _share(pairwise(wanted), pairwise(known), share_found(wanted, known)),
        "together": _together(wanted, sentences),
        "close": close_together(wanted, known),
        "weakest_clause": _weakest_clause(claim, wanted, sentences),
        "said_back": share_found(window, wanted),
        "names_missed": names_missed(claim, bare),
        "numbers_missed": missed / max(1, len(asked) + other_times),
        "turned": float(turned),
        "denied_alone": _denied_alone(claim, nearest, bare),
        "very_long": min(1.0, max(0.0, math.log(len(known) / LONG[0]) / span)),
    }
    return tuple(found[name] for name in DIRECTIONS)


def meant_signals(claim: str, text: str, meaning: Meaning) -> tuple[float, ...]:
    """`support_signals` and, in order of MEANING, how alike the claim is to the best sentences and to the text."""
    bare = without_citations(claim)
    best, _ = best_window(content_words(bare), text)
    window = " ".join(said for said, _ in best)
    if not window or not bare.strip():
        return (*support_signals(claim, text), *(0.0 for _ in MEANING))
    met = meaning.aligned(bare, window)
    alike, about = meaning.alike(bare, [window]), meaning.alike(bare, [text])
    return (*support_signals(claim, text), alike, about, met.weakest, met.back)
