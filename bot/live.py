"""Which adapter answers a request: follows the deployment row, loads, reports, and never lets go of what works.

Every bot process looks at the row twice a second. A version that cannot be loaded is quarantined, which deploys what
it replaced; meanwhile the old one keeps serving.
"""

import threading
from pathlib import Path

from bot.engine import Engine
from store import adapters, exchanges, processes
from store.database import Database
from store.errors import BrokenAdapter, DatabaseProblem, RatchetError
from store.models import BASE, Adapter, Deployment

LOOK_SECONDS = 0.5
_BEAT_LOOKS = 6
_SWEEP_LOOKS = 40
"""By then a bot that died just before this one started counts as dead, and what it left streaming is aborted."""


class Live:
    """The pointer from new requests to an adapter version of this process."""

    def __init__(self, database: Database, engine: Engine) -> None:
        self.process_id = processes.register(database, "bot")
        self.adapter = BASE
        self.generation = -1
        self.error = ""
        self._database = database
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="live", daemon=True)
        self.look()
        self._thread.start()

    def adapter_for(self, conversation_id: str) -> str:
        """The version that answers a new request of a conversation."""
        return self.adapter

    def healthy(self) -> str:
        """An empty text, or what is wrong."""
        if not self._thread.is_alive():
            return "the thread that follows the deployment has ended."
        return self.error or self._engine.healthy()

    def look(self) -> None:
        """Follow the deployment row if it has changed."""
        with self._database.read() as session:
            row = adapters.deployment(session)
            wanted = session.get(Adapter, row.adapter)
            replaced = session.get(Adapter, wanted.replaced) if wanted is not None else None
        if row.generation == self.generation:
            return
        self._serve(row, wanted, replaced)

    def _serve(self, row: Deployment, wanted: Adapter | None, replaced: Adapter | None) -> None:
        try:
            if row.adapter != BASE and wanted is not None:
                self._engine.load(wanted.id, Path(wanted.folder), digest=wanted.digest)
        except BrokenAdapter as error:
            self.error = error.message
            adapters.quarantine(self._database, row.adapter, actor="bot", comment=error.message)
            return
        self.adapter, self.generation, self.error = row.adapter, row.generation, ""
        adapters.loaded(self._database, row.adapter)
        self._beat()
        keep = {BASE, row.adapter, *([replaced.id] if replaced is not None else [])}
        for name in set(self._engine.loaded()) - keep:
            self._engine.unload(name)

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
            except DatabaseProblem as error:
                self.error = error.message

    def _beat(self) -> None:
        processes.beat(
            self._database, self.process_id, generation=self.generation, adapter=self.adapter, error=self.error
        )

    def close(self) -> None:
        """Stop following and take this process off the list."""
        self._stop.set()
        self._thread.join(timeout=5)
        try:
            processes.leave(self._database, self.process_id)
        except RatchetError as error:
            self.error = error.message
