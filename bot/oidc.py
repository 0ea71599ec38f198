"""Signing in through an OpenID Connect provider: authorization code with PKCE, by Authlib and joserfc.

Nothing is kept between the two requests but one short-lived HttpOnly cookie: state, nonce and code verifier are derived
from its secret, so that an answer fits only the browser that asked. It opens no session; the route does.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from store.errors import Invalid, NotAllowed, Unavailable
from store.models import Role

COOKIE = "ratchet_oidc"
COOKIE_SECONDS = 600
CALLBACK = "/oidc/callback"
LEEWAY_SECONDS = 60
KEYS_SECONDS = 3600.0
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
"""Signatures by a private key only: with a shared secret, or none, anybody could be anybody."""


@dataclass(frozen=True)
class Arrived:
    """Who the provider says somebody is; `role` is None where it does not say."""

    issuer: str
    subject: str
    name: str
    role: Role | None


@dataclass
class Provider:
    """One provider; what it publishes is read when first needed and its keys are read again each hour."""

    issuer: str
    client_id: str
    client_secret: str
    name_claim: str = "preferred_username"
    role_claim: str = ""
    admins: Sequence[str] = ()
    reviewers: Sequence[str] = ()
    _known: dict[str, Any] = field(default_factory=dict, repr=False)
    _keys: tuple[float, KeySet] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def address(self, secret: str, *, callback: str) -> str:
        """Where to send the browser."""
        with self._client(callback) as client:
            url, _ = client.create_authorization_url(
                self._published("authorization_endpoint"),
                state=derived(secret, "state"),
                nonce=derived(secret, "nonce"),
                code_verifier=derived(secret, "verifier"),
            )
        return str(url)

    def arrived(self, secret: str, *, code: str, state: str, callback: str, refused: str = "") -> Arrived:
        """Who came back with a code; raises NotAllowed for an answer that this browser did not ask for or a refusal."""
        if not secret or not secrets.compare_digest(state, derived(secret, "state")):
            raise NotAllowed("this sign-in was not begun in this browser, or took too long.", "Begin again at /login.")
        if refused or not code:
            raise NotAllowed(f'the identity provider said "{refused[:100] or "nothing"}".', "Begin again at /login.")
        try:
            with self._client(callback) as client:
                token = client.fetch_token(
                    self._published("token_endpoint"),
                    code=code,
                    grant_type="authorization_code",
                    code_verifier=derived(secret, "verifier"),
                )
        except (OAuthError, httpx.HTTPStatusError, ValueError) as error:
            raise NotAllowed(f"the identity provider refused the code: {error}.", "Begin again at /login.") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"the identity provider at {self.issuer} does not answer: {error}.") from error
        return self._who(str(token.get("id_token", "")), nonce=derived(secret, "nonce"))

    def _who(self, id_token: str, *, nonce: str) -> Arrived:
        try:
            claims = self._claims(id_token, nonce)
        except (JoseError, ValueError) as error:
            raise NotAllowed(
                f"the identity provider's token is not valid: {error}.", "Begin again at /login."
            ) from error
        name = str(claims.get(self.name_claim) or claims.get("email") or claims["sub"])
        return Arrived(self.issuer, str(claims["sub"]), name, self.role_of(claims))

    def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self.issuer},
            aud={"essential": True, "value": self.client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            token = jwt.decode(id_token, self._signing_keys(fresh=False), algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            token = jwt.decode(id_token, self._signing_keys(fresh=True), algorithms=ALGORITHMS)
        registry.validate(token.claims)
        return dict(token.claims)

    def role_of(self, claims: dict[str, Any]) -> Role | None:
        """The role that the claim `role_claim` gives; None where no claim is named: roles are then given here."""
        if not self.role_claim:
            return None
        said = claims.get(self.role_claim, [])
        values = {said} if isinstance(said, str) else {str(one) for one in said or []}
        if values & set(self.admins):
            return Role.ADMIN
        return Role.REVIEWER if values & set(self.reviewers) else Role.CHAT

    def _client(self, callback: str) -> OAuth2Client:
        return OAuth2Client(
            client_id=self.client_id,
            client_secret=self.client_secret,
            redirect_uri=callback,
            scope="openid profile email",
            code_challenge_method="S256",
            timeout=10,
        )

    def _published(self, name: str) -> str:
        """An address from the provider's discovery document; raises Unavailable where that cannot be used."""
        with self._lock:
            if not self._known:
                self._known = self._fetched(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        if self._known.get("issuer") != self.issuer:
            raise Unavailable(
                f'the identity provider calls itself "{self._known.get("issuer")}", expected "{self.issuer}".',
                "Correct oidc.issuer.",
            )
        found = str(self._known.get(name, ""))
        if not found:
            raise Unavailable(f"the identity provider at {self.issuer} publishes no {name}.")
        return found

    def _signing_keys(self, *, fresh: bool) -> KeySet:
        address = self._published("jwks_uri")
        with self._lock:
            if self._keys is None or fresh or time.monotonic() - self._keys[0] > KEYS_SECONDS:
                self._keys = (time.monotonic(), KeySet.import_key_set(self._fetched(address)))  # type: ignore[arg-type]
            return self._keys[1]

    def _fetched(self, address: str) -> dict[str, Any]:
        try:
            response = httpx.get(address, timeout=10)
            response.raise_for_status()
            found = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the identity provider at {self.issuer} does not answer: {error}.") from error
        return found if isinstance(found, dict) else {}


def derived(secret: str, name: str) -> str:
    """A value for one purpose from the cookie's secret, 64 hexadecimal digits."""
    return hashlib.sha256(f"{name} {secret}".encode()).hexdigest()


def checked(issuer: str) -> str:
    """The issuer, if it can be trusted with secrets; raises Invalid for one without TLS that is not on this machine."""
    parts = urlsplit(issuer)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Invalid(f'oidc.issuer is "{issuer}", expected an address that begins with https://.')
    return issuer
