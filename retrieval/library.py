"""Documents in, passages out: what the bot and the commands use.

It reads no settings and serves no requests.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever

from retrieval import hostile, loaders, passages, ranking
from retrieval.embedding import Embedder, Vectors
from retrieval.index import Hit, Index
from store import chunks, documents
from store.database import Database
from store.documents import Filter
from store.errors import Invalid, NotFound
from store.models import Document

RULES = "rules 2"
"""The version of parsing, splitting, flagging and embedding: raise it when files would become other passages."""


class Library:
    """Everything that can be retrieved; `encode` embeds passages, in place of the embedder."""

    def __init__(
        self,
        database: Database,
        embedder: Embedder,
        index: Index,
        *,
        chunk_characters: int,
        min_score: float,
        limits: loaders.Limits = loaders.DEFAULT_LIMITS,
        encode: Callable[[list[str]], Vectors] | None = None,
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._index = index
        self._chunk_characters = chunk_characters
        self._min_score = min_score
        self.limits = limits
        self._encode = encode or embedder.encode

    def search(self, query: str, k: int, chosen: Filter | None = None) -> list[dict[str, Any]]:
        """The passages that may answer, best first; those under the minimum score are left out, so none is possible.

        Each has n, document, title, chunk_id, text, digest, score in [0, 1], start and end in the document, flags, and
        in `explain` its rank and the measures that made the score. Raises NotFound for a filter that fits no document.
        """
        found = self._index.search(query, k, self._within(chosen))
        return as_shown([hit for hit in found if hit.score >= self._min_score])

    def _within(self, chosen: Filter | None) -> set[str] | None:
        if chosen is None or chosen == Filter():
            return None
        with self._database.read() as session:
            fitting = documents.matching(session, chosen)
        if not fitting:
            given = ", ".join(f"{name} {value}" for name, value in asdict(chosen).items() if value is not None)
            raise NotFound(f"no document has {given}.", "`python -m retrieval list` shows documents and their labels.")
        return fitting

    def add_text(self, *, source: str, title: str, text: str, media_type: str = "text/plain") -> tuple[Document, bool]:
        """Keep a text as a document; returns it and whether anything was new. The same text twice is one document."""
        cleaned = hostile.clean(text)
        if not cleaned.text.strip():
            raise Invalid("the document holds no text.")
        named = hostile.clean(title).text
        return self._add(source, loaders.Loaded(named, media_type, cleaned.text, cleaned.hidden))

    def add_file(self, *, name: str, content: bytes) -> tuple[Document, bool]:
        """Keep a file's text as a document, named by `name`; raises Invalid or TooLarge when it cannot be read.

        A file whose bytes are known under the rules in force is recognised by them and not read again.
        """
        origin = documents.Origin(hashlib.sha256(content).hexdigest(), self._rules(Path(name).suffix.lower()))
        with self._database.read() as session:
            known = documents.same_file(session, name, origin)
        return (
            (known, False) if known is not None else self._add(name, loaders.load(name, content, self.limits), origin)
        )

    def _rules(self, suffix: str) -> str:
        """By what a file of a kind becomes passages: what changes these makes another library of the same files."""
        return f"{RULES}; {self._chunk_characters} characters; {self._embedder.name}; {suffix}"

    def _add(
        self, source: str, loaded: loaders.Loaded, origin: documents.Origin = documents.NO_FILE
    ) -> tuple[Document, bool]:
        digest = documents.text_digest(loaded.text)
        with self._database.read() as session:
            known = documents.find(session, source)
            same = documents.same_text(session, digest)
        if known is not None and known.removed_at is not None:
            known = None
        unaltered = known is not None and known.digest == digest
        if same is not None and same.source != source and not unaltered:
            if known is not None:
                self.remove(known.id)
            return same, False
        pieces = passages.split(
            loaded.text, title=loaded.title, media_type=loaded.media_type, limit=self._chunk_characters
        )
        flags = [tuple(hostile.passage_flags(p.title, p.text, p.start, p.end, loaded.hidden)) for p in pieces]
        if known is not None and unaltered and self._unchanged(known.id, pieces, flags):
            if origin != documents.NO_FILE:
                documents.set_origin(self._database, known, origin)
            return known, False
        return self._save(source, loaded, pieces, flags, origin), True

    def _unchanged(self, document_id: str, pieces: list[passages.Piece], flags: list[tuple[str, ...]]) -> bool:
        """Whether the same text would be split and flagged as it was: not so after a change of rules or model."""
        with self._database.read() as session:
            kept = documents.pieces_of(session, document_id, self._embedder.name)
        return kept == [(p.title, p.text, p.start, p.end, f) for p, f in zip(pieces, flags, strict=True)]

    def _save(
        self,
        source: str,
        loaded: loaders.Loaded,
        pieces: list[passages.Piece],
        flags: list[tuple[str, ...]],
        origin: documents.Origin,
    ) -> Document:
        kept = documents.save(
            self._database,
            source=source,
            title=loaded.title,
            media_type=loaded.media_type,
            text=loaded.text,
            drafts=self._drafts(pieces, flags),
            model=self._embedder.name,
            origin=origin,
        )
        self._index.changed()
        return kept

    def embed_anew(self) -> int:
        """Embed what only another embedding model has embedded, its passages as they are; how many documents."""
        with self._database.read() as session:
            left = chunks.of_other_models(session, self._embedder.name)
        for document_id in left:
            with self._database.read() as session:
                kept = documents.pieces_of(session, document_id)
            drafts = self._drafts([passages.Piece(*one[:4]) for one in kept], [one[4] for one in kept])
            documents.replace_chunks(self._database, document_id, drafts, self._embedder.name)
        if left:
            self._index.changed()
        return len(left)

    def _drafts(self, pieces: list[passages.Piece], flags: Sequence[tuple[str, ...]]) -> list[documents.Draft]:
        return [
            documents.Draft(piece.title, piece.text, piece.start, piece.end, embedding, flagged, parts)
            for piece, (embedding, parts), flagged in zip(pieces, self._embeddings(pieces), flags, strict=True)
        ]

    def _embeddings(self, pieces: list[passages.Piece]) -> list[tuple[bytes, bytes]]:
        """For each piece its vector as float32 and those of its sentences as int8; what is known is not made again."""
        keys = [(piece.title, documents.text_digest(piece.text)) for piece in pieces]
        with self._database.read() as session:
            kept = documents.embeddings_of(session, [digest for _, digest in keys], self._embedder.name)
        known = {key: (whole, parts) for key, (whole, parts) in kept.items() if parts is not None}
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            vectors = self._encode([f"{pieces[i].title}\n{pieces[i].text}" for i in new])
            parts = ranking.part_vectors([pieces[i].title for i in new], [pieces[i].text for i in new], self._encode)
            known.update(
                {keys[i]: (vector.tobytes(), part) for i, vector, part in zip(new, vectors, parts, strict=True)}
            )
        return [known[key] for key in keys]

    def encode(self, texts: list[str]) -> Vectors:
        """The embeddings of texts as questions: shape (texts, dimensions), unit length."""
        return self._embedder.encode(texts)

    def remove(self, document_id: str, *, vanished: bool = False) -> None:
        """Take a document out, for good or because its file `vanished`; raises NotFound."""
        documents.remove(self._database, document_id, vanished=vanished)
        self._index.changed()

    def removed(self, name: str, content: bytes) -> bool:
        """Whether somebody removed the document of this name while its file was as it is now."""
        with self._database.read() as session:
            return documents.removed_as_it_is(session, name, hashlib.sha256(content).hexdigest())

    def healthy(self) -> str:
        """An empty text, or what is wrong; raises what the store raises."""
        self._index.refresh()
        return ""

    def trouble(self) -> str:
        """An empty text, or why searches are slower than they could be, or do not find every document."""
        return self._index.trouble()

    def retriever(self, k: int) -> BaseRetriever:
        """This library as a LangChain retriever."""
        return LibraryRetriever(library=self, k=k)


class LibraryRetriever(BaseRetriever):
    """The library's search as a LangChain retriever; each document's metadata is the passage."""

    library: Any
    k: int

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[LangChainDocument]:
        found = self.library.search(query, self.k)
        return [LangChainDocument(page_content=passage["text"], metadata=passage) for passage in found]


def as_shown(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Passages as a prompt, the log and the interface have them, numbered in their order."""
    return [
        {
            "n": n,
            "document": hit.passage.document_id,
            "title": hit.passage.title,
            "chunk_id": hit.passage.id,
            "text": hit.passage.text,
            "digest": hit.passage.digest,
            "score": round(hit.score, 4),
            "start": hit.passage.start,
            "end": hit.passage.end,
            "flags": list(hit.passage.flags),
            "explain": {"rank": n, **{name: round(value, 4) for name, value in hit.explain.items()}},
        }
        for n, hit in enumerate(hits, start=1)
    ]
