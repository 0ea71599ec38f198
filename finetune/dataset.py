"""Logged exchanges to curated training examples and held-out cases, with a reason for each (pure).

What is a target, best first: an answer that a reviewer wrote or approved; a person's correction that the passages
support; a thumbs-up answer that the judge finds grounded; an answer repaired from its own passages. Never an unjudged
answer of the bot, never one with a thumbs-down. It reads no database and knows no model.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from finetune.judge import Judge
from finetune.sides import HELD_OUT, LEAVES, TRAIN, Sides
from finetune.targets import target_of
from store.answers import cited_numbers
from store.exchanges import Logged

STALE = "rests on a passage that changed or went"
"""Why an exchange is left out whose target cites a passage that no document holds any more."""


class Kind(StrEnum):
    """Where a target comes from, best first."""

    APPROVED = "approved"
    """A reviewer wrote or approved it."""
    CORRECTION = "correction"
    """A person corrected the answer and the passages support it."""
    UPVOTED = "upvoted"
    """A person liked it and the judge finds it grounded."""
    REPAIRED = "repaired"
    """Unsupported sentences removed and citations inserted by the judge."""


@dataclass(frozen=True)
class Rules:
    """A task's rules for answers that people did not write; lengths in characters."""

    min_length: int = 1
    max_length: int = 1_000


@dataclass(frozen=True)
class Example:
    """One curated example: the exact messages the model saw and the answer it should have given."""

    id: str
    task: str
    tasks: tuple[str, ...]
    question: str
    messages: list[dict[str, str]]
    passages: list[str]
    target: str
    kind: str
    reason: str
    answerable: bool
    gold: int | None
    cluster: str
    person: str
    documents: list[str]
    logged_answer: str
    logged_adapter: str
    created_at: str
    rests_on: list[str] = field(default_factory=list)
    """The digests of the documents' passages that the target cites."""


@dataclass
class Curated:
    """What curation made of the log: examples by side, and the funnel of what went where and why."""

    train: list[Example] = field(default_factory=list)
    held_out: list[Example] = field(default_factory=list)
    funnel: Counter[str] = field(default_factory=Counter)
    rows: dict[str, list[str]] = field(default_factory=dict)

    def drop(self, exchange_id: str, why: str) -> None:
        """Count an exchange that was left out, with its reason."""
        self.funnel[f"left out: {why}"] += 1
        self.rows.setdefault(why, []).append(exchange_id)

    def digest(self) -> str:
        """The SHA-256 over both sides' examples."""
        content = json.dumps([[asdict(example) for example in side] for side in (self.train, self.held_out)])
        return hashlib.sha256(content.encode()).hexdigest()


def curate(
    logged: Sequence[Logged],
    *,
    judge: Judge,
    sides: Sides,
    rules: Mapping[str, Rules],
    covering: Mapping[str, float],
    reviewers: frozenset[str],
    sources: Mapping[str, str],
    unanswerable_share: float,
    persons: int,
    live: frozenset[str] | None = None,
) -> Curated:
    """Curate the log, oldest exchange first.

    `covering` holds the tasks that cover every exchange scoring at least that much on them; `reviewers` are the ids of
    people whose corrections need no confirmation; `sources` maps document ids to stable names; `persons` is how many
    people there are in all (per-person caps begin at 50); `live` holds the digests of the passages that can be
    retrieved, by which stale ones are left out. New sides are entered into `sides`.
    """
    curated = Curated()
    curated.funnel["exchanges"] = len(logged)
    seen: set[str] = set()
    for row in logged:
        made = _example(row, judge=judge, rules=rules, covering=covering, reviewers=reviewers, sources=sources)
        if not isinstance(made, str) and live is not None and not live.issuperset(made.rests_on):
            made = STALE
        if isinstance(made, str):
            curated.drop(row.exchange.id, made)
            continue
        fingerprint = _fingerprint(made.question) + made.target
        if fingerprint in seen:
            curated.drop(made.id, "the same question and answer again")
            continue
        seen.add(fingerprint)
        _place(curated, made, row, sides)
    curated.train = _capped(curated, persons)
    curated.train = _declining_share(curated, unanswerable_share)
    for example in curated.train:
        curated.funnel[f"train: {example.kind}"] += 1
    for example in curated.held_out:
        curated.funnel[f"held out: {example.kind}"] += 1
    return curated


