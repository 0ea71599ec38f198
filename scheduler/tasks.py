"""Exchanges to task scores and labels, learned from the taxonomy's own examples; no task is named here.

Few-shot, without fine-tuning: a linear classifier (`linear.py`) over sentence embeddings and hashed words. Its knobs,
temperatures and the "unclassified" threshold come from leaving examples out. The question leads; the answer, the
passages and, after a short question, the question before it are weighed in. It knows nothing of the database or of
settings, and never sees what it is measured on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from scheduler.linear import Floats, fit, softmax
from scheduler.words import packed, sparse_features, word_features

UNCLASSIFIED = "unclassified"
"""The label of an exchange that no task deserves."""

Encode = Callable[[list[str]], Any]
"""Texts to unit vectors, shape (texts, dimensions)."""

MOST_CORRECTIONS = 500
FEW_EXAMPLES = 10
"""A task with fewer examples also learns from its description."""
ANSWER_WEIGHT = 0.2
"""An answer's evidence beside its question's: it repeats the topic, but the question says what was wanted."""
BEFORE_WEIGHT = 0.5
"""The evidence of the question before, for a question too short to stand alone ("and why?")."""
SHORT_FEATURES = 14
"""A question of about five words has as many features."""


@dataclass(frozen=True)
class TaskSpec:
    """One task as the taxonomy describes it; `passages_score` is its least score when an exchange had passages."""

    name: str
    description: str
    examples: tuple[str, ...] = ()
    passages_score: float = 0.0


@dataclass(frozen=True)
class Item:
    """What is classified: a question and, where there are, its answer, passages, and the question before it."""

    question: str
    answer: str = ""
    passages: tuple[str, ...] = ()
    before: str = ""


@dataclass(frozen=True)
class Labelled:
    """The primary task, how likely it is right, and every task's score; all in [0, 1]."""

    label: str
    confidence: float
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What many exchanges are told by: vectors (rows, dimensions), zero where there is no text; packed words."""

    questions: Any
    answers: Any
    before: Any
    words: Sequence[bytes]
    words_before: Sequence[bytes]
    given: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """Many labels: places in the taxonomy's order (-1 for unclassified), confidences, and scores (rows, tasks)."""

    places: npt.NDArray[np.int64]
    confidences: Floats
    scores: Floats


class Classifier:
    """Learns the taxonomy once, then labels any number of exchanges.

    `corrections` are (question, task) pairs that people labelled, oldest first: the newest of those whose task the
    taxonomy has count as examples.
    """

    def __init__(
        self, tasks: Sequence[TaskSpec], encode: Encode, *, corrections: Sequence[tuple[str, str]] = ()
    ) -> None:
        if not tasks:
            raise ValueError("the taxonomy has no tasks; at least one is needed.")
        self._tasks = tuple(tasks)
        self._encode = encode
        place = {task.name: number for number, task in enumerate(tasks)}
        labelled = [(text, place[task.name]) for task in tasks for text in _texts(task)]
        known = [(text, place[name]) for text, name in corrections if name in place and text.strip()]
        labelled += known[-MOST_CORRECTIONS:]
        texts = [text for text, _ in labelled]
        classes = np.array([number for _, number in labelled], dtype=np.int64)
        self._model = fit(np.asarray(encode(texts), dtype=np.float64), word_features(texts), classes, len(tasks))
        self._floors = np.array([task.passages_score for task in tasks])

    @property
    def names(self) -> tuple[str, ...]:
        """The tasks, in the order of the scores."""
        return tuple(task.name for task in self._tasks)

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return int(self._model.examples.shape[1])

    def classify(self, items: Sequence[Item]) -> list[Labelled]:
        """Label items, in their order."""
        if not items:
            return []
        found = self.scored(evidence(items, self._encode, self.dimensions))
        rows = zip(found.places.tolist(), found.confidences.tolist(), found.scores.tolist(), strict=True)
        return [
            Labelled(
                self.names[place] if place >= 0 else UNCLASSIFIED, confidence, dict(zip(self.names, row, strict=True))
            )
            for place, confidence, row in rows
        ]

    def scored(self, rows: Evidence) -> Scored:
        """Label many exchanges at once from their vectors."""
        model = self._model
        words = sparse_features(rows.words)
        logits = model.logits(rows.questions, words) + ANSWER_WEIGHT * _only(rows.answers, model.logits(rows.answers))
        known = model.known(rows.questions) * _there(rows.questions)
        short = (np.diff(words.indptr) <= SHORT_FEATURES) & _there(rows.before)
        if short.any():
            before = rows.before[short]
            packed_before = [one for one, wanted in zip(rows.words_before, short, strict=True) if wanted]
            logits[short] += BEFORE_WEIGHT * model.logits(before, sparse_features(packed_before))
            known[short] = np.maximum(known[short], BEFORE_WEIGHT * model.known(before))
        return self._decided(softmax(logits) * known[:, None], rows.given)

    def _decided(self, chances: Floats, given: npt.NDArray[np.bool_]) -> Scored:
        floored = np.maximum(chances, np.where(given[:, None], self._floors, 0.0))
        every = np.arange(len(chances))
        # Evidence decides first: a floor names the label only where no task has enough evidence of its own.
        best = chances.argmax(axis=1)
        weak = chances[every, best] < self._model.threshold
        best[weak] = floored[weak].argmax(axis=1)
        top = floored[every, best]
        named = (top >= self._model.threshold) & (top > 0)
        return Scored(np.where(named, best, -1), np.where(named, top, 1.0 - top).round(4), floored.round(4))


def evidence(items: Sequence[Item], encode: Encode, dimensions: int) -> Evidence:
    """What items are told by, embedded now."""
    questions = [item.question.strip() for item in items]
    before = [item.before.strip() for item in items]
    return Evidence(
        questions=vectors_of(questions, encode, dimensions),
        answers=vectors_of([item.answer.strip() for item in items], encode, dimensions),
        before=vectors_of(before, encode, dimensions),
        words=[packed(text) for text in questions],
        words_before=[packed(text) for text in before],
        given=np.array([any(passage.strip() for passage in item.passages) for item in items]),
    )


def vectors_of(texts: Sequence[str], encode: Encode, dimensions: int) -> Floats:
    """The vectors of texts, zero for empty ones: shape (texts, dimensions)."""
    found = np.zeros((len(texts), dimensions))
    places = [place for place, text in enumerate(texts) if text]
    if places:
        found[places] = encode([texts[place] for place in places])
    return found


def _texts(task: TaskSpec) -> tuple[str, ...]:
    return task.examples if len(task.examples) >= FEW_EXAMPLES else (*task.examples, task.description)


def _there(vectors: Any) -> npt.NDArray[np.bool_]:
    """Which rows have a text."""
    return np.asarray(np.einsum("ij,ij->i", vectors, vectors) > 0)


def _only(vectors: Any, logits: Floats) -> Floats:
    """Logits of the rows that have a text, zero for the others."""
    return logits * _there(vectors)[:, None]
