"""What the judge makes of logged answers: sentence by sentence of one, and day by day of the newest ones.

It labels and decides nothing. Groundedness is `finetune/metrics.py`'s: the mean support of an answer's sentences.
"""

from collections import defaultdict
from typing import Any

from finetune.fitted import FittedJudge
from finetune.judge import Judge
from finetune.metrics import groundedness
from scheduler.trouble import newest
from scheduler.workbench import Workbench
from store import exchanges
from store.answers import sentences, without_citations
from store.exchanges import Logged

NEWEST = 400
"""As many of the newest answers are judged for the course of groundedness, so that a page has it in seconds."""
SUPPORTED = 0.5
"""The support from which a sentence counts as borne out by a passage."""


def exchange_now(bench: Workbench, exchange_id: str) -> dict[str, Any]:
    """One answer's sentences, each with its support in [0, 1] and the passage that bears it out best."""
    with bench.database.read() as session:
        row = exchanges.get(session, exchange_id)
    judge, passages = FittedJudge(), row.exchange.passages
    said = []
    for sentence in sentences(row.exchange.answer):
        scored = [(judge.support(without_citations(sentence), p["text"]), p.get("n")) for p in passages]
        support, n = max(scored, key=lambda one: one[0], default=(None, None))
        said.append({"sentence": sentence, "support": support, "passage": n})
    return {"judge": judge.name, "groundedness": _grounded(row, judge), "supported_from": SUPPORTED, "sentences": said}


def groundedness_now(bench: Workbench) -> dict[str, Any]:
    """Mean groundedness of the newest answers by day, oldest first; answers that decline fairly are left out."""
    judge, days = FittedJudge(), defaultdict[str, list[float]](list)
    for row in newest(bench, most=NEWEST):
        score = _grounded(row, judge)
        if score is not None and not row.exchange.declined:
            days[row.exchange.created_at.date().isoformat()].append(score)
    data = [{"day": day, "n": len(found), "mean": sum(found) / len(found)} for day, found in sorted(days.items())]
    return {"judge": judge.name, "newest": NEWEST, "data": data, "next": None}


def _grounded(row: Logged, judge: Judge) -> float | None:
    texts = [passage["text"] for passage in row.exchange.passages]
    return groundedness(row.exchange.answer, texts, judge.support, answerable=False)
