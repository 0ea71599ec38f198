"""An approved answer, offered as a passage to whoever asks nearly the same question, until an adapter can do without.

A correction helps at once, before anything is trained. It is one passage among the others, marked as such, cited like
them; the exchange is then no example, because an adapter is to answer without it. It knows questions, not meanings:
near-identical is the same words in the same order (`bot/wording.py`), and close embeddings.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from sqlmodel import Session

from bot.wording import Words, wording
from retrieval.embedding import Vectors
from store import documents, verified
from store.database import Database
from store.verified import State, VerifiedAnswer

TITLE = "Verified answer"
COSINE = 0.9
MOST_TRIED = 3
"""Approved answers to one question that are looked at, the newest: what an older one rests on may still be there."""


class Verified:
    """Finds the approved answer to a question; reads the store again when any approved answer has changed."""

    def __init__(self, database: Database, encode: Callable[[list[str]], Vectors]) -> None:
        self._database = database
        self._encode = encode
        self._lock = threading.Lock()
        self._seen: State | None = None
        self._known: list[tuple[VerifiedAnswer, Words, Words]] = []

    def passage(self, question: str, *, adapter: str) -> dict[str, Any] | None:
        """The passage that answers a near-identical question; None where there is none or `adapter` needs none.

        The newest that stands is the answer: an adapter that passed it gets no older one, which may say otherwise.
        Whoever types no capital at all means whatever is spelt so: "vpn" is VPN.
        """
        wanted, small = wording(question), question == question.lower()
        known = ((one, low if small else words) for one, words, low in self._approved())
        same = [one for one, words in known if words and words == wanted]
        likely = same[:MOST_TRIED]
        if not likely:
            return None
        vectors = self._encode([question, *(one.question for one in likely)])
        scores = vectors[1:] @ vectors[0]
        near = [(found, float(score)) for found, score in zip(likely, scores, strict=True) if score >= COSINE]
        with self._database.read() as session:
            newest = next((one for found, score in near if (one := _standing(session, found, score))), None)
            if newest is None or _passed(session, newest[0], same, adapter):
                return None
        return _passage(*newest)

    def _approved(self) -> list[tuple[VerifiedAnswer, Words, Words]]:
        """Every approved answer with the words of its question, as they are and without capitals."""
        with self._database.read() as session:
            now = verified.state(session)
            if now == self._seen:
                return self._known
            rows = verified.approved(session)
        known = [(row, wording(row.question), wording(row.question.lower())) for row in rows]
        with self._lock:
            self._seen, self._known = now, known
        return known


def _standing(session: Session, found: VerifiedAnswer, score: float) -> tuple[VerifiedAnswer, float] | None:
    """An answer as it stands in the store now, with its score."""
    answer = verified.standing(session, found.exchange_id)
    return None if answer is None or answer.question != found.question else (answer, score)


def _passed(session: Session, answer: VerifiedAnswer, same: Sequence[VerifiedAnswer], adapter: str) -> bool:
    """Whether an adapter gives an answer by itself, or another approved one to the same question that says the same.

    Of these an evaluation asks one at most, and none that was approved over another.
    """
    passed = [one for one in (answer, *same) if verified.passed_by(session, adapter, one)]
    words = wording(answer.answer)
    return any(wording(one.answer) == words for one in passed)


def with_answer(found: list[dict[str, Any]], answer: dict[str, Any] | None, most: int) -> list[dict[str, Any]]:
    """The passages with a verified answer in front, at most `most`, numbered anew."""
    if answer is None:
        return found
    return [{**passage, "n": n} for n, passage in enumerate([answer, *found][:most], start=1)]


def _passage(found: VerifiedAnswer, score: float) -> dict[str, Any]:
    return {
        "n": 1,
        "document": None,
        "title": TITLE,
        "chunk_id": None,
        "text": found.answer,
        "digest": documents.text_digest(found.answer),
        "score": round(score, 4),
        "start": 0,
        "end": len(found.answer),
        "flags": [],
        "verified": found.exchange_id,
        "explain": {"rank": 1, "same_question": round(score, 4)},
    }
