"""What can be searched at one moment, in memory: ids, vectors and BM25; read whole from the store, then never changed.

Texts stay in the store: a search reads those of its candidates.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from retrieval.embedding import Vectors
from retrieval.words import Words
from store import chunks
from store.chunks import Searchable
from store.database import Database


@dataclass(frozen=True)
class Snapshot:
    """Row i is the passage `ids[i]` of the document `documents[i]` with the unit vector `vectors[i]`, float32.

    `event` is the newest outbox event that it holds; `hidden` documents were embedded by another model.
    """

    event: int
    ids: list[str]
    documents: list[str]
    at: dict[str, int]
    vectors: Vectors
    words: Words
    titles: Words
    hidden: int


@dataclass
class _Gathered:
    ids: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    vectors: bytearray = field(default_factory=bytearray)

    def texts(self, rows: Iterable[Searchable]) -> Iterator[str]:
        for row in rows:
            self.ids.append(row.id)
            self.documents.append(row.document_id)
            self.titles.append(row.title)
            self.vectors += row.embedding
            yield f"{row.title}\n{row.text}"


def read(database: Database, model: str) -> Snapshot:
    """The live passages as this embedding model has them."""
    gathered = _Gathered()
    with database.read() as session:
        event = chunks.last_event(session)
        words = Words(gathered.texts(chunks.searchable(session, model)))
        hidden = len(chunks.of_other_models(session, model))
    count = len(gathered.ids)
    vectors = np.frombuffer(gathered.vectors, dtype="<f4").reshape(count, -1) if count else np.zeros((0, 1), np.float32)
    return Snapshot(
        event=event,
        ids=gathered.ids,
        documents=gathered.documents,
        at={one: i for i, one in enumerate(gathered.ids)},
        vectors=vectors,
        words=words,
        titles=Words(gathered.titles),
        hidden=hidden,
    )
