"""Search latency and memory at many passages, made of recombined sentences of the data sets, on one core.

Started by `python -m bench.retrieval`; nothing is embedded but the questions: a passage's vector is the mean of its
sentences'.
"""

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from bench.retrieval_sets import Encoded, encoded, feedbackqa, squad
from bench.table import show
from bot.models import PACKAGED_EMBEDDING, embedding_model
from retrieval import ranking
from retrieval.embedding import Embedder
from retrieval.index import Index
from retrieval.library import Library
from store import documents
from store.database import Database, open_database

QUESTIONS = 300
PER_PASSAGE, PER_DOCUMENT = 5, 500


def drafts(data: Encoded, count: int) -> Iterator[documents.Draft]:
    """Passages of sentences drawn from anywhere in the set."""
    texts = [part for text in data.texts for part in ranking.sentences(text)]
    vectors = np.concatenate([ranking.unpacked(part, data.asked.shape[1])[1:] for part in data.parts])
    draw = np.random.default_rng(3)
    for _ in range(count):
        chosen = draw.integers(0, len(texts), PER_PASSAGE)
        title = data.titles[int(draw.integers(0, len(data.titles)))]
        mean = vectors[chosen].mean(axis=0)
        whole = (mean / np.linalg.norm(mean)).astype(np.float32)
        text = "\n\n".join(texts[i] for i in chosen)
        parts = ranking.packed(np.vstack([whole[None], vectors[chosen]]))
        yield documents.Draft(title, text, 0, len(text), whole.tobytes(), sentences=parts)


def fill(database: Database, made: Iterator[documents.Draft], model: str) -> None:
    """Keep the passages as documents."""
    number = 0
    while some := list(islice(made, PER_DOCUMENT)):
        number += 1
        name = f"made {number}"
        documents.save(database, source=name, title=name, media_type="text/plain", text=name, drafts=some, model=model)


def memory() -> float:
    """What this process holds now, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def timed(library: Library, asked: list[str]) -> list[float]:
    """Milliseconds of each search."""
    times = []
    for question in asked:
        begun = time.perf_counter()
        library.search(question, 5)
        times.append(1000 * (time.perf_counter() - begun))
    return times


def main(count: int) -> None:
    """Measure and print; the process runs on one core from here on."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    embedder = Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)
    raw = squad("SQuAD 2.0") or feedbackqa("FeedbackQA")
    if raw is None:
        print("latency is left out: the data sets are not there.")
        return
    data = encoded(raw, embedder)
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/bench.db")
        fill(database, drafts(data, count), embedder.name)
        index = Index(database, embedder, folder=Path(folder) / "index", dense_weight=0.6)
        library = Library(database, embedder, index, chunk_characters=1000, min_score=0.0)
        begun = time.perf_counter()
        library.search(data.questions[0], 5)
        loaded = time.perf_counter() - begun
        asked = data.questions[:: len(data.questions) // QUESTIONS][:QUESTIONS]
        exact = timed(library, asked)
        begun = time.perf_counter()
        index.settle()
        settled = time.perf_counter() - begun
        cached = timed(library, asked)
        held = memory()
        index.close()
    row = {
        "passages": count,
        "p50 ms": float(np.percentile(cached, 50)),
        "p95 ms": float(np.percentile(cached, 95)),
        "exact p50 ms": float(np.percentile(exact, 50)),
        "exact p95 ms": float(np.percentile(exact, 95)),
        "first search s": loaded,
        "Chroma built s": settled,
        "memory MB": held,
        "peak memory MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    show(f"retrieval_{count}", [row], n=len(asked), cores=1)
