"""Who is asking: API keys, browser sessions and open chat on loopback; what each may do, and how much at once.

It reads people from the store and headers from the request; it knows no route and no answer.
"""

import ipaddress
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import Request

from bot.rates import Rates
from store import people
from store.database import Database
from store.errors import Busy, Conflict, NotAllowed, NotSignedIn
from store.models import Person, Role

COOKIE = "ratchet_session"
LOCAL = "local"
SIGN_INS_AT_ONCE = 4
SIGN_IN_HINT = "Sign in at /login, or send `Authorization: Bearer KEY`."
_RANK = {role: rank for rank, role in enumerate(Role)}
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@dataclass(frozen=True)
class Caller:
    """Who sent a request, and with what right.

    `role` is that of the key's or session's owner; it stays so when the request acts on behalf of somebody else.
    """

    person: Person
    role: str
    via: Literal["key", "session", "open"]
    scopes: frozenset[str] = frozenset()
    key_id: str | None = None

    def has(self, role: Role) -> bool:
        """Whether the caller's role includes `role`."""
        return _RANK[Role(self.role)] >= _RANK[role]

    def need(self, role: Role) -> None:
        """Raises NotAllowed when the caller's role is smaller than `role`."""
        if not self.has(role):
            hint = "Ask an admin to do it, or to raise your role."
            raise NotAllowed(f"this needs the role {role}, yours is {self.role}.", hint)

    def need_rank_of(self, person: Person) -> None:
        """Raises NotAllowed when `person` has a greater role than the caller, who is to act for them."""
        if _RANK[Role(person.role)] > _RANK[Role(self.role)]:
            raise NotAllowed(f'"{person.name}" is {person.role}: a key of role {self.role} cannot act for them.')


