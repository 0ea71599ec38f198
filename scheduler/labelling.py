"""The labels of the log, kept up to date: what is new is embedded once, and what is stale is scored from kept vectors.

A label is stale when it was given under another taxonomy. What people corrected changes the classifier too; that is
taken up where a cycle asks for it, so that one correction does not label the whole log anew at each page.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from scheduler.tasks import MOST_CORRECTIONS, SHORT_FEATURES, UNCLASSIFIED, Classifier, Encode, Evidence, Scored
from scheduler.words import PAIR_BYTES, packed
from scheduler.workbench import Workbench
from store import embeddings, labels
from store.embeddings import Asked, Kept
from store.models import Embedding

NEW_AT_ONCE = 500
OLD_AT_ONCE = 20_000
SHORT_BYTES = SHORT_FEATURES * PAIR_BYTES
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
    count = _label_new(bench, classifier, version) if new else 0
    if old:
        _embed_old(bench, low, high)
        count += _label_old(bench, classifier, version, low, high)
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


def _label_new(bench: Workbench, classifier: Classifier, version: str) -> int:
    """Label the exchanges without a label."""
    count, seen = 0, set[str]()
    while True:
        with bench.database.read() as session:
            ids = [one for one in embeddings.without_label(session, limit=NEW_AT_ONCE) if one not in seen]
        if not ids:
            return count
        seen.update(ids)
        rows = _kept(bench, ids)
        tasks, found = [*classifier.names, UNCLASSIFIED], _scored(bench, classifier, rows)
        made = [
            labels.Found(row.exchange_id, tasks[place], confidence, dict(zip(classifier.names, scores, strict=True)))
            for row, (place, confidence, scores) in zip(rows, _plain(found), strict=True)
        ]
        labels.save(bench.database, made, taxonomy=version)
        count += len(made)


def _label_old(bench: Workbench, classifier: Classifier, version: str, low: str, high: str) -> int:
    """Label anew what has a stale label, in the order it was embedded; one batch is written while the next is read."""
    tasks = [*classifier.names, UNCLASSIFIED]
    names = [f"{json.dumps(name)}: " for name in classifier.names]
    count, after = 0, 0
    with ThreadPoolExecutor(max_workers=1) as writer:
        written: list[Future[None]] = []
        while True:
            with bench.database.read() as session:
                rows = embeddings.old_labels(session, low, high, bench.embedding_model, after=after, limit=OLD_AT_ONCE)
            if not rows:
                break
            made = [
                (tasks[place], confidence, _json(names, scores), row.exchange_id)
                for row, (place, confidence, scores) in zip(rows, _plain(_scored(bench, classifier, rows)), strict=True)
            ]
            for one in written:
                one.result()
            written = [writer.submit(labels.relabel, bench.database, made, taxonomy=version)]
            count, after = count + len(made), rows[-1].id
        for one in written:
            one.result()
    return count


def _json(names: Sequence[str], scores: Sequence[float]) -> str:
    """Scores as a JSON object; `names` are the keys as JSON, each with its colon."""
    return "{" + ", ".join(f"{name}{score}" for name, score in zip(names, scores, strict=True)) + "}"


def _plain(found: Scored) -> Iterator[tuple[int, float, list[float]]]:
    return zip(found.places.tolist(), found.confidences.tolist(), found.scores.tolist(), strict=True)


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


def _scored(bench: Workbench, classifier: Classifier, rows: Sequence[Kept]) -> Scored:
    """The scores of exchanges from their vectors; for short questions those of the ones before are looked up."""
    dimensions = classifier.dimensions
    short = {row.exchange_id: row.parent_id for row in rows if row.parent_id and len(row.words) <= SHORT_BYTES}
    before: dict[str, Kept] = {}
    parents = sorted(set(short.values()))
    with bench.database.read() as session:
        for start in range(0, len(parents), NEW_AT_ONCE):
            some = embeddings.of(session, parents[start : start + NEW_AT_ONCE], bench.embedding_model)
            before |= {row.exchange_id: row for row in some}
    earlier = [before.get(short.get(row.exchange_id, ""), None) for row in rows]
    return classifier.scored(
        Evidence(
            questions=_unpacked([row.question for row in rows], dimensions),
            answers=_unpacked([row.answer for row in rows], dimensions),
            before=_unpacked([row.question if row else b"" for row in earlier], dimensions),
            words=[row.words for row in rows],
            words_before=[row.words if row else b"" for row in earlier],
            given=np.array([row.given for row in rows], dtype=np.bool_),
        )
    )


def _unpacked(rows: Sequence[bytes], dimensions: int) -> Floats:
    """Kept vectors as numbers, zero rows for empty ones."""
    nothing = bytes(dimensions)
    joined = np.frombuffer(b"".join(row or nothing for row in rows), dtype=np.int8)
    found: Floats = joined.reshape(len(rows), dimensions).astype(np.float32)
    found /= np.float32(SCALE)
    return found
