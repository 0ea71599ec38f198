"""The two routes of signing in through an identity provider: to it, and back with who somebody is."""

import secrets

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from bot import oidc
from bot.api_parts import Parts, WithParts
from bot.sessions import keep_session, local_path
from store import identities, people
from store.errors import NotFound

NEXT = "ratchet_next"
router = APIRouter(prefix="/oidc")


def provider_of(parts: Parts) -> oidc.Provider:
    """The provider; raises NotFound where the settings name none."""
    if parts.provider is None:
        raise NotFound("no identity provider is set up here.", "Sign in at /login, or set oidc.issuer.")
    return parts.provider


@router.get("/login")
def begin(request: Request, parts: WithParts, next: str = "/") -> Response:
    """Send the browser to the identity provider."""
    provider, secret = provider_of(parts), secrets.token_urlsafe(32)
    response = RedirectResponse(provider.address(secret, callback=_callback(request)), 303)
    for name, value in ((oidc.COOKIE, secret), (NEXT, local_path(next))):
        response.set_cookie(
            name,
            value,
            max_age=oidc.COOKIE_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
            path=router.prefix,
        )
    return response


@router.get("/callback")
def end(request: Request, parts: WithParts, code: str = "", state: str = "", error: str = "") -> Response:
    """Take the provider's answer and open a session."""
    provider = provider_of(parts)
    secret, target = request.cookies.get(oidc.COOKIE, ""), local_path(request.cookies.get(NEXT, "/"))
    who = provider.arrived(secret, code=code, state=state, callback=_callback(request), refused=error)
    person = identities.arrive(parts.database, issuer=who.issuer, subject=who.subject, name=who.name, role=who.role)
    response = RedirectResponse(target, 303)
    keep_session(request, response, people.open_session(parts.database, person))
    for name in (oidc.COOKIE, NEXT):
        response.delete_cookie(name, path=router.prefix)
    return response


def _callback(request: Request) -> str:
    return str(request.url_for("end"))
