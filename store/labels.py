"""The tasks of exchanges: what the classifier found, and what people say it is; theirs wins."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col, select

from store import audit
from store.database import Database
from store.errors import Invalid, NotFound
from store.models import Exchange, Label, now

UNCLASSIFIED = "unclassified"


class Found(NamedTuple):
    """What the classifier makes of one exchange; confidence and scores are in [0, 1]."""

    exchange_id: str
    task: str
    confidence: float
    scores: dict[str, float]


class Taught(NamedTuple):
    """A question whose task a person named."""

    exchange_id: str
    question: str
    task: str


def save(database: Database, found: Sequence[Found], *, taxonomy: str) -> None:
    """Write labels of the classifier; those that people gave stay, exchanges that were erased are passed over."""
    at = now()
    rows = [{**one._asdict(), "taxonomy": taxonomy, "labelled_at": at} for one in found]
    ids = [one.exchange_id for one in found]
    table = Label.metadata.tables["label"]
    change = sa.update(table).where(table.c.exchange_id == sa.bindparam("key"), table.c.labelled_by.is_(None))
    names = ("task", "confidence", "scores", "taxonomy", "labelled_at")
    change = change.values({name: sa.bindparam(f"new_{name}") for name in names})
    with database.write() as session:
        known = set(session.exec(select(Label.exchange_id).where(col(Label.exchange_id).in_(ids))))
        there = set(session.exec(select(Exchange.id).where(col(Exchange.id).in_(set(ids) - known))))
        old = [
            {"key": r["exchange_id"], **{f"new_{n}": r[n] for n in names}} for r in rows if r["exchange_id"] in known
        ]
        new = [row for row in rows if row["exchange_id"] in there]
        connection = session.connection()
        if old:
            connection.execute(change, old)
        if new:
            connection.execute(sa.insert(table), new)


def by_people(session: Session, *, most: int) -> list[Taught]:
    """The newest labels that people gave, oldest first, with the questions."""
    query = select(Label.exchange_id, Exchange.question, Label.task)
    query = query.join(Exchange, col(Label.exchange_id) == col(Exchange.id)).where(col(Label.labelled_by).is_not(None))
    query = query.order_by(col(Label.labelled_at).desc(), col(Label.exchange_id)).limit(most)
    return [Taught(*row) for row in reversed(session.exec(query).all())]


def correct(database: Database, exchange_id: str, task: str, *, known: Collection[str], actor: str) -> Label:
    """A person names the task of an exchange; the next cycle's classifier learns from it.

    Raises NotFound, or Invalid for a task that is neither in `known` nor "unclassified".
    """
    allowed = [*known, UNCLASSIFIED]
    if task not in allowed:
        raise Invalid(
            f'the task is "{task}", expected one of {", ".join(allowed)}.', "Tasks are in configs/tasks.yaml."
        )
    with database.write() as session:
        if session.get(Exchange, exchange_id) is None:
            raise NotFound(f"no exchange {exchange_id}.")
        row = session.get(Label, exchange_id) or Label(exchange_id=exchange_id, task="", confidence=1, taxonomy="")
        details = {"from": row.task, "to": task}
        row.task, row.confidence, row.scores = task, 1.0, {task: 1.0}
        row.labelled_by, row.labelled_at = actor, now()
        session.add(row)
        audit.record(session, actor=actor, action="label.corrected", subject=exchange_id, details=details)
    return row
