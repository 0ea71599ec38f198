"""What the judge makes of logged answers: sentence by sentence of one, day by day of the newest, each for the watch.

It labels and decides nothing. Groundedness is `finetune/metrics.py`'s: the mean support of an answer's sentences.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from finetune.fitted import FittedJudge
from finetune.metrics import groundedness, wordless
from finetune.terse import answering
from scheduler import judging
from scheduler.observed import MOST_JUDGED
from scheduler.trouble import newest
from scheduler.workbench import Workbench
from store import exchanges
from store.answers import sentences, without_citations
from store.database import Database
from store.models import Exchange

NEWEST = 400
"""As many of the newest answers are judged for the course of groundedness, so that a page has it in seconds."""
SUPPORTED = 0.5
"""The support from which a sentence counts as borne out by a passage."""


def exchange_now(bench: Workbench, exchange_id: str) -> dict[str, Any]:
    """One answer's sentences, each with its support in [0, 1] and the passage that bears it out best."""
    with bench.database.read() as session:
        row = exchanges.get(session, exchange_id)
    judge, passages = FittedJudge(), row.exchange.passages
    judged, said = answering(row.exchange.question, judge.support), []
    for sentence in sentences(row.exchange.answer):
        scored = [(judged(without_citations(sentence), p["text"]), p.get("n")) for p in passages]
        support, n = max(scored, key=lambda one: one[0], default=(None, None))
        said.append({"sentence": sentence, "support": support, "passage": n})
    return {
        "judge": judge.name,
        "groundedness": _grounded(row.exchange),
        "supported_from": SUPPORTED,
        "sentences": said,
    }


def groundedness_now(bench: Workbench) -> dict[str, Any]:
    """Mean groundedness of the newest answers by day, oldest first; answers that decline fairly are left out."""
    judge, days = FittedJudge(), defaultdict[str, list[float]](list)
    for row in newest(bench, most=NEWEST):
        score = _grounded(row.exchange)
        if score is not None and not row.exchange.declined:
            days[row.exchange.created_at.date().isoformat()].append(score)
    data = [{"day": day, "n": len(found), "mean": sum(found) / len(found)} for day, found in sorted(days.items())]
    return {"judge": judge.name, "newest": NEWEST, "data": data, "next": None}


def unsupported(bench: Workbench) -> Callable[[str], bool | None] | None:
    """Tells answers that their passages do not bear out; None where people disagree too much with the judge."""
    return partial(_unsupported, bench.database) if judging.trusted(bench, "support") else None


@lru_cache(maxsize=4 * MOST_JUDGED)
def _unsupported(database: Database, exchange_id: str) -> bool | None:
    """Of a finished answer, which changes no more: the watch asks for the same ones every few seconds."""
    with database.read() as session:
        row = session.get(Exchange, exchange_id)
    score = None if row is None else _grounded(row)
    return None if score is None else score < SUPPORTED


@lru_cache(maxsize=4 * MOST_JUDGED)
def _score(question: str, answer: str, passages: tuple[str, ...]) -> float | None:
    if wordless(answer):
        return None
    return groundedness(answer, passages, answering(question, FittedJudge().support), answerable=False)


def _grounded(exchange: Exchange) -> float | None:
    return _score(exchange.question, exchange.answer, tuple(passage["text"] for passage in exchange.passages))
