"""The engine: writes answers with the base model or any loaded adapter version, many at once.

Each version is an immutable merged copy. New requests name the version they want; a version that is unloaded finishes
the answers under way and is then freed. It does not know which version is live: `bot/live.py` does.
"""

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from bot import adapters
from bot.decoding import Batch, Request
from bot.generation import Answer, Generation
from bot.models import base_digest
from store.errors import Busy, Invalid, Unavailable
from store.models import BASE


class Engine(Protocol):
    """What the bot needs of a model: the embedded engine below, or a server behind the same calls."""

    name: str
    context_tokens: int

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
    ) -> Generation: ...

    def count(self, messages: Sequence[dict[str, str]]) -> int: ...

    def load(self, adapter: str, folder: Path, *, digest: str) -> None: ...

    def unload(self, adapter: str) -> None: ...

    def loaded(self) -> list[str]: ...

    def healthy(self) -> str: ...

    def close(self) -> None: ...


class TransformersEngine:
    """The embedded engine: one thread decodes for all loaded versions."""

    def __init__(
        self,
        folder: str,
        *,
        name: str = "",
        dtype: str = "bfloat16",
        slots: int = 8,
        queue_limit: int = 64,
        context_tokens: int = 2048,
        threads: int | None = None,
    ) -> None:
        """Load the model from a folder or hub id; raises Unavailable when it cannot be."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.name = name or folder
        self.context_tokens = context_tokens
        self._slots = slots
        self._queue_limit = queue_limit
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.base_digest = base_digest(folder)
        self._models: dict[str, PreTrainedModel] = {BASE: _load(folder, dtype)}
        self._end = _end_tokens(self._models[BASE], self.tokenizer)
        self._waiting: deque[Answer] = deque()
        self._running: dict[str, tuple[Batch, dict[int, Answer]]] = {}
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
    ) -> "Answer":
        """Begin to write an answer; iterate over the result for its text.

        Raises Busy when the queue is full, Unavailable for a version that is not loaded, Invalid when the prompt
        leaves no room for an answer.
        """
        prompt = self._tokens(messages)
        if len(prompt) >= self.context_tokens:
            raise Invalid(f"the prompt has {len(prompt)} tokens, the context {self.context_tokens}.")
        request = Request(prompt, max_tokens, self._end, temperature, top_p, seed)
        answer = Answer(request, adapter, self.tokenizer, stop)
        with self._wake:
            if adapter not in self._models:
                raise Unavailable(f"adapter {adapter} is not loaded.", "Try again in a moment.")
            if len(self._waiting) >= self._queue_limit:
                raise Busy(f"{len(self._waiting)} answers are waiting already.", "Try again in a few seconds.")
            answer.model = self._models[adapter]
            self._waiting.append(answer)
            answer.position = len(self._waiting)
            self._wake.notify()
        return answer

    def count(self, messages: Sequence[dict[str, str]]) -> int:
        """How many tokens a prompt has."""
        return len(self._tokens(messages))

    def _tokens(self, messages: Sequence[dict[str, str]]) -> list[int]:
        found: list[int] = self.tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return found

    @torch.inference_mode()
    def logprobs(self, messages: Sequence[dict[str, str]], answer: str, *, adapter: str) -> list[float]:
        """The natural-log probability of each token of `answer` after a prompt, the end mark included.

        Empty when prompt and answer together exceed the context.
        """
        prompt = self._tokens(messages)
        target = self.tokenizer(answer, add_special_tokens=False).input_ids
        target = [*target, self.tokenizer.eos_token_id]
        if len(prompt) + len(target) > self.context_tokens:
            return []
        model = self._models[adapter]
        inputs = torch.tensor([prompt + target], device=model.device)
        logits = model(input_ids=inputs, logits_to_keep=len(target) + 1).logits[0, :-1].float()
        wanted = torch.tensor(target, device=model.device)[:, None]
        found: list[float] = torch.log_softmax(logits, -1).gather(1, wanted)[:, 0].tolist()
        return found

    def load(self, adapter: str, folder: Path, *, digest: str) -> None:
        """Load an adapter version beside the others, checked; raises BrokenAdapter and changes nothing then."""
        with self._wake:
            if adapter in self._models:
                return
            base = self._models[BASE]
        adapters.check(folder, digest=digest, base_digest=self.base_digest)
        model = adapters.merged(base, folder)
        with self._wake:
            self._models[adapter] = model

    def unload(self, adapter: str) -> None:
        """Take a version away from new requests; its memory is freed when its last answer ends."""
        if adapter != BASE:
            with self._wake:
                self._models.pop(adapter, None)

    def loaded(self) -> list[str]:
        """The versions that new requests may name."""
        with self._wake:
            return list(self._models)

    def healthy(self) -> str:
        """An empty text, or what is wrong."""
        return self._error or ("" if self._thread.is_alive() else "the engine's thread has ended.")

    def close(self) -> None:
        """Stop writing; answers under way end as cancelled."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed:
            with self._wake:
                while not (self._waiting or self._running or self._closed):
                    self._wake.wait()
                self._admit()
            for adapter in list(self._running):
                self._advance(adapter)
        for answer in [*self._waiting, *(a for _, answers in self._running.values() for a in answers.values())]:
            answer.end()

    def _admit(self) -> None:
        self._fill_slots()
        for position, answer in enumerate(self._waiting, start=1):
            answer.position = position

    def _fill_slots(self) -> None:
        busy = sum(len(answers) for _, answers in self._running.values())
        for answer in list(self._waiting):
            if answer.request.cancelled or answer.model is None:
                self._waiting.remove(answer)
                answer.end()
                continue
            if busy >= self._slots:
                return
            batch, answers = self._running.get(answer.adapter) or (
                Batch(answer.model, slots=self._slots, context=self.context_tokens),
                {},
            )
            if batch.free:
                self._running[answer.adapter] = (batch, answers)
                batch.admit(answer.request)
                answers[id(answer.request)] = answer
                self._waiting.remove(answer)
                answer.begin()
                busy += 1

    def _advance(self, adapter: str) -> None:
        batch, answers = self._running[adapter]
        try:
            ended = batch.advance()
        except RuntimeError as error:  # torch's own: out of memory above all
            self._error = f"the engine failed: {error}"
            for answer in answers.values():
                answer.end(self._error)
            del self._running[adapter]
            return
        self._error = ""
        for answer in answers.values():
            answer.deliver()
        for request in ended:
            answers.pop(id(request)).end()
        if batch.idle:
            del self._running[adapter]


def _load(folder: str, dtype: str) -> PreTrainedModel:
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise Unavailable(f"the model {folder} cannot be loaded: {error}", "Check models.chat.") from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).eval().requires_grad_(False)  # type: ignore[arg-type]
    return model


def _end_tokens(model: PreTrainedModel, tokenizer: Any) -> frozenset[int]:
    config = getattr(model.generation_config, "eos_token_id", None)
    found = config if isinstance(config, list) else [config]
    return frozenset(token for token in [*found, tokenizer.eos_token_id] if token is not None)
