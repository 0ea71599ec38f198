"""Where it hurts: bad exchanges, each put down to a cause, and lists of what training cannot mend (pure).

It reads the log's rows and what the library holds now; it decides nothing and knows no task by name.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np

from finetune.examples import Rules
from finetune.judge import Judge
from finetune.metrics import groundedness
from scheduler.causes import TRAINABLE, Case, Cause, Held, Look, cause_of
from scheduler.clusters import Floats, central, clusters, marking_terms, word_counts
from store.exchanges import Logged

JUDGED_LOW = 0.3
"""An unrated answer whose sentences have less support on average is bad."""
SAME_GAP = 0.45
"""The mean cosine from which questions ask for the same: on 20 intents of banking77 it finds 21 clusters, 84 % pure."""
SEARCHES = 200
"""As many texts are searched for: a page waits at most ten seconds."""
EXAMPLES = 5
SHOWN_GAPS, SHOWN_FAULTS = 20, 40
"""As many are printed; the JSON has all."""


@dataclass(frozen=True)
class Fault:
    """A bad exchange: the `signs` that it is bad, its cause, and the evidence for that; `source` is a passage's title
    that answers and was not shown.
    """

    exchange_id: str
    conversation_id: str
    person_id: str
    question: str
    cause: Cause
    signs: tuple[str, ...]
    evidence: str
    task: str
    created_at: str
    source: str = ""

    @property
    def trainable(self) -> bool:
        """Whether training can mend it."""
        return self.cause in TRAINABLE

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "trainable": self.trainable}


def signs_of(row: Logged, judge: Judge, again: Mapping[str, str]) -> tuple[str, ...]:
    """Why an exchange is bad, empty when it is not; `again` holds those that were asked again at once, and how."""
    feedback = row.feedback
    rating, correction = (feedback.rating, feedback.correction) if feedback is not None else (None, "")
    if rating == "up" and not correction:
        return ()
    found = ["thumbs-down"] if rating == "down" else []
    found += ["corrected"] if correction else []
    found += [again[row.exchange.id]] if row.exchange.id in again else []
    texts = [passage["text"] for passage in row.exchange.passages]
    support = groundedness(row.exchange.answer, texts, judge.support, answerable=False)
    if support is not None and support < JUDGED_LOW:
        found.append(f"judged low ({support:.2f})")
    return tuple(found)


def faults(
    rows: Sequence[Logged],
    *,
    judge: Judge,
    near: float,
    rules: Mapping[str, Rules],
    again: Mapping[str, str],
    look: Look | None = None,
    searches: int = SEARCHES,
) -> list[Fault]:
    """The bad exchanges among `rows`, in their order, each put down to a cause.

    After so many `searches` for the newest ones, what only the library could tell of the others stays unclear.
    """
    asked: set[str] = set()

    @cache
    def counted(text: str) -> Sequence[Held]:
        asked.add(text)
        return look(text) if look is not None else []

    found = []
    for row in reversed(rows):
        signs = signs_of(row, judge, again)
        if signs:
            task = row.label.task if row.label is not None else ""
            within = counted if look is not None and len(asked) < searches else None
            cause, evidence, source = cause_of(Case(row, judge, near, within, rules.get(task)))
            found.append(_fault(row, cause, signs, evidence, task, source))
    return found[::-1]


def _fault(row: Logged, cause: Cause, signs: tuple[str, ...], evidence: str, task: str, source: str) -> Fault:
    exchange = row.exchange
    return Fault(
        exchange_id=exchange.id,
        conversation_id=exchange.conversation_id,
        person_id=exchange.person_id,
        question=exchange.question,
        cause=cause,
        signs=signs,
        evidence=evidence[:1].upper() + evidence[1:],
        task=task,
        created_at=exchange.created_at.isoformat(),
        source=source,
    )


@dataclass(frozen=True)
class Gap:
    """Questions on one thing that training cannot mend: a document to write, or a passage that was not found.

    `exchanges` are the ids, newest first; `examples` the questions nearest to the middle; `source` is the title of the
    passage that answers and was not shown.
    """

    cause: Cause
    topic: str
    people: int
    questions: int
    examples: tuple[str, ...]
    newest: str
    exchanges: tuple[str, ...]
    source: str = ""

    @property
    def sentence(self) -> str:
        """What an admin should know."""
        who = "1 person" if self.people == 1 else f"{self.people} people"
        asked = f"{who} asked about {self.topic}" if self.questions > 1 else f'1 person asked "{self.topic}"'
        if self.cause == Cause.MISSING_DOCUMENT:
            return f"{asked}; no document covers it."
        return f'{asked}; "{self.source}" covers it but was not found.'

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the sentence."""
        return {**asdict(self), "sentence": self.sentence}


