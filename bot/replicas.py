"""One vLLM server: the calls that it answers, and what vLLM's refusals mean.

It does not know of other servers, what an adapter is made of, nor what becomes of an answer's text.
"""

import re
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from bot.shipping import server_rank
from store.errors import BrokenAdapter, Invalid, RatchetError, Unavailable

_CALL = httpx2.Timeout(10.0, connect=3.0)
_LOAD = httpx2.Timeout(120.0, connect=3.0)
_UNFIT = re.compile(r"not (?:yet )?support|is not supported|expected target modules|only supports", re.IGNORECASE)
_RANK = re.compile(r"LoRA rank (\d+) is greater than max_lora_rank (\d+)")


class ReplicaFailed(Unavailable):
    """A replica gave no answer or not a whole one; `reached` when it was there to say so."""

    def __init__(self, message: str, *, reached: bool = False) -> None:
        super().__init__(message, "Try again in a few seconds.")
        self.reached = reached


class NotThere(Unavailable):
    """A replica does not know the model, or does not find the folder of an adapter."""


@dataclass(frozen=True)
class Piece:
    """A piece of an answer's text, the tokens written so far, and the reason once it has ended."""

    text: str
    tokens: int | None
    finish_reason: str | None


class _Card(BaseModel):
    id: str
    parent: str | None = None
    max_model_len: int | None = None


class _Cards(BaseModel):
    data: list[_Card]


class _Count(BaseModel):
    count: int


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta
    finish_reason: str | None = None


class _Usage(BaseModel):
    completion_tokens: int = 0


class _Chunk(BaseModel):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: dict[str, Any] | None = None


_Shape = TypeVar("_Shape", bound=BaseModel)


