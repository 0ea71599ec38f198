"""Documents and their chunks: the truth about what can be retrieved, and the outbox that feeds the vector index.

It does not read files, split text or embed: it keeps what `retrieval` hands it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, func, select

from store.database import Database
from store.errors import NotFound
from store.models import Chunk, Document, IndexEvent, now


@dataclass(frozen=True)
class Draft:
    """A chunk to be kept; `embedding` is float32 bytes of unit length, `sentences` int8 ones of its title and parts."""

    title: str
    text: str
    start: int
    end: int
    embedding: bytes
    flags: tuple[str, ...] = ()
    sentences: bytes | None = None


def text_digest(text: str) -> str:
    """The SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def find(session: Session, source: str) -> Document | None:
    """The document that came from `source`, removed or not."""
    return session.exec(select(Document).where(Document.source == source)).first()


def same_text(session: Session, digest: str) -> Document | None:
    """A present document with exactly this text."""
    query = select(Document).where(Document.digest == digest, col(Document.removed_at).is_(None))
    return session.exec(query).first()


@dataclass(frozen=True)
class Origin:
    """The SHA-256 of the bytes that a document was read from, and the rules by which they became passages."""

    file_digest: str = ""
    rules: str = ""


NO_FILE = Origin()
"""Of a document whose text was handed in."""


def same_file(session: Session, source: str, origin: Origin) -> Document | None:
    """The present document of these bytes and rules: the one from `source`, or else one from elsewhere.

    None while the document from `source` is of other bytes or rules.
    """
    known = find(session, source)
    if known is not None and known.removed_at is None:
        return known if (known.file_digest, known.rules) == (origin.file_digest, origin.rules) else None
    query = select(Document).where(Document.file_digest == origin.file_digest, Document.rules == origin.rules)
    return session.exec(query.where(col(Document.removed_at).is_(None))).first()


def removed_as_it_is(session: Session, source: str, file_digest: str) -> bool:
    """Whether the document from `source` was removed by somebody while it was of just these bytes."""
    known = find(session, source)
    return known is not None and known.removed_at is not None and known.file_digest == file_digest != ""


def set_origin(database: Database, document: Document, origin: Origin) -> None:
    """Keep the bytes and rules that a document's unchanged passages come from now."""
    with database.write() as session:
        row = session.get_one(Document, document.id)
        for kept in (row, document):
            kept.file_digest, kept.rules = origin.file_digest, origin.rules
        session.add(row)


def embeddings_of(
    session: Session, digests: Sequence[str], model: str
) -> dict[tuple[str, str], tuple[bytes, bytes | None]]:
    """Embeddings of chunk and sentences already known for these digests of texts, by title and digest."""
    found: dict[tuple[str, str], tuple[bytes, bytes | None]] = {}
    for start in range(0, len(digests), 500):
        query = select(Chunk.title, Chunk.digest, Chunk.embedding, Chunk.sentences).where(
            col(Chunk.digest).in_(digests[start : start + 500]), Chunk.embedding_model == model
        )
        found.update({(title, digest): (one, more) for title, digest, one, more in session.exec(query)})
    return found


def save(
    database: Database,
    *,
    source: str,
    title: str,
    media_type: str,
    text: str,
    drafts: Sequence[Draft],
    model: str,
    origin: Origin = NO_FILE,
) -> Document:
    """Keep a document and its chunks, retiring the chunks that vanished; unchanged chunks keep their ids."""
    with database.write() as session:
        document = find(session, source) or Document(source=source, title=title, digest="", text="")
        document.title, document.media_type, document.text = title, media_type, text
        document.digest, document.updated_at, document.removed_at = text_digest(text), now(), None
        document.file_digest, document.rules = origin.file_digest, origin.rules
        session.add(document)
        session.flush()
        _replace_chunks(session, document.id, drafts, model)
    return document


def replace_chunks(database: Database, document_id: str, drafts: Sequence[Draft], model: str) -> None:
    """Keep other chunks of a document as it is, as another embedding model has them; not where it was removed since."""
    with database.write() as session:
        document = session.get(Document, document_id)
        if document is not None and document.removed_at is None:
            _replace_chunks(session, document_id, drafts, model)


