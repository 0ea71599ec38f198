"""The session cookie, and where a browser goes on to after signing in."""

from starlette.requests import Request
from starlette.responses import Response

from bot.auth import COOKIE
from store.people import SESSION_LIFE


def local_path(path: str) -> str:
    """A path of this site to go on to, `/` for anything else."""
    fine = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if fine else "/"


def keep_session(request: Request, response: Response, secret: str) -> None:
    """Give the browser its session, out of reach of scripts."""
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
