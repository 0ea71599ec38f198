"""The log: exchanges begin, finish and are rated here; curation reads them from here.

It knows nothing of models, prompts or retrieval: it keeps what it is given.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, select

from store import answers, filters, histories, paging, processes, staleness
from store.database import Database
from store.errors import Conflict, Invalid, NotAllowed, NotFound
from store.models import (
    Conversation,
    Exchange,
    ExchangePassage,
    ExchangeState,
    Feedback,
    Label,
    Person,
    Role,
    TaughtAnswer,
    now,
)

MAX_CORRECTION = 20_000
RATINGS = ("up", "down", None)
ANSWERED = (ExchangeState.FINISHED, ExchangeState.STOPPED)


@dataclass(frozen=True)
class Logged:
    """An exchange with what was said of it; `stale` are the digests of its stale passages, where looked up.

    `taught` is what a teacher model answers instead.
    """

    exchange: Exchange
    feedback: Feedback | None
    label: Label | None
    stale: frozenset[str] | None = None
    taught: str = ""

    def passages(self) -> list[dict[str, Any]]:
        """The passages that it was shown, each with `stale` where that was looked up."""
        if self.stale is None:
            return self.exchange.passages
        gone = self.stale
        return [{**p, "stale": bool(p.get("document")) and p.get("digest") in gone} for p in self.exchange.passages]


def begin(database: Database, exchange: Exchange, *, title: str = "") -> None:
    """Commit an exchange as `streaming`, before its first token, and pin its conversation to its adapter.

    A conversation that begins with it is entered under `title`. Raises NotFound when the conversation or the person
    was deleted since the question was asked.
    """
    exchange.state = ExchangeState.STREAMING
    with database.write() as session:
        conversation = session.get(Conversation, exchange.conversation_id) or _new_conversation(
            session, exchange, title
        )
        conversation.pinned_adapter = exchange.adapter
        session.add(conversation)
        session.flush()
        session.add(exchange)


def _new_conversation(session: Session, exchange: Exchange, title: str) -> Conversation:
    person = session.get(Person, exchange.person_id)
    if exchange.parent_id is not None or person is None or person.erased_at is not None:
        raise NotFound(f"conversation {exchange.conversation_id} was deleted.", "Start a new one.")
    title = title or exchange.question[: histories.MAX_TITLE]
    return Conversation(id=exchange.conversation_id, person_id=exchange.person_id, title=title)


def finish(database: Database, exchange_id: str, *, state: ExchangeState, **values: Any) -> None:
    """Finish a streaming exchange with its answer, citations, timings and token counts, before the last event is sent.

    Raises Conflict when it is not streaming any more.
    """
    with database.write() as session:
        row = session.get(Exchange, exchange_id)
        if row is None or row.state != ExchangeState.STREAMING:
            raise Conflict(f"exchange {exchange_id} is {row.state if row else 'unknown'}, not streaming.")
        row.state, row.finished_at = state, now()
        for name, value in values.items():
            setattr(row, name, value)
        session.add(row)
        keep_passages(session, row)


def keep_passages(session: Session, exchange: Exchange) -> None:
    """Enter which passages of documents an exchange was shown, for looking up what rests on a document.

    Cited are those that its correction cites, or else its answer. The caller's write transaction commits them.
    """
    feedback = session.get(Feedback, exchange.id)
    corrected = answers.cited_numbers(feedback.correction) if feedback is not None else []
    numbers = corrected or answers.cited_numbers(exchange.answer)
    shown: dict[tuple[str, str], bool] = {}
    for passage in exchange.passages:
        document, digest = passage.get("document"), passage.get("digest")
        if isinstance(document, str) and isinstance(digest, str):
            key = (document, digest)
            shown[key] = shown.get(key, False) or passage.get("n") in numbers
    for (document, digest), cited in shown.items():
        session.merge(ExchangePassage(exchange_id=exchange.id, document_id=document, digest=digest, cited=cited))


def abort_left_over(database: Database) -> int:
    """Mark as `aborted` the streaming exchanges whose bot is no longer alive; returns how many."""
    with database.write() as session:
        living = {process.id for process in processes.alive(session, "bot")}
        left = session.exec(select(Exchange).where(Exchange.state == ExchangeState.STREAMING)).all()
        dead = [row for row in left if row.process not in living]
        for row in dead:
            row.state, row.finished_at = ExchangeState.ABORTED, now()
            session.add(row)
            keep_passages(session, row)
    return len(dead)


def rate(
    database: Database,
    exchange_id: str,
    *,
    person: Person,
    rating: str | None,
    reasons: Sequence[str] = (),
    comment: str = "",
    correction: str = "",
    approved: bool | None = None,
    unsaid: Collection[str] = (),
) -> Feedback:
    """Keep what a person says of an answer; a second call replaces the first but for what `unsaid` names.

    Another thumb than before is this person's from now on; the same one stays that of who gave it, when they gave it,
    unless somebody other than a chat user gives a chat user's again without a correction.
    What a reviewer wrote or approved stays the right answer whatever a chat user says later: of them the rating, its
    reasons and the comment are kept. `approved` false withdraws that: then nobody reviewed it.

    Raises NotFound, NotAllowed for somebody else's exchange, Invalid for an unknown rating or an over-long correction.
    """
    if rating not in RATINGS:
        raise Invalid(f'rating is "{rating}", expected "up", "down" or null.')
    if len(correction) > MAX_CORRECTION:
        raise Invalid(f"the correction has {len(correction)} characters, at most {MAX_CORRECTION} are kept.")
    with database.write() as session:
        exchange = session.get(Exchange, exchange_id)
        if exchange is None:
            raise NotFound(f"no exchange {exchange_id}.")
        if exchange.person_id != person.id and person.role == "chat":
            raise NotAllowed(f"exchange {exchange_id} belongs to somebody else.", "Rate your own answers.")
        row = session.get(Feedback, exchange_id) or Feedback(exchange_id=exchange_id, person_id=person.id)
        at = now()
        again = not correction.strip() and _outranks(session, person, row)
        if "rating" not in unsaid and (rating != row.rating or again):
            row.rating = rating
            row.rated_by, row.rated_at = (None, None) if rating is None else (person.id, at)
        row.reasons = row.reasons if "reasons" in unsaid else list(reasons)
        row.comment = row.comment if "comment" in unsaid else comment
        row.updated_at = at
        if not {"correction", "approved"} <= set(unsaid) and (person.role != Role.CHAT or not reviewed(row)):
            _correct(row, person, row.correction if "correction" in unsaid else correction.strip(), approved=approved)
        session.add(row)
        session.flush()
        keep_passages(session, exchange)
    return row


def _correct(row: Feedback, person: Person, correction: str, *, approved: bool | None) -> None:
    """Make a text the right answer by a person's word, a reviewed one unless `approved` is false."""
    row.person_id, row.correction = person.id, correction
    row.approved_by = person.id if approved and correction else None
    row.by_reviewer = bool(correction) and person.role != Role.CHAT and approved is not False


