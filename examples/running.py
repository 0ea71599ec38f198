"""A bot of one's own on a free port, as a child process, and the HTTP calls that the demo and the benchmarks need."""

import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent


class Bot:
    """A running bot; every call ends the program when the bot answers with an error."""

    def __init__(self, data: Path, settings: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.key = secrets.token_urlsafe(16)
        environment = {f"RATCHET__{name}": value for name, value in settings.items()}
        environment |= {"RATCHET_DATA": str(data), "RATCHET_PORT": str(port), "RATCHET_ADMIN_KEY": self.key}
        data.mkdir(parents=True, exist_ok=True)
        self.log = data / "bot.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bot", "serve"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {self.key}"}, timeout=120
        )

    def wait(self) -> None:
        """Until the bot is ready; exits when it never is."""
        for _ in range(180):
            try:
                if self.http.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None:
                break
            time.sleep(0.5)
        sys.exit(f"the bot did not start:\n{self.log.read_text()[-2000:]}")

    def ask(self, question: str, person: str) -> dict[str, Any]:
        """Ask as a person; the OpenAI-style reply."""
        body = {"model": "ratchet", "user": person, "messages": [{"role": "user", "content": question}]}
        return self.post("/v1/chat/completions", body)

    def wait_for(self, adapter: str) -> None:
        """Until the bot has loaded an adapter and gives it new requests."""
        while not any(
            p["kind"] == "bot" and p["adapter"] == adapter for p in self.get("/v1/admin/overview")["processes"]
        ):
            time.sleep(0.05)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST, and the JSON answer; raises on an error."""
        return self._read(self.http.post(path, json=body))

    def get(self, path: str) -> dict[str, Any]:
        """GET, and the JSON answer; raises on an error."""
        return self._read(self.http.get(path))

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_error:
            sys.exit(f"{response.request.url.path}: {response.status_code} {response.text}")
        found: dict[str, Any] = response.json()
        return found

    def stop(self) -> None:
        """End the bot."""
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
