"""Other people's questions with the passages that answer them, embedded once and kept under var/bench."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval import ranking
from retrieval.embedding import Embedder

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("RATCHET_BENCH_DATA", ROOT.parent / "shared" / "data"))
CACHE = ROOT / "var" / "bench"


@dataclass
class Raw:
    """A set: passages with titles and groups (documents), questions with the number of the passage that answers."""

    name: str
    titles: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    gold: list[int] = field(default_factory=list)
    unanswerable: list[str] = field(default_factory=list)
    unanswerable_of: list[int] = field(default_factory=list)

    def add(self, title: str, text: str, group: str) -> int:
        """Add a passage; returns its number."""
        self.titles.append(title)
        self.texts.append(text)
        self.groups.append(group)
        return len(self.texts) - 1


@dataclass
class Encoded(Raw):
    """A set with unit vectors: of passages, shape (passages, dimensions), of questions, and packed ones of parts."""

    vectors: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    asked: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    unasked: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    parts: list[bytes] = field(default_factory=list)


def squad(name: str) -> Raw | None:
    """The part of SQuAD 2.0; a document is an article."""
    file = DATA / "squad" / "squad-2.0-dev-part.json"
    if not file.exists():
        return None
    raw = Raw(name)
    for article in json.loads(file.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            number = raw.add(article["title"].replace("_", " "), paragraph["context"], article["title"])
            for asked in paragraph["qas"]:
                into = (raw.unanswerable, raw.unanswerable_of) if asked["is_impossible"] else (raw.questions, raw.gold)
                into[0].append(asked["question"].strip())
                into[1].append(number)
    return raw


def feedbackqa(name: str) -> Raw | None:
    """The training and validation questions of FeedbackQA over one collection of passages; a document is a page."""
    folder = DATA / "feedbackqa"
    if not folder.exists():
        return None
    raw = Raw(name)
    at: dict[tuple[str, int], int] = {}
    for source in ("UK", "CDC", "Australia"):
        for part in ("train", "valid"):
            content = json.loads((folder / source / f"{part}.json").read_text())
            for passage in content["passages"]:
                key = (source, passage["passage_id"])
                if key not in at:
                    at[key] = _add_page(raw, passage)
            for example in content["examples"]:
                raw.questions.append(example["question"].strip())
                raw.gold.append(at[(source, example["passage_id"])])
    return raw


def _add_page(raw: Raw, passage: dict[str, Any]) -> int:
    reference = passage["reference"]
    path = [reference["page_title"], *(reference["section_headers"] or [])]
    title = " > ".join(name for name in path if name)
    return raw.add(title, reference["section_content"], passage["uri"] or reference["page_title"])


def encoded(raw: Raw, embedder: Embedder) -> Encoded:
    """The set with its vectors, from the cache where the same texts were embedded before."""
    digest = hashlib.sha256(json.dumps([embedder.name, vars(raw)]).encode()).hexdigest()[:16]
    file = CACHE / f"{digest}.npz"
    if not file.exists():
        print(f"embedding {raw.name}: {len(raw.texts)} passages, once ...", flush=True)
        _embed(raw, embedder, file)
    kept = np.load(file)
    parts = np.split(kept["parts"], np.cumsum(kept["lengths"])[:-1])
    return Encoded(
        **vars(raw),
        vectors=kept["vectors"],
        asked=kept["asked"],
        unasked=kept["unasked"],
        parts=[part.tobytes() for part in parts],
    )


def _embed(raw: Raw, embedder: Embedder, file: Path) -> None:
    parts = ranking.part_vectors(raw.titles, raw.texts, embedder.encode)
    vectors = embedder.encode([f"{title}\n{text}" for title, text in zip(raw.titles, raw.texts, strict=True)])
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        file,
        vectors=vectors,
        asked=embedder.encode(raw.questions),
        unasked=embedder.encode(raw.unanswerable) if raw.unanswerable else np.zeros((0, vectors.shape[1]), np.float32),
        parts=np.frombuffer(b"".join(parts), dtype=np.int8),
        lengths=np.array([len(part) for part in parts]),
    )