def _outranks(session: Session, person: Person, row: Feedback) -> bool:
    """Whether a thumb is that of a chat user, or of nobody who is left, and this person is no chat user."""
    rater = session.get(Person, row.rated_by) if row.rated_by is not None else None
    return person.role != Role.CHAT and (rater is None or rater.erased_at is not None or rater.role == Role.CHAT)


def reviewed(row: Feedback) -> bool:
    """Whether a correction was approved, or written by somebody who could approve then, whatever their role is now."""
    return bool(row.correction) and (row.approved_by is not None or row.by_reviewer)


def get(session: Session, exchange_id: str) -> Logged:
    """One exchange with feedback, label and its stale passages; raises NotFound."""
    exchange = session.get(Exchange, exchange_id)
    if exchange is None:
        raise NotFound(f"no exchange {exchange_id}.")
    stale = staleness.among(session, exchange.passages)
    return Logged(exchange, session.get(Feedback, exchange_id), session.get(Label, exchange_id), stale)


def page(session: Session, *, limit: int = 50, before: str | None = None, **wanted: Any) -> list[Logged]:
    """Exchanges newest first; `before` is the id of the last one seen, the rest are fields of Filter.

    Raises Invalid for an unknown rating or `before`.
    """
    query = select(Exchange, Feedback, Label).select_from(Exchange)
    query = query.join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
    query = query.join(Label, col(Label.exchange_id) == col(Exchange.id), isouter=True)
    for condition in filters.conditions(filters.Filter(**wanted)):
        query = query.where(condition)
    return [Logged(*row) for row in session.exec(paging.newest(session, query, Exchange, limit=limit, before=before))]


def counted(session: Session) -> tuple[int, int]:
    """How many exchanges ended with an answer, and how many of them somebody rated."""
    query = select(func.count(), func.count(col(Feedback.exchange_id))).select_from(Exchange)
    query = query.join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
    answered, rated = session.exec(query.where(col(Exchange.state).in_(ANSWERED))).one()
    return int(answered), int(rated)


def to_approve(session: Session) -> int:
    """How many corrections nobody has approved."""
    query = select(func.count()).select_from(Feedback).where(Feedback.correction != "")
    return session.exec(query.where(col(Feedback.approved_by).is_(None))).one()


def logged(session: Session, *, since: datetime | None = None) -> Iterator[Logged]:
    """All exchanges that ended with an answer, oldest first.

    One by one, so that a large log never is in memory whole; the session must stay open.
    """
    query = select(Exchange, Feedback, Label, TaughtAnswer.text).select_from(Exchange)
    for table in (Feedback, Label, TaughtAnswer):
        query = query.join(table, col(table.exchange_id) == col(Exchange.id), isouter=True)
    query = query.where(col(Exchange.state).in_(ANSWERED))
    if since is not None:
        query = query.where(col(Exchange.created_at) >= since)
    query = query.order_by(col(Exchange.created_at)).execution_options(yield_per=500)
    return (
        Logged(exchange, feedback, label, taught=text or "") for exchange, feedback, label, text in session.exec(query)
    )
