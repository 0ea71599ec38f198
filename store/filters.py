"""Which exchanges of the log are wanted, as conditions of a query (it runs none)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement
from sqlmodel import col, or_

from store.errors import Invalid
from store.models import Exchange, Feedback, Label


@dataclass(frozen=True)
class Filter:
    """Which exchanges are wanted: those that fit everything given; `text` is looked for in question and answer.

    `rating` is up, down, corrected, unrated or any thumb: rated.
    """

    task: str | None = None
    rating: str | None = None
    adapter: str | None = None
    text: str | None = None
    person_id: str | None = None
    conversation_id: str | None = None
    ids: Sequence[str] | None = None


def conditions(wanted: Filter) -> Iterator[ColumnElement[bool]]:
    """The conditions on exchange, feedback and label; raises Invalid for an unknown rating."""
    exact = {
        col(Label.task): wanted.task,
        col(Exchange.adapter): wanted.adapter,
        col(Exchange.person_id): wanted.person_id,
        col(Exchange.conversation_id): wanted.conversation_id,
    }
    yield from (column == value for column, value in exact.items() if value)
    if wanted.text and wanted.text.strip():
        words = wanted.text.strip()
        yield or_(*(col(part).icontains(words, autoescape=True) for part in (Exchange.question, Exchange.answer)))
    if wanted.rating:
        yield _rated(wanted.rating)
    if wanted.ids is not None:
        yield col(Exchange.id).in_(wanted.ids)


def _rated(rating: str) -> ColumnElement[bool]:
    given = {
        "up": col(Feedback.rating) == "up",
        "down": col(Feedback.rating) == "down",
        "rated": col(Feedback.rating).is_not(None),
        "unrated": col(Feedback.rating).is_(None),
        "corrected": col(Feedback.correction) != "",
    }
    if rating not in given:
        raise Invalid(f'the rating to look for is "{rating}", expected one of {", ".join(given)}.')
    return given[rating]
