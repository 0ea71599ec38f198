"""Chunks as search reads them: all of them for the index, a few as passages, and what changed since a moment.

`store.documents` keeps documents and chunks; this only reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, func, select

from store.models import Chunk, IndexEvent

_ASKED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that can be shown; `sentences` holds the vectors of its title and sentences, or nothing yet."""

    id: str
    document_id: str
    title: str
    text: str
    digest: str
    start: int
    end: int
    flags: tuple[str, ...]
    sentences: bytes | None = None


@dataclass(frozen=True, slots=True)
class Searchable:
    """What the index needs of a chunk; `embedding` is float32, unit length."""

    id: str
    document_id: str
    title: str
    text: str
    embedding: bytes


def searchable(session: Session, model: str) -> Iterator[Searchable]:
    """The live chunks as this embedding model has them, in a stable order."""
    query = (
        select(*(getattr(Chunk, name) for name in Searchable.__slots__))
        .where(col(Chunk.retired_at).is_(None), Chunk.embedding_model == model)
        .order_by(col(Chunk.document_id), col(Chunk.ordinal))
        .execution_options(yield_per=1_000)
    )
    return (Searchable(*row) for row in session.exec(query))


def of_other_models(session: Session, model: str) -> list[str]:
    """The ids of documents with live chunks of another embedding model: no search finds these."""
    query = select(Chunk.document_id).where(col(Chunk.retired_at).is_(None), Chunk.embedding_model != model)
    return list(session.exec(query.distinct().order_by(col(Chunk.document_id))))


def passages(session: Session, ids: Sequence[str]) -> dict[str, Passage]:
    """The live ones of some chunks, by id."""
    query = select(*(getattr(Chunk, name) for name in Passage.__slots__))
    query = query.where(col(Chunk.id).in_(ids), col(Chunk.retired_at).is_(None))
    rows = (row._asdict() for row in session.exec(query))
    return {row["id"]: Passage(**{**row, "flags": tuple(row["flags"])}) for row in rows}


def embeddings(
    session: Session, model: str, *, batch: int, among: Sequence[str] | None = None
) -> Iterator[tuple[list[str], bytes]]:
    """Ids and embeddings, one after the other, of the live chunks or those `among` some; at most `batch` at once."""
    query = select(Chunk.id, Chunk.embedding).where(col(Chunk.retired_at).is_(None), Chunk.embedding_model == model)
    if among is None:
        parts = [query.order_by(col(Chunk.id)).execution_options(yield_per=batch)]
    else:
        size = min(batch, _ASKED_AT_ONCE)
        parts = [query.where(col(Chunk.id).in_(among[at : at + size])) for at in range(0, len(among), size)]
    for part in parts:
        for rows in session.exec(part).partitions(batch):
            yield [one for one, _ in rows], b"".join(embedding for _, embedding in rows)


def count(session: Session, model: str) -> int:
    """How many live chunks this embedding model has."""
    query = select(func.count()).select_from(Chunk)
    return session.exec(query.where(col(Chunk.retired_at).is_(None), Chunk.embedding_model == model)).one()


def last_event(session: Session) -> int:
    """The id of the newest outbox event; 0 when it is empty."""
    return session.exec(select(func.max(IndexEvent.id))).one() or 0


def changed_between(session: Session, after: int, up_to: int) -> list[str]:
    """The chunks that outbox events later than `after` and not later than `up_to` are about, each once."""
    query = select(IndexEvent.chunk_id).where(col(IndexEvent.id) > after, col(IndexEvent.id) <= up_to)
    return sorted(set(session.exec(query)))
