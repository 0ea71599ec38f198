"""The engine on vLLM servers: the same calls as the embedded one, over one or several replicas of the same model.

A version is served under a name that holds its digest, so that no name ever means other weights. It loads no model
itself. Which version is live, it does not know: `bot/live.py` does.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.adapters import check, folder_digest
from bot.fleet import Fleet
from bot.relay import RelayedAnswer
from bot.replicas import NotThere, Replica, ReplicaFailed
from bot.shipping import discard, servable, served_name, ship
from store.errors import BrokenAdapter, Invalid, NotLoaded, RatchetError, Unavailable
from store.models import BASE


@dataclass(frozen=True)
class Version:
    """An adapter version: its name on the servers, its folder in the registry and the copy that the servers read."""

    name: str
    folder: Path
    digest: str
    shipped: Path


class VllmEngine:
    """The Engine protocol on vLLM's OpenAI-compatible servers, started with --enable-lora."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        shared: Path,
        base_digest: str,
        name: str = "",
        api_key: str = "",
        slots: int = 8,
        queue_limit: int = 64,
        context_tokens: int = 2048,
        rest: float = 3.0,
        patience: float = 60.0,
        silence: float = 60.0,
        keep: float = 3600.0,
    ) -> None:
        """Reach the servers; raises Unavailable when none answers.

        `shared`: the folder for adapters, under the same path on every server; `slots`: answers at once per server;
        `rest`, `patience`, `silence`: seconds that a failed server rests, that answers wait while there is no server,
        and that a server may be without a token; `keep`: seconds that an adapter's copy outlives its version, because
        another bot's answer may need it.
        """
        self._shared = shared.resolve()
        self._base_digest = base_digest
        self._most_tokens = self.context_tokens = context_tokens
        self._server_tokens: dict[str, int] = {}
        self._keep = keep
        self._versions: dict[str, Version] = {}
        self._answers: dict[RelayedAnswer, Version | None] = {}
        self._retired: dict[Version, float] = {}
        self._owed: set[tuple[str, Version]] = set()
        self._lock = threading.RLock()
        self._fleet = Fleet(
            [Replica(url, api_key=api_key, silence=silence) for url in dict.fromkeys(urls)],
            slots=slots,
            queue_limit=queue_limit,
            equip=self._equip,
            rest=rest,
            patience=patience,
        )
        self.name = name or self._fleet.usable()[0].model

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
    ) -> RelayedAnswer:
        """Begin to write an answer; iterate over the result for its text.

        Raises Busy when the queue is full, NotLoaded for a version that is not loaded, Unavailable when no server is
        there, Invalid when the prompt leaves no room for an answer.
        """
        prompt_tokens = self.count(messages)
        if prompt_tokens >= self.context_tokens:
            raise Invalid(f"the prompt has {prompt_tokens} tokens, the context {self.context_tokens}.")
        with self._lock:
            if adapter not in self.loaded():
                raise NotLoaded(f"adapter {adapter} is not loaded.", "Try again in a moment.")
            version = self._versions.get(adapter)
            answer = RelayedAnswer(
                messages,
                fleet=self._fleet,
                sampling=_sampling(temperature, top_p, seed, stop),
                prompt_tokens=prompt_tokens,
                max_tokens=max_tokens,
                room=self.context_tokens - prompt_tokens,
                prepare=lambda replica: self._model_on(replica, version),
                ended=self._ended,
            )
            self._fleet.join(answer.ticket)
            self._answers[answer] = version
        answer.start()
        return answer

    def count(self, messages: Sequence[dict[str, str]]) -> int:
        """How many tokens a prompt has, by the servers' own tokenizer and template."""
        return self._fleet.ask(lambda replica: replica.count(messages))

    def load(self, adapter: str, folder: Path, *, digest: str) -> None:
        """Load an adapter version on every server that can be reached, checked and shipped; others get it later.

        Raises BrokenAdapter or Unavailable and changes nothing for new requests then.
        """
        if adapter in self.loaded():
            return
        check(folder, digest=digest, base_digest=self._base_digest)
        servable(folder)
        digest = digest or folder_digest(folder)
        name = served_name(adapter, digest)
        version = Version(name, folder, digest, self._shared / name)
        try:
            self._load_everywhere(version)
        except BrokenAdapter:
            self._drop_if_unused(version)
            raise
        with self._lock:
            self._versions[adapter] = version
            self._retired.pop(version, None)
            self._owed = {(url, one) for url, one in self._owed if one != version}
        self._sweep()

    def unload(self, adapter: str) -> None:
        """Take a version away from new requests; the servers drop it when its last answer ends."""
        with self._lock:
            version = self._versions.pop(adapter, None)
        if version is not None:
            self._drop_if_unused(version)
            self._sweep()

    def loaded(self) -> list[str]:
        """The versions that new requests may name."""
        with self._lock:
            return [BASE, *self._versions]

    def healthy(self) -> str:
        """An empty text, or what is wrong."""
        return self._fleet.healthy()

    def close(self) -> None:
        """Stop writing; answers under way end as cancelled. What is loaded stays: other bots may use it."""
        with self._lock:
            answers = list(self._answers)
        for answer in answers:
            answer.cancel()
        for answer in answers:
            answer.join(timeout=5)
        self._fleet.close()

    def _load_everywhere(self, version: Version) -> None:
        placed = 0
        for replica in self._fleet.usable():
            try:
                self._place(replica, version)
                placed += 1
            except ReplicaFailed as failure:
                self._fleet.failed(replica, failure)
                if not replica.error:
                    raise
        if not placed:
            raise Unavailable(
                f"adapter {version.name} is on no server: {self.healthy()}", "Try again in a few seconds."
            )

    def _place(self, replica: Replica, version: Version) -> None:
        """Load a version on one server, shipped again if its copy is gone."""
        if version.name in replica.models:
            return
        with replica.placing:
            if version.name in replica.models:
                return
            self._ship(version)
            try:
                replica.load(version.name, version.shipped)
            except NotThere:
                self._ship(version)
                replica.load(version.name, version.shipped)

    def _ship(self, version: Version) -> None:
        ship(version.folder, version.shipped, digest=version.digest, base_digest=self._base_digest)

    def _model_on(self, replica: Replica, version: Version | None) -> str:
        """The name to ask a server for, there for certain; raises ReplicaFailed."""
        if version is None:
            return replica.model
        try:
            self._place(replica, version)
        except ReplicaFailed:
            raise
        except RatchetError as error:
            raise ReplicaFailed(error.message) from error
        return version.name

    def _equip(self, replica: Replica) -> None:
        """Give a server that came (back) what it must have before it is asked, and take from it what went meanwhile."""
        with self._lock:
            versions, owed = list(self._versions.values()), [one for url, one in self._owed if url == replica.url]
        for version in versions:
            self._place(replica, version)
        for version in owed:
            replica.unload(version.name)
            self._owed.discard((replica.url, version))
        self._server_tokens[replica.url] = replica.context_tokens or self._most_tokens
        self.context_tokens = min(self._most_tokens, *self._server_tokens.values())

    def _ended(self, answer: RelayedAnswer) -> None:
        with self._lock:
            version = self._answers.pop(answer, None)
        if version is not None:
            self._drop_if_unused(version)

    def _drop_if_unused(self, version: Version) -> None:
        with self._lock:
            if version in self._versions.values() or version in self._answers.values():
                return
            self._retired[version] = time.monotonic()
            self._owed |= {(replica.url, version) for replica in self._fleet.replicas}
        for replica in self._fleet.usable():
            try:
                replica.unload(version.name)
                self._owed.discard((replica.url, version))
            except ReplicaFailed as failure:  # when it comes back, `_equip` does it
                self._fleet.failed(replica, failure)

    def _sweep(self) -> None:
        """Delete shipped copies that this process gave up long ago and that no server lists any more."""
        with self._lock:
            old = [one for one, since in self._retired.items() if time.monotonic() - since >= self._keep]
        listed = self._fleet.listed() if old else None
        if listed is None:
            return
        for version in old:
            if version.name not in listed:
                self._retired.pop(version, None)
                discard(version.shipped)


def _sampling(temperature: float, top_p: float, seed: int | None, stop: Sequence[str]) -> dict[str, object]:
    """vLLM's sampling, with what a model's own configuration would add turned off: it was not evaluated with that."""
    return {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "seed": seed,
        "stop": [text for text in stop if text],
    }
