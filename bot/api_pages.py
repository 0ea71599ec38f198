"""The pages, signing in and out, and health.

The pages hold no data: their scripts fetch it from the API with the session cookie.
"""

import shutil
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.templating import Jinja2Templates
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import text
from sqlalchemy.engine import make_url
from starlette.responses import JSONResponse, RedirectResponse, Response

from bot.api_edge import failure
from bot.api_parts import Admin, AnyCaller, Parts, WithParts
from bot.auth import COOKIE, refuse_other_sites
from bot.sessions import keep_session, local_path
from store import people
from store.errors import NotFound, RatchetError
from store.models import Role

WEB = Path(__file__).parent / "web"
SECTIONS = {
    "overview": "Overview",
    "approval": "Approval",
    "adapters": "Adapters",
    "cycles": "Cycles",
    "exchanges": "Exchanges",
    "judge": "Judge",
    "documents": "Documents",
    "people": "People",
    "schedule": "Schedule",
    "audit": "Audit",
}
REVIEWED = frozenset({"exchanges"})
"""The sections that are for reviewers too; the others are for admins alone."""
NEEDS_REVIEWER = "This page needs a reviewer: sign in as one, or ask an admin to raise your role."
NEEDS_ADMIN = "This page needs an admin: sign in as one, or ask one to raise your role."
MIN_FREE_BYTES = 200_000_000
Secret = Annotated[str, Form(max_length=1_000)]
router = APIRouter()


def templates(request: Request) -> Jinja2Templates:
    """The page templates of the app."""
    found: Jinja2Templates = request.app.state.templates
    return found


@router.get("/")
def chat_page(request: Request, parts: WithParts, caller: AnyCaller) -> Response:
    """The chat; in the open chat the page brings the cookie that its requests need."""
    response = templates(request).TemplateResponse(request, "chat.html", {"caller": caller})
    if caller.via == "open" and not parts.access.knows(request):
        keep_session(request, response, people.open_session(parts.database, caller.person))
    return response


@router.get("/admin")
def admin_page(request: Request, caller: Admin) -> Response:
    """The admin's overview."""
    return admin_section(request, "overview", caller)


@router.get("/admin/{section}")
def admin_section(request: Request, section: str, caller: AnyCaller) -> Response:
    """A section of the admin pages, which lead a reviewer to what is theirs alone."""
    caller.need(Role.REVIEWER if section in REVIEWED else Role.ADMIN)
    if section not in SECTIONS:
        raise NotFound(f'there is no admin page "{section}".', f"There are {', '.join(SECTIONS)}.")
    admin = caller.has(Role.ADMIN)
    sections = {name: title for name, title in SECTIONS.items() if admin or name in REVIEWED}
    values = {"caller": caller, "section": section, "sections": sections}
    return templates(request).TemplateResponse(request, "admin.html", values)


@router.get("/admin/dossier/{adapter}")
def dossier_page(request: Request, adapter: str, caller: Admin) -> Response:
    """The dossier of an adapter on one page, made to be printed."""
    values = {"caller": caller, "adapter": adapter[:100], "section": "dossier"}
    return templates(request).TemplateResponse(request, "dossier.html", values)


@router.get("/login")
def login_page(request: Request, parts: WithParts, next: str = "/", needs: str = "") -> Response:
    """The form to sign in; `needs` says whom the page needs that somebody of a smaller role has asked for."""
    needed = NEEDS_REVIEWER if next.removeprefix("/admin/") in REVIEWED else NEEDS_ADMIN
    error = needed if needs == Role.ADMIN else ""
    values = {"next": local_path(next), "error": error, "provider": parts.provider is not None}
    return templates(request).TemplateResponse(request, "login.html", values)


@router.post("/login")
def log_in(request: Request, parts: WithParts, name: Secret, password: Secret, next: Secret = "/") -> Response:
    """Sign in and go on to `next`."""
    refuse_other_sites(request, browsers_only=False)
    try:
        with parts.access.sign_in_slot(request):
            secret = people.sign_in(parts.database, name, password)
    except RatchetError as error:
        values = {
            "next": local_path(next),
            "error": error.message,
            "name": name,
            "provider": parts.provider is not None,
        }
        return templates(request).TemplateResponse(request, "login.html", values, status_code=error.status)
    return _with_session(request, secret, local_path(next))


@router.get("/setup")
def setup_page(request: Request, token: str = "") -> Response:
    """The form that makes the first admin, opened from the link printed at the first start."""
    return templates(request).TemplateResponse(request, "setup.html", {"token": token, "error": ""})


@router.post("/setup")
def set_up(request: Request, parts: WithParts, token: Secret, name: Secret, password: Secret) -> Response:
    """Make the first admin and sign them in."""
    refuse_other_sites(request, browsers_only=False)
    try:
        with parts.access.sign_in_slot(request):
            person = people.claim_setup(parts.database, token, name=name, password=password)
    except RatchetError as error:
        values = {"token": token, "error": f"{error.message} {error.hint}".strip(), "name": name}
        return templates(request).TemplateResponse(request, "setup.html", values, status_code=error.status)
    return _with_session(request, people.open_session(parts.database, person), "/admin")


@router.post("/logout")
def log_out(request: Request, parts: WithParts, _caller: AnyCaller) -> Response:
    """End the browser session."""
    if secret := request.cookies.get(COOKIE):
        people.close_session(parts.database, secret)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return response


@router.get("/livez")
def alive() -> dict[str, str]:
    """The process lives."""
    return {"status": "alive"}


@router.get("/metrics")
def metrics(parts: WithParts) -> Response:
    """What Prometheus scrapes, where the settings offer it."""
    if parts.telemetry is None:
        raise NotFound("metrics are off.", "Set server.metrics: true; they need no sign-in, so keep them inside.")
    return Response(parts.telemetry.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/readyz")
def ready(parts: WithParts) -> Response:
    """Whether database, documents, model and disk work; 503 with what does not.

    An adapter that could not be loaded and a vector index that is not in order are named, but the bot is ready: what
    served before serves on, and searches score the stored vectors.
    """
    problems = {
        "database": _database_problem(parts),
        "documents": parts.library.healthy(),
        "model": parts.live.healthy(),
        "disk": _disk_problem(parts),
    }
    passing = {"adapter": parts.live.trouble(), "index": parts.library.trouble()}
    checks = {name: problem or "ok" for name, problem in {**problems, **passing}.items()}
    wrong = [f"{name}: {problem}" for name, problem in problems.items() if problem]
    if wrong:
        return failure(503, "unavailable", f"not ready: {'; '.join(wrong)}", "The log has the details.")
    return JSONResponse({"status": "ready", "checks": checks})


def _database_problem(parts: Parts) -> str:
    with parts.database.read() as session:
        session.connection().execute(text("SELECT 1 FROM deployment"))
    return ""


def _disk_problem(parts: Parts) -> str:
    folder = Path(make_url(parts.database.url).database or ".").parent if parts.database.is_sqlite else Path()
    free = shutil.disk_usage(folder).free
    return (
        "" if free >= MIN_FREE_BYTES else f"only {free / 1e6:.0f} MB are free, {MIN_FREE_BYTES / 1e6:.0f} are needed."
    )


def _with_session(request: Request, secret: str, target: str) -> Response:
    response = RedirectResponse(target, 303)
    keep_session(request, response, secret)
    return response
