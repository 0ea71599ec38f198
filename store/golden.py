"""The golden set: exchanges that are held out of training for ever, whatever their number; it only grows.

Kept beside the sides (table `side`), under keys of its own. An exchange needs an answer that a reviewer wrote or
approved: it is what the candidates are measured against.
"""

from sqlmodel import Session, col, select

from store import audit, exchanges
from store.database import Database
from store.errors import Conflict, Invalid, NotFound
from store.models import CycleStep, Exchange, Feedback, Side

PREFIX = "golden:"
HELD_OUT = "held_out"


def members(session: Session) -> frozenset[str]:
    """The ids of the exchanges in the golden set."""
    keys = session.exec(select(Side.key).where(col(Side.key).startswith(PREFIX, autoescape=True)))
    return frozenset(key.removeprefix(PREFIX) for key in keys)


def looks(session: Session) -> dict[str, int]:
    """The members, in order of id, each with how many evaluations have asked it since it was added.

    Candidates that are chosen by the same questions again and again come to suit these: what was asked often says less.
    """
    rows = session.exec(select(Side).where(col(Side.key).startswith(PREFIX, autoescape=True)).order_by(Side.key)).all()
    done = select(CycleStep.started_at).where(CycleStep.name == "evaluate", col(CycleStep.finished_at).is_not(None))
    times = session.exec(done).all()
    return {row.key.removeprefix(PREFIX): sum(at >= row.first_seen for at in times) for row in rows}


def add(database: Database, exchange_id: str, *, actor: str, comment: str) -> None:
    """Put an exchange into the golden set; the audit record has who and why.

    Raises NotFound, Invalid without a comment or without an approved answer, Conflict when it is there already.
    """
    if not comment.strip():
        raise Invalid("a comment is needed: why this question?", 'Add --comment "…".')
    with database.write() as session:
        exchange = session.get(Exchange, exchange_id)
        if exchange is None:
            raise NotFound(f"no exchange {exchange_id}.")
        if not exchange.trainable:
            raise Invalid(f"exchange {exchange_id} may not be used: its person did not agree.", "Choose another one.")
        if not _approved(session, exchange_id):
            raise Invalid(
                f"exchange {exchange_id} has no answer that a reviewer wrote or approved.", "Correct it first."
            )
        key = PREFIX + exchange_id
        if session.get(Side, key) is not None:
            raise Conflict(f"exchange {exchange_id} is in the golden set already.")
        session.add(Side(key=key, side=HELD_OUT))
        audit.record(session, actor=actor, action="golden.added", subject=exchange_id, comment=comment)


def _approved(session: Session, exchange_id: str) -> bool:
    feedback = session.get(Feedback, exchange_id)
    return feedback is not None and exchanges.reviewed(feedback)
