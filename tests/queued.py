"""A bot with queued answers: everything is real but the model and the embedder, which need no weights.

`QueuedEngine` stands in for the engine alone; `serve` runs the app on a real port.
"""

import re
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from bot.api import create_app
from bot.chat import Chat
from bot.live import Live
from bot.oidc import Provider
from bot.verified import Verified
from retrieval.embedding import Embedder, Vectors
from retrieval.index import Index
from retrieval.library import Library
from store import people
from store.database import Database, open_database
from store.errors import Busy, NotLoaded, Unavailable
from store.models import BASE, Person, Role

RIVER = "The river Aare is 288 kilometres long. It rises in the Bernese Alps and joins the Rhine at Koblenz."
QUESTION = "How long is the river Aare?"
BREAD = "Bake the bread for forty minutes at 220 degrees. Let it cool on a rack before you cut it."


class QueuedAnswer:
    """One queued answer, given word by word once it has a slot."""

    def __init__(self, engine: "QueuedEngine", adapter: str, text: str, prompt_tokens: int) -> None:
        self.prompt_tokens, self.completion_tokens, self.finish_reason = prompt_tokens, 0, "stop"
        self.adapter = adapter
        self.cancelled = False
        self.begun = threading.Event()
        self._engine, self._text = engine, text

    def __iter__(self) -> Iterator[str]:
        self.begun.wait()
        try:
            for word in re.findall(r"\s*\S+|\s+", self._text):
                time.sleep(self._engine.pace)
                if self.cancelled:
                    return
                self.completion_tokens += 1
                yield word
        finally:
            self._engine.leave(self)

    @property
    def position(self) -> int:
        return self._engine.position(self)

    def started(self, timeout: float) -> bool:
        return self.begun.wait(timeout)

    def cancel(self) -> None:
        self.cancelled = True
        self._engine.leave(self)


