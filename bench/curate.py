"""What curation costs: a log of rated and corrected exchanges to training examples, in time and memory.

python -m bench.curate                        100,000 exchanges; minutes, and 1 GB in the temp folder
python -m bench.curate --exchanges 10000

The log is made of the handbook's questions and pages: three passages each, answers that people liked, disliked or
corrected; a part of those answered stands once more without what answers it. It is read from SQLite and curated as a
cycle does it, in a process of its own.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from bench.retrieval_sets import ROOT
from bench.table import show
from bot import prompt
from finetune.examples import Kind
from store.database import open_database
from store.documents import text_digest
from store.models import Conversation, Exchange, Feedback, Label, Person, Role, now

GOAL_SECONDS, GOAL_MB = 180, 2048
PEOPLE = 500
AT_ONCE = 2_000


def seed(folder: Path, count: int) -> None:
    """Write the log."""
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").open()]
    rows = [row for row in rows if row["passage"]]
    chance, begun = random.Random(4), now() - timedelta(days=90)
    database = open_database(f"sqlite:///{folder}/ratchet.db")
    with database.write() as session:
        session.add_all([Person(id=f"pe_{n}", name=f"p{n}", role=Role.CHAT) for n in range(PEOPLE)])
    for start in range(0, count, AT_ONCE):
        with database.write() as session:
            for number in range(start, min(start + AT_ONCE, count)):
                _enter(session, rows, number, chance, begun + timedelta(minutes=number))
    database.close()


def _enter(session: object, rows: list[dict[str, str]], number: int, chance: random.Random, at: object) -> None:
    row, person = rows[number % len(rows)], f"pe_{chance.randrange(PEOPLE)}"
    texts = [row["passage"], *(chance.choice(rows)["passage"] for _ in range(2))]
    passages = [
        {
            "n": n,
            "document": None,
            "title": "Handbook",
            "text": f"{text} Note {number}.",
            "digest": text_digest(f"{text}{number}"),
        }
        for n, text in enumerate(texts, start=1)
    ]
    question = f"{row['question']} Case {number}."
    values = {"id": f"ex_{number}", "conversation_id": f"co_{number}", "person_id": person, "created_at": at}
    exchange = Exchange(**values, state="finished", question=question, passages=passages, adapter="v1")
    exchange.messages = prompt.messages(question, passages, [])
    exchange.answer = f"{row['answer']} [1]" if number % 2 else "I think it depends on many things."
    feedback = Feedback(exchange_id=exchange.id, person_id=person, rating="up" if number % 2 else "down", updated_at=at)
    feedback.correction = row["answer"] if number % 4 == 0 else ""
    session.add_all(  # type: ignore[attr-defined]
        [
            Conversation(id=exchange.conversation_id, person_id=person),
            exchange,
            feedback,
            Label(exchange_id=exchange.id, task=row["task"], confidence=1, scores={row["task"]: 1.0}, taxonomy="t"),
        ]
    )


def measure() -> None:
    """Curate the log of the data folder and print seconds, examples and the largest memory as JSON."""
    from configs.settings import load_settings
    from scheduler.__main__ import bench_of
    from scheduler.workbench import curated

    bench = bench_of(load_settings())
    begun, spent = time.perf_counter(), time.process_time()
    made, _ = curated(bench)
    found = {"seconds": time.perf_counter() - begun, "processor s": time.process_time() - spent}
    withheld = sum(example.kind == Kind.WITHHELD for example in made.train)
    found |= {"train": len(made.train), "withheld": withheld, "held out": len(made.held_out)}
    print(json.dumps(found | {"memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=100_000)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return measure()
    with tempfile.TemporaryDirectory() as folder:
        seed(Path(folder), options.exchanges)
        run = subprocess.run(
            [sys.executable, "-m", "bench.curate", "--child"],
            cwd=ROOT,
            env={**os.environ, "RATCHET_DATA": folder},
            capture_output=True,
            text=True,
            check=True,
        )
    row = {"exchanges": options.exchanges, **json.loads(run.stdout.splitlines()[-1])}
    return show("curate", [row], goal_seconds=GOAL_SECONDS, goal_mb=GOAL_MB)


if __name__ == "__main__":
    main()