def gaps(found: Sequence[Fault], vectors: Floats) -> list[Gap]:
    """What admins can act on, most people first; `vectors` are the faults' questions, unit, shape (faults, size)."""
    words = word_counts(fault.question for fault in found)
    missing = [place for place, fault in enumerate(found) if fault.cause == Cause.MISSING_DOCUMENT]
    groups = [[missing[row] for row in rows] for rows in clusters(np.asarray(vectors)[missing], near=SAME_GAP)]
    made = [
        _gap([found[place] for place in places], central(vectors, places), found, words)
        for places in (*groups, *_by_source(found))
    ]
    return sorted(made, key=lambda gap: (-gap.people, -gap.questions, gap.topic))


def _by_source(found: Sequence[Fault]) -> list[list[int]]:
    """Where something was not found, by the passage that answers: that is what an admin can mend."""
    groups: dict[str, list[int]] = {}
    for place, fault in enumerate(found):
        if fault.cause == Cause.RETRIEVAL_MISS:
            groups.setdefault(fault.source, []).append(place)
    return list(groups.values())


def _gap(mine: Sequence[Fault], by_middle: Sequence[int], every: Sequence[Fault], words: Counter[str]) -> Gap:
    newest = sorted(mine, key=lambda fault: fault.created_at, reverse=True)
    questions = [fault.question for fault in mine]
    return Gap(
        cause=mine[0].cause,
        topic=(len(mine) > 1 and ", ".join(marking_terms(questions, words, len(every)))) or questions[0].strip(),
        people=len({fault.person_id for fault in mine}),
        questions=len(mine),
        examples=tuple(dict.fromkeys(every[place].question for place in by_middle))[:EXAMPLES],
        newest=newest[0].created_at,
        exchanges=tuple(fault.exchange_id for fault in newest),
        source=mine[0].source,
    )


def as_text(found: Sequence[Fault], listed: Sequence[Gap], exchanges: int) -> str:
    """Causes with their counts, what admins can act on, and each fault's evidence, as lines to print."""
    if not found:
        return (
            f"Where it hurts: none of {exchanges} exchanges is bad." if exchanges else "The log holds no exchanges yet."
        )
    counts = {cause: sum(fault.cause == cause for fault in found) for cause in Cause}
    trainable = sum(fault.trainable for fault in found)
    lines = [f"Where it hurts: {len(found)} of {exchanges} exchanges are bad, {trainable} of them can be trained away."]
    lines += [f"  {cause}: {count}" + (" (trainable)" if cause in TRAINABLE else "") for cause, count in counts.items()]
    if listed:
        lines += ["", "To act on:"]
        lines += [f"  {gap.sentence} ({_asked(gap)}, newest {gap.newest[:10]})" for gap in listed[:SHOWN_GAPS]]
        lines += [f"  and {len(listed) - SHOWN_GAPS} more: --json has all."] if len(listed) > SHOWN_GAPS else []
    lines += ["", f"The newest {min(len(found), SHOWN_FAULTS)}, each with its evidence:"]
    for fault in found[::-1][:SHOWN_FAULTS]:
        lines += [f"  {fault.exchange_id} {fault.cause} [{', '.join(fault.signs)}] {fault.question[:80]}"]
        lines += [f"      {fault.evidence}"]
    return "\n".join(lines)


def _asked(gap: Gap) -> str:
    return "1 question" if gap.questions == 1 else f"{gap.questions} questions"
