"""What rests on documents, exchanges, training examples and adapters, and which of it is stale (reading only).

A passage is stale when no live passage holds its text any more, be it of another document. Only passages of documents
that this store knows can be stale: not given ones, nor those of a log that came from elsewhere.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, case, exists
from sqlmodel import Session, col, func, select

from store.errors import NotFound
from store.models import Adapter, Chunk, Document, Exchange, ExchangePassage, Feedback

_AT_ONCE = 500


@dataclass(frozen=True)
class RestingExchange:
    """An exchange that was shown a document's passages; an `example` cites one and was, or may be, trained on."""

    id: str
    stale: bool
    example: bool


@dataclass(frozen=True)
class RestingAdapter:
    """An adapter with how many of its examples cite a document; None where its lineage names documents alone."""

    id: str
    state: str
    examples: int | None


@dataclass(frozen=True)
class Resting:
    """What rests on a document."""

    document: Document
    exchanges: list[RestingExchange]
    examples: list[str]
    adapters: list[RestingAdapter]

    @property
    def stale_exchanges(self) -> list[str]:
        """The ids of the exchanges that were shown one of its passages which is stale now."""
        return [one.id for one in self.exchanges if one.stale]


@dataclass(frozen=True)
class StaleDocument:
    """A document with how many exchanges were shown passages of it that are stale now."""

    id: str
    title: str
    source: str
    removed: bool
    stale_exchanges: int


@dataclass(frozen=True)
class Trained:
    """How many examples an adapter was trained on and how many of them are stale; None where its lineage has none."""

    examples: int | None
    stale: int | None

    @property
    def share(self) -> float | None:
        """The stale share of the examples, 0 to 1."""
        return self.stale / self.examples if self.examples and self.stale is not None else None


def learned_from(lineage: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """The examples that an adapter was trained on: the exchange of each and the digests of what it rests on.

    A withheld example has the exchange of the one that it stands beside.
    """
    return [row for name in ("examples", "withheld") for row in (lineage.get(name) or {}).items()]


def live_digests(session: Session) -> frozenset[str]:
    """The digests of the texts of all passages that can be retrieved."""
    return frozenset(session.exec(select(Chunk.digest).where(col(Chunk.retired_at).is_(None))))


def gone(session: Session, digests: Collection[str]) -> frozenset[str]:
    """Those of some texts' digests that no live passage has."""
    wanted = sorted(set(digests))
    found: set[str] = set()
    for start in range(0, len(wanted), _AT_ONCE):
        some = col(Chunk.digest).in_(wanted[start : start + _AT_ONCE])
        found.update(session.exec(select(Chunk.digest).where(some, col(Chunk.retired_at).is_(None))))
    return frozenset(wanted) - found


def among(session: Session, passages: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The digests of those logged passages that are stale."""
    named = {one["document"] for one in passages if isinstance(one.get("document"), str)}
    known = set(session.exec(select(Document.id).where(col(Document.id).in_(named)))) if named else set()
    return gone(session, [one["digest"] for one in passages if one.get("document") in known and one.get("digest")])


def resting_on(session: Session, document_id: str) -> Resting:
    """What rests on a document, removed or not, by id; raises NotFound."""
    document = session.get(Document, document_id)
    if document is None:
        raise NotFound(f"no document {document_id}.", "`python -m retrieval list` shows the ids of present ones.")
    trained, adapters = _trained_on(session, document)
    exchanges = [
        RestingExchange(key, bool(stale), bool(wanted) or key in trained)
        for key, stale, wanted in session.exec(_shown(document_id))
    ]
    examples = trained | {one.id for one in exchanges if one.example}
    return Resting(document, exchanges, sorted(examples), adapters)


def _stale() -> ColumnElement[bool]:
    live = select(Chunk.id).where(Chunk.digest == ExchangePassage.digest, col(Chunk.retired_at).is_(None))
    return ~exists(live)


def _shown(document_id: str) -> Any:
    """The exchanges that a document was shown to, whether stale, and whether their cited answer was wanted."""
    wanted = col(ExchangePassage.cited) & col(Exchange.trainable)
    wanted &= (col(Feedback.rating) == "up") | (col(Feedback.correction) != "")
    flags = [func.max(case((flag, 1), else_=0)) for flag in (_stale(), wanted)]
    return (
        select(ExchangePassage.exchange_id, *flags)
        .join(Exchange, col(Exchange.id) == col(ExchangePassage.exchange_id))
        .join(Feedback, col(Feedback.exchange_id) == col(ExchangePassage.exchange_id), isouter=True)
        .where(ExchangePassage.document_id == document_id)
        .group_by(col(ExchangePassage.exchange_id))
        .order_by(col(ExchangePassage.exchange_id))
    )


def _trained_on(session: Session, document: Document) -> tuple[set[str], list[RestingAdapter]]:
    """The examples that adapters were trained on and that cite a document's texts, past or present; those adapters."""
    texts = set(session.exec(select(Chunk.digest).where(Chunk.document_id == document.id)))
    shown = select(ExchangePassage.digest).where(ExchangePassage.document_id == document.id)
    texts.update(session.exec(shown))
    examples: set[str] = set()
    adapters: list[RestingAdapter] = []
    for key, state, lineage in session.exec(select(Adapter.id, Adapter.state, Adapter.lineage).order_by(Adapter.id)):
        if lineage.get("examples") is None and f"document:{document.source}" in lineage.get("documents", []):
            adapters.append(RestingAdapter(key, state, None))
        mine = [example for example, digests in learned_from(lineage) if texts.intersection(digests)]
        if mine:
            adapters.append(RestingAdapter(key, state, len(mine)))
            examples.update(mine)
    return examples, adapters


def trained_on(session: Session, lineage: Mapping[str, Any]) -> Trained:
    """How much of what an adapter was trained on is stale; an example is when a passage that it cites is."""
    if lineage.get("examples") is None:
        return Trained(None, None)
    cited = [digests for _, digests in learned_from(lineage)]
    lost = gone(session, [digest for digests in cited for digest in digests])
    return Trained(len(cited), sum(not lost.isdisjoint(digests) for digests in cited))


def stale(session: Session, *, limit: int = 1_000, after: str | None = None) -> list[StaleDocument]:
    """The documents, removed ones too, that stale exchanges rest on, by id; `after` is the last id seen."""
    named: list[Any] = [Document.id, Document.title, Document.source, Document.removed_at]
    columns = [*named, func.count(col(ExchangePassage.exchange_id).distinct())]
    query = (
        select(*columns)
        .join(ExchangePassage, col(ExchangePassage.document_id) == col(Document.id))
        .where(_stale())
        .group_by(*named)
        .order_by(col(Document.id))
        .limit(limit)
    )
    if after is not None:
        query = query.where(col(Document.id) > after)
    rows = session.exec(query)
    return [StaleDocument(key, title, source, at is not None, count) for key, title, source, at, count in rows]
