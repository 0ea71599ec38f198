"""The engine: writes answers with the base model or any loaded adapter version, many at once.

Each version is immutable. New requests name the version they want; a version that is unloaded finishes the answers
under way and is then freed. It does not know which version is live: `bot/live.py` does.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoTokenizer

from bot.adapters import out_of_memory
from bot.decoding import Batch, Request, advance_all
from bot.forward import scored
from bot.generation import Answer, end_tokens
from bot.versions import Version, Versions, trim
from store.errors import Busy, Invalid, NoRoom, NotLoaded, RatchetError, Unavailable
from store.models import BASE
from store.turns import end_token

T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class TransformersEngine:
    """The embedded engine: one thread decodes for all loaded versions."""

    def __init__(
        self,
        folder: str,
        *,
        name: str = "",
        dtype: str = "auto",
        slots: int = 8,
        queue_limit: int = 64,
        context_tokens: int = 2048,
        threads: int | None = None,
        memory_mb: int = 0,
    ) -> None:
        """Load the model from a folder or hub id; raises Unavailable, or NoRoom for too small a memory budget."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.name = name or folder
        self.context_tokens = context_tokens
        self._slots = slots
        self._queue_limit = queue_limit
        self._versions = Versions(folder, dtype=dtype, slots=slots, context=context_tokens, memory_mb=memory_mb)
        self.base_digest = self._versions.base_digest
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self._turn_end = end_token(self.tokenizer)
        self._end = end_tokens(self._versions.base, self.tokenizer) | {self._turn_end}
        self._waiting: deque[Answer] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._running: dict[Version, tuple[Batch, dict[Request, Answer]]] = {}
        self._wake = threading.Condition()
        self._closed = False
        self._error = ""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

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
    ) -> Answer:
        """Begin to write an answer; iterate over the result for its text.

        Raises Busy when the queue is full, NotLoaded for a version that is not loaded, Invalid when the prompt leaves
        no room for an answer.
        """
        prompt = self._tokens(messages)
        if len(prompt) >= self.context_tokens:
            raise Invalid(f"the prompt has {len(prompt)} tokens, the context {self.context_tokens}.")
        request = Request(prompt, max_tokens, self._end, temperature, top_p, seed)
        with self._wake:
            answer = Answer(request, self._version(adapter), self.tokenizer, stop)
            if len(self._waiting) >= self._queue_limit:
                raise Busy(f"{len(self._waiting)} answers are waiting already.", "Try again in a few seconds.")
            self._waiting.append(answer)
            answer.position = len(self._waiting)
            self._wake.notify()
        return answer

    def _version(self, adapter: str) -> Version:
        version = self._versions.loaded.get(adapter)
        if version is None:
            raise NotLoaded(f"adapter {adapter} is not loaded.", "Try again in a moment.")
        return version

    def count(self, messages: Sequence[dict[str, str]]) -> int:
        """How many tokens a prompt has."""
        return len(self._tokens(messages))

    def _tokens(self, messages: Sequence[dict[str, str]]) -> list[int]:
        found: list[int] = self.tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return found

    def logprobs(self, messages: Sequence[dict[str, str]], answer: str, *, adapter: str) -> list[float]:
        """The natural-log probability of each token of `answer` after a prompt, the end of the turn included.

        Empty when prompt and answer together exceed the context.
        """
        prompt = self._tokens(messages)
        target = [*self.tokenizer(answer, add_special_tokens=False).input_ids, self._turn_end]
        if len(prompt) + len(target) > self.context_tokens:
            return []
        with self._wake:
            version = self._version(adapter)
        return self._in_thread(lambda: scored(version.forward(1), prompt, target))

    def _in_thread(self, job: Callable[[], T]) -> T:
        """Run something between two steps of the engine's thread, which alone may touch the models."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except RatchetError as error:
                future.set_exception(error)
            except (RuntimeError, MemoryError) as error:  # torch's own: out of memory above all
                failed = NoRoom if out_of_memory(error) else Unavailable
                future.set_exception(failed(f"the engine failed: {error}"))
            except Exception as error:  # the boundary to the thread that waits for it
                future.set_exception(error)

        with self._wake:
            if self._closed:
                raise Unavailable("the engine is closed.")
            self._jobs.append(run)
            self._wake.notify()
        return future.result()

    def load(self, adapter: str, folder: Path, *, digest: str) -> None:
        """Load an adapter version beside the others, checked.

        Raises BrokenAdapter, or NoRoom when the memory budget does not hold it, and changes nothing then.
        """
        with self._wake:
            if adapter in self._versions.loaded:
                return
        version = self._versions.load(adapter, folder, digest=digest, run=self._in_thread)
        with self._wake:
            self._versions.loaded[adapter] = version

    def unload(self, adapter: str) -> None:
        """Take a version away from new requests; its memory is freed when its last answer ends."""
        if adapter != BASE:
            with self._wake:
                self._versions.loaded.pop(adapter, None)
            trim()

    def loaded(self) -> list[str]:
        """The versions that new requests may name."""
        with self._wake:
            return list(self._versions.loaded)

    def healthy(self) -> str:
        """An empty text, or what is wrong; a failure that ended every answer is said once, then it is over."""
        with self._wake:
            failed = self._error
            if not self._running and not self._waiting:
                self._error = ""
        return failed or ("" if self._thread.is_alive() else "the engine's thread has ended.")

    def close(self) -> None:
        """Stop writing; answers under way end as cancelled."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed:
            with self._wake:
                while not (self._waiting or self._running or self._jobs or self._closed):
                    self._wake.wait()
            try:
                self._turn()
            except Exception as error:  # the thread's boundary: those under way hear of it, the next are served
                _LOG.exception("the engine failed")
                self._fail(list(self._running), error)
        for job in self._jobs:
            job()
        for answer in [*self._waiting, *(a for _, answers in self._running.values() for a in answers.values())]:
            answer.end()

    def _turn(self) -> None:
        """One step; a function of its own, so that the waiting thread holds no version."""
        with self._wake:
            self._fill_slots()
            for position, answer in enumerate(self._waiting, start=1):
                answer.position = position
            jobs, self._jobs = self._jobs, deque()
        for job in jobs:
            job()
        reader = next((version for version, (batch, _) in self._running.items() if batch.reading), None)
        families: dict[int, list[Version]] = {}
        for version, (batch, _) in self._running.items():
            families.setdefault(id(batch.forward.family), []).append(version)
        for versions in families.values():
            self._advance(versions, reader)
        if reader in self._running:
            self._running[reader] = self._running.pop(reader)

    def _fill_slots(self) -> None:
        for answer in [answer for answer in self._waiting if answer.request.cancelled]:
            self._waiting.remove(answer)
            answer.end()
        busy = sum(len(answers) for _, answers in self._running.values())
        for answer in list(self._waiting):
            if busy >= self._slots:
                return
            try:
                busy += self._admitted(answer)
            except Exception as error:  # one answer's boundary: the others wait and write on
                _LOG.exception("an answer could not begin")
                self._waiting.remove(answer)
                answer.end(f"the answer could not begin: {error}")

    def _admitted(self, answer: Answer) -> bool:
        known = self._running.get(answer.version)
        batch, answers = known or (Batch(answer.version.forward(self._slots), context=self.context_tokens), {})
        if not batch.admit(answer.request):
            return False
        self._running[answer.version] = (batch, answers)
        answers[answer.request] = answer
        self._waiting.remove(answer)
        answer.begin()
        return True

    def _advance(self, versions: list[Version], reader: Version | None) -> None:
        """One pass for versions of one family; one version in all reads a chunk, so that nobody's text halts long."""
        batches = [self._running[version][0] for version in versions]
        try:
            ended = advance_all(batches, reader=self._running[reader][0] if reader in versions else None)
        except RuntimeError as error:  # torch's own: out of memory above all
            self._fail(versions, error)
            return
        self._error = ""
        for version, over in zip(versions, ended, strict=True):
            batch, answers = self._running[version]
            for answer in answers.values():
                answer.deliver()
            for request in over:
                answers.pop(request).end(request.error)
            if batch.idle:
                del self._running[version]

    def _fail(self, versions: Sequence[Version], error: Exception) -> None:
        """End the answers of these versions with an error; others go on."""
        self._error = f"the engine failed: {error}"
        for version in versions:
            batch, answers = self._running.pop(version)
            for answer in answers.values():
                answer.end(self._error)
            try:
                batch.abandon()
            except RuntimeError:  # a device that is broken: what it held goes with the batch
                _LOG.exception("slots could not be given back")
