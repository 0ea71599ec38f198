"""Users, roles, keys, browser sessions, consent and erasure. Secrets are kept as digests only."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError
from sqlmodel import Session, col, delete, func, or_, select

from store import adapters, audit, conversations
from store.database import Database
from store.errors import Conflict, Invalid, NotAllowed, NotFound
from store.models import (
    Adapter,
    AdapterState,
    Conversation,
    Exchange,
    Identity,
    Key,
    Login,
    Person,
    Preview,
    Role,
    now,
)

SCOPES = ("on_behalf", "given_passages")
SESSION_LIFE = timedelta(days=14)
SETUP_LIFE = timedelta(hours=24)
_HASHER = PasswordHasher()


def secret_digest(secret: str) -> str:
    """The digest under which a key, session or link is kept; secrets are random, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(database: Database, name: str, *, role: str, actor: str, password: str | None = None) -> Person:
    """Add a person; raises Invalid for an unknown role or an empty name, Conflict for a name that is taken."""
    row = _person(name, role, password)
    with database.write() as session:
        _enter(session, row, actor)
    return row


def _person(name: str, role: str, password: str | None) -> Person:
    name = name.strip()
    if not name or len(name) > 100:
        raise Invalid(f"the name has {len(name)} characters, expected 1 to 100.")
    if role not in list(Role):
        raise Invalid(f'role is "{role}", expected one of {", ".join(Role)}.')
    return Person(name=name, role=role, password=_HASHER.hash(password) if password else None)


def _enter(session: Session, row: Person, actor: str) -> None:
    if by_name(session, row.name) is not None:
        raise Conflict(f'somebody is called "{row.name}" already.')
    session.add(row)
    audit.record(session, actor=actor, action="person.added", subject=row.id, details={"role": row.role})


def by_name(session: Session, name: str) -> Person | None:
    """The person of that name."""
    return session.exec(select(Person).where(Person.name == name)).first()


def named(database: Database, name: str) -> Person:
    """The person of that name, added with role chat when new; for keys that act on behalf of others."""
    with database.read() as session:
        found = by_name(session, name)
    if found is not None and found.erased_at is None:
        return found
    try:
        return add(database, name, role=Role.CHAT, actor="on_behalf")
    except Conflict:  # another request for the same person came first
        with database.read() as session:
            return find(session, name)


def find(session: Session, name_or_id: str) -> Person:
    """A person by id or name; raises NotFound."""
    row = session.get(Person, name_or_id) or by_name(session, name_or_id)
    if row is None or row.erased_at is not None:
        raise NotFound(f'nobody is called "{name_or_id}".')
    return row


def names(session: Session, ids: Sequence[str]) -> dict[str, str]:
    """The names of people by id."""
    return dict(session.exec(select(Person.id, Person.name).where(col(Person.id).in_(ids))).all())


def count(session: Session, *, role: str | None = None) -> int:
    """How many people there are, of a role or in all."""
    query = select(func.count()).select_from(Person).where(col(Person.erased_at).is_(None))
    return session.exec(query.where(Person.role == role) if role else query).one()


def set_role(database: Database, person_id: str, role: str, *, actor: str) -> Person:
    """Give somebody another role; raises NotFound, Invalid for an unknown role, Conflict for the only admin."""
    if role not in list(Role):
        raise Invalid(f'role is "{role}", expected one of {", ".join(Role)}.')
    with database.write() as session:
        row = find(session, person_id)
        if row.role == Role.ADMIN and role != Role.ADMIN and count(session, role=Role.ADMIN) == 1:
            raise Conflict(f'"{row.name}" is the only admin.', "Add another admin first.")
        details = {"from": row.role, "to": role}
        row.role = role
        session.add(row)
        audit.record(session, actor=actor, action="person.role", subject=row.id, details=details)
    return row


def add_key(
    database: Database,
    person: Person,
    *,
    actor: str,
    scopes: Sequence[str] = (),
    secret: str | None = None,
    days: float | None = None,
) -> str:
    """Make an API key for a person and return it; it is shown this once and ends after `days`, None is never.

    Raises Invalid for an unknown scope or a life that is not above 0.
    """
    unknown = set(scopes) - set(SCOPES)
    if unknown:
        raise Invalid(f"unknown scope {', '.join(sorted(unknown))}, expected some of {', '.join(SCOPES)}.")
    if days is not None and days <= 0:
        raise Invalid(f"the key is to live {days:g} days, expected more than 0.")
    ends = now() + timedelta(days=days) if days is not None else None
    key = secret or f"rk_{secrets.token_urlsafe(24)}"
    with database.write() as session:
        row = Key(person_id=person.id, digest=secret_digest(key), prefix=key[:6], scopes=list(scopes), expires_at=ends)
        session.add(row)
        audit.record(session, actor=actor, action="key.added", subject=person.id, details={"prefix": row.prefix})
    return key


