"""Starts the bot: serve (HTTP and pages) or chat (in the terminal).

python -m bot serve
python -m bot chat
"""

import argparse
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

from bot import starter
from bot.api import create_app
from bot.chat import Chat, Ended, Question, Token
from bot.companion import Companion
from bot.engine import TransformersEngine
from bot.live import Live
from bot.models import base_digest, chat_model
from bot.oidc import Provider, checked
from bot.protocols import Engine
from bot.verified import Verified
from bot.vllm import VllmEngine
from configs.command_line import exit_status
from configs.settings import ROOT, Settings, SettingsError, load_settings
from retrieval.__main__ import ingest, library_of
from retrieval.index import Index
from retrieval.library import Library
from store import exchanges, people
from store.columns import new_id
from store.database import Database, open_database
from store.errors import Invalid, RatchetError, Unavailable
from store.models import Role

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m bot", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (("serve", _serve, "HTTP API and pages"), ("chat", _chat, "chat in the terminal")):
        made = commands.add_parser(name, help=text, epilog=f"example: python -m bot {name}")
        made.set_defaults(run=run)
    options = parser.parse_args(arguments)

    def begin() -> None:
        settings = load_settings()
        with suppress(KeyboardInterrupt):
            options.run(settings, open_database(settings.database_url))

    return exit_status(begin, RatchetError)


def _parts(settings: Settings, database: Database) -> tuple[Chat, Library, Index, Engine, Live]:
    library, index = library_of(settings, database, cached=True)
    paths = [ROOT / name for name in settings.retrieval.documents]
    if paths:
        counts = ingest(library, paths, root=ROOT)
        print(f"documents: {counts.new} new or changed, {counts.unchanged} unchanged.", flush=True)
        for reason in counts.skipped:
            print(f"skipped: {reason}", flush=True)
    index.refresh()
    engine = chosen_engine(settings)
    if settings.starter:
        _start_with(settings, database)
    live = Live(database, engine, data=settings.server.data.resolve())
    chat = Chat(
        database,
        library,
        engine,
        live,
        passages=settings.retrieval.passages,
        max_tokens=settings.generation.max_tokens,
        temperature=settings.generation.temperature,
        verified=Verified(database, library.encode) if settings.retrieval.verified_answers else None,
    )
    return chat, library, index, engine, live


def _start_with(settings: Settings, database: Database) -> None:
    """Let a fresh store begin with the starter adapter, where it fits the base model."""
    starter.install(
        database,
        ROOT / "examples" / "starter",
        data=settings.server.data,
        base_model=settings.models.chat,
        base_digest=lambda: base_digest(chat_model(settings.models.chat, models=settings.models.folder)),
    )


def _tasks(settings: Settings) -> list[str]:
    """The tasks that the taxonomy's files name now; raises Invalid where they cannot be used."""
    try:
        return list(settings.taxonomy().tasks)
    except SettingsError as error:
        raise Invalid(str(error), "Correct the taxonomy.") from error


def chosen_engine(settings: Settings) -> Engine:
    """The engine that the settings name; raises SettingsError or Unavailable."""
    folder, generation = chat_model(settings.models.chat, models=settings.models.folder), settings.generation
    if generation.engine == "vllm":
        return _vllm_engine(settings, folder)
    return TransformersEngine(
        folder,
        name=settings.models.chat,
        dtype=settings.models.dtype,
        slots=generation.slots,
        queue_limit=generation.queue,
        context_tokens=generation.context_tokens,
        threads=generation.threads,
        memory_mb=generation.memory_mb,
    )


def _vllm_engine(settings: Settings, folder: str) -> Engine:
    if not settings.vllm.urls:
        raise SettingsError(
            "generation.engine is vllm, but vllm.urls names no server: add the URL of each replica, "
            "like http://10.0.0.5:8000."
        )
    return VllmEngine(
        settings.vllm.urls,
        shared=Path(settings.vllm.adapters or settings.server.data / "vllm-adapters"),
        base_digest=base_digest(folder),
        name=settings.models.chat,
        api_key=settings.vllm.api_key,
        slots=settings.generation.slots,
        queue_limit=settings.generation.queue,
        context_tokens=settings.generation.context_tokens,
    )


def _serve(settings: Settings, database: Database) -> None:
    host, port = settings.server.host, settings.server.port
    listening = _listen(host, port)
    signal.signal(signal.SIGTERM, _interrupt)
    exchanges.abort_left_over(database)
    _admin_key(database)
    scheduler = _start_scheduler() if settings.scheduler.embedded else None
    try:
        _serve_on(listening, settings, database)
    finally:
        if scheduler is not None:
            scheduler.close()


