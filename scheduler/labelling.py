"""The labels of the log, kept up to date: what is new is embedded once, and what is stale is scored from kept vectors.

A label is stale when it was given under another taxonomy. What people corrected changes the classifier too; that is
taken up where a cycle asks for it, so that one correction does not label the whole log anew at each page.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from scheduler.tasks import MOST_CORRECTIONS, UNCLASSIFIED, Classifier, Encode, Evidence
from scheduler.words import packed
from scheduler.workbench import Workbench
from store import embeddings, labels
from store.embeddings import Asked, Kept
from store.models import Embedding

NEW_AT_ONCE = 500
OLD_AT_ONCE = 20_000
SCALE = 127.0
"""A vector's numbers lie in [-1, 1]; as int8 they are told to within 0.004."""

Floats = npt.NDArray[np.float32]


def label_all(bench: Workbench, *, relearn: bool = False) -> int:
    """Label what has no label of this taxonomy; with `relearn` also what was labelled before people taught otherwise.

    Labels that people gave stay. Returns how many were labelled.
    """
    with bench.database.read() as session:
        taught = labels.by_people(session, most=MOST_CORRECTIONS)
        version = _version(bench.taxonomy, taught)
        low, high = (version, version) if relearn else (bench.taxonomy, f"{bench.taxonomy}~")
        new = embeddings.without_label(session, limit=1)
        old = embeddings.with_old_label(session, low, high, limit=1)
    if not new and not old:
        return 0
    classifier = _classifier(bench, taught)
    count = sum(_label(bench, classifier, rows, version) for rows in _new(bench))
    if old:
        _embed_old(bench, low, high)
        count += sum(_label(bench, classifier, rows, version) for rows in _old(bench, low, high))
    return count


def _version(taxonomy: str, taught: Sequence[labels.Taught]) -> str:
    """What a classifier was learned from: the taxonomy's digest, and one of the labels that people gave."""
    if not taught:
        return taxonomy
    said = json.dumps([[one.exchange_id, one.task] for one in taught])
    return f"{taxonomy}+{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def _classifier(bench: Workbench, taught: Sequence[labels.Taught]) -> Classifier:
    vectors = dict(
        zip((one.question for one in taught), vectors_of(bench, [t.exchange_id for t in taught]), strict=True)
    )
    return Classifier(
        bench.tasks, _remembering(bench.encode, vectors), corrections=[(t.question, t.task) for t in taught]
    )


def _remembering(encode: Encode, known: dict[str, Floats]) -> Encode:
    """`encode`, spared the texts whose vectors are known."""

    def encoded(texts: list[str]) -> list[Floats]:
        unknown = [text for text in texts if text not in known]
        found = dict(zip(unknown, encode(unknown), strict=True)) if unknown else {}
        return [known[text] if text in known else found[text] for text in texts]

    return encoded


def vectors_of(bench: Workbench, ids: Sequence[str]) -> Floats:
    """The vectors of the questions of exchanges, embedded now where they are not kept yet: shape (ids, dimensions)."""
    found: dict[str, Floats] = {}
    for start in range(0, len(ids), NEW_AT_ONCE):
        for row in _kept(bench, ids[start : start + NEW_AT_ONCE]):
            found[row.exchange_id] = np.frombuffer(row.question, dtype=np.int8).astype(np.float32) / np.float32(SCALE)
    width = max((len(vector) for vector in found.values()), default=1)
    nothing = np.zeros(width, dtype=np.float32)
    rows = [vector if len(vector) else nothing for vector in (found.get(one, nothing) for one in ids)]
    return np.array(rows, dtype=np.float32).reshape(len(rows), width)


def _new(bench: Workbench) -> Iterator[list[Kept]]:
    """The exchanges without a label, with their vectors."""
    after = ""
    while True:
        with bench.database.read() as session:
            ids = embeddings.without_label(session, after=after, limit=NEW_AT_ONCE)
        if not ids:
            return
        yield _kept(bench, ids)
        after = ids[-1]


def _old(bench: Workbench, low: str, high: str) -> Iterator[list[Kept]]:
    """The exchanges whose label is stale, with their vectors, in the order they were embedded."""
    after: int | None = 0
    while after is not None:
        with bench.database.read() as session:
            rows, after = embeddings.old_labels(
                session, low, high, bench.embedding_model, after=after, limit=OLD_AT_ONCE
            )
        yield rows


def _embed_old(bench: Workbench, low: str, high: str) -> None:
    """Embed what has a stale label but no vectors: exchanges labelled before vectors were kept, or by another model."""
    while True:
        with bench.database.read() as session:
            ids = embeddings.old_without_vectors(session, low, high, bench.embedding_model, limit=NEW_AT_ONCE)
        if not ids:
            return
        _kept(bench, ids)


def _kept(bench: Workbench, ids: Sequence[str]) -> list[Kept]:
    """The kept vectors of exchanges; what is missing is embedded and kept first."""
    with bench.database.read() as session:
        missing = embeddings.not_embedded(session, ids, bench.embedding_model)
    if missing:
        embeddings.save(bench.database, _embedded(bench, missing))
    with bench.database.read() as session:
        return embeddings.of(session, ids, bench.embedding_model)


def _embedded(bench: Workbench, rows: Sequence[Asked]) -> list[Embedding]:
    texts = [row.question.strip() for row in rows] + [row.answer.strip() for row in rows]
    some = list(dict.fromkeys(text for text in texts if text))
    vectors = np.rint(np.asarray(bench.encode(some), dtype=np.float32) * SCALE).astype(np.int8) if some else []
    at = {text: vector.tobytes() for text, vector in zip(some, vectors, strict=True)}
    return [
        Embedding(
            exchange_id=row.exchange_id,
            model=bench.embedding_model,
            question=at.get(row.question.strip(), b""),
            answer=at.get(row.answer.strip(), b""),
            words=packed(row.question),
            given=any(str(passage.get("text", "")).strip() for passage in row.passages),
            parent_id=row.parent_id,
        )
        for row in rows
    ]


def _label(bench: Workbench, classifier: Classifier, rows: Sequence[Kept], version: str) -> int:
    if not rows:
        return 0
    found = classifier.scored(_evidence(rows, classifier.dimensions))
    tasks = [*classifier.names, UNCLASSIFIED]
    labels.save(
        bench.database,
        [
            labels.Found(row.exchange_id, tasks[place], confidence, dict(zip(classifier.names, scores, strict=True)))
            for row, place, confidence, scores in zip(
                rows, found.places.tolist(), found.confidences.tolist(), found.scores.tolist(), strict=True
            )
        ],
        taxonomy=version,
    )
    return len(rows)


def _evidence(rows: Sequence[Kept], dimensions: int) -> Evidence:
    return Evidence(
        questions=_unpacked([row.question for row in rows], dimensions),
        answers=_unpacked([row.answer for row in rows], dimensions),
        before=_unpacked([row.before for row in rows], dimensions),
        words=[row.words for row in rows],
        words_before=[row.before_words for row in rows],
        given=np.array([row.given for row in rows], dtype=np.bool_),
    )


def _unpacked(rows: Sequence[bytes], dimensions: int) -> Floats:
    """Kept vectors as numbers, zero rows for empty ones."""
    nothing = bytes(dimensions)
    joined = np.frombuffer(b"".join(row or nothing for row in rows), dtype=np.int8)
    found: Floats = joined.reshape(len(rows), dimensions).astype(np.float32)
    found /= np.float32(SCALE)
    return found
