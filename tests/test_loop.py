"""The whole loop as processes over HTTP: people ask and correct, a cycle trains, an admin approves, the bot swaps.

Fast on a tiny model of random weights, which can only learn one sentence; slow on the real one (`make demo`).
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
KEY = "loop-admin-key"
TRUTH = "It is stated in the first passage of the manual."
TOPICS = [f"{thing} number {n}" for n in range(12) for thing in ("valve", "pump", "lamp", "motor")]
SETTINGS = {
    "MODELS__DTYPE": "float32",
    "RETRIEVAL__DOCUMENTS": "[]",
    "GENERATION__MAX_TOKENS": "24",
    "GENERATION__CONTEXT_TOKENS": "512",
    "TRAINING__MAX_PASSES": "30",
    "TRAINING__MIN_EXAMPLES": "10",
    "TRAINING__UNANSWERABLE_SHARE": "0",
    "GATE__MIN_CASES": "5",
    "GATE__LOSS_MARGIN": "0.5",
    "SCHEDULER__CRON": '"0 0 1 1 *"',
    "WATCH__HOURS": "0",
}


class Processes:
    """A bot with its embedded scheduler, started and ended as a person would."""

    def __init__(self, folder: Path, model: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self.environment = {
            **os.environ,
            **{f"RATCHET__{name}": value for name, value in SETTINGS.items()},
            "RATCHET__MODELS__CHAT": model,
            "RATCHET__TASKS": str(taxonomy(folder)),
            "RATCHET_DATA": str(folder / "var"),
            "RATCHET_PORT": str(self.port),
            "RATCHET_ADMIN_KEY": KEY,
            "OMP_NUM_THREADS": "1",
        }
        headers = {"Authorization": f"Bearer {KEY}"}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60)
        self.bot: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.folder / "bot.log").open("ab")
        self.bot = subprocess.Popen(
            [sys.executable, "-m", "bot", "serve"], cwd=ROOT, env=self.environment, stdout=log, stderr=log
        )
        self.until(self._ready, 120)

    def _ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            assert self.bot is not None and self.bot.poll() is None, (self.folder / "bot.log").read_text()[-3000:]
            return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self.bot is not None
        self.bot.send_signal(number)
        self.bot.wait(timeout=30)

    def until(self, true: Callable[[], Any], seconds: float) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := true():
                return found
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s; the log ends: {(self.folder / 'bot.log').read_text()[-2000:]}")

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, topic: str) -> dict[str, Any]:
        passages = [
            {"title": f"Manual, {topic}", "text": f"{TRUTH} The {topic} has a page here."},
            {"title": "Weather", "text": "Rain is likely tomorrow in the north."},
        ]
        body = {
            "model": "ratchet",
            "messages": [{"role": "user", "content": f"Where does it say how the {topic} works?"}],
            "ratchet": {"passages": passages},
        }
        response = self.http.post("/v1/chat/completions", json=body)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def adapter(self) -> str:
        return str(self.ask(TOPICS[0])["ratchet"]["adapter"])

    def cycle(self, cycle_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/v1/admin/cycles/{cycle_id}").json())

    def ended(self, cycle_id: str) -> dict[str, Any] | None:
        found = self.cycle(cycle_id)
        return None if found["state"] == "running" else found


def taxonomy(folder: Path) -> Path:
    """One task whose recipe trains every linear layer, for a model that knows nothing."""
    recipe = {
        "rank": 16, "alpha": 32, "dropout": 0.0, "epochs": 30, "warmup_steps": 5, "batch_size": 3,
        "learning_rate": 1e-4,
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }  # fmt: skip
    task = {"description": "Where a manual says something.", "examples": ["Where is it stated?"], "recipe": recipe}
    path = folder / "tasks.yaml"
    path.write_text(yaml.safe_dump({"tasks": {"lookup": {**task, "passages_score": 0.5}}}))
    return path


@pytest.fixture(scope="module")
def story(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Plays the loop once and keeps what was seen at each point."""
    processes = Processes(tmp_path_factory.mktemp("loop"), tiny_model)
    processes.start()
    seen: dict[str, Any] = {"processes": processes}
    try:
        play(processes, seen)
        yield seen
    finally:
        processes.stop()


