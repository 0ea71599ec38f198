"""The tasks of exchanges: what the classifier found, and what people say it is; theirs wins."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlmodel import Session, col, select

from store import audit
from store.database import Database
from store.errors import Invalid, NotFound
from store.models import Exchange, Feedback, Label, now

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
    """Write first labels of the classifier; labels that are there already stay, erased exchanges are passed over."""
    at, ids = now(), [one.exchange_id for one in found]
    with database.write() as session:
        there = set(session.exec(select(Exchange.id).where(col(Exchange.id).in_(ids))))
        labelled = set(session.exec(select(Label.exchange_id).where(col(Label.exchange_id).in_(ids))))
        rows = [
            {**one._asdict(), "taxonomy": taxonomy, "labelled_at": at}
            for one in found
            if one.exchange_id in there - labelled
        ]
        if rows:
            session.execute(sa.insert(Label), rows)


def relabel(database: Database, found: Sequence[tuple[str, float, str, str]], *, taxonomy: str) -> None:
    """Write the classifier's labels over its older ones: rows of task, confidence, scores as JSON text, exchange id.

    Labels that people gave stay, and so do those of erased exchanges. The driver gets the rows as they are, because
    there may be a million of them.
    """
    with database.write() as session:
        connection = session.connection()
        dialect = connection.dialect
        mark = "?" if dialect.paramstyle == "qmark" else "%s"
        scores = mark if dialect.name == "sqlite" else f"CAST({mark} AS JSON)"
        kind = Label.metadata.tables["label"].c.labelled_at.type.dialect_impl(dialect)
        process = kind.bind_processor(dialect)
        at = process(now()) if process is not None else now()
        statement = (
            f"UPDATE label SET task = {mark}, confidence = {mark}, scores = {scores}, taxonomy = {mark},"
            f" labelled_at = {mark} WHERE exchange_id = {mark} AND labelled_by IS NULL"
        )
        rows = [(task, confidence, text, taxonomy, at, key) for task, confidence, text, key in found]
        connection.exec_driver_sql(statement, rows)


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


def corrections(session: Session) -> Sequence[tuple[str, str]]:
    """What people wrote instead of answers, each with the task of its exchange."""
    query = select(Label.task, Feedback.correction).join(Feedback, col(Feedback.exchange_id) == Label.exchange_id)
    return session.exec(query.where(Feedback.correction != "")).all()
