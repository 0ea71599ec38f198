"""What labelling the log costs: all of it after a taxonomy change, and what is new in a cycle.

python -m bench.reclassify                       1,000,000 exchanges; minutes, and 3 GB in the temp folder
python -m bench.reclassify --exchanges 100000    a smaller log

The log is made up: vectors near the examples of the shipped taxonomy, with texts and words of the handbook's questions,
labelled under an older taxonomy. It is labelled anew by `scheduler/labelling.py`, in a process of its own whose largest
memory is read at its end. Then new exchanges arrive, on this log and on one of a tenth, and are embedded and labelled.
"""

import argparse
import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from bench.retrieval_sets import ROOT
from bench.table import show
from bot.models import PACKAGED_EMBEDDING, embedding_model
from configs.tasks import load_tasks
from retrieval.embedding import Embedder
from scheduler.__main__ import _taught
from scheduler.labelling import SCALE, label_all
from scheduler.words import packed
from scheduler.workbench import Workbench
from store.database import open_database

GOAL_SECONDS, GOAL_MB = 60, 2048
NEW = 500
AT_ONCE = 20_000
THEN = "2026-01-01 00:00:00.000000"
_EXCHANGE = (
    "INSERT INTO exchange (id, conversation_id, parent_id, person_id, state, question, search_query, history_digest,"
    " messages, passages, given, trainable, answer, citations, declined, adapter, model, sampling, timings,"
    " prompt_tokens, completion_tokens, error, process, created_at) VALUES (?, ?, ?, 'pe', 'finished', ?, '', '', '[]',"
    " '[]', 0, 1, ?, '[]', 0, 'base', '', '{}', '{}', 0, 0, '', '', ?)"
)


def seed(path: Path, count: int, encode: Any, *, labelled: bool, first: int = 0) -> None:
    """Write exchanges, and where they are `labelled` their vectors and old labels too."""
    questions = [json.loads(line)["question"] for line in (ROOT / "examples" / "questions.jsonl").open()]
    vectors, words = encode(questions), [packed(text) for text in questions]
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(
        "INSERT OR IGNORE INTO person (id, name, role, consent, created_at) VALUES ('pe', 'p', 'chat', 1, ?)", (THEN,)
    )
    for start in range(first, first + count, AT_ONCE):
        with connection:
            _seed_batch(
                connection, range(start, min(start + AT_ONCE, first + count)), questions, vectors, words, labelled
            )
    connection.close()


def _seed_batch(
    connection: sqlite3.Connection, rows: range, questions: list[str], vectors: Any, words: list[bytes], labelled: bool
) -> None:
    chance = random.Random(rows.start)
    ids = {row: f"ex_{chance.getrandbits(80):020x}" for row in rows}
    texts = [row % len(questions) for row in rows]
    talks = [(f"co_{row}", "pe", "", THEN) for row in rows if row % 3 == 0 or row == rows.start]
    connection.executemany("INSERT INTO conversation (id, person_id, title, created_at) VALUES (?, ?, ?, ?)", talks)
    before = {row: ids[row - 1] if row % 3 and row - 1 in ids else None for row in rows}
    talk = {row: f"co_{row - row % 3 if row - row % 3 >= rows.start else rows.start}" for row in rows}
    filler = "The documents say so, and here is how it is done step by step [1]. " * 3
    connection.executemany(
        _EXCHANGE,
        [(ids[r], talk[r], before[r], f"{questions[t]} ({r})", filler, THEN) for r, t in zip(rows, texts, strict=True)],
    )
    if not labelled:
        return
    drawn = np.random.default_rng(rows.start).normal(0, 0.03, (len(rows), vectors.shape[1]))
    near = vectors[texts] + drawn
    near = np.rint(near / np.linalg.norm(near, axis=1, keepdims=True) * SCALE).astype(np.int8)
    kept = [
        (ids[r], near[n].tobytes(), near[-n - 1].tobytes(), words[t], r % 2, before[r])
        for n, (r, t) in _rows(rows, texts)
    ]
    connection.executemany(
        "INSERT INTO embedding (exchange_id, model, question, answer, words, given, parent_id)"
        f" VALUES (?, '{PACKAGED_EMBEDDING}', ?, ?, ?, ?, ?)",
        kept,
    )
    connection.executemany(
        "INSERT INTO label (exchange_id, task, confidence, scores, taxonomy, labelled_at)"
        " VALUES (?, 'unclassified', 0.5, '{}', 'old', ?)",
        [(ids[row], THEN) for row in rows],
    )


def _rows(rows: range, texts: list[int]) -> Iterator[tuple[int, tuple[int, int]]]:
    return enumerate(zip(rows, texts, strict=True))


def measure(path: Path) -> None:
    """Label what a database holds and print seconds, labels and the largest memory as JSON."""
    embedder = Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)
    embedder.encode(["The first text loads the model."])
    unused: dict[str, Any] = dict.fromkeys(field.name for field in fields(Workbench))
    values = {"database": open_database(f"sqlite:///{path}"), "encode": embedder.encode}
    taught = _taught(load_tasks(ROOT / "configs" / "tasks.yaml"))
    bench = Workbench(**{**unused, **values, **taught, "embedding_model": PACKAGED_EMBEDDING})
    began = time.monotonic()
    count = label_all(bench, relearn=True)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"labelled": count, "seconds": round(seconds, 1), "peak_mb": peak}))


def measured(path: Path) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "bench.reclassify", "--measure", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Seed, measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=1_000_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if options.measure is not None:
        measure(options.measure)
        return
    encode = Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING).encode
    rows: list[dict[str, Any]] = []
    for size in (options.exchanges // 10, options.exchanges):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "ratchet.db"
            open_database(f"sqlite:///{path}").close()
            seed(path, size, encode, labelled=True)
            rows.append({"what": "taxonomy changed", "stored": size, **measured(path)})
            rows.append({"what": "nothing new", "stored": size, **measured(path)})
            seed(path, NEW, encode, labelled=False, first=size)
            rows.append({"what": f"{NEW} new exchanges", "stored": size, **measured(path)})
            print(rows[-3:], flush=True)
    show("reclassify", rows, goal=f"{GOAL_SECONDS} s and {GOAL_MB} MB for the largest")


if __name__ == "__main__":
    main()
