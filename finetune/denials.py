"""Does a text say otherwise than one that it shares its words with? (pure)

A longer reference is compared word by word (`finetune/wording.py`); of a name or a number the words say too little, so
that here the clause counts in which it stands.
"""

import re

from finetune.values import marked_otherwise
from finetune.wording import claims, content_words, denies, numbers, share_found, words

_CLAUSE = re.compile(r"[,;:()]|\bbut\b|\s[-\u2013\u2014]\s", re.IGNORECASE)
_LIMITS = re.compile(
    r"\b(?:not (?:only|just|merely|least|until|before|later|earlier|more|less|fewer)"
    r"|no (?:later|earlier|more|less|fewer|one but)|none (?:other|but)|nothing (?:but|other)"
    r"|never before|until|unless|except|other than|without (?:a )?doubt)\b",
    re.IGNORECASE,
)
"""What goes with a negation that denies nothing: "not until June" is June."""
_REFUSING = re.compile(
    r"\b(?:un\w{4,}|impossible|forbid\w*|forbade|prohibit\w*|avoid\w*|refus\w*|fail\w*|refrain\w*|lack\w*|exclu\w+|den(?:y|ies|ied)"
    r"|ban(?:s|ned)?|illegal|false|wrong|incorrect|rather than|instead of)\b",
    re.IGNORECASE,
)
"""What denies without a negation."""
_ABOUT = 0.5
"""The share of a clause's other words that the question must have: else it denies something else."""
_ALIKE = 0.6
"""The share of a claim's words from which on a sentence speaks of the same."""
_SAME = 0.9
"""The share of a claim's words from which on a sentence says the same, if it does not deny it."""


def contradicted(claim: str, passage: str) -> bool:
    """Whether a passage has another value in the place of a claim's, or its nearest sentence denies what that says.

    A value is a number, its sign, currency or unit. Only one of two sentences with the same words may deny.
    """
    if marked_otherwise(claim, passage):
        return True
    aim = [word for word in content_words(claim) if not denies(word)]
    best = max(claims(passage) or [passage], key=lambda sentence: share_found(aim, content_words(sentence)))
    found, missed = share_found(aim, content_words(best)), numbers(claim) - numbers(passage)
    if missed and found >= _ALIKE and numbers(best) - numbers(claim):
        return True
    alike = found >= _SAME and share_found(content_words(best), aim) >= _ALIKE
    plain = not any(what.search(text) for what in (_LIMITS, _REFUSING) for text in (claim, best))
    return alike and plain and denies(claim) != denies(best)


def turned_round(question: str, answer: str, wanted: str) -> bool:
    """Whether every clause with all words of `wanted` is about the question and denies it, or affirms its denial."""
    aim, asked = set(content_words(wanted)), set(content_words(question))
    if not aim or denies(question):
        return False
    told = [clause for sentence in claims(answer) for clause in _CLAUSE.split(sentence)]
    holding = [clause for clause in told if words(clause) and aim <= set(content_words(clause))]
    no = denies(wanted)
    return bool(holding) and all(_against(clause, aim, asked, no=no) for clause in holding)


def _against(clause: str, aim: set[str], asked: set[str], *, no: bool) -> bool:
    others = set(content_words(clause)) - aim
    about = not others or len(others & asked) >= _ABOUT * len(others)
    if no:
        return about and not denies(clause) and not _REFUSING.search(clause)
    return about and denies(clause) and not _LIMITS.search(clause) and not _REFUSING.search(clause)
