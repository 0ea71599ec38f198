"""Embeddings of exchanges: kept once, read in the order they were made; which exchanges still need a label.

It knows no model: vectors come and go as bytes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col, select

from store.database import Database
from store.exchanges import ANSWERED
from store.models import Embedding, Exchange, Label


class Kept(NamedTuple):
    """The kept vectors of one exchange; `parent_id` is the exchange before it."""

    id: int
    exchange_id: str
    question: bytes
    answer: bytes
    words: bytes
    given: bool
    parent_id: str | None


_KEPT: tuple[Any, ...] = tuple(getattr(Embedding, name) for name in Kept._fields)


class Asked(NamedTuple):
    """The text of one exchange that is not embedded yet."""

    exchange_id: str
    question: str
    answer: str
    passages: list[dict[str, Any]]
    parent_id: str | None


def without_label(session: Session, *, limit: int = 1000) -> list[str]:
    """The ids of answered exchanges without a label, in order of id; compares two indexes, reads no rows of others."""
    missing = sa.except_(sa.select(col(Exchange.id)), sa.select(col(Label.exchange_id)))
    query = select(Exchange.id).where(col(Exchange.id).in_(missing), col(Exchange.state).in_(ANSWERED))
    return list(session.exec(query.order_by(col(Exchange.id)).limit(limit)))


def with_old_label(session: Session, low: str, high: str, *, limit: int = 1000) -> list[str]:
    """The ids of exchanges that the classifier labelled under a taxonomy outside `low` to `high`.

    Where there is none, that costs one look into an index.
    """
    return list(session.exec(select(Label.exchange_id).where(_stale(low, high)).limit(limit)))


def old_without_vectors(session: Session, low: str, high: str, model: str, *, limit: int = 1000) -> list[str]:
    """Those of them that have no vectors of a model."""
    mine = sa.exists().where(col(Embedding.exchange_id) == col(Label.exchange_id), col(Embedding.model) == model)
    return list(session.exec(select(Label.exchange_id).where(_stale(low, high), ~mine).limit(limit)))


def _stale(low: str, high: str) -> Any:
    other = sa.or_(col(Label.taxonomy) < low, col(Label.taxonomy) > high)
    return sa.and_(col(Label.labelled_by).is_(None), other)


def not_embedded(session: Session, ids: Sequence[str], model: str) -> list[Asked]:
    """The texts of those exchanges, and of the ones before them, that have no vectors of this model."""
    parents = select(Exchange.parent_id).where(col(Exchange.id).in_(ids))
    wanted = sorted({*ids, *(parent for parent in session.exec(parents) if parent)})
    have = select(Embedding.exchange_id).where(col(Embedding.exchange_id).in_(wanted), Embedding.model == model)
    missing = sorted(set(wanted) - {row for (row,) in session.execute(have)})
    columns = (Exchange.id, Exchange.question, Exchange.answer, Exchange.passages, Exchange.parent_id)
    query = sa.select(*columns).where(col(Exchange.id).in_(missing)).order_by(col(Exchange.created_at))  # type: ignore[call-overload]
    return [Asked(*row) for row in session.execute(query)]


def save(database: Database, rows: Sequence[Embedding]) -> None:
    """Keep vectors in the place of those of other models; exchanges that were erased meanwhile are passed over."""
    ids = [row.exchange_id for row in rows]
    with database.write() as session:
        there = set(session.exec(select(Exchange.id).where(col(Exchange.id).in_(ids))))
        session.execute(sa.delete(Embedding).where(col(Embedding.exchange_id).in_(ids)))
        session.add_all([row for row in rows if row.exchange_id in there])


def of(session: Session, ids: Sequence[str], model: str) -> list[Kept]:
    """The kept vectors of exchanges, in the order that they were embedded."""
    query = sa.select(*_KEPT).where(col(Embedding.exchange_id).in_(ids), col(Embedding.model) == model)
    return [Kept(*row) for row in session.execute(query.order_by(col(Embedding.id)))]


def old_labels(session: Session, low: str, high: str, model: str, *, after: int = 0, limit: int = 10_000) -> list[Kept]:
    """Embedded exchanges whose label is the classifier's under a taxonomy outside `low` to `high`.

    Reads in the order of embedding from `after` on, which is that of the labels too, so that both tables are read and
    written page after page.
    """
    # A function of labelled_by keeps the database from walking the labels by their index instead.
    by_classifier = sa.func.coalesce(Label.labelled_by, "") == ""
    query = sa.select(*_KEPT).join(Label, col(Label.exchange_id) == col(Embedding.exchange_id))
    query = query.where(col(Embedding.id) > after, col(Embedding.model) == model, by_classifier)
    query = query.where(sa.or_(col(Label.taxonomy) < low, col(Label.taxonomy) > high))
    return [Kept(*row) for row in session.execute(query.order_by(col(Embedding.id)).limit(limit))]
