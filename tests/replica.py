"""A toy vLLM server: real HTTP on a real port, a model that says its own name and counts, and ways to fail.

A token is a word. What it says depends on the served name alone, so that a test knows every answer beforehand.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL = "toy"


def word(model: str, number: int) -> str:
    """The word of a model at a place: `toy3`, or `v1-3` for the adapter served as ratchet@v1-…"""
    short = model.removeprefix("ratchet@").split("-")[0]
    return f"{'' if number == 0 else ' '}{short}_{number}"


def saying(model: str, words: int) -> str:
    """The first words that a model says."""
    return "".join(word(model, number) for number in range(words))


class ToyReplica:
    """One server; `kill` drops it with all its connections, `restart` brings it back without adapters."""

    def __init__(self, *, words: int = 20, pace: float = 0.0, max_rank: int = 32, api_key: str = "") -> None:
        self.words, self.pace, self.max_rank, self.api_key = words, pace, max_rank, api_key
        self.model, self.max_model_len = MODEL, 2048
        self.adapters: dict[str, str] = {}
        self.loads: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.status = 0
        self.error_after: int | None = None
        self.kill_after: int | None = None
        self.runs_adapters = True
        self.hung_up = 0
        self.running = self.most = 0
        self.go = threading.Event()
        self.go.set()
        self.lock = threading.Lock()
        self.connections: set[socket.socket] = set()
        self.alive = False
        self._port = 0
        self.restart()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def restart(self) -> None:
        """Listen (again, on the same port); nothing is loaded."""
        self.adapters = {}
        self._server = _Server(("127.0.0.1", self._port), _handler(self))
        self._port = self._server.server_address[1]
        self.alive = True
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()

    def kill(self) -> None:
        """Stop listening and drop every connection, as a killed process does."""
        if not self.alive:
            return
        self.alive = False
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that the other side dropped is what these tests are about: nothing to print."""


def _handler(toy: ToyReplica) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        replica = toy

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    replica: ToyReplica

    def setup(self) -> None:
        super().setup()
        self.replica.connections.add(self.connection)

    def finish(self) -> None:
        self.replica.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        toy = self.replica
        if self.path == "/health":
            self._json({})
        elif toy.api_key and self.headers.get("Authorization") != f"Bearer {toy.api_key}":
            self._json({"error": "Unauthorized"}, 401)
        else:
            base = {"id": toy.model, "parent": None, "max_model_len": toy.max_model_len}
            self._json({"data": [base, *({"id": name, "parent": toy.model} for name in toy.adapters)]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            self._json({"count": sum(len(message["content"].split()) for message in body["messages"])})
        elif self.path == "/v1/load_lora_adapter" and self.replica.runs_adapters:
            self._load(body["lora_name"], Path(body["lora_path"]))
        elif self.path == "/v1/unload_lora_adapter":
            found = self.replica.adapters.pop(body["lora_name"], None)
            self._json({}) if found else self._error(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
        elif self.path == "/v1/chat/completions":
            self._chat(body)
        else:
            self._json({"detail": "Not Found"}, 404)

    def _load(self, name: str, folder: Path) -> None:
        config = folder / "adapter_config.json"
        if name in self.replica.adapters:
            self._error(400, f"The lora adapter '{name}' has already been loaded.")
        elif not config.is_file():
            self._error(404, f"Loading lora {name} failed: No adapter found for {folder}")
        elif (rank := json.loads(config.read_text())["r"]) > self.replica.max_rank:
            said = f"LoRA rank {rank} is greater than max_lora_rank {self.replica.max_rank}."
            self._error(500, f"Call to add_lora method failed: {said}")
        else:
            self.replica.adapters[name] = str(folder)
            self.replica.loads.append(name)
            self._json({})

    def _chat(self, body: dict[str, Any]) -> None:
        toy = self.replica
        toy.bodies.append(body)
        if toy.status:
            self._error(toy.status, "out of order")
        elif body["model"] not in (toy.model, *toy.adapters):
            self._error(404, f"The model `{body['model']}` does not exist.")
        else:
            with toy.lock:
                toy.running += 1
                toy.most = max(toy.most, toy.running)
            try:
                self._stream(body)
            except OSError:
                toy.hung_up += toy.alive
                self.close_connection = True
            finally:
                with toy.lock:
                    toy.running -= 1

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in self._events(body):
            self._chunk(f"data: {event}\n\n")
        self._chunk("")

    def _events(self, body: dict[str, Any]) -> Iterator[str]:
        toy, said = self.replica, 0
        if body.get("continue_final_message"):
            said = len(body["messages"][-1]["content"].split())
        last = min(toy.words, said + body["max_tokens"])
        yield _event("", 0)
        for number in range(said, last):
            toy.go.wait()
            time.sleep(toy.pace)
            if number == toy.error_after:
                yield json.dumps({"error": {"message": "the engine is dead"}})
                return
            if number == toy.kill_after:
                toy.kill()
            reason = None if number + 1 < last else "stop" if last == toy.words else "length"
            yield _event(word(body["model"], number), number + 1 - said, reason)
        yield json.dumps({"choices": [], "usage": {"completion_tokens": last - said}})
        yield "[DONE]"

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _error(self, status: int, message: str) -> None:
        self._json({"error": {"message": message, "code": status}}, status)

    def _json(self, body: object, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _event(text: str, tokens: int, reason: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return json.dumps({"choices": [choice], "usage": {"completion_tokens": tokens}})
