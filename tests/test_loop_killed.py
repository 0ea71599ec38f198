"""A cycle whose worker is killed in the middle of training is taken up by the next one and ends well."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store import cycles, exchanges, people
from store.database import Database, open_database
from store.documents import text_digest
from store.models import Conversation, Exchange, ExchangeState
from tests.test_loop import ROOT, SETTINGS, TRUTH, taxonomy

QUESTIONS = 40


def fill(database: Database) -> None:
    """A log of corrected answers over given passages."""
    admin = people.add(database, "admin", role="admin", actor="test")
    for n in range(QUESTIONS):
        text = f"{TRUTH} Machine number {n} has a page here."
        conversation = Conversation(person_id=admin.id)
        with database.write() as session:
            session.add(conversation)
        row = Exchange(
            conversation_id=conversation.id,
            person_id=admin.id,
            question=f"Where does it say how machine number {n} works?",
            messages=[{"role": "user", "content": f"[1] Manual\n{text}\n\nQuestion: machine number {n}?"}],
            passages=[{"n": 1, "document": None, "title": "Manual", "text": text, "digest": text_digest(text)}],
            given=True,
        )
        exchanges.begin(database, row)
        exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer="no")
        exchanges.rate(database, row.id, person=admin, rating="down", correction=TRUTH)


def training(database: Database) -> bool:
    with database.read() as session:
        rows = cycles.page(session)
        steps = cycles.steps(session, rows[0].id) if rows else []
    return bool(steps) and steps[-1].name == "train" and steps[-1].progress.get("step", 0) >= 2


@pytest.mark.slow
def test_a_cycle_killed_while_training_is_resumed(tiny_model: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        **{f"RATCHET__{name}": value for name, value in SETTINGS.items()},
        "RATCHET__MODELS__CHAT": tiny_model,
        "RATCHET__TASKS": str(taxonomy(tmp_path)),
        "RATCHET_DATA": str(tmp_path / "var"),
        "OMP_NUM_THREADS": "1",
    }
    database = open_database(f"sqlite:///{tmp_path}/var/ratchet.db")
    fill(database)
    command = [sys.executable, "-m", "scheduler", "once", "--json"]
    first = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not training(database) and time.monotonic() < end:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    cycle = json.loads(second.stdout)
    assert cycle["state"] in ("awaiting_approval", "done")
    assert cycle["results"]["train"]["steps"] > 0
    with database.read() as session:
        rows = cycles.page(session)
        train = next(step for step in cycles.steps(session, rows[0].id) if step.name == "train")
    assert len(rows) == 1
    assert train.attempts == 2
