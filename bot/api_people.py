"""People and their API keys over HTTP, for admins.

Secrets are shown once, when they are made; the store keeps digests.
"""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from sqlmodel import col, select
from starlette.responses import JSONResponse, Response

from bot import api_views
from bot.api_parts import Admin, Text, WithPage, WithParts, admin_only, listing
from store import audit, people
from store.errors import Conflict, Invalid, NotFound
from store.models import Key, Person, Role, now

MIN_PASSWORD = 10
router = APIRouter(prefix="/v1/admin", dependencies=[Depends(admin_only)])


class NewPerson(BaseModel):
    """Somebody to add; without a password they use keys only."""

    name: Text = Field(max_length=200)
    role: Text = Role.CHAT
    password: Text | None = Field(None, max_length=1_000)


class NewRole(BaseModel):
    """What somebody may do from now on: chat, reviewer or admin."""

    role: Text


class NewKey(BaseModel):
    """A key to make; it ends after so many days, null is never."""

    scopes: list[Text] = []
    days: float | None = Field(None, gt=0, le=3_650)


@router.get("/users")
def list_people(parts: WithParts, page: WithPage) -> dict[str, Any]:
    """People with their keys, by id."""
    query = select(Person).where(col(Person.erased_at).is_(None)).order_by(col(Person.id)).limit(page.limit + 1)
    if page.cursor is not None:
        query = query.where(col(Person.id) > page.cursor)
    with parts.database.read() as session:
        rows = session.exec(query).all()
        keys = session.exec(select(Key).where(col(Key.person_id).in_([row.id for row in rows]))).all()
    return listing(rows, page, lambda row: api_views.person(row, [key for key in keys if key.person_id == row.id]))


@router.post("/users")
def add_person(body: NewPerson, parts: WithParts, admin: Admin) -> Response:
    """Add somebody."""
    if body.password is not None and len(body.password) < MIN_PASSWORD:
        raise Invalid(f"the password has {len(body.password)} characters, at least {MIN_PASSWORD} are needed.")
    row = people.add(parts.database, body.name, role=body.role, actor=admin.person.id, password=body.password)
    return JSONResponse(api_views.person(row, []), 201)


@router.put("/users/{user_id}")
def change_role(user_id: str, body: NewRole, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Give somebody another role."""
    return api_views.person(people.set_role(parts.database, user_id, body.role, actor=admin.person.id), [])


@router.post("/users/{user_id}/keys")
def add_key(user_id: str, body: NewKey, parts: WithParts, admin: Admin) -> Response:
    """Make an API key; it is shown this once."""
    with parts.database.read() as session:
        person = people.find(session, user_id)
    key = people.add_key(parts.database, person, actor=admin.person.id, scopes=body.scopes, days=body.days)
    return JSONResponse({"key": key, "user_id": person.id, "scopes": body.scopes}, 201)


@router.delete("/keys/{key_id}")
def revoke_key(key_id: str, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Revoke an API key."""
    with parts.database.write() as session:
        row = session.get(Key, key_id)
        if row is None or row.revoked_at is not None:
            raise NotFound(f"no key {key_id}.", "GET /v1/admin/users lists them.")
        row.revoked_at = now()
        session.add(row)
        audit.record(session, actor=admin.person.id, action="key.revoked", subject=row.person_id)
    return api_views.key(row)


@router.post("/users/{user_id}/erase")
def erase_person(user_id: str, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Erase somebody and everything they said; adapters trained on it are flagged."""
    with parts.database.read() as session:
        person = people.find(session, user_id)
        if person.role == Role.ADMIN and people.count(session, role=Role.ADMIN) == 1:
            raise Conflict(f'"{person.name}" is the only admin.', "Add another admin first.")
    return {"id": person.id, **people.erase(parts.database, person.id, actor=admin.person.id)}
