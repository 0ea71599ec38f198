"""What a teacher model says of exchanges that people disliked and nobody corrected; each is asked once of a model."""

from sqlmodel import Session, col, or_, select

from store.database import Database
from store.models import Exchange, ExchangeState, Feedback, TaughtAnswer, now


def wanting(session: Session, *, model: str, most: int) -> list[Exchange]:
    """The newest exchanges that were disliked, not corrected, may be trained on and `model` has not answered."""
    known = select(TaughtAnswer.exchange_id).where(TaughtAnswer.model == model)
    query = (
        select(Exchange)
        .join(Feedback, col(Feedback.exchange_id) == col(Exchange.id))
        .where(Feedback.rating == "down", or_(Feedback.correction == "", col(Feedback.correction).is_(None)))
        .where(Exchange.state == ExchangeState.FINISHED, col(Exchange.trainable).is_(True))
        .where(col(Exchange.id).not_in(known))
        .order_by(col(Exchange.created_at).desc())
    )
    found = [row for row in session.exec(query) if row.passages and not any(p.get("flags") for p in row.passages)]
    return found[:most]


def keep(database: Database, exchange_id: str, *, model: str, text: str) -> None:
    """Keep an answer in place of an earlier one; nothing where the exchange was deleted meanwhile."""
    with database.write() as session:
        if session.get(Exchange, exchange_id) is None:
            return
        row = session.get(TaughtAnswer, exchange_id) or TaughtAnswer(exchange_id=exchange_id, model=model, text=text)
        row.model, row.text, row.answered_at = model, text, now()
        session.add(row)