def _example(
    row: Logged,
    *,
    judge: Judge,
    rules: Mapping[str, Rules],
    covering: Mapping[str, float],
    reviewers: frozenset[str],
    sources: Mapping[str, str],
) -> Example | str:
    exchange, label = row.exchange, row.label
    if not exchange.trainable:
        return "not to be trained on"
    if any(passage.get("flags") for passage in exchange.passages):
        return "a passage that it saw is flagged"
    made = target_of(row, judge=judge, reviewers=reviewers)
    if isinstance(made, str):
        return made
    task = label.task if label is not None else "unclassified"
    if made.kind in (Kind.UPVOTED, Kind.REPAIRED) and (broken := _broken_rule(made.text, rules.get(task))):
        return broken
    scores = label.scores if label is not None else {}
    covered = [name for name, least in covering.items() if scores.get(name, 0) >= least]
    documents = _documents(exchange.passages, made.gold, sources)
    cited = {*cited_numbers(made.text), made.gold}
    return Example(
        id=exchange.id,
        task=task,
        tasks=tuple(dict.fromkeys([task, *covered])),
        question=exchange.question,
        messages=list(exchange.messages),
        passages=[passage["text"] for passage in exchange.passages],
        target=made.text,
        kind=made.kind,
        reason=made.reason,
        answerable=made.answerable,
        gold=made.gold,
        cluster=documents[0] if documents else f"conversation:{exchange.conversation_id}",
        person=exchange.person_id,
        documents=documents,
        logged_answer=exchange.answer if exchange.sampling.get("temperature") == 0 else "",
        logged_adapter=exchange.adapter,
        created_at=exchange.created_at.isoformat(),
        rests_on=sorted({p["digest"] for p in exchange.passages if p["n"] in cited and p.get("document") in sources}),
    )


def _documents(passages: Sequence[dict[str, Any]], gold: int | None, sources: Mapping[str, str]) -> list[str]:
    """The stable names of the documents that answer: the cited one; given passages go by their text's hash."""
    cited = [passage for passage in passages if passage["n"] == gold]
    return [
        f"document:{sources.get(p['document'], p['document'])}" if p["document"] else f"text:{p['digest']}"
        for p in cited
    ]


def _broken_rule(text: str, rules: Rules | None) -> str:
    if rules is None:
        return ""
    if not rules.min_length <= len(text) <= rules.max_length:
        return "length outside the task's rules"
    return ""


def _fingerprint(question: str) -> str:
    return " ".join(sorted({word.strip(".,;:!?\"'()").lower() for word in question.split()} - {""}))


def _place(curated: Curated, example: Example, row: Logged, sides: Sides) -> None:
    keys = [
        *example.documents,
        f"conversation:{row.exchange.conversation_id}",
        f"question:{hashlib.sha256(_fingerprint(example.question).encode()).hexdigest()[:24]}",
    ]
    side = sides.of(keys, person=f"person:{example.person}")
    if side == LEAVES:
        curated.drop(example.id, "would be on both sides")
    elif side == TRAIN:
        curated.train.append(example)
    elif side == HELD_OUT and example.kind == Kind.REPAIRED:
        curated.drop(example.id, "held out, but no person said what is right")
    else:
        curated.held_out.append(example)


def _capped(curated: Curated, persons: int) -> list[Example]:
    """At most max(3, 2 %) of the rows per person, newest first, once there are 50 people."""
    if persons < 50:
        return curated.train
    cap = max(3, len(curated.train) // 50)
    kept: list[Example] = []
    counts: Counter[str] = Counter()
    for example in reversed(curated.train):
        counts[example.person] += 1
        if counts[example.person] > cap and example.kind != Kind.APPROVED:
            curated.drop(example.id, "over the person's cap")
        else:
            kept.append(example)
    return kept[::-1]


def _declining_share(curated: Curated, share: float) -> list[Example]:
    """At most `share` of the examples teach declining; the newest stay."""
    answering = sum(example.answerable for example in curated.train)
    room = int(answering * share / (1 - share)) if answering else 0
    kept: list[Example] = []
    for example in reversed(curated.train):
        room -= not example.answerable
        if not example.answerable and room < 0:
            curated.drop(example.id, "enough examples of declining")
        else:
            kept.append(example)
    return kept[::-1]


def choose(
    examples: Sequence[Example], *, tasks: Sequence[str], most: int, replay_share: float, seed: int
) -> list[Example]:
    """The examples to train on: those of `tasks`, best kind and newest first, with a share of the others as replay."""
    ranks = {kind: rank for rank, kind in enumerate(Kind)}
    ordered = sorted(examples, key=lambda e: e.created_at, reverse=True)
    ordered.sort(key=lambda e: ranks[Kind(e.kind)])
    mine = [e for e in ordered if set(e.tasks) & set(tasks)][:most]
    others = [e for e in ordered if not set(e.tasks) & set(tasks)]
    chosen = [*mine, *others[: min(int(len(mine) * replay_share), most - len(mine))]]
    return sorted(chosen, key=lambda e: hashlib.sha256(f"{seed}:{e.id}".encode()).hexdigest())


def lineage_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the rows of a dataset rest on: people, documents, and for each example the digests of what it cites."""
    return {
        "people": sorted({row["person"] for row in rows}),
        "documents": sorted({name for row in rows for name in row["documents"]}),
        "examples": {row["id"]: row.get("rests_on", []) for row in rows},
    }
