"""Do faults get their cause: over the handbook's questions it is known what was shown, hidden or never written.

python -m bench.faults

Each of the 250 questions that the handbook answers is declined or answered wrongly and then corrected, with its own
passage among three shown, with that passage hidden, and with it taken from the library as well.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.table import show
from bot.models import PACKAGED_EMBEDDING, embedding_model
from finetune.judge import WordJudge
from retrieval.embedding import Embedder
from retrieval.index import Index
from retrieval.library import Library
from scheduler.causes import Case, Cause, Held, cause_of
from store.answers import DECLINE
from store.database import open_database
from store.exchanges import Logged
from store.models import Exchange, Feedback

ROOT = Path(__file__).resolve().parent.parent
MIN_SCORE = 0.16
NEAR = 1.5 * MIN_SCORE
WRONG = "The moon is made of cheese and nobody knows why."
SITUATIONS = {
    "shown, declined": (Cause.CONTEXT_MISUSED, DECLINE),
    "shown, answered wrongly": (Cause.CONTEXT_MISUSED, WRONG),
    "in the library, not shown": (Cause.RETRIEVAL_MISS, DECLINE),
    "not in the library": (Cause.MISSING_DOCUMENT, DECLINE),
}


def case(row: dict[str, str], expected: Cause, answer: str, index: Index) -> Case:
    """A corrected exchange about which it is known what is wrong."""

    def own(held: Held) -> bool:
        return row["passage"][:80] in held.text

    def look(text: str) -> Sequence[Held]:
        hits = index.search(text, 13)
        held = [Held(hit.passage.title, hit.passage.text, hit.passage.digest, hit.score) for hit in hits]
        return [one for one in held if expected != Cause.MISSING_DOCUMENT or not own(one)][:5]

    held = [*look(row["question"]), *look(row["answer"])]
    shown = [one for one in held if not own(one)][:2]
    shown += [one for one in held if own(one)][:1] if expected == Cause.CONTEXT_MISUSED else []
    passages = [
        {"n": n, "title": one.title, "text": one.text, "digest": one.digest, "score": one.score}
        for n, one in enumerate(shown, 1)
    ]
    exchange = Exchange(conversation_id="c", person_id="p", question=row["question"], answer=answer, passages=passages)
    feedback = Feedback(exchange_id=exchange.id, person_id="p", rating="down", correction=row["answer"])
    return Case(Logged(exchange, feedback, None), WordJudge(), NEAR, look)


def main() -> None:
    """Measure and print."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    embedder = Embedder(embedding_model(PACKAGED_EMBEDDING), name=PACKAGED_EMBEDDING)
    rows = [json.loads(line) for line in (ROOT / "examples" / "questions.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["passage"]]
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/bench.db")
        index = Index(database, embedder, folder=None, dense_weight=0.6)
        library = Library(database, embedder, index, chunk_characters=1000, min_score=MIN_SCORE)
        for path in sorted((ROOT / "docs" / "handbook").glob("*.md")):
            library.add_text(source=path.name, title=path.stem, text=path.read_text())
        table = []
        for situation, (expected, answer) in SITUATIONS.items():
            found = Counter(cause_of(case(row, expected, answer, index))[0] for row in rows)
            table.append({"the right passage was": situation, "expected": expected.value, "questions": len(rows)})
            table[-1] |= {cause.value: f"{found[cause] / len(rows):.3f}" for cause in Cause}
        database.close()
    show("faults", table)


if __name__ == "__main__":
    main()