class Replica:
    """One vLLM server, and what is known of it."""

    def __init__(self, url: str, *, api_key: str = "", silence: float = 60.0) -> None:
        """`silence`: seconds without a token after which an answer counts as cut."""
        self.url = url.rstrip("/").removesuffix("/v1")
        self.running = 0
        self.error = "it was never asked"
        self.look_at = 0.0
        self.model = ""
        self.context_tokens = 0
        self.models: set[str] = set()
        self.placing = threading.Lock()
        self._stream = httpx2.Timeout(silence, connect=3.0)
        self._client = httpx2.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=_CALL,
            # a connection that is not kept cannot be found dead, and closing one ends one answer only
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    def learn(self) -> None:
        """Ask for health, the served model and the adapters there; raises ReplicaFailed."""
        self._checked(self._call("GET", "/health"))
        cards = self._read(_Cards, self._checked(self._call("GET", "/v1/models")).text).data
        base = next((card for card in cards if card.parent is None), None)
        if base is None:
            raise ReplicaFailed(f"{self.url} lists no model.")
        self.model, self.context_tokens = base.id, base.max_model_len or 0
        self.models = {card.id for card in cards}

    def count(self, messages: Sequence[dict[str, str]]) -> int:
        """How many tokens a prompt has; raises ReplicaFailed."""
        body = {"model": self.model, "messages": list(messages), "add_generation_prompt": True}
        response = self._checked(self._call("POST", "/tokenize", body))
        return self._read(_Count, response.text).count

    def load(self, name: str, folder: Path) -> None:
        """Load an adapter under a name; one that is there already is left as it is.

        Raises BrokenAdapter when vLLM cannot serve it, NotThere when it does not see the folder, Unavailable when it
        loads none at all, ReplicaFailed.
        """
        body = {"lora_name": name, "lora_path": str(folder)}
        response = self._call("POST", "/v1/load_lora_adapter", body, _LOAD)
        said = _said(response)
        if response.status_code != 200 and "already been loaded" not in said:
            raise self._load_refusal(response.status_code, name, said)
        self.models.add(name)

    def unload(self, name: str) -> None:
        """Take a name away from new requests; one that is not there is no error. Raises ReplicaFailed."""
        self.models.discard(name)
        response = self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        if response.status_code != 404:
            self._checked(response)

    def chat(self, body: dict[str, Any], opened: Callable[[socket.socket], None]) -> Generator[Piece]:
        """The pieces of an answer; `opened` gets the connection, to close it from another thread.

        Raises NotThere for a model that is not there, Invalid for what vLLM refuses, ReplicaFailed when it is cut.
        """
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=body, timeout=self._stream) as response:
                opened(response.extensions["network_stream"].get_extra_info("socket"))
                if response.status_code != 200:
                    response.read()
                    self._checked(response)
                yield from self._pieces(response)
        except httpx2.TransportError as error:
            raise ReplicaFailed(f"{self.url} cut the answer: {_reason(error)}.") from error

    def close(self) -> None:
        """Give up the connections."""
        self._client.close()

    def _pieces(self, response: httpx2.Response) -> Iterator[Piece]:
        for event in httpx2.EventSource(response):
            if event.data == "[DONE]":
                return
            chunk = self._read(_Chunk, event.data)
            if chunk.error is not None:
                raise ReplicaFailed(f"{self.url} failed: {chunk.error.get('message')}", reached=True)
            choice = chunk.choices[0] if chunk.choices else _Choice(delta=_Delta())
            tokens = chunk.usage.completion_tokens if chunk.usage is not None else None
            yield Piece(choice.delta.content or "", tokens, choice.finish_reason)

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout: httpx2.Timeout = _CALL
    ) -> httpx2.Response:
        try:
            return self._client.request(method, path, json=body, timeout=timeout)
        except httpx2.TransportError as error:
            raise ReplicaFailed(f"{self.url} does not answer: {_reason(error)}.") from error

    def _checked(self, response: httpx2.Response) -> httpx2.Response:
        code, said = response.status_code, _said(response)
        if code in (401, 403):
            raise ReplicaFailed(
                f"{self.url} refuses the API key: set vllm.api_key to the one that it was started with."
            )
        if code == 404:
            raise NotThere(f"{self.url} says: {said}")
        if code >= 500 or code == 429:
            raise ReplicaFailed(f"{self.url} failed with {code}: {said}", reached=True)
        if code >= 400:
            raise Invalid(f"vLLM refused the request: {said}")
        return response

    def _read(self, shape: type[_Shape], text: str) -> _Shape:
        try:
            return shape.model_validate_json(text)
        except ValidationError as error:
            raise ReplicaFailed(f"{self.url} is no vLLM server: it answers {text[:80]!r}.") from error

    def _load_refusal(self, code: int, name: str, said: str) -> RatchetError:
        if match := _RANK.search(said):
            return _rank_refusal(name, int(match[1]), f"{self.url} was started with --max-lora-rank {match[2]}")
        if "is not enabled" in said:
            return Unavailable(f"{self.url} loads no adapters.", "Start it with --enable-lora.")
        if _UNFIT.search(said):
            return BrokenAdapter(f"{self.url} cannot serve adapter {name}: {said}")
        if code == 404 and name not in said:
            hint = "Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
            return Unavailable(f"{self.url} loads no adapters at run time.", hint)
        if code == 404:
            hint = "Set vllm.adapters to a folder that the servers see under the same path."
            return NotThere(f"{self.url} does not find the folder of adapter {name}.", hint)
        return ReplicaFailed(f"{self.url} did not load adapter {name}: {said}", reached=True)


def _rank_refusal(name: str, rank: int, found: str) -> Unavailable:
    hint = f"Start the servers with --max-lora-rank {server_rank(rank)}, or train with a smaller rank."
    return Unavailable(f"adapter {name} has rank {rank}, but {found}.", hint)


def _said(response: httpx2.Response) -> str:
    try:
        found = response.json()
    except ValueError:
        return response.text[:300]
    error = found.get("error", found) if isinstance(found, dict) else {}
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]


def _reason(error: httpx2.TransportError) -> str:
    return str(error) or type(error).__name__
