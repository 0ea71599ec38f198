"""How far the judge agrees with the people of this installation, and whose word would help most."""

from dataclasses import asdict
from typing import Any

from finetune.agreement import Judged, agreement, distrusted, most_useful
from finetune.fitted import FittedJudge
from finetune.judge import Judge, supported_answer
from scheduler.workbench import Workbench
from store import exchanges, judge_labels
from store.exchanges import Logged

ASKED_FOR = 20
"""As many answers are named whose labels would help most."""
NEWEST = 200


def judged_now(bench: Workbench, judge: Judge | None = None) -> dict[str, Any]:
    """Agreement per metric and task with n, and the answers to label next."""
    judge = judge or FittedJudge()
    with bench.database.read() as session:
        labelled = judge_labels.labelled(session)
        newest = exchanges.page(session, limit=NEWEST)
    known = [
        Judged(row.exchange_id, row.metric, _task(logged), _score(judge, logged, row.metric), row.value)
        for row, logged in labelled
    ]
    seen = {(row.exchange_id, row.metric) for row, _ in labelled}
    fresh = [one for one in newest if one.exchange.answer and one.exchange.passages and not one.exchange.declined]
    open_ = [
        Judged(one.exchange.id, "support", _task(one), _score(judge, one, "support"), None)
        for one in fresh
        if (one.exchange.id, "support") not in seen
    ]
    found = agreement(known)
    low = distrusted(found, least=bench.min_agreement, labels=bench.min_labels)
    return {
        "name": judge.name,
        "agreement": [asdict(one) for one in found],
        "trusted": not low,
        "distrusted": [one.metric for one in low],
        "label_next": most_useful(open_, ASKED_FOR),
    }


def _task(logged: Logged) -> str:
    return logged.label.task if logged.label is not None else "unclassified"


def _score(judge: Judge, logged: Logged, metric: str) -> float:
    exchange = logged.exchange
    texts = [passage["text"] for passage in exchange.passages]
    if metric == "support":
        return supported_answer(exchange.answer, texts, judge)
    if metric == "relevance":
        return judge.relevance(exchange.question, texts)
    correction = logged.feedback.correction if logged.feedback is not None else ""
    if correction:
        return judge.accuracy(exchange.question, exchange.answer, [correction])
    # Nobody wrote a right answer: what is supported and was not disliked is the judge's best guess.
    return supported_answer(exchange.answer, texts, judge)


def doubt(bench: Workbench) -> str:
    """Why the gate may not rely on the judge, as a sentence; empty where it may."""
    found = judged_now(bench)
    if found["trusted"]:
        return ""
    low = [one for one in found["agreement"] if one["task"] == "all" and one["metric"] in found["distrusted"]]
    said = "; ".join(f"{one['metric']} {one['balanced']:.2f} over {one['n']} labels" for one in low)
    wanted = ", ".join(found["label_next"]) or "any answers"
    return (
        f"The judge agrees too little with people: balanced accuracy of {said}, expected at least "
        f"{bench.min_agreement:.2f}. Labels of these {len(found['label_next'])} answers would help most: {wanted}."
    )