class QueuedEngine:
    """The engine's protocol, answering what was queued and `default` after that; counts words as tokens.

    It writes `slots` answers at once and lets `queue_limit` wait. Adapters in `broken` do not load, with their error.
    """

    def __init__(self) -> None:
        self.name, self.context_tokens = "queued", 2048
        self.answers: deque[str] = deque()
        self.default = "The Aare is 288 kilometres long [1]."
        self.by_adapter: dict[str, str] = {}
        self.pace = 0.0
        self.slots, self.queue_limit = 1000, 64
        self.problem = ""
        self.broken: dict[str, Exception] = {}
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens while a prompt is made."""
        self.prompts: list[list[dict[str, str]]] = []
        self.last: QueuedAnswer | None = None
        self.writing: list[QueuedAnswer] = []
        self.waiting: list[QueuedAnswer] = []
        self._lock = threading.RLock()
        self._loaded = [BASE]

    def stream(
        self,
        messages: Sequence[dict[str, str]],
        *,
        adapter: str,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> QueuedAnswer:
        if self.problem:
            raise Unavailable(self.problem)
        if adapter not in self._loaded:
            raise NotLoaded(f"adapter {adapter} is not loaded.")
        self.prompts.append(list(messages))
        text = self.answers.popleft() if self.answers else self.by_adapter.get(adapter, self.default)
        with self._lock:
            if len(self.writing) >= self.slots and len(self.waiting) >= self.queue_limit:
                raise Busy(f"{len(self.waiting)} answers are waiting already.")
            self.last = QueuedAnswer(self, adapter, text, self.count(messages))
            self.waiting.append(self.last)
            self._admit()
            return self.last

    def _admit(self) -> None:
        while self.waiting and len(self.writing) < self.slots:
            self.writing.append(self.waiting.pop(0))
            self.writing[-1].begun.set()

    def leave(self, answer: QueuedAnswer) -> None:
        with self._lock:
            for answers in (self.writing, self.waiting):
                if answer in answers:
                    answers.remove(answer)
            answer.begun.set()
            self._admit()

    def position(self, answer: QueuedAnswer) -> int:
        with self._lock:
            return self.waiting.index(answer) + 1 if answer in self.waiting else 0

    def count(self, messages: Sequence[dict[str, str]]) -> int:
        self.meanwhile()
        return sum(len(message["content"].split()) for message in messages)

    def load(self, adapter: str, folder: Path, *, digest: str) -> None:
        if adapter in self.broken:
            raise self.broken[adapter]
        if adapter not in self._loaded:
            self._loaded.append(adapter)

    def unload(self, adapter: str) -> None:
        self._loaded.remove(adapter)

    def loaded(self) -> list[str]:
        return list(self._loaded)

    def healthy(self) -> str:
        return self.problem

    def close(self) -> None:
        pass


class WordEmbedder(Embedder):
    """Texts with the same words get near vectors; needs no weights."""

    def __init__(self) -> None:
        super().__init__("", name="words")

    def encode(self, texts: list[str]) -> Vectors:
        vectors = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()):
                row[zlib.crc32(word.encode()) % 256] += 1
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return np.asarray(vectors / lengths, dtype=np.float32)


@dataclass
class QueuedBot:
    """A whole bot over queued answers, with somebody of each role and their keys."""

    app: FastAPI
    database: Database
    engine: QueuedEngine
    live: Live
    library: Library
    people: dict[str, Person]
    keys: dict[str, str]

    def headers(self, who: str) -> dict[str, str]:
        """The Authorization header of `chat`, `other`, `reviewer` or `admin`; none for `nobody`."""
        return {} if who == "nobody" else {"Authorization": f"Bearer {self.keys[who]}"}


PASSWORD = "correct horse battery"
EVERYBODY = {"chat": Role.CHAT, "other": Role.CHAT, "reviewer": Role.REVIEWER, "admin": Role.ADMIN}


@contextmanager
def queued_bot(
    folder: Path,
    *,
    open_chat: bool = False,
    requests_per_key: int = 8,
    requests_per_person: int = 8,
    approvers: int = 1,
    min_labels: int = 20,
    provider: Provider | None = None,
    requests_per_minute: int = 100_000,
    sign_ins_per_minute: int = 100_000,
    metrics: bool = False,
) -> Iterator[QueuedBot]:
    """A bot in `folder` that knows two documents."""
    database = open_database(f"sqlite:///{folder}/ratchet.db")
    embedder = WordEmbedder()
    index = Index(database, embedder, folder=folder / "index", dense_weight=0.5)
    library = Library(database, embedder, index, chunk_characters=1000, min_score=0.15)
    library.add_text(source="river.md", title="The Aare", text=RIVER)
    library.add_text(source="bread.md", title="Bread", text=BREAD)
    engine = QueuedEngine()
    live = Live(database, engine)
    verified = Verified(database, library.encode)
    app = create_app(
        database=database,
        chat=Chat(database, library, engine, live, passages=3, max_tokens=200, temperature=0.0, verified=verified),
        library=library,
        engine=engine,
        live=live,
        open_chat=open_chat,
        max_upload_mb=1,
        requests_per_key=requests_per_key,
        requests_per_person=requests_per_person,
        default_cron="0 2 * * *",
        tasks=lambda: ("legal", "travel"),
        data=folder,
        approvers=approvers,
        min_labels=min_labels,
        provider=provider,
        requests_per_minute=requests_per_minute,
        sign_ins_per_minute=sign_ins_per_minute,
        metrics=metrics,
    )
    somebody, keys = {}, {}
    for name, role in EVERYBODY.items():
        password = PASSWORD if name in ("chat", "admin") else None
        somebody[name] = people.add(database, name, role=role, actor="test", password=password)
        scopes = people.SCOPES if role == Role.ADMIN else ()
        keys[name] = people.add_key(database, somebody[name], actor="test", scopes=scopes)
    try:
        yield QueuedBot(app, database, engine, live, library, somebody, keys)
    finally:
        live.close()
        index.close()
        database.close()


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """Run the app with uvicorn on a free port of this machine; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def until(true: Callable[[], bool], *, seconds: float = 20.0) -> None:
    """Wait for something to become true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def ask(
    client: TestClient, question: object = QUESTION, headers: dict[str, str] | None = None, **more: object
) -> httpx2.Response:
    """Ask through the chat completions route."""
    body = {"model": "ratchet", "messages": [{"role": "user", "content": question}], **more}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def error(response: httpx2.Response) -> dict[str, str]:
    """The error of a response, which has the one form that all errors have."""
    assert "Traceback" not in response.text
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"type", "message", "hint"}
    return found
