"""What people say of a bad answer: reasons, comments, corrections, and asking again at once (pure)."""

import re
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from itertools import pairwise

import numpy as np

from finetune.wording import content_words
from scheduler.tasks import Encode
from store.answers import declined
from store.exchanges import Logged
from store.models import Feedback

AT_ONCE = timedelta(minutes=2)
"""A next question within this time of the answer may be the same one, put otherwise."""
SAME_MEANING = 0.7
"""The cosine of two questions' embeddings from which they say nearly the same."""
SAME_WORDS = 0.6
"""The share of common words, of all that either has, from which they do too."""
LEAST_WANTED = 4
"""A comment with fewer words of content does not say what would be right."""


class Remark(StrEnum):
    """What a reason or a comment complains of."""

    FORM = "form"
    """Too long, unclear, wrongly laid out."""
    WRONG = "wrong"
    """It is not true."""
    UNGROUNDED = "ungrounded"
    """It is not in the passages."""
    INCOMPLETE = "incomplete"
    """Something is left out."""
    ANSWERABLE = "answerable"
    """It declined and should have answered."""


_SIGNS: tuple[tuple[Remark, re.Pattern[str]], ...] = tuple(
    (remark, re.compile(pattern, re.IGNORECASE))
    for remark, pattern in (
        (
            Remark.FORM,
            r"\b(?:wrong (?:form|format|language|tone)|(?:too|so) (?:long|short|wordy|verbose|technical|terse)|unclear"
            r"|confusing|hard to (?:read|follow|understand)|rambl\w+|repeats?\b|repetitive|formatting|layout|rude)",
        ),
        (Remark.UNGROUNDED, r"\b(?:not in the (?:passages?|documents?|sources?)|made up|invent\w*|hallucinat\w*)"),
        (Remark.INCOMPLETE, r"\b(?:incomplete|leaves? out|left out|missing|only (?:half|part)|not everything)"),
        (Remark.ANSWERABLE, r"\b(?:should have answered|does? know|is in the (?:documents?|passages?|handbook))"),
        (Remark.WRONG, r"\b(?:wrong|incorrect|false|not (?:true|right|correct)|outdated)\b(?! form)"),
    )
)
"""How the reasons that the chat page offers are worded, and comments that say the same."""


def remarks(reasons: Sequence[str], comment: str) -> frozenset[Remark]:
    """What reasons and a comment complain of."""
    return frozenset(remark for text in (*reasons, comment) for remark, sign in _SIGNS if sign.search(text))


def wanted(correction: str, comment: str) -> str:
    """What would be right, in the person's words: a correction, or a comment that is more than a complaint; or ""."""
    if correction.strip():
        return "" if declined(correction) else correction.strip()
    complains = any(sign.search(comment) for _, sign in _SIGNS)
    return "" if complains or len(content_words(comment)) < LEAST_WANTED or declined(comment) else comment.strip()


def quoted(feedback: Feedback | None) -> str:
    """The reasons and the comment, as said."""
    if feedback is None:
        return "nothing"
    return ", ".join(f'"{text.strip()}"' for text in (*feedback.reasons, feedback.comment) if text.strip())


def asked_again(rows: Sequence[Logged], encode: Encode) -> dict[str, str]:
    """The exchanges, by id, whose person asked nearly the same again at once, and how; `rows` are oldest first."""
    pairs = _followed_at_once(rows)
    if not pairs:
        return {}
    vectors = np.asarray(encode([one.exchange.question for pair in pairs for one in pair]))
    cosines = (vectors[::2] * vectors[1::2]).sum(axis=1)
    found = {}
    for (row, after), cosine in zip(pairs, cosines, strict=True):
        common = share_of_words(row.exchange.question, after.exchange.question)
        if cosine >= SAME_MEANING or common >= SAME_WORDS:
            seconds = _gap(row, after).total_seconds()
            found[row.exchange.id] = f"asked again after {max(seconds, 0):.0f} s (likeness {max(cosine, common):.2f})"
    return found


def _followed_at_once(rows: Sequence[Logged]) -> list[tuple[Logged, Logged]]:
    conversations: dict[str, list[Logged]] = {}
    for row in rows:
        conversations.setdefault(row.exchange.conversation_id, []).append(row)
    return [
        (row, after)
        for turns in conversations.values()
        for row, after in pairwise(turns)
        if _gap(row, after) <= AT_ONCE
    ]


def _gap(row: Logged, after: Logged) -> timedelta:
    return after.exchange.created_at - (row.exchange.finished_at or row.exchange.created_at)


def share_of_words(one: str, two: str) -> float:
    """The words of content that two texts have in common, as a share of those that either has."""
    first, second = set(content_words(one)), set(content_words(two))
    return len(first & second) / len(first | second) if first | second else 0.0
