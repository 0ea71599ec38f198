"""Metrics of how-to answers and explanations, one small pure function each, in [0, 1]; None where one does not apply.

They hold an answer against what people wrote: does it have the steps, the order, the terms, the detail, and does it
read as easily. Declining what has an answer scores 0; what has none is not asked here.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean

from finetune.wording import ITEM, claims, content_words, share_found
from store.answers import declined, without_citations

_TERM = re.compile(
    r"`[^`\n]+`|(?<!\w)--?[a-z][\w-]+|\b\w*[a-z]\w*_\w+\b|\b[A-Z]{2,}\w*\b|\b[A-Za-z]+\d[\w.]*\b|\b[A-Z]?[a-z]+[A-Z]\w*"
)
_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LETTERS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
COVERED = 0.6
"""The share of a statement's content words that one sentence of the answer must have."""
LEAST_WORDS = 12
"""A reference of fewer words has no reading grade worth the name."""
EASY = 6.0
"""A grade that nobody need stay below, however plain the reference."""
WORST_GRADES = 8
"""Grades above the reference at which nothing of clarity is left."""
DETAIL = 3
"""How many times recall counts beside brevity in depth (beta of F)."""


def _covered(answer: str, statements: Sequence[str]) -> list[list[int]]:
    """For each statement the places of the answer's sentences that make it."""
    said = [content_words(sentence) for sentence in claims(answer)]
    wanted = [content_words(one) for one in statements]
    return [[place for place, s in enumerate(said) if share_found(one, s) >= COVERED] for one in wanted]


def _share_covered(answer: str, statements: Sequence[str]) -> float:
    return fmean(map(bool, _covered(answer, statements)))


def _share_in_order(answer: str, statements: Sequence[str]) -> float:
    """The longest run of the statements that the answer makes one after the other, as a share of them."""
    tails: list[int] = []
    for places in _covered(answer, statements):
        for place in reversed(places):  # the later first, so that one statement counts once
            at = bisect_right(tails, place)
            tails[at : at + 1] = [place]
    return len(tails) / len(statements)


def steps(text: str) -> list[str]:
    """The items of the numbered or bulleted list in `text`; none when it has fewer than two."""
    found = [match.group("text") for match in ITEM.finditer(text)]
    return found if len(found) >= 2 else []


def step_completeness(answer: str, references: Sequence[str]) -> float | None:
    """Share of the reference's list items with at least 60 % of their content words in one sentence of the answer.

    Where the reference counts its steps, those count that come in its order.
    """
    listed = [(steps(reference), _numbered(reference)) for reference in references if steps(reference)]
    shares = ((_share_in_order if ordered else _share_covered)(answer, one) for one, ordered in listed)
    return max(shares, default=None)


def _numbered(text: str) -> bool:
    return sum(bool(match.group("number")) for match in ITEM.finditer(text)) >= 2


def structure(answer: str, references: Sequence[str]) -> float | None:
    """1 for a list where the reference has one, a half for bullets where it counts its steps, 0 for no list."""
    listed = [reference for reference in references if steps(reference)]
    if not listed:
        return None
    if not steps(answer):
        return 0.0
    return 1.0 if _numbered(answer) or not all(map(_numbered, listed)) else 0.5


def terms(text: str) -> set[str]:
    """The technical terms of `text`, lower-case: code spans, flags, identifiers, acronyms, names with digits."""
    return {match.group().strip("`").rstrip(".").lower() for match in _TERM.finditer(text)}


def technical_terms(answer: str, references: Sequence[str]) -> float | None:
    """Share of a reference's technical terms that the answer keeps, best over the references that have any."""
    said = without_citations(answer).lower()
    return max((fmean(_keeps(said, t) for t in terms(r)) for r in references if terms(r)), default=None)


def _keeps(said: str, term: str) -> bool:
    """Whether a term stands in a text as a word, also in the plural or behind a number ("512GB"): not within one."""
    before, behind = r"(?<![^\W\d_])" * term[:1].isalpha(), r"s?(?![^\W\d_])" * term[-1:].isalnum()
    return bool(re.search(f"{before}{re.escape(term)}{behind}", said))


def _grade(text: str) -> float:
    """The reading grade by Coleman and Liau (1975), from letters per word and sentences per word, without terms."""
    parts = [_LETTERS.findall(_TERM.sub(" ", without_citations(part))) for part in claims(_CODE.sub(" ", text))]
    found = [word for part in parts for word in part]
    if not found:
        return 0.0
    letters, sentences = sum(map(len, found)) / len(found), sum(map(bool, parts)) / len(found)
    return 5.88 * letters - 29.6 * sentences - 15.8


def clarity(answer: str, references: Sequence[str]) -> float | None:
    """Does it read as easily as what people wrote: 1 up to the hardest reference's reading grade, 0 eight grades above.

    Sentences said again count against it; technical terms and code make nothing harder. None without a reference of
    LEAST_WORDS words.
    """
    long = [reference for reference in references if len(_LETTERS.findall(reference)) >= LEAST_WORDS]
    said = [" ".join(content_words(sentence)) for sentence in claims(answer)]
    if not long:
        return None
    if declined(answer) or not said:
        return 0.0
    above = _grade(answer) - max(EASY, *map(_grade, long))
    return min(1.0, max(0.0, 1 - above / WORST_GRADES)) * len(set(said)) / len(said)


def depth(answer: str, references: Sequence[str]) -> float | None:
    """The level of detail: F of the reference's statements that it makes and of being no longer than twice as long.

    The nugget score of TREC's definition questions (Voorhees 2003), recall counting DETAIL times, a statement of the
    reference as a nugget. None without a reference of two statements.
    """
    several = [reference for reference in references if len(claims(reference)) > 1]
    return max((_nuggets(answer, reference) for reference in several), default=None)


def _nuggets(answer: str, reference: str) -> float:
    length, allowed = (len("".join(without_citations(text).split())) for text in (answer, 2 * reference))
    recall = 0.0 if declined(answer) else _share_covered(answer, claims(reference))
    precision = min(1.0, allowed / length) if length else 0.0
    weighed = DETAIL**2 * precision + recall
    return (DETAIL**2 + 1) * precision * recall / weighed if weighed else 0.0


OF_TASKS = {
    "step_completeness": step_completeness,
    "structure": structure,
    "technical_terms": technical_terms,
    "clarity": clarity,
    "depth": depth,
}
