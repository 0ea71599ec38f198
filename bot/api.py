"""The HTTP face of Ratchet as one application: OpenAI-compatible chat, feedback, documents, admin, pages and health.

It wires the routes to the parts it is given and opens nothing itself: no settings, no database, no model.
"""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from fastapi import Depends, FastAPI
from fastapi.templating import Jinja2Templates
from starlette.staticfiles import StaticFiles

from bot import (
    api_adapters,
    api_admin,
    api_chat,
    api_conversations,
    api_documents,
    api_edge,
    api_log,
    api_oidc,
    api_pages,
    api_people,
)
from bot.api_parts import Parts, signed_in
from bot.auth import Access
from bot.chat import Chat
from bot.live import Live
from bot.oidc import Provider
from bot.preview import Previewer
from bot.protocols import Engine
from bot.rates import Rates
from bot.telemetry import Telemetry, Timed
from retrieval.library import Library
from store.database import Database
from store.signing import Signer

THREADS = 200
"""Requests that may block at once: each answer under way holds a thread while it waits for its next token."""


def create_app(
    *,
    database: Database,
    chat: Chat,
    library: Library,
    engine: Engine,
    live: Live,
    open_chat: bool,
    max_upload_mb: int,
    requests_per_key: int,
    requests_per_person: int,
    default_cron: str,
    tasks: Callable[[], Collection[str]],
    data: Path,
    approvers: int = 1,
    approval_days: float | None = None,
    min_labels: int = 20,
    provider: Provider | None = None,
    requests_per_minute: int = 6_000,
    sign_ins_per_minute: int = 20,
    metrics: bool = False,
) -> FastAPI:
    """The application over these parts.

    `open_chat` lets anonymous requests from this machine chat; `tasks` names the taxonomy's tasks of this moment; in
    the folder `data` lies the key that signs; so many `approvers` must agree before an adapter is deployed, within
    `approval_days` after its gate, and so many `min_labels` of held-out cases count there; people may sign in through
    `provider`. With `metrics`, `/metrics` is there for everybody.
    """
    access = Access(
        database,
        open_chat=open_chat,
        requests_per_key=requests_per_key,
        requests_per_person=requests_per_person,
        rates=Rates(requests_per_minute=requests_per_minute, sign_ins_per_minute=sign_ins_per_minute),
    )
    app = _with_routes()
    app.state.parts = Parts(
        database=database,
        chat=chat,
        library=library,
        live=live,
        access=access,
        previewer=Previewer(database, chat, engine, live),
        default_cron=default_cron,
        tasks=tasks,
        signer=Signer(data),
        data=data,
        approvers=approvers,
        approval_days=approval_days,
        min_labels=min_labels,
        provider=provider,
        telemetry=Telemetry(database) if metrics else None,
    )
    app.add_middleware(api_edge.Edge, max_bytes=max_upload_mb * 1_000_000 + 100_000)
    if (telemetry := app.state.parts.telemetry) is not None:
        app.add_middleware(Timed, telemetry=telemetry)
    api_edge.install(app)
    return app


def _with_routes() -> FastAPI:
    """An application with all routes, and none of its framework's pages, that asks everybody who they are."""
    app = FastAPI(
        title="Ratchet",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(signed_in)],
        lifespan=_lifespan,
    )
    app.state.templates = Jinja2Templates(api_pages.WEB / "templates")
    chats = (api_chat, api_log, api_conversations, api_documents)
    for part in (*chats, api_admin, api_adapters, api_people, api_oidc, api_pages):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=api_pages.WEB / "static"), name="static")
    return app


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield
