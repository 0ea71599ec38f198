"""Which adapter answers a request: follows the deployment row, loads, reports, and never lets go of what works.

Every bot process looks at the row twice a second. A version whose bytes are wrong is quarantined, which deploys what
it replaced or ends its canary; one that is out of reach, or finds no room, is tried again. Meanwhile the old one keeps
serving, or the base where the old one was taken back. What is no longer needed is unloaded one look later, so that a
request that has just chosen it still finds it.
"""

import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from bot.protocols import Engine
from store import adapters, deployments, exchanges, histories, processes, rollbacks
from store.database import Database
from store.errors import BrokenAdapter, OtherBase, RatchetError, Unavailable
from store.models import BASE, Adapter, AdapterState, Deployment

_LOG = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
_BEAT_LOOKS = 6
_SWEEP_LOOKS = 40
"""By then a bot that died just before this one started counts as dead, and what it left streaming is aborted."""
RETRY_SECONDS = 5.0
"""How long to wait after a load that failed for want of room or of a server."""
TAKEN_BACK = (AdapterState.ROLLED_BACK, AdapterState.QUARANTINED)
"""What must not answer any more, even where what was returned to cannot be loaded: the base answers until it can."""
_TRIES = 5
"""How many broken versions one look may find and quarantine before it waits for the next."""


def chosen(row: Deployment, *, pinned: str | None, conversation_id: str, person_id: str) -> str:
    """Which adapter of a deployment answers (pure): testers get the canary; a conversation keeps the one that
    answered it, `pinned`, while that is deployed; of the others a share gets the canary.
    """
    if row.canary is None:
        return row.adapter
    if person_id in row.testers:
        return row.canary
    if pinned in (row.adapter, row.canary):
        return pinned
    return row.canary if place(conversation_id) < row.share else row.adapter


def place(conversation_id: str) -> float:
    """A conversation's place in [0, 1): always the same, evenly spread, unlike Python's own hash."""
    return int.from_bytes(hashlib.sha256(conversation_id.encode()).digest()[:8]) / 2**64


def left_of(row: Deployment, gone: Collection[str], *, instead: str) -> Deployment:
    """What can go on of a deployment whose versions are partly `gone`, with `instead` in the place of its adapter."""
    adapter = instead if row.adapter in gone else row.adapter
    if row.canary is None or row.canary in gone:
        return Deployment(adapter=adapter, generation=row.generation)
    return Deployment(
        adapter=adapter, canary=row.canary, share=row.share, testers=row.testers, generation=row.generation
    )


class Live:
    """The pointer from new requests to the adapter versions of this process."""

    def __init__(
        self, database: Database, engine: Engine, *, data: Path | None = None, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        """Follow the deployment; adapters' files are looked for in the data folder first, wherever it was before."""
        self.process_id = processes.register(database, "bot")
        self.serving = Deployment(generation=-1)
        """What this process serves: the deployment as far as it is loaded here."""
        self._error = ""
        self._broken: tuple[int, str] = (-1, "")
        self._retry_seconds = retry_seconds
        self._looking = threading.Lock()
        self._later: tuple[int, float] = (-1, 0.0)
        self._keep = {BASE}
        self._unreported: list[str] = []
        self._held: Counter[str] = Counter()
        self._holding = threading.Lock()
        self._loading = threading.Lock()
        self._database = database
        self._engine = engine
        self._data = data
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="live", daemon=True)
        self.look()
        self._thread.start()

    @property
    def adapter(self) -> str:
        """The version that answers, a canary's share apart."""
        return self.serving.adapter

    def adapter_for(self, conversation_id: str, person_id: str) -> str:
        """The version that answers a new request of a person in a conversation."""
        row = self.serving
        pinned = histories.pinned(self._database, conversation_id) if row.canary is not None else None
        return chosen(row, pinned=pinned, conversation_id=conversation_id, person_id=person_id)

    def healthy(self) -> str:
        """An empty text, or why this process cannot answer as it should."""
        if not self._thread.is_alive():
            return "the thread that follows the deployment has ended."
        return (self._error if self.serving.generation < 0 else "") or self._engine.healthy()

    def trouble(self) -> str:
        """An empty text, or what could not be loaded or read while the version before keeps serving.

        A broken version is named until the deployment changes again after its quarantine.
        """
        return self._error or self._broken[1]

    def look(self) -> None:
        """Follow the deployment row if it has changed; unload what the change before left over."""
        with self._looking:
            for _ in range(_TRIES):
                if self._looked():
                    return

    def _looked(self) -> bool:
        """Look once; whether there is nothing more to do now."""
        with self._database.read() as session:
            row = deployments.deployment(session)
            wanted = [session.get(Adapter, name) for name in (row.adapter, row.canary) if name is not None]
            replaced = wanted[0].replaced if wanted[0] is not None else BASE
        if row.generation == self.serving.generation:
            self._error = ""
            self._report()
            self._unload_but(self._keep)
            return True
        if self._later[0] == row.generation and time.monotonic() < self._later[1]:
            return True
        return self._serve(row, [one for one in wanted if one is not None], {BASE, replaced})

    def _serve(self, row: Deployment, wanted: list[Adapter], warm: set[str]) -> bool:
        """Load what a deployment names and point at it; whether that went well."""
        deployed = {row.adapter, row.canary or BASE}
        serving = {self.serving.adapter, self.serving.canary or BASE}
        self._unload_but(self._keep | deployed | serving)
        for adapter in wanted:
            try:
                self._load(adapter)
            except OtherBase as error:
                self._broken = (row.generation, error.message)
                rollbacks.set_aside(self._database, adapter.id, actor="bot", comment=error.message)
                return False
            except BrokenAdapter as error:
                self._quarantine(adapter.id, row.generation, error.message)
                return False
            except RatchetError as error:
                self._put_off(adapter.id, row.generation, error.message)
                self._let_go_of_taken_back(row)
                self._keep = deployed | serving
                return True
        self._keep, self.serving, self._error = deployed | warm, row, ""
        if row.generation > self._broken[0] + 1:
            self._broken = (-1, "")
        self._unreported = [adapter.id for adapter in wanted]
        self._report()
        self._beat()
        return True

    def _let_go_of_taken_back(self, row: Deployment) -> None:
        """Answer no more with what was taken back, though what a deployment names instead cannot all be loaded."""
        with self._database.read() as session:
            rows = [session.get(Adapter, name) for name in (self.serving.adapter, self.serving.canary) if name]
            gone = {one.id for one in rows if one is not None and one.state in TAKEN_BACK}
        if not gone:
            return
        instead = row.adapter if row.adapter in self._engine.loaded() else BASE
        self.serving = left_of(self.serving, gone, instead=instead)
        self._beat()

    def _report(self) -> None:
        """Tell the registry what this process has loaded; tried again at the next look when the database is busy."""
        while self._unreported:
            deployments.loaded(self._database, self._unreported[0])
            del self._unreported[0]

    def _load(self, adapter: Adapter) -> None:
        with self._loading:
            try:
                folder = adapters.place(adapter, self._data) if self._data is not None else Path(adapter.folder)
                self._engine.load(adapter.id, folder, digest=adapter.digest)
            except OSError as error:  # a disk or a mount that fails says nothing of the adapter
                reason = error.strerror or str(error)
                raise Unavailable(
                    f"its files cannot be read: {reason}.", "Check the disk; it is tried again."
                ) from error

    def _put_off(self, adapter_id: str, generation: int, message: str) -> None:
        self._error = f"adapter {adapter_id} cannot be loaded: {message}"
        self._later = (generation, time.monotonic() + self._retry_seconds)
        self._beat()

    def _quarantine(self, adapter_id: str, generation: int, message: str) -> None:
        self._broken = (generation, f"adapter {adapter_id} is quarantined: {message}")
        rollbacks.quarantine(self._database, adapter_id, actor="bot", comment=message)

    def _unload_but(self, keep: set[str]) -> None:
        with self._holding:
            for name in set(self._engine.loaded()) - keep - set(self._held):
                self._engine.unload(name)

    @contextmanager
    def hold(self, adapter_id: str) -> Iterator[None]:
        """Have a version loaded that need not be deployed; it is unloaded when nobody holds it any more.

        Raises NotFound, and BrokenAdapter for one whose files do not match its digests, which is then quarantined.
        """
        if adapter_id == BASE:
            yield
            return
        with self._database.read() as session:
            adapter = adapters.get(session, adapter_id)
        with self._holding:
            self._held[adapter_id] += 1
        try:
            self._load(adapter)
            yield
        except OtherBase:
            raise
        except BrokenAdapter as error:
            rollbacks.quarantine(self._database, adapter_id, actor="bot", comment=error.message)
            raise
        finally:
            with self._holding:
                self._held[adapter_id] -= 1
                self._held += Counter()  # drops what is held by nobody

    def _follow(self) -> None:
        looks = 0
        while not self._stop.wait(LOOK_SECONDS):
            looks += 1
            try:
                self.look()
                if looks % _BEAT_LOOKS == 0:
                    self._beat()
                if looks == _SWEEP_LOOKS:
                    exchanges.abort_left_over(self._database)
            except RatchetError as error:
                self._error = error.message
            except DatabaseError as error:
                self._error = f"the database could not be read: {error.orig}."
            except Exception as error:  # the thread's boundary: a bot that follows no rollback must not be
                _LOG.exception("the deployment could not be followed")
                self._error = f"the deployment could not be followed: {error!r}."

    def _beat(self) -> None:
        processes.beat(
            self._database,
            self.process_id,
            generation=self.serving.generation,
            adapter=self.serving.adapter,
            canary=self.serving.canary,
            error=self.trouble(),
        )

    def close(self) -> None:
        """Stop following and take this process off the list."""
        self._stop.set()
        self._thread.join(timeout=5)
        try:
            processes.leave(self._database, self.process_id)
        except RatchetError as error:
            self._error = error.message
