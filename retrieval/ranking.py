"""How well a passage fits a question: seven measures in [0, 1] and their weighted mean (pure).

Each measure is a share or a cosine, the weights are shares that sum to one, so the score is a share too and says where
it came from. It knows no index and no model: vectors and word weights are handed in.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import bm25s
import numpy as np
import numpy.typing as npt
import Stemmer

MEASURES = ("dense", "bm25", "nearest", "coverage", "phrase", "title", "heading")
"""Cosine of the passage; its BM25 as a share of the bound; cosine of its title or its best sentence, whichever is
nearer; the share of the question's word weight in its best sentence and title; the share of the weight of the
question's neighbouring words in it; cosine of its title; BM25 of its title as a share of the bound."""
DEFAULT: Mapping[str, float] = {
    "dense": 0.25,
    "bm25": 0.06,
    "nearest": 0.21,
    "coverage": 0.16,
    "phrase": 0.08,
    "title": 0.06,
    "heading": 0.18,
}
"""Fitted to two fifths of the documents of SQuAD 2.0 and FeedbackQA (`python -m bench.retrieval --choose` prints them);
`python -m bench.retrieval` measures them on the others."""
STOP_PAIR_WEIGHT = 0.1
STOP = frozenset(bm25s.stopwords.STOPWORDS_EN)
_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n{2,}|\n(?=\s*[-*•])")
_STEMMER = Stemmer.Stemmer("english")

Floats = npt.NDArray[np.float32]
T = TypeVar("T")


def sentences(text: str) -> list[str]:
    """The sentences, list items and paragraphs of a text, stripped; the text itself where there is only one."""
    found = [part.strip() for part in _SENTENCE.split(text)]
    return [part for part in found if part] or [text]


def part_vectors(titles: Sequence[str], texts: Sequence[str], encode: Callable[[list[str]], Floats]) -> list[bytes]:
    """For each passage the packed vectors of its title and, after it, its sentences; `encode` gives unit vectors."""
    parts = [[title, *sentences(text)] for title, text in zip(titles, texts, strict=True)]
    once = list(dict.fromkeys(part for group in parts for part in group))
    at = {part: i for i, part in enumerate(once)}
    vectors = encode(once)
    return [packed(vectors[[at[part] for part in group]]) for group in parts]


def packed(vectors: Floats) -> bytes:
    """Unit vectors of shape (sentences, dimensions) as int8, each scaled by its largest component; 1 byte a number."""
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9)
    content: bytes = np.rint(vectors / largest * 127).astype(np.int8).tobytes()
    return content


def unpacked(content: bytes, dimensions: int) -> Floats:
    """Unit vectors of shape (sentences, dimensions) again; their cosines are off by less than 0.01."""
    rough = np.frombuffer(content, dtype=np.int8).reshape(-1, dimensions).astype(np.float32)
    unit: Floats = rough / np.maximum(np.linalg.norm(rough, axis=1, keepdims=True), 1e-9)
    return unit


@dataclass(frozen=True)
class Asked:
    """A question's stems and neighbouring stems, each with its weight: the rarer, the heavier."""

    words: Mapping[str, float]
    pairs: Mapping[tuple[str, str], float]


def asked(question: str, weight: Callable[[str], float]) -> Asked:
    """What a question asks for; `weight` gives the inverse document frequency of a stem."""
    stems = _stems(question)
    heavy = {stem: weight(stem) for stem, stop in stems if not stop}
    weighed = [(stem, STOP_PAIR_WEIGHT if stop else heavy[stem]) for stem, stop in stems]
    pairs = {(one, two): a + b for (one, a), (two, b) in zip(weighed, weighed[1:], strict=False)}
    return Asked(heavy, pairs)


@dataclass(frozen=True)
class Known:
    """What the index knows of a candidate: cosine and BM25 of the whole, BM25 of its title, and its part vectors."""

    dense: float
    words: float
    heading: float
    parts: bytes | None


def measures(question: Asked, vector: Floats, title: str, text: str, known: Known) -> tuple[float, ...]:
    """The MEASURES of a passage. `vector` is the question's, unit length; a passage without part vectors counts as a
    title and one sentence that are as near as the whole.
    """
    parts = unpacked(known.parts, len(vector)) @ vector if known.parts else np.full(2, known.dense)
    named, nearest = np.clip((parts[0], parts.max()), 0, 1)
    coverage, phrase = overlap(question, title, text)
    return known.dense, known.words, float(nearest), coverage, phrase, float(named), known.heading


def overlap(question: Asked, title: str, text: str) -> tuple[float, float]:
    """Coverage and phrase of a passage: shares in [0, 1] of the question's word and pair weight; 0 for no words."""
    named, parts, pairs = _terms(title, text)
    coverage = max(_share(question.words, named | part) for part in parts)
    return coverage, _share(question.pairs, pairs)


def _share(weights: Mapping[T, float], found: frozenset[T]) -> float:
    whole = sum(weights.values())
    return sum(weight for one, weight in weights.items() if one in found) / whole if whole else 0.0


def _stems(text: str) -> list[tuple[str, bool]]:
    """The stems of a text in order, and whether each comes from a stop word or a single character."""
    return [_stem(word) for word in _WORD.findall(text.lower())]


@lru_cache(maxsize=65_536)
def _stem(word: str) -> tuple[str, bool]:
    return _STEMMER.stemWord(word), word in STOP or len(word) == 1


Terms = tuple[frozenset[str], list[frozenset[str]], frozenset[tuple[str, str]]]


@lru_cache(maxsize=2048)
def _terms(title: str, text: str) -> Terms:
    """The stems of a title, those of each sentence, and the pairs of neighbours in the text."""
    named = frozenset(stem for stem, stop in _stems(title) if not stop)
    stems = [_stems(part) for part in sentences(text)]
    parts = [frozenset(stem for stem, stop in part if not stop) for part in stems]
    every = [stem for part in stems for stem, _ in part]
    return named, parts, frozenset(zip(every, every[1:], strict=False))


def scores(measures: Floats, weights: Mapping[str, float]) -> Floats:
    """The weighted mean of measures, shape (passages, MEASURES), for each passage: in [0, 1] when they are."""
    shares = np.array([weights[name] for name in MEASURES], dtype=np.float32)
    mean: Floats = measures @ (shares / max(float(shares.sum()), 1e-9))
    return mean