def by_key(session: Session, secret: str) -> tuple[Person, Key] | None:
    """Whose key it is, or None."""
    query = select(Person, Key).join(Key, col(Key.person_id) == col(Person.id))
    query = query.where(Key.digest == secret_digest(secret), col(Key.revoked_at).is_(None))
    query = query.where(or_(col(Key.expires_at).is_(None), col(Key.expires_at) > now()))
    row = session.exec(query.where(col(Person.erased_at).is_(None))).first()
    return None if row is None else (row[0], row[1])


def sign_in(database: Database, name: str, password: str) -> str:
    """A new browser session's secret; raises NotAllowed for a wrong name or password, without saying which."""
    with database.read() as session:
        person = by_name(session, name)
    try:
        _HASHER.verify(person.password if person and person.password else _nobody(), password)
    except (VerifyMismatchError, VerificationError) as error:
        raise NotAllowed("wrong name or password.") from error
    if person is None or person.erased_at is not None:
        raise NotAllowed("wrong name or password.")
    return open_session(database, person)


@cache
def _nobody() -> str:
    """What an unknown name's password is checked against, so that it takes as long as a known one's."""
    return _HASHER.hash("nobody")


def open_session(database: Database, person: Person) -> str:
    """A new browser session's secret for a person; sessions and links that are over go."""
    secret = secrets.token_urlsafe(32)
    with database.write() as session:
        session.exec(delete(Login).where(col(Login.expires_at) < now()))
        session.add(Login(digest=secret_digest(secret), person_id=person.id, expires_at=now() + SESSION_LIFE))
    return secret


def by_session(session: Session, secret: str) -> Person | None:
    """Whose browser session it is, or None when it is unknown or over."""
    row = session.get(Login, secret_digest(secret))
    if row is None or row.kind != "session" or row.expires_at < now() or row.person_id is None:
        return None
    person = session.get(Person, row.person_id)
    return person if person is not None and person.erased_at is None else None


def close_session(database: Database, secret: str) -> None:
    """End a browser session."""
    with database.write() as session:
        session.exec(delete(Login).where(col(Login.digest) == secret_digest(secret)))


def setup_secret(database: Database) -> str | None:
    """A fresh one-time set-up secret while no admin exists, else None; older ones stop working."""
    with database.write() as session:
        session.exec(delete(Login).where(col(Login.kind) == "setup"))
        if count(session, role=Role.ADMIN) > 0:
            return None
        secret = secrets.token_urlsafe(24)
        session.add(Login(digest=secret_digest(secret), kind="setup", expires_at=now() + SETUP_LIFE))
    return secret


def claim_setup(database: Database, secret: str, *, name: str, password: str) -> Person:
    """Use the set-up secret once to make the first admin; raises NotAllowed when it is wrong, used or over."""
    if len(password) < 10:
        raise Invalid(f"the password has {len(password)} characters, at least 10 are needed.")
    person = _person(name, Role.ADMIN, password)
    with database.write() as session:
        row = session.get(Login, secret_digest(secret))
        if row is None or row.kind != "setup" or row.expires_at < now():
            raise NotAllowed("this set-up link is wrong, used or over.", "Restart the bot to get a new one.")
        session.delete(row)
        _enter(session, person, "setup")
    return person


def erase(database: Database, name_or_id: str, *, actor: str) -> dict[str, int]:
    """Erase a person: exchanges, feedback, labels, embeddings, keys and sessions go, a tombstone stays.

    Adapters trained on their rows are flagged in their lineage, and quarantined where they could come to serve; what
    serves goes on until another one replaces it, and does not come back. Returns how many rows of each kind went.
    """
    with database.write() as session:
        person = find(session, name_or_id)
        exchanges = list(session.exec(select(Exchange.id).where(Exchange.person_id == person.id)))
        flagged = _flag_adapters(session, person.id, actor=actor)
        conversations.forget(session, exchanges)
        conversations.forget_feedback(session, person.id)
        session.exec(delete(Preview).where(col(Preview.person_id) == person.id))
        session.exec(delete(Conversation).where(col(Conversation.person_id) == person.id))
        session.exec(delete(Key).where(col(Key.person_id) == person.id))
        session.exec(delete(Login).where(col(Login.person_id) == person.id))
        session.exec(delete(Identity).where(col(Identity.person_id) == person.id))
        person.name, person.password, person.consent, person.erased_at = f"erased {person.id}", None, False, now()
        session.add(person)
        counts = {"exchanges": len(exchanges), "adapters_flagged": flagged}
        audit.record(session, actor=actor, action="person.erased", subject=person.id, details=counts)
    return counts


def _flag_adapters(session: Session, person_id: str, *, actor: str) -> int:
    flagged = 0
    for adapter in session.exec(select(Adapter)):
        if person_id in adapter.lineage.get("people", []):
            adapter.lineage = {**adapter.lineage, "erased": [*adapter.lineage.get("erased", []), person_id]}
            session.add(adapter)
            flagged += 1
            if adapter.state in adapters.COULD_SERVE:
                adapters.move(session, adapter.id, AdapterState.QUARANTINED, actor=actor, comment=adapters.ERASED)
    return flagged