def _serve_on(listening: socket.socket, settings: Settings, database: Database) -> None:
    import uvicorn

    host, port = settings.server.host, settings.server.port
    chat, library, index, engine, live = _parts(settings, database)
    app = create_app(
        database=database,
        chat=chat,
        library=library,
        engine=engine,
        live=live,
        open_chat=settings.server.open_chat and host in LOOPBACK,
        max_upload_mb=settings.server.max_upload_mb,
        requests_per_key=settings.server.requests_per_key,
        requests_per_person=settings.server.requests_per_person,
        default_cron=settings.scheduler.cron,
        tasks=lambda: _tasks(settings),
        data=settings.server.data,
        approvers=settings.gate.approvers,
        approval_days=settings.scheduler.approval_days,
        min_labels=settings.gate.min_labels,
        provider=_provider(settings),
        requests_per_minute=settings.server.requests_per_minute,
        metrics=settings.server.metrics,
        sign_ins_per_minute=settings.server.sign_ins_per_minute,
    )
    _greet(database, host, port)
    try:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10))
        server.run(sockets=[listening])
    finally:
        live.close()
        engine.close()
        index.close()


def _provider(settings: Settings) -> Provider | None:
    """The identity provider that the settings name, if any; raises Invalid for one without TLS."""
    chosen = settings.oidc
    if not chosen.issuer:
        return None
    return Provider(
        issuer=checked(chosen.issuer),
        client_id=chosen.client_id,
        client_secret=chosen.client_secret,
        name_claim=chosen.name_claim,
        role_claim=chosen.role_claim,
        admins=chosen.admins,
        reviewers=chosen.reviewers,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise Unavailable(
            f"port {port} of {host} cannot be used: {error.strerror}.", "Set RATCHET_PORT to a free one."
        ) from error
    return listening


def _admin_key(database: Database) -> None:
    """On first start, make the API key that RATCHET_ADMIN_KEY names; a key of that value may exist already."""
    secret = os.environ.get("RATCHET_ADMIN_KEY", "")
    if not secret:
        return
    with database.read() as session:
        if people.by_key(session, secret) is not None or people.count(session, role=Role.ADMIN) > 0:
            return
    with database.read() as session:
        taken = people.by_name(session, "admin") is not None
    name = f"admin {new_id('first')[-6:]}" if taken else "admin"
    admin = people.add(database, name, role=Role.ADMIN, actor="first start")
    people.add_key(database, admin, actor="first start", scopes=people.SCOPES, secret=secret)


def _greet(database: Database, host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    print(f"Ratchet answers on http://{shown}:{port}/", flush=True)
    secret = people.setup_secret(database)
    if secret is not None:
        print(f"No admin yet: set one up once at http://{shown}:{port}/setup?token={secret}", flush=True)


def _start_scheduler() -> Companion:
    command = [sys.executable, "-m", "scheduler", "run", "--parent", str(os.getpid())]
    return Companion(command, folder=ROOT, environment=_absolute(os.environ))


def _absolute(environment: "os._Environ[str]") -> dict[str, str]:
    """The environment with relative folders made absolute, for a child that runs in the checkout."""
    made = dict(environment)
    for name in ("RATCHET_DATA", "RATCHET_MODELS"):
        if name in made:
            made[name] = str(Path(made[name]).resolve())
    chosen = Path(made.get("RATCHET_CONFIG", ""))
    if chosen.is_file():
        made["RATCHET_CONFIG"] = str(chosen.resolve())
    made.setdefault("RATCHET_DATA", str(Path(load_settings().server.data).resolve()))
    return made


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _chat(settings: Settings, database: Database) -> None:
    chat, _, index, engine, live = _parts(settings, database)
    person = people.named(database, "local")
    conversation = chat.conversation(person)
    print("Ask something; an empty line ends.")
    try:
        while question := input("\n> ").strip():
            _answer(chat, Question(person=person, messages=_user(question), conversation_id=conversation))
    except (EOFError, KeyboardInterrupt):
        print()
    finally:
        live.close()
        engine.close()
        index.close()


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _answer(chat: Chat, question: Question) -> None:
    for event in chat.answer(question):
        if isinstance(event, Token):
            print(event.text, end="", flush=True)
        elif isinstance(event, Ended):
            cited = {citation["n"] for citation in event.citations}
            print(f"\n({event.adapter})")
            for passage in event.passages:
                if passage["n"] in cited:
                    print(f"  [{passage['n']}] {passage['title']}")


if __name__ == "__main__":
    sys.exit(main())