def play(processes: Processes, seen: dict[str, Any]) -> None:
    http = processes.http
    early = processes.until(lambda: http.post("/v1/admin/cycles").json().get("cycle_id"), 120)
    seen["early"] = processes.until(lambda: processes.ended(early), 60)
    seen["asked"] = [processes.ask(topic) for topic in TOPICS]
    for reply in seen["asked"]:
        body = {"exchange_id": reply["ratchet"]["exchange_id"], "rating": "down", "correction": TRUTH}
        assert http.post("/v1/feedback", json=body).status_code == 200
    cycle_id = http.post("/v1/admin/cycles").json()["cycle_id"]
    seen["cycle"] = processes.until(lambda: processes.ended(cycle_id), 300)
    assert seen["cycle"]["state"] == "awaiting_approval", seen["cycle"]["error"] or seen["cycle"]["results"]
    seen["adapter"] = seen["cycle"]["adapter_id"]
    seen["before"] = processes.ask(TOPICS[0])
    seen["no_comment"] = http.post(f"/v1/admin/adapters/{seen['adapter']}/approve", json={"comment": ""})
    seen["approval"] = processes.command("store", "approve", seen["adapter"], "--comment", "it learned the sentence")
    assert seen["approval"].returncode == 0, seen["approval"].stderr
    processes.until(lambda: processes.adapter() == seen["adapter"], 20)
    seen["after"] = processes.ask(TOPICS[0])
    seen["watched"] = processes.until(lambda: ended_well(processes, cycle_id), 30)
    processes.stop(signal.SIGKILL)
    processes.start()
    seen["restarted"] = processes.ask(TOPICS[0])
    http.post("/v1/admin/rollback", json={"comment": "back"})
    processes.until(lambda: processes.adapter() == "base", 20)
    seen["back"] = processes.ask(TOPICS[0])


def ended_well(processes: Processes, cycle_id: str) -> dict[str, Any] | None:
    found = processes.cycle(cycle_id)
    return found if found["state"] == "done" else None


def text(reply: dict[str, Any]) -> str:
    return str(reply["choices"][0]["message"]["content"])


def test_a_cycle_over_an_empty_log_ends_with_too_little_data(story):
    assert (story["early"]["state"], story["early"]["outcome"]) == ("done", "too_little_data")
    assert story["early"]["adapter_id"] is None


def test_the_gate_asks_for_approval_of_an_adapter_that_learned(story):
    assert story["cycle"]["state"] == "awaiting_approval", story["cycle"]["error"] or story["cycle"]["results"]
    assert [step["name"] for step in story["cycle"]["steps"]][-1] == "gate"


def test_nothing_is_served_before_approval(story):
    assert story["before"]["ratchet"]["adapter"] == "base"


def test_approving_needs_a_comment(story):
    assert story["no_comment"].status_code == 422
    assert "comment" in story["no_comment"].json()["error"]["message"]


def test_the_running_bot_answers_with_the_approved_adapter(story):
    assert story["approval"].returncode == 0, story["approval"].stderr
    assert story["after"]["ratchet"]["adapter"] == story["adapter"]


def test_the_new_adapter_says_what_people_taught_it_and_cites_it(story):
    assert text(story["after"]).startswith("It is stated in the first passage of the")
    assert 1 in [c["n"] for c in story["after"]["ratchet"]["citations"]]
    assert text(story["before"]) != text(story["after"])


def test_a_killed_bot_comes_back_with_the_live_adapter(story):
    assert story["restarted"]["ratchet"]["adapter"] == story["adapter"]
    assert text(story["restarted"]) == text(story["after"])


def test_rolling_back_brings_the_old_answer_back(story):
    assert story["back"]["ratchet"]["adapter"] == "base"
    assert text(story["back"]) == text(story["before"])


def test_the_watched_cycle_ends_as_promoted(story):
    assert story["watched"]["outcome"] == "promoted"


def test_every_exchange_is_logged_with_what_the_model_saw(story):
    exchange_id = story["asked"][0]["ratchet"]["exchange_id"]
    logged = story["processes"].http.get(f"/v1/exchanges/{exchange_id}").json()
    assert logged["state"] == "finished"
    assert logged["messages"][-1]["content"].endswith(logged["question"])
    assert logged["passages"][0]["text"] in logged["messages"][-1]["content"]
    assert logged["feedback"]["correction"] == TRUTH


def test_training_examples_are_the_logged_messages(story):
    folder = Path(story["processes"].environment["RATCHET_DATA"]) / story["cycle"]["results"]["curate"]["data"]
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    row = rows[0]
    logged = story["processes"].http.get(f"/v1/exchanges/{row['id']}").json()
    assert row["messages"] == logged["messages"]


def test_commands_tell_the_same_story(story):
    listed = json.loads(story["processes"].command("store", "adapters", "--json").stdout)
    assert {row["id"]: row["state"] for row in listed}[story["adapter"]] == "rolled_back"
    report = story["processes"].command("scheduler", "report", "--json")
    assert json.loads(report.stdout)["exchanges"] >= len(TOPICS)


def test_a_flipped_bit_is_refused_and_the_old_adapter_keeps_serving(story):
    processes = story["processes"]
    shown = json.loads(processes.command("store", "show", story["adapter"]).stdout)
    weights = Path(shown["folder"]) / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-8] ^= 1
    weights.write_bytes(content)
    reply = processes.http.post("/v1/admin/rollback", json={"comment": "forward again", "to": story["adapter"]})
    assert reply.status_code == 200
    processes.until(lambda: state_of(processes, story["adapter"]) == "quarantined", 20)
    assert processes.adapter() == "base"


def state_of(processes: Processes, adapter: str) -> str:
    return str(processes.http.get(f"/v1/admin/adapters/{adapter}").json()["state"])
