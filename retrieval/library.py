"""Documents in, passages out: what the bot and the commands use.

It reads no settings and serves no requests.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever

from retrieval import loaders, passages
from retrieval.embedding import Embedder
from retrieval.index import Index
from store import documents
from store.database import Database
from store.errors import Invalid
from store.models import Document


class Library:
    """Everything that can be retrieved."""

    def __init__(
        self, database: Database, embedder: Embedder, index: Index, *, chunk_characters: int, min_score: float
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._index = index
        self._chunk_characters = chunk_characters
        self._min_score = min_score

    def search(self, query: str, k: int) -> list[dict[str, Any]]:
        """The passages that may answer, best first; those under the minimum score are left out, so none is possible.

        Each has n, document, title, chunk_id, text, digest, score in [0, 1], and start and end in the document.
        """
        found = [(chunk, score) for chunk, score in self._index.search(query, k) if score >= self._min_score]
        return [
            {
                "n": n,
                "document": chunk.document_id,
                "title": chunk.title,
                "chunk_id": chunk.id,
                "text": chunk.text,
                "digest": chunk.digest,
                "score": round(score, 4),
                "start": chunk.start,
                "end": chunk.end,
            }
            for n, (chunk, score) in enumerate(found, start=1)
        ]

    def add_text(self, *, source: str, title: str, text: str, media_type: str = "text/plain") -> tuple[Document, bool]:
        """Keep a text as a document; returns it and whether anything was new. The same text twice is one document."""
        if not text.strip():
            raise Invalid("the document holds no text.")
        with self._database.read() as session:
            known = documents.find(session, source)
            digest = documents.text_digest(text)
            same = documents.same_text(session, digest)
        if same is not None and (known is None or known.removed_at or known.digest == digest):
            return same, False
        pieces = passages.split(text, title=title, media_type=media_type, limit=self._chunk_characters)
        drafts = [
            documents.Draft(piece.title, piece.text, piece.start, piece.end, embedding)
            for piece, embedding in zip(pieces, self._embeddings(pieces), strict=True)
        ]
        kept = documents.save(
            self._database,
            source=source,
            title=title,
            media_type=media_type,
            text=text,
            drafts=drafts,
            model=self._embedder.name,
        )
        self._index.changed()
        return kept, True

    def _embeddings(self, pieces: list[passages.Piece]) -> list[bytes]:
        keys = [(piece.title, documents.text_digest(piece.text)) for piece in pieces]
        with self._database.read() as session:
            known = documents.embeddings_of(session, [digest for _, digest in keys], self._embedder.name)
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            vectors = self._embedder.encode([f"{pieces[i].title}\n{pieces[i].text}" for i in new])
            known.update({keys[i]: vector.tobytes() for i, vector in zip(new, vectors, strict=True)})
        return [known[key] for key in keys]

    def add_file(self, *, name: str, content: bytes) -> tuple[Document, bool]:
        """Keep a file's text as a document, named by `name`; raises Invalid when it cannot be read."""
        loaded = loaders.load(name, content)
        return self.add_text(source=name, title=loaded.title, text=loaded.text, media_type=loaded.media_type)

    def remove(self, document_id: str) -> None:
        """Take a document out; raises NotFound."""
        documents.remove(self._database, document_id)
        self._index.changed()

    def healthy(self) -> str:
        """An empty text, or what is wrong; raises what the store raises."""
        self._index.refresh()
        return ""

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


def files_under(paths: list[Path]) -> Iterator[Path]:
    """The readable files in files and folders, in a stable order; hidden files and links are passed over.

    Raises Invalid for a path that does not exist.
    """
    for path in paths:
        if not path.exists():
            raise Invalid(f"{path} does not exist.")
        inside = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink())
        yield from (p for p in inside if not any(part.startswith(".") and part != ".." for part in p.parts[1:]))
