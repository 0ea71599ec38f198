"""What people say of answers that a judge scores too: the measure of how far the judge can be trusted."""

from collections import defaultdict
from collections.abc import Collection

from sqlmodel import Session, col, select

from store import audit
from store.database import Database
from store.errors import Invalid, NotFound
from store.exchanges import Logged
from store.models import Exchange, ExchangeState, Feedback, JudgeLabel, Label, now

METRICS = ("support", "accuracy", "relevance")


def put(database: Database, exchange_id: str, *, metric: str, value: bool, comment: str = "", actor: str) -> JudgeLabel:
    """Keep what a person says of an exchange's answer; a second word on the same metric replaces the first.

    Raises NotFound, and Invalid for an unknown metric or an exchange that was not finished.
    """
    if metric not in METRICS:
        raise Invalid(f'the metric is "{metric}", expected one of {", ".join(METRICS)}.')
    with database.write() as session:
        exchange = session.get(Exchange, exchange_id)
        if exchange is None:
            raise NotFound(f"no exchange {exchange_id}.")
        if exchange.state != ExchangeState.FINISHED:
            raise Invalid(f"exchange {exchange_id} is {exchange.state}: there is no whole answer to judge.")
        row = session.get(JudgeLabel, (exchange_id, metric)) or JudgeLabel(
            exchange_id=exchange_id, metric=metric, value=value
        )
        row.value, row.comment, row.labelled_by, row.labelled_at = value, comment, actor, now()
        session.add(row)
        details = {"metric": metric, "value": value}
        audit.record(
            session, actor=actor, action="judge.labelled", subject=exchange_id, comment=comment, details=details
        )
    return row


def withdraw(database: Database, exchange_id: str, *, metric: str, comment: str = "", actor: str) -> None:
    """Take back what was said of an exchange's answer on a metric, if anything was; raises NotFound and Invalid."""
    if metric not in METRICS:
        raise Invalid(f'the metric is "{metric}", expected one of {", ".join(METRICS)}.')
    with database.write() as session:
        if session.get(Exchange, exchange_id) is None:
            raise NotFound(f"no exchange {exchange_id}.")
        row = session.get(JudgeLabel, (exchange_id, metric))
        if row is None:
            return
        details = {"metric": metric, "value": row.value, "labelled_by": row.labelled_by}
        session.delete(row)
        audit.record(
            session, actor=actor, action="judge.withdrawn", subject=exchange_id, comment=comment, details=details
        )


def of(session: Session, exchange_ids: Collection[str]) -> dict[str, list[JudgeLabel]]:
    """The labels of some exchanges, by exchange."""
    found = defaultdict[str, list[JudgeLabel]](list)
    query = select(JudgeLabel).where(col(JudgeLabel.exchange_id).in_(exchange_ids))
    for row in session.exec(query.order_by(JudgeLabel.metric)):
        found[row.exchange_id].append(row)
    return found


def labelled(session: Session) -> list[tuple[JudgeLabel, Logged]]:
    """Every label with its exchange and what else was said of it."""
    found = session.exec(
        select(JudgeLabel, Exchange).where(JudgeLabel.exchange_id == Exchange.id).order_by(JudgeLabel.exchange_id)
    ).all()
    return [
        (row, Logged(exchange, session.get(Feedback, exchange.id), session.get(Label, exchange.id)))
        for row, exchange in found
    ]
