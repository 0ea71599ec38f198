"""How fast files become passages, against embedding the same texts alone; what ingesting them again costs.

python -m bench.ingest                      about 2,000 passages, on one core
python -m bench.ingest --kill 50            kill -9 at random moments while 20,000 passages are ingested

The texts are SQuAD's and FeedbackQA's where the data sets lie beside the checkout, else shuffled sentences of docs/.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sentence_transformers import SentenceTransformer
from sqlmodel import select

from bench.retrieval_sets import feedbackqa, squad
from bench.table import show
from bot.models import PACKAGED_EMBEDDING, embedding_model
from retrieval import halves, ranking
from retrieval.embedding import Embedder
from retrieval.index import Index
from retrieval.ingest import Counts, Found, found_under, ingest
from retrieval.library import Library
from store.database import Database, open_database
from store.models import Chunk

ROOT = Path(__file__).resolve().parent.parent
CHUNK_CHARACTERS = 1_000
PER_FILE, ROUNDS = 10, 4


@dataclass
class Taken:
    """Seconds on the wall and of the processor that each way took, over all rounds."""

    wall: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)

    def time(self, name: str, action: Callable[..., object], *arguments: object, **named: object) -> None:
        """Do something and add what it took."""
        wall, processor = time.perf_counter(), time.process_time()
        action(*arguments, **named)
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - wall
        self.processor[name] = self.processor.get(name, 0.0) + time.process_time() - processor


def texts(count: int) -> list[tuple[str, str]]:
    """Titles and texts of passages, each within a passage's length; the same ones each time."""
    found = [
        (title, text[:CHUNK_CHARACTERS])
        for raw in (squad("SQuAD 2.0"), feedbackqa("FeedbackQA"))
        if raw is not None
        for title, text in zip(raw.titles, raw.texts, strict=True)
    ]
    return found[:count] if len(found) >= count else [*found, *_shuffled(count - len(found))]


def _shuffled(count: int) -> list[tuple[str, str]]:
    """Passages of sentences drawn from the pages of docs/."""
    pages = [file.read_text() for file in sorted((ROOT / "docs").rglob("*.md"))]
    sentences = [one for page in pages for one in ranking.sentences(page) if 30 < len(one) < 300]
    draw = random.Random(5)
    return [(f"Made {n}", " ".join(draw.choices(sentences, k=6))[:CHUNK_CHARACTERS]) for n in range(count)]


def write_files(folder: Path, passages: Sequence[tuple[str, str]]) -> None:
    """Markdown files of several passages, each under a heading of its own."""
    for number, start in enumerate(range(0, len(passages), PER_FILE)):
        parts = [f"## {title} {start + i}\n\n{text}\n" for i, (title, text) in enumerate(passages[start:][:PER_FILE])]
        (folder / f"{number:05}.md").write_text(f"# File {number}\n\n" + "\n".join(parts))


def run(library: Library, found: list[Found], root: Path) -> Counts:
    """Ingest files silently."""
    return ingest(library, found, root=root, done=lambda name: None)


def passages_of(database: Database, seen: set[str]) -> tuple[list[str], list[str]]:
    """The new passages as they are embedded, and with them their titles and sentences, each once a passage."""
    with database.read() as session:
        rows = [row for row in session.exec(select(Chunk.id, Chunk.title, Chunk.text)) if row[0] not in seen]
    seen.update(key for key, _, _ in rows)
    whole = [f"{title}\n{text}" for _, title, text in rows]
    parts = dict.fromkeys(part for _, title, text in rows for part in (title, *ranking.sentences(text)))
    return whole, [*whole, *parts]


def measure(count: int) -> None:
    """Ingest and embed by turns, then ingest once more; prints and keeps the figures."""
    folder_of_model = embedding_model(PACKAGED_EMBEDDING)
    embedder, peer = Embedder(folder_of_model, name=PACKAGED_EMBEDDING), SentenceTransformer(folder_of_model)
    half = halves.half_encoder(folder_of_model)
    halved = SentenceTransformer(folder_of_model, model_kwargs={"dtype": "bfloat16"}) if half is not None else peer
    taken, seen, total = Taken(), set[str](), [0, 0]
    with tempfile.TemporaryDirectory() as name:
        files, data = Path(name) / "files", Path(name) / "data"
        files.mkdir()
        write_files(files, texts(count))
        database = open_database(f"sqlite:///{data}/bench.db")
        index = Index(database, embedder, folder=data / "index", dense_weight=0.6)
        library = Library(database, embedder, index, chunk_characters=CHUNK_CHARACTERS, min_score=0.0, encode=half)
        for encode in (embedder.encode, peer.encode, half or peer.encode, halved.encode):
            encode(["warm up"])
        found = found_under([files])
        each = -(-len(found) // ROUNDS)
        for start in range(0, len(found), each):
            taken.time("ingest", run, library, found[start : start + each], files)
            whole, everything = passages_of(database, seen)
            taken.time("plain", peer.encode, whole, normalize_embeddings=True)
            taken.time("same", peer.encode, everything, normalize_embeddings=True)
            if half is not None:
                taken.time("half", halved.encode, everything, normalize_embeddings=True)
            total[0] += len(whole)
            total[1] += len(everything)
        taken.time("again", run, library, found, files)
        index.close()
    report(taken, len(found), total[0], total[1], halved=half is not None)


def report(taken: Taken, files: int, chunks: int, encoded: int, *, halved: bool) -> None:
    """Print the table and keep it in bench/results/ingest.json."""
    names = {
        "ingest": "ingest (read, split, embed passages and sentences, keep)",
        "plain": "peer: SentenceTransformer.encode, passages alone",
        "same": "peer: SentenceTransformer.encode, passages, titles and sentences",
        "half": "peer: the same texts in bfloat16",
        "again": "ingest the unchanged files again",
    }
    names = {key: what for key, what in names.items() if key in taken.wall}
    wall, processor = taken.wall, taken.processor
    rows = [
        {"what": what, "seconds": wall[key], "processor s": processor[key], "passages/s": chunks / wall[key]}
        for key, what in names.items()
    ]
    facts = {
        f"{clock}: {name}": round(seconds[one] / seconds[other], 2)
        for clock, seconds in (("wall", wall), ("processor", processor))
        for name, one, other in (
            ("speed against passages alone", "plain", "ingest"),
            ("speed against the same texts", "same", "ingest"),
            ("speed against the same texts in bfloat16", "half", "ingest"),
            ("again, times faster", "ingest", "again"),
        )
        if one in seconds
    }
    show("ingest", rows, files=files, passages=chunks, texts=encoded, halves=halved, threads=1, **facts)


def main() -> None:
    """Read the arguments, measure and print; the process runs on one core from here on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=0, help="how many; 2,000, or 20,000 with --kill")
    parser.add_argument("--kill", type=int, nargs="?", const=50, default=0, help="how often a process is killed; 50")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if options.kill:
        from bench.ingest_killed import main as killed

        killed(options.kill, options.passages or 20_000)
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    measure(options.passages or 2_000)


if __name__ == "__main__":
    main()
