"""Embeddings of exchanges: kept once, read in the order they were made; which exchanges still need a label.

It knows no model: vectors come and go as bytes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from store.database import Database
from store.exchanges import ANSWERED
from store.models import Embedding, Exchange, Label


class Kept(NamedTuple):
    """The kept vectors of one exchange, and the question of the one before it (empty when there is none)."""

    id: int
    exchange_id: str
    question: bytes
    answer: bytes
    words: bytes
    given: bool
    before: bytes
    before_words: bytes


class Asked(NamedTuple):
    """The text of one exchange that is not embedded yet."""

    exchange_id: str
    question: str
    answer: str
    passages: list[dict[str, Any]]
    parent_id: str | None


def without_label(session: Session, *, after: str = "", limit: int = 1000) -> list[str]:
    """The ids of answered exchanges without a label, in order of id; walks the keys only, not the rows."""
    unlabelled = ~sa.exists().where(col(Label.exchange_id) == col(Exchange.id))
    query = select(Exchange.id).where(col(Exchange.id) > after, unlabelled, col(Exchange.state).in_(ANSWERED))
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
    mine = select(Embedding).where(col(Embedding.exchange_id).in_(ids), Embedding.model == model).subquery()
    return _with_before(session, mine, model)


def old_labels(
    session: Session, low: str, high: str, model: str, *, after: int = 0, limit: int = 10_000
) -> tuple[list[Kept], int | None]:
    """A batch of embedded exchanges whose label is the classifier's under a taxonomy outside `low` to `high`.

    Returns them with the `after` of the next batch, None at the end. Reads in the order of embedding, which is that of
    the labels too, so that both tables are read and written page after page.
    """
    some = select(Embedding).where(col(Embedding.id) > after).order_by(col(Embedding.id)).limit(limit).subquery()
    last = session.execute(sa.select(sa.func.max(some.c.id))).scalar()
    stale = sa.and_(col(Label.exchange_id) == some.c.exchange_id, _stale(low, high))
    return _with_before(session, some, model, (Label, stale)), last


def _with_before(session: Session, some: Any, model: str, only: tuple[Any, Any] | None = None) -> list[Kept]:
    before = aliased(Embedding)
    known = sa.and_(col(before.exchange_id) == some.c.parent_id, col(before.model) == some.c.model)
    columns = [some.c[name] for name in Kept._fields[:6]]
    query = sa.select(*columns, sa.func.coalesce(before.question, b""), sa.func.coalesce(before.words, b""))
    joined = some.outerjoin(before, known)
    if only is not None:
        joined = joined.join(*only)
    query = query.select_from(joined).where(some.c.model == model).order_by(some.c.id)
    return [Kept(*row) for row in session.execute(query)]
