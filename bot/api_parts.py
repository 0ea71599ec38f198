"""What the routes work with: the parts of the product, who is asking, and pages of a list.

It declares dependencies and shapes; it has no route of its own.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, Field

from bot.auth import Access, Caller
from bot.chat import Chat
from bot.live import Live
from bot.oidc import Provider
from bot.preview import Previewer
from bot.telemetry import Telemetry
from retrieval.library import Library
from store.database import Database
from store.errors import Conflict
from store.models import Role
from store.requests import ask
from store.signing import Signer

T = TypeVar("T")
PUBLIC = frozenset({"/livez", "/readyz", "/metrics", "/login", "/setup", "/oidc/login", "/oidc/callback"})
"""The only routes that answer without a caller; static files beside them."""


def whole(text: str) -> str:
    """The text; raises ValueError for a lone surrogate, which JSON can write and no file or database can keep."""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("it holds half a character (a lone surrogate)")
    return text.replace("\0", "")


Text = Annotated[str, AfterValidator(whole)]
Name = Annotated[Text, Field(max_length=100)]


@dataclass(frozen=True)
class Parts:
    """Everything that the routes need."""

    database: Database
    chat: Chat
    library: Library
    live: Live
    access: Access
    previewer: Previewer
    default_cron: str
    tasks: Callable[[], Collection[str]]
    signer: Signer
    data: Path
    approvers: int = 1
    approval_days: float | None = None
    min_labels: int = 20
    provider: Provider | None = None
    telemetry: Telemetry | None = None


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted."""

    limit: Annotated[int, Query(ge=1, le=200)] = 50
    cursor: Annotated[str | None, Query(max_length=100)] = None


def parts_of(request: Request) -> Parts:
    """The parts of the app that got the request."""
    parts: Parts = request.app.state.parts
    return parts


def signed_in(request: Request) -> None:
    """The root dependency: every route but the public ones needs a caller."""
    if getattr(request.scope.get("route"), "path", None) not in PUBLIC:
        request.state.caller = parts_of(request).access.caller(request)


def caller_of(request: Request) -> Caller:
    """Who is asking; the root dependency has found out."""
    caller: Caller = request.state.caller
    return caller


WithParts = Annotated[Parts, Depends(parts_of)]
AnyCaller = Annotated[Caller, Depends(caller_of)]


def admin_only(caller: AnyCaller) -> Caller:
    """The caller, who must be an admin."""
    caller.need(Role.ADMIN)
    return caller


Admin = Annotated[Caller, Depends(admin_only)]
WithPage = Annotated[Page, Depends()]


def listing(rows: Sequence[T], page: Page, view: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A list answer; `rows` holds one more than the page when there is a next one."""
    data = [view(row) for row in rows[: page.limit]]
    return {"data": data, "next": data[-1]["id"] if len(rows) > page.limit else None}


def ask_scheduler(parts: Parts, kind: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the scheduler answers; raises Conflict with its sentence where it could not, Unavailable without one."""
    answer = ask(parts.database, kind, payload)
    if "error" in answer:
        raise Conflict(
            f"the scheduler could not do this: {answer['error']}", answer.get("hint") or "See the cycles page."
        )
    return answer
