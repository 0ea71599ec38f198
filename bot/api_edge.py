"""The outermost layer of HTTP: security headers, the limit on bodies, and every error as one JSON sentence.

It knows no route: what it does holds for all of them, the unknown ones included.
"""

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DatabaseError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from store.errors import Busy, NotAllowed, NotSignedIn, RatchetError

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
LINGER_SECONDS = 5.0
"""How long a refused upload is still read, so that its sender sees the answer instead of a broken connection."""
_TYPES = {400: "bad_request", 401: "not_signed_in", 403: "not_allowed", 404: "not_found", 405: "method_not_allowed"}
_TYPES |= {413: "too_large", 415: "invalid", 422: "invalid", 429: "busy", 503: "unavailable"}

_JSON_HINT = "Send UTF-8 JSON with Content-Type: application/json."
_USUAL = {
    "not_found": "Check the id: the lists of the API show what there is.",
    "conflict": "Look at the state that it is in now, then decide again.",
    "invalid": "Correct it and send it again.",
    "too_large": "Split it into smaller parts.",
    "not_allowed": "Ask an admin.",
}
"""What to do where an error says no more than what was found and expected."""


class Edge:
    """ASGI middleware: adds the security headers and refuses bodies over `max_bytes`, announced or not."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith("/static/") else "no-store")
            await send(message)

        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdigit() and int(announced) > self._max_bytes:
            await self._refuse(scope, receive, send_with_headers)
        else:
            await self._app(scope, self._counted(receive), send_with_headers)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def receive_counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise HTTPException(413, self._sentence())
            return message

        return receive_counted

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = failure(413, "too_large", self._sentence(), "Split it into smaller parts.")
        response.headers["Connection"] = "close"
        await send({"type": "http.response.start", "status": 413, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        if "expect" not in Headers(scope=scope):
            with anyio.move_on_after(LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _sentence(self) -> str:
        return f"the request's body is larger than the limit of {self._max_bytes / 1_000_000:.0f} MB."


def failure(status: int, kind: str, message: str, hint: str = "", *, retry_after: int = 1) -> JSONResponse:
    """An error as every route answers it; `retry_after` is in seconds."""
    text, hint = message.encode("utf-8", "replace").decode(), hint or _USUAL.get(kind, "")
    headers = {"Retry-After": str(retry_after)} if status in (429, 503) else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": {"type": kind, "message": text, "hint": hint}}, status, headers=headers)


def wants_page(request: Request) -> bool:
    """Whether a browser is opening a page, as opposed to a program calling the API."""
    path = request.url.path
    is_page = path in {"/", "/admin"} or path.startswith("/admin/")
    return is_page and request.method == "GET" and "text/html" in request.headers.get("accept", "")


def signs_out(request: Request) -> bool:
    """Whether a browser's page signs out; its session may be over already."""
    is_form = request.method == "POST" and "text/html" in request.headers.get("accept", "")
    return is_form and request.url.path == "/logout"


def install(app: FastAPI) -> None:
    """Answer every error of `app` in the one form."""
    app.add_exception_handler(RatchetError, _ratchet_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(DatabaseError, _database_error)
    app.add_exception_handler(Exception, _unforeseen)


def _ratchet_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RatchetError)
    if isinstance(error, NotSignedIn | NotAllowed) and wants_page(request):
        needs = "&needs=admin" if isinstance(error, NotAllowed) else ""
        return RedirectResponse(f"/login?next={request.url.path}{needs}", 303)
    if isinstance(error, NotSignedIn) and signs_out(request):
        return RedirectResponse("/login", 303)
    retry_after = error.retry_after if isinstance(error, Busy) else 1
    return failure(error.status, error.type, error.message, error.hint, retry_after=retry_after)


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    message, hint = str(error.detail), ""
    if error.status_code == 404:
        message, hint = f"there is nothing at {where}.", "The API begins with /v1; the chat page is /."
    elif error.status_code == 400 and "boundary" not in message:
        hint = _JSON_HINT
    elif error.status_code == 405:
        message, hint = (
            f"{where} is not possible here.",
            f"Allowed: {(error.headers or {}).get('Allow', 'other methods')}.",
        )
    response = failure(error.status_code, _TYPES.get(error.status_code, "error"), message, hint)
    response.headers.update(error.headers or {})
    return response


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        said = first.get("ctx", {}).get("error", first["msg"])
        return failure(400, "bad_request", f"the body is not JSON: {said}.", _JSON_HINT)
    field = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    if first["type"] == "missing":
        return failure(422, "invalid", f"{field} is missing.", "Add it to the request.")
    found = "" if isinstance(first["input"], dict | list) else f", found {repr(first['input'])[:60]}"
    return failure(422, "invalid", f"{field}: {first['msg']}{found}.", "Correct this field and send it again.")


def _database_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseError)
    return failure(503, "database", f"the database could not be read: {error.orig}.", "Try again; see /readyz.")


def _unforeseen(_request: Request, _error: Exception) -> Response:
    return failure(
        500, "internal", "something went wrong inside Ratchet; the log has the details.", "Tell an admin when."
    )
