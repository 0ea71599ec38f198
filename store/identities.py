"""People as an identity provider knows them: its subject, not a name that can change, says who somebody is."""

from sqlmodel import Session

from store import audit, people
from store.database import Database
from store.models import Identity, Person, Role

ACTOR = "identity provider"


def arrive(database: Database, *, issuer: str, subject: str, name: str, role: Role | None) -> Person:
    """The person of an identity, added at the first time; `role` is what the provider says now, None keeps what it is.

    A name that somebody else has gets a number: an account here is never taken over by a name given elsewhere. Whoever
    was erased comes as somebody new.
    """
    with database.write() as session:
        known = session.get(Identity, (issuer, subject))
        if known is None:
            person = Person(name=_free(session, name.strip()[:90] or "somebody"), role=role or Role.CHAT)
            session.add(person)
            session.flush()
            session.add(Identity(issuer=issuer, subject=subject, person_id=person.id))
            details = {"role": person.role, "issuer": issuer}
            audit.record(session, actor=ACTOR, action="person.added", subject=person.id, details=details)
            return person
        person = session.get_one(Person, known.person_id)
        if role is not None and person.role != role:
            details = {"was": person.role, "role": role}
            audit.record(session, actor=ACTOR, action="person.role", subject=person.id, details=details)
            person.role = role
            session.add(person)
        return person


def _free(session: Session, name: str) -> str:
    found, number = name, 1
    while people.by_name(session, found) is not None:
        number += 1
        found = f"{name} ({number})"
    return found
