"""Over HTTP: what was asked and answered, and what people say of it.

It decides who may see and rate which exchange; the log itself is `store/exchanges.py`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bot import api_views
from bot.api_parts import AnyCaller, Name, Text, WithPage, WithParts, listing
from bot.auth import Caller
from store import exchanges, judge_labels, people
from store.database import Database
from store.errors import NotAllowed, NotFound
from store.models import Person, Role

router = APIRouter(prefix="/v1")
Short = Annotated[str | None, Query(max_length=100)]


class FeedbackRequest(BaseModel):
    """What somebody says of an answer; `approved` is for reviewers, `user` for keys that act on behalf.

    It replaces all that was said; a word on approval without a rating changes only what it names.
    """

    exchange_id: Name
    rating: Text | None = None
    reasons: list[Annotated[Text, Field(max_length=200)]] = Field(default=[], max_length=20)
    comment: Text = Field("", max_length=5_000)
    correction: Text = ""
    approved: bool | None = None
    user: Name | None = None

    def unsaid(self) -> set[str]:
        """The fields that stay as they are."""
        said = self.model_fields_set
        alone = "approved" in said and "rating" not in said
        return {"rating", "reasons", "comment", "correction"} - said if alone else set()


@router.post("/feedback")
def give_feedback(body: FeedbackRequest, caller: AnyCaller, parts: WithParts) -> dict[str, Any]:
    """Rate or correct an answer; a second call replaces the first, rating null takes it back."""
    person = _rating_person(parts.database, caller, parts.access.person_for(caller, body.user), body)
    own_word = person.id == caller.person.id and caller.has(Role.REVIEWER)
    if body.approved and not caller.has(Role.REVIEWER):
        raise NotAllowed("only reviewers and admins approve a correction.", "Leave approved out.")
    row = exchanges.rate(
        parts.database,
        body.exchange_id,
        person=person,
        rating=body.rating,
        reasons=body.reasons,
        comment=body.comment,
        correction=body.correction,
        approved=True if own_word and body.approved is None else body.approved,
        unsaid=body.unsaid(),
    )
    return api_views.feedback(row)


def _rating_person(database: Database, caller: Caller, named: Person, body: FeedbackRequest) -> Person:
    """Who rates: the person named, else, for keys that act on behalf, whoever asked.

    What a reviewer's key says of approval is its owner's word, and so is what it says beside that. A key without the
    scope rates as its owner; raises NotAllowed for somebody else's exchange below reviewer, and for whoever asked when
    their role is greater than the key's.
    """
    with database.read() as session:
        exchange = exchanges.get(session, body.exchange_id).exchange
        own_word = body.approved is not None and caller.has(Role.REVIEWER)
        if "on_behalf" in caller.scopes and body.user is None and not own_word:
            named = session.get(Person, exchange.person_id) or named
            caller.need_rank_of(named)
    if exchange.person_id != named.id and not caller.has(Role.REVIEWER):
        raise NotAllowed(f"exchange {exchange.id} belongs to somebody else.", "Rate your own answers.")
    return named


@router.get("/exchanges")
def list_exchanges(
    caller: AnyCaller,
    parts: WithParts,
    page: WithPage,
    everybody: bool = False,
    task: str | None = None,
    rating: Short = None,
    adapter: Short = None,
    q: Annotated[Text, Query(max_length=200)] = "",
) -> dict[str, Any]:
    """The caller's exchanges, newest first, that fit everything given; `everybody=true`, for reviewers: all of them.

    `rating` is up, down, rated, unrated or corrected, `q` is looked for in question and answer.
    """
    if everybody:
        caller.need(Role.REVIEWER)
    wanted = {"task": task, "rating": rating, "adapter": adapter, "text": q}
    owner = None if everybody else caller.person.id
    with parts.database.read() as session:
        rows = exchanges.page(session, limit=page.limit + 1, before=page.cursor, person_id=owner, **wanted)
    return listing(rows, page, api_views.exchange)


@router.get("/exchanges/{exchange_id}")
def show_exchange(
    exchange_id: str, caller: AnyCaller, parts: WithParts, user: Annotated[str | None, Query(max_length=100)] = None
) -> dict[str, Any]:
    """One exchange: one's own, or anybody's for reviewers, with the labels that the judge is held against."""
    with parts.database.read() as session:
        logged = exchanges.get(session, exchange_id)
        said = judge_labels.of(session, [exchange_id])[exchange_id]
        names = people.names(session, [one.labelled_by for one in said])
    if not caller.has(Role.REVIEWER) and logged.exchange.person_id != parts.access.person_for(caller, user).id:
        raise NotFound(f"no exchange {exchange_id}.")
    told = {"judge_labels": [api_views.judge_label(one, names) for one in said]} if caller.has(Role.REVIEWER) else {}
    return {**api_views.exchange(logged), **told}
