"""What retrieval and logging add to an exchange, at 2,000 passages; peer: a full scan of the same embeddings.

python -m bench.exchange
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.table import show
from bot.models import PACKAGED_EMBEDDING, embedding_model
from retrieval.embedding import Embedder
from retrieval.index import Index
from retrieval.library import Library
from store import documents, exchanges, people
from store.database import open_database
from store.models import Conversation, Exchange, ExchangeState

PASSAGES, QUESTIONS = 2_000, 200


def timed(action: Callable[[int], Any]) -> list[float]:
    """Milliseconds of `action(0…)`, after one call that does not count."""
    action(0)
    found = []
    for i in range(QUESTIONS):
        begun = time.perf_counter()
        action(i)
        found.append(1000 * (time.perf_counter() - begun))
    return found


def main() -> None:
    """Measure and print."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    embedder = Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)
    words = (Path(__file__).resolve().parent.parent / "README.md").read_text().split()
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice(words, 70)) for _ in range(PASSAGES)]
    asked = [" ".join(draw.choice(words, 9)) for _ in range(QUESTIONS)]
    vectors = embedder.encode(texts)
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/bench.db")
        drafts = [documents.Draft("bench", t, 0, len(t), v.tobytes()) for t, v in zip(texts, vectors, strict=True)]
        documents.save(
            database, source="b", title="b", media_type="text/plain", text="b", drafts=drafts, model=embedder.name
        )
        index = Index(database, embedder, folder=Path(folder) / "index", dense_weight=0.6)
        library = Library(database, embedder, index, chunk_characters=1000, min_score=0.0)
        person = people.add(database, "bench", role="chat", actor="bench")
        conversation = Conversation(person_id=person.id)
        with database.write() as session:
            session.add(conversation)

        def log(i: int) -> None:
            passages = [{"text": texts[i], "n": 1}]
            row = Exchange(conversation_id=conversation.id, person_id=person.id, question=asked[i], passages=passages)
            exchanges.begin(database, row)
            exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer=texts[i])

        measured = {
            "retrieve (embed, Chroma, BM25, blend)": timed(lambda i: library.search(asked[i], 3)),
            "log (begin and finish, synchronous=FULL)": timed(log),
            "peer: embed and scan all vectors": timed(
                lambda i: np.argsort(-(vectors @ embedder.encode([asked[i]])[0]))
            ),
        }
        index.close()
    ours = list(measured.values())
    measured["retrieval and logging together"] = [a + b for a, b in zip(ours[0], ours[1], strict=True)]
    rows = [
        {"what": name, "p50 ms": float(np.percentile(ms, 50)), "p95 ms": float(np.percentile(ms, 95))}
        for name, ms in measured.items()
    ]
    show("exchange", rows, n=QUESTIONS, passages=PASSAGES)


if __name__ == "__main__":
    main()
