"""Which vLLM server answers next: the queue in front of all of them, their health, and rest for one that failed.

It does not know what is asked of a server: that is its caller's.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from bot.replicas import Replica, ReplicaFailed
from store.errors import Busy, RatchetError, Unavailable

T = TypeVar("T")
_LOOK_SECONDS = 0.2
_BEAT_SECONDS = 2.0


class Ticket:
    """A place in the queue, then at a replica; `position` is 1 for the next, 0 once it had a replica."""

    def __init__(self) -> None:
        self.position = 0
        self.begun = threading.Event()
        self.placed = threading.Event()
        self.replica: Replica | None = None
        self.avoid: Replica | None = None


class Fleet:
    """Several replicas of one model, each with `slots` places."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        slots: int,
        queue_limit: int,
        equip: Callable[[Replica], None],
        rest: float = 3.0,
        patience: float = 60.0,
    ) -> None:
        """Ask every replica once; raises Unavailable when none can be used.

        `equip` makes a replica that came (back) ready and may raise; `rest`: seconds before one that failed is asked
        again; `patience`: seconds that accepted answers wait while no replica is there.
        """
        self.replicas = list(replicas)
        self._slots, self._queue_limit = slots, queue_limit
        self._rest, self._patience = rest, patience
        self._equip = equip
        self._model = ""
        self._waiting: deque[Ticket] = deque()
        self._lock = threading.RLock()
        self._last_seen = time.monotonic()
        self._closed = threading.Event()
        for replica in self.replicas:
            self.probe(replica)
        if not self.usable():
            raise self._nobody()
        self._threads = [threading.Thread(target=self._watch, args=[one], daemon=True) for one in self.replicas]
        for thread in self._threads:
            thread.start()

    def usable(self) -> list[Replica]:
        """The replicas that may be asked now, the least busy first."""
        with self._lock:
            if self._closed.is_set():
                return []
            return sorted((one for one in self.replicas if not one.error), key=lambda one: one.running)

    def healthy(self) -> str:
        """An empty text while any replica can be used, or why none can."""
        return "" if self.usable() else self._nobody().message

    def listed(self) -> set[str] | None:
        """The models that the replicas list, all of them asked now; None when one cannot be."""
        if not all([self.probe(one) for one in self.replicas]):
            return None
        return set().union(*(one.models for one in self.replicas))

    def join(self, ticket: Ticket) -> None:
        """Queue for a replica; raises Busy when too many wait, Unavailable when no replica is there."""
        with self._lock:
            if not self.usable():
                raise self._nobody()
            if len(self._waiting) >= self._queue_limit:
                raise Busy(f"{len(self._waiting)} answers are waiting already.", "Try again in a few seconds.")
            self._waiting.append(ticket)
            self._place_waiting()

    def wait(self, ticket: Ticket) -> Replica | None:
        """The replica that a ticket was given; None when it was given up.

        Raises Unavailable when there was no replica at all for too long.
        """
        while not ticket.placed.wait(_LOOK_SECONDS):
            with self._lock:
                if self.usable():
                    self._last_seen = time.monotonic()
                if time.monotonic() - self._last_seen > self._patience:
                    raise self._nobody()
        return ticket.replica

    def leave(self, ticket: Ticket) -> None:
        """Give a place back, at a replica or in the queue."""
        with self._lock:
            if ticket.replica is not None:
                ticket.replica.running -= 1
                ticket.replica = None
            self.give_up(ticket)
            self._place_waiting()

    def give_up(self, ticket: Ticket) -> None:
        """Wait no longer; a ticket that has its replica keeps it."""
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                ticket.position = 0
                self._place_waiting()
            ticket.begun.set()
            ticket.placed.set()

    def move(self, ticket: Ticket) -> None:
        """Give the replica back and wait, before all others, for another one (the same if there is none)."""
        with self._lock:
            ticket.avoid = ticket.replica
            if ticket.replica is not None:
                ticket.replica.running -= 1
                ticket.replica = None
            ticket.placed.clear()
            self._waiting.appendleft(ticket)
            self._place_waiting()

    def ask(self, question: Callable[[Replica], T]) -> T:
        """What the first replica says that answers; raises Unavailable when none does."""
        for replica in self.usable():
            try:
                return question(replica)
            except ReplicaFailed as failure:
                self.failed(replica, failure)
        raise self._nobody()

    def failed(self, replica: Replica, failure: ReplicaFailed) -> None:
        """Let a replica rest, unless it was there to report the failure and is well."""
        if failure.reached and self.probe(replica):
            return
        self._rests(replica, failure.message)

    def probe(self, replica: Replica) -> bool:
        """Ask a replica how it is and make it ready; whether it can be used."""
        try:
            replica.learn()
            self._same_model(replica)
            self._equip(replica)
        except RatchetError as error:
            self._rests(replica, error.message)
            return False
        with self._lock:
            replica.error = ""
            replica.look_at = time.monotonic() + _BEAT_SECONDS
            self._last_seen = time.monotonic()
            self._place_waiting()
        return True

    def close(self) -> None:
        """Ask no replica any more."""
        self._closed.set()
        for thread in self._threads:
            thread.join(timeout=10)
        for replica in self.replicas:
            replica.close()

    def _watch(self, replica: Replica) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            if time.monotonic() >= replica.look_at:
                self.probe(replica)

    def _rests(self, replica: Replica, error: str) -> None:
        with self._lock:
            replica.error = error if replica.url in error else f"{replica.url}: {error}"
            replica.look_at = time.monotonic() + self._rest

    def _same_model(self, replica: Replica) -> None:
        with self._lock:
            self._model = self._model or replica.model
        if replica.model != self._model:
            raise Unavailable(f"{replica.url} serves {replica.model}, the other servers {self._model}.")

    def _place_waiting(self) -> None:
        while self._waiting and (replica := choose(self.usable(), self._slots, self._waiting[0].avoid)) is not None:
            ticket = self._waiting.popleft()
            replica.running += 1
            ticket.replica, ticket.position = replica, 0
            ticket.begun.set()
            ticket.placed.set()
        for position, ticket in enumerate(self._waiting, start=1):
            ticket.position = 0 if ticket.begun.is_set() else position

    def _nobody(self) -> Unavailable:
        if self._closed.is_set():
            return Unavailable("the engine is closed.")
        said = "; ".join((one.error or f"{one.url} was lost").rstrip(".") for one in self.replicas)
        return Unavailable(f"no vLLM server can be used: {said}.", "Try again in a few seconds.")


def choose(replicas: Sequence[Replica], slots: int, avoid: Replica | None) -> Replica | None:
    """The least busy replica with a free place; `avoid` only when no other has one."""
    free = [one for one in replicas if one.running < slots]
    return min(free, key=lambda one: (one is avoid, one.running), default=None)