def _replace_chunks(session: Session, document_id: str, drafts: Sequence[Draft], model: str) -> None:
    query = select(Chunk).where(Chunk.document_id == document_id, col(Chunk.retired_at).is_(None))
    old: dict[tuple[str, str], list[Chunk]] = {}
    for chunk in session.exec(query.order_by(col(Chunk.ordinal).desc())):
        old.setdefault((chunk.digest, chunk.embedding_model), []).append(chunk)
    for ordinal, draft in enumerate(drafts):
        digest = text_digest(draft.text)
        same = old.get((digest, model))
        kept = same.pop() if same else None
        chunk = kept or Chunk(
            document_id=document_id,
            ordinal=ordinal,
            title=draft.title,
            text=draft.text,
            digest=digest,
            start=draft.start,
            end=draft.end,
            embedding=draft.embedding,
            embedding_model=model,
            flags=list(draft.flags),
        )
        place = (ordinal, draft.title, draft.start, draft.end, list(draft.flags))
        moved = (chunk.ordinal, chunk.title, chunk.start, chunk.end, chunk.flags) != place
        chunk.ordinal, chunk.title, chunk.start, chunk.end, chunk.flags = place
        chunk.embedding, chunk.sentences = draft.embedding, draft.sentences
        session.add(chunk)
        if kept is None or moved:
            session.add(IndexEvent(chunk_id=chunk.id, operation="upsert"))
    for chunk in (chunk for left in old.values() for chunk in left):
        chunk.retired_at = now()
        session.add(chunk)
        session.add(IndexEvent(chunk_id=chunk.id, operation="delete"))


def remove(database: Database, document_id: str, *, vanished: bool = False) -> Document:
    """Take a document and its chunks out of what can be retrieved; raises NotFound.

    One that `vanished` with its file comes back with it; one that somebody removed does not (`removed_as_it_is`).
    """
    with database.write() as session:
        document = session.get(Document, document_id)
        if document is None or document.removed_at is not None:
            raise NotFound(f"no document {document_id}.", "`python -m retrieval list` shows the ids.")
        document.removed_at = now()
        if vanished:
            document.file_digest = document.rules = ""
        session.add(document)
        _replace_chunks(session, document_id, [], "")
    return document


def present(session: Session, *, limit: int = 10_000, after: str | None = None) -> list[tuple[Document, int]]:
    """The present documents with their number of chunks, by id; `after` is the last id seen."""
    query = (
        select(Document, func.count(col(Chunk.id)))
        .join(Chunk, (col(Chunk.document_id) == col(Document.id)) & col(Chunk.retired_at).is_(None), isouter=True)
        .where(col(Document.removed_at).is_(None))
        .group_by(col(Document.id))
        .order_by(col(Document.id))
        .limit(limit)
    )
    if after is not None:
        query = query.where(col(Document.id) > after)
    return [(document, count) for document, count in session.exec(query)]


def live_chunks(session: Session) -> list[Chunk]:
    """All chunks that can be retrieved, in a stable order."""
    query = select(Chunk).where(col(Chunk.retired_at).is_(None)).order_by(col(Chunk.document_id), col(Chunk.ordinal))
    return list(session.exec(query))


def pieces_of(
    session: Session, document_id: str, model: str | None = None
) -> list[tuple[str, str, int, int, tuple[str, ...]]]:
    """Title, text, start, end and flags of a document's chunks as an embedding model has them, or any, in order."""
    query = select(Chunk).where(Chunk.document_id == document_id, col(Chunk.retired_at).is_(None))
    if model is not None:
        query = query.where(Chunk.embedding_model == model)
    chunks = session.exec(query.order_by(col(Chunk.ordinal)))
    return [(chunk.title, chunk.text, chunk.start, chunk.end, tuple(chunk.flags)) for chunk in chunks]


def flags_of(session: Session, document_id: str) -> list[str]:
    """Every flag of a document's present chunks, once."""
    query = select(Chunk.flags).where(Chunk.document_id == document_id, col(Chunk.retired_at).is_(None))
    return sorted({flag for flags in session.exec(query) for flag in flags})


def present_under(session: Session, prefix: str) -> list[Document]:
    """The present documents whose source begins with `prefix`."""
    query = select(Document).where(
        col(Document.source).startswith(prefix, autoescape=True), col(Document.removed_at).is_(None)
    )
    return list(session.exec(query.order_by(col(Document.source))))


@dataclass(frozen=True)
class Filter:
    """Which documents to search in: those that fit everything given. `document` is an id or a source."""

    document: str | None = None
    tag: str | None = None
    collection: str | None = None


def matching(session: Session, chosen: Filter) -> set[str]:
    """The ids of the present documents that fit a filter."""
    query = select(Document.id, Document.source, Document.tags).where(col(Document.removed_at).is_(None))
    if chosen.collection is not None:
        query = query.where(Document.collection == chosen.collection)
    return {
        key
        for key, source, tags in session.exec(query)
        if chosen.document in (None, key, source) and (chosen.tag is None or chosen.tag in tags)
    }


def label(database: Database, document_id: str, *, collection: str, tags: Sequence[str]) -> Document:
    """Put a document into a collection and give it tags, in place of those it had; raises NotFound."""
    with database.write() as session:
        document = session.get(Document, document_id)
        if document is None or document.removed_at is not None:
            raise NotFound(f"no document {document_id}.", "`python -m retrieval list` shows the ids.")
        document.collection, document.tags = collection, sorted(set(tags))
        session.add(document)
    return document
