"""Where it hurts at this moment: reads the log and the library, writes labels only."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from finetune.judge import WordJudge
from retrieval.index import Index
from scheduler.causes import Cause, Held
from scheduler.faults import Fault, as_text, faults, gaps
from scheduler.labelling import label_all
from scheduler.said import asked_again
from scheduler.workbench import Workbench, rules_of
from store import exchanges
from store.exchanges import Logged
from store.models import ExchangeState

NEWEST = 1_000
"""As many exchanges are judged, so that a page has its answer in seconds."""
SEARCHED = 5
"""As many of the library's passages are looked at for a question or a correction."""
ABOUT = 1.5
"""A passage is about a question from so many times the minimum score. With the default, three quarters of the
handbook's answerable questions reach that, and a quarter of the others."""


def faults_now(bench: Workbench) -> dict[str, Any]:
    """The bad exchanges with their causes, newest first, what admins can act on, and the text of both."""
    label_all(bench)
    rows = newest(bench, most=NEWEST)
    with closing(bench.index()) as index:
        found = _faults(bench, rows, index)
    questions = [fault.question for fault in found]
    listed = gaps(found, np.asarray(bench.encode(questions))) if questions else []
    return {
        "exchanges": len(rows),
        "bad": len(found),
        "causes": {cause.value: sum(fault.cause == cause for fault in found) for cause in Cause},
        "trainable": sum(fault.trainable for fault in found),
        "data": [fault.to_json() for fault in reversed(found)],
        "gaps": [gap.to_json() for gap in listed],
        "next": None,
        "text": as_text(found, listed, len(rows)),
    }


def gaps_now(bench: Workbench) -> dict[str, Any]:
    """What training cannot mend and admins can act on: documents to write, passages that are not found."""
    found = faults_now(bench)["gaps"]
    return {"data": found, "next": None, "text": "\n".join(gap["sentence"] for gap in found)}


def trainable_now(bench: Workbench) -> dict[str, int]:
    """How many bad exchanges of each task training can mend; the library is not searched for it."""
    found = _faults(bench, newest(bench, most=NEWEST), None)
    return dict(Counter(fault.task for fault in found if fault.trainable))


def trainable_text(counts: Mapping[str, int]) -> str:
    """Those counts as a sentence."""
    each = ", ".join(f"{task or 'no task'} {count}" for task, count in sorted(counts.items(), key=lambda one: -one[1]))
    return f"Bad answers that training can mend: {each or 'none'}."


def newest(bench: Workbench, *, most: int, task: str | None = None) -> list[Logged]:
    """The newest exchanges that ended with an answer, of one task or of all, oldest first."""
    with bench.database.read() as session:
        rows = exchanges.page(session, limit=most, task=task)
    return [row for row in reversed(rows) if row.exchange.state in (ExchangeState.FINISHED, ExchangeState.STOPPED)]


def _faults(bench: Workbench, rows: Sequence[Logged], index: Index | None) -> list[Fault]:
    def look(text: str) -> list[Held]:
        assert index is not None
        hits = index.search(text, SEARCHED)
        return [Held(hit.passage.title, hit.passage.text, hit.passage.digest, hit.score) for hit in hits]

    with bench.database.read() as session:
        rules = rules_of(bench, session)
    return faults(
        rows,
        judge=WordJudge(),
        near=ABOUT * bench.min_score,
        rules=rules,
        again=asked_again(rows, bench.encode),
        look=look if index is not None else None,
    )
