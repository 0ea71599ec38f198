"""An approved answer, offered as a passage to whoever asks nearly the same question, until an adapter can do without.

A correction helps at once, before anything is trained. It is one passage among the others, marked as such, cited like
them; the exchange is then no example, because an adapter is to answer without it. It knows questions, not meanings:
near-identical is most words in common and none exchanged, the same numbers and negations, and close embeddings.
"""

import re
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import Stemmer

from retrieval.embedding import Vectors
from store import documents, verified
from store.database import Database
from store.verified import VerifiedAnswer

TITLE = "Verified answer"
WORDS_IN_COMMON = 0.6
COSINE = 0.9
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)?")
_NEGATIONS = "not no never none neither nor without cannot nothing nobody"
_LITTLE = "a an the is are was were do does did be to of in on at for and or it this that i you we my your"
_NOT, _EMPTY = frozenset(_NEGATIONS.split()), frozenset(_LITTLE.split())
_STEM = Stemmer.Stemmer("english")

Words = tuple[frozenset[str], frozenset[str]]


class Verified:
    """Finds the approved answer to a question; reads the store again when feedback has changed."""

    def __init__(self, database: Database, encode: Callable[[list[str]], Vectors]) -> None:
        self._database = database
        self._encode = encode
        self._lock = threading.Lock()
        self._seen: datetime | None = None
        self._known: list[tuple[VerifiedAnswer, Words]] = []

    def passage(self, question: str, *, adapter: str) -> dict[str, Any] | None:
        """The passage that answers a near-identical question; None where there is none or `adapter` needs none."""
        wanted = words(question)
        near = [(common(wanted, kept), one) for one, kept in self._approved()]
        likely = sorted((one for one in near if one[0] >= WORDS_IN_COMMON), key=lambda one: -one[0])[:3]
        if not likely:
            return None
        vectors = self._encode([question, *(one.question for _, one in likely)])
        scores = vectors[1:] @ vectors[0]
        for place in scores.argsort()[::-1]:
            found = likely[int(place)][1]
            if scores[place] >= COSINE and self._offered(found, adapter):
                return _passage(found, float(scores[place]))
        return None

    def _offered(self, found: VerifiedAnswer, adapter: str) -> bool:
        with self._database.read() as session:
            passes = verified.passed_by(session, adapter, found.exchange_id)
            return not passes and verified.still(session, found.exchange_id)

    def _approved(self) -> list[tuple[VerifiedAnswer, Words]]:
        with self._database.read() as session:
            changed = verified.changed_at(session)
            if changed == self._seen:
                return self._known
            rows = verified.approved(session)
        known = [(row, words(row.question)) for row in rows]
        with self._lock:
            self._seen, self._known = changed, known
        return known


def words(question: str) -> Words:
    """The stems of a question's content words, and its numbers and negations."""
    bare = [match.group().lower() for match in _WORD.finditer(question)]
    exact = frozenset(word for word in bare if word[0].isdigit() or word in _NOT or word.endswith(("n't", "n’t")))
    return frozenset(_STEM.stemWords([word for word in bare if word not in _EMPTY and word not in exact])), exact


def common(one: Words, other: Words) -> float:
    """The share of all content words that two questions have in common; 0 where numbers or negations differ.

    0 also where each has a word that the other lacks: one stands for the other then, as `free` for `paid`, and no
    embedding tells reliably whether they mean the same.
    """
    if one[1] != other[1] or (one[0] - other[0] and other[0] - one[0]):
        return 0.0
    return len(one[0] & other[0]) / max(1, len(one[0] | other[0]))


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
