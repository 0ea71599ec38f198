"""A small OpenID Connect provider for tests: discovery, keys, codes with PKCE and signed tokens, on loopback.

Whoever comes is signed in as `user`; `spoil` changes the claims of the next token before it is signed.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Form, HTTPException, Request
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.responses import JSONResponse, RedirectResponse

from tests.queued import serve

CLIENT, SECRET = "ratchet", "a shared secret of the test"


@dataclass
class OidcServer:
    """The provider's state."""

    issuer: str = ""
    user: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "preferred_username": "ada"})
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    signs_with: RSAKey | None = None
    algorithm: str = "RS256"
    spoil: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def token(self, asked: dict[str, str]) -> str:
        """The id token for a code."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.user}
        header = {"alg": self.algorithm, "kid": str(self.key.kid)}
        return jwt.encode(header, self.spoil(claims), self.signs_with or self.key, algorithms=[self.algorithm])


@contextmanager
def oidc_server() -> Iterator[OidcServer]:
    """A running provider."""
    server, app = OidcServer(), FastAPI()

    @app.get("/.well-known/openid-configuration")
    def discovery() -> dict[str, str]:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": server.issuer, **{name: f"{server.issuer}/{path}" for name, path in names.items()}}

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return {"keys": [server.key.as_dict(private=False)]}

    @app.get("/authorize")
    def authorize(request: Request) -> RedirectResponse:
        asked = dict(request.query_params)
        if asked.get("code_challenge_method") != "S256" or asked.get("client_id") != CLIENT:
            raise HTTPException(400)
        code = secrets.token_urlsafe(8)
        server.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 303)

    @app.post("/token")
    def token(
        request: Request,
        code: Annotated[str, Form()],
        code_verifier: Annotated[str, Form()],
        redirect_uri: Annotated[str, Form()],
    ) -> JSONResponse:
        asked = server.codes.pop(code, None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).decode().rstrip("=")
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        known = request.headers.get("authorization", "").removeprefix("Basic ") == basic
        if asked is None or not known or asked["code_challenge"] != challenge or asked["redirect_uri"] != redirect_uri:
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": server.token(asked)})

    with serve(app) as address:
        server.issuer = address.rstrip("/")
        yield server