class Access:
    """Finds out who is asking and keeps each key within its share; safe to share between threads."""

    def __init__(
        self, database: Database, *, open_chat: bool, requests_per_key: int, requests_per_person: int, rates: Rates
    ) -> None:
        self._database = database
        self._open_chat = open_chat
        self._per_key = requests_per_key
        self._per_person = requests_per_person
        self._rates = rates
        self._running: Counter[str] = Counter()
        self._lock = threading.Lock()

    def caller(self, request: Request) -> Caller:
        """The caller of a request: its Bearer key, else its session cookie, else the open chat's page.

        Opening the chat page from this machine gives a cookie; without it a request is nobody's, here as elsewhere.

        Raises NotSignedIn when there is none or the key is wrong, NotAllowed for a request from another site, Busy when
        somebody who is no admin asks too often in a minute, or an address sends too many wrong keys.
        """
        try:
            found = self._caller(request)
        except NotSignedIn:
            if "authorization" in request.headers:
                self._rates.sign_in(address_of(request))
            raise
        if found.role != Role.ADMIN:
            self._rates.request(found.key_id or found.person.id)
        return found

    def _caller(self, request: Request) -> Caller:
        header = request.headers.get("authorization")
        if header is not None:
            return self._by_key(header)
        cookie = request.cookies.get(COOKIE)
        person = self._by_session(cookie) if cookie else None
        if person is not None and (person.name != LOCAL or person.password is not None):
            refuse_other_sites(request, browsers_only=True)
            return Caller(person=person, role=person.role, via="session")
        opens = self._open_chat and is_local(request)
        if opens and (person is not None or request.url.path == "/"):
            refuse_other_sites(request, browsers_only=person is not None)
            return Caller(person=self._local_person(), role=Role.CHAT, via="open")
        raise NotSignedIn("this needs a sign-in.", SIGN_IN_HINT)

    def _by_key(self, header: str) -> Caller:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NotSignedIn(f'the Authorization header is of kind "{scheme[:20]}".', "Send `Bearer KEY`.")
        with self._database.read() as session:
            found = people.by_key(session, secret.strip())
        if found is None:
            raise NotSignedIn("this key is unknown or was revoked.", "`python -m store key add NAME` makes a new one.")
        person, key = found
        return Caller(person=person, role=person.role, via="key", scopes=frozenset(key.scopes), key_id=key.id)

    def knows(self, request: Request) -> bool:
        """Whether the request carries a valid session cookie."""
        return self._by_session(request.cookies.get(COOKIE, "")) is not None

    def _by_session(self, secret: str) -> Person | None:
        with self._database.read() as session:
            return people.by_session(session, secret)

    def _local_person(self) -> Person:
        with self._database.read() as session:
            found = people.by_name(session, LOCAL)
        if found is None:
            try:
                return people.add(self._database, LOCAL, role=Role.CHAT, actor="open_chat")
            except Conflict:
                return self._local_person()
        if found.password is not None or found.role != Role.CHAT:
            raise NotSignedIn(f'open chat is off: somebody with an account is called "{LOCAL}".', SIGN_IN_HINT)
        return found

    def person_for(self, caller: Caller, user: str | None) -> Person:
        """Whom a request acts for: `user` when the key has the scope on_behalf, else the caller.

        Raises NotAllowed when `user` has a greater role than the key's owner.
        """
        if not user or "on_behalf" not in caller.scopes:
            return caller.person
        person = people.named(self._database, user)
        caller.need_rank_of(person)
        return person

    @contextmanager
    def slot(self, caller: Caller, person: Person) -> Iterator[None]:
        """One of the concurrent requests of a key, and of the person it is for; raises Busy when all are taken.

        Admins and their keys have no limit, whomever they act for.
        """
        with ExitStack() as places:
            if caller.role != Role.ADMIN:
                key = caller.key_id or caller.person.id
                places.enter_context(self._counted(f"key {key}", self._per_key, "requests of this key"))
            if Role.ADMIN not in (caller.role, person.role):
                whose = f'requests for "{person.name}"'
                places.enter_context(self._counted(f"person {person.id}", self._per_person, whose))
            yield

    @contextmanager
    def sign_in_slot(self, request: Request) -> Iterator[None]:
        """Room for one password check; each takes 64 MB, so only a few run at once, and few a minute of an address.

        Raises Busy.
        """
        self._rates.sign_in(address_of(request))
        with self._counted("sign-in", SIGN_INS_AT_ONCE, "sign-ins"):
            yield

    @contextmanager
    def _counted(self, key: str, limit: int, what: str) -> Iterator[None]:
        with self._lock:
            if self._running[key] >= limit:
                raise Busy(f"{limit} {what} are running, which is the limit.", "Try again in a second.")
            self._running[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[key] -= 1
                if not self._running[key]:
                    del self._running[key]


def refuse_other_sites(request: Request, *, browsers_only: bool) -> None:
    """Raises NotAllowed when another site's page sent this state-changing request.

    A browser says where a request comes from in Sec-Fetch-Site or Origin. Without either it is no browser of today:
    that is refused when only browsers hold the credential (`browsers_only`), else let through.
    """
    if request.method in _SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        fine = site in ("same-origin", "none")
    elif origin is not None:
        fine = urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    else:
        fine = not browsers_only
    if not fine:
        found = site or origin or "neither Sec-Fetch-Site nor Origin"
        raise NotAllowed(f"this request comes from another site ({found}).", "Use Ratchet's own pages, or an API key.")


def address_of(request: Request) -> str:
    """The address that a request came from, as the server saw it; what a header claims does not count."""
    return request.client.host if request.client else ""


def is_local(request: Request) -> bool:
    """Whether a request comes straight from this machine, under a loopback name.

    The name matters: a page of another site can make its own name point to 127.0.0.1.
    """
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    address = request.client.host if request.client else ""
    forwarded = any(name in request.headers for name in _FORWARDED)
    return not forwarded and _is_loopback(address) and (host == "localhost" or _is_loopback(host))


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
