"""One logged exchange to one training example, with a reason, a weight and what it rests on (pure)."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from finetune.judge import Judge
from finetune.redact import Redact
from finetune.targets import UNCORRECTED, Target, target_of
from finetune.task_metrics import steps, terms
from store import verified
from store.answers import cited_numbers
from store.exchanges import Logged
from store.models import Exchange, Feedback


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
    TAUGHT = "taught"
    """A teacher model wrote it where people disliked the answer, and the judge supports every sentence."""
    WITHHELD = "withheld"
    """An answered question without the passages that answer it: it teaches declining (`finetune/withheld.py`)."""
    REPLAY = "replay"
    """An adapter wrote it and the judge supports every sentence: keeps other tasks alive, teaches nothing new."""
    DISLIKED = "disliked"
    """A person disliked it: never a target, only what preferences are trained away from."""


WEIGHTS = {
    Kind.APPROVED: 1.0,
    Kind.CORRECTION: 1.0,
    Kind.UPVOTED: 0.7,
    Kind.REPAIRED: 0.5,
    Kind.TAUGHT: 0.5,
    Kind.REPLAY: 0.5,
    Kind.DISLIKED: 0.0,
}
"""In what share of the passes an example is seen, by how far a person stands behind its target."""
MACHINE = (Kind.UPVOTED, Kind.REPAIRED, Kind.TAUGHT, Kind.REPLAY)
"""Targets that a model wrote; the data rules of a task are for these."""
LEAST_SUPPORT = {"low": 0.4, "medium": 0.5, "high": 0.65}
"""What the judge must say of every sentence of a target that the bot wrote, by `filter_quality`."""


@dataclass(frozen=True)
class Rules:
    """A task's rules for answers that people did not write; lengths in characters."""

    min_length: int = 1
    max_length: int = 1_000
    preserve_context: bool = False
    preserve_structure: bool = False
    preserve_technical_terms: bool = False
    filter_quality: str = "medium"


@dataclass(frozen=True)
class Example:
    """One curated example: the exact messages the model saw and the answer it should have given.

    `documents` are all that it cites, the one that answers first, or those shown where it was disliked. `digests` are
    those of the `passages`, "" where no document has it, and `rests_on` those that the target cites, by which lineage
    and staleness go. `rated_by` corrected, or else rated.

    `logged_answer` is what the bot said, without personal data, empty where it is not whole; `logged_base` the base
    model below the adapter that answered. It took `logged_tokens` of `logged_limit`. `logged_again` tells whether that
    adapter would say it again: it was neither drawn by chance nor cut at stop words, and redaction changed neither it
    nor its prompt. `approved` is the digest of what a reviewer approved, as it was written.
    """

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
    weight: float = 1.0
    rated_by: str = ""
    titles: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    logged_base: str = ""
    logged_tokens: int = 0
    logged_limit: int = 0
    logged_again: bool = True
    approved: str = ""


def example_of(
    row: Logged,
    *,
    judge: Judge,
    rules: Mapping[str, Rules],
    covering: Mapping[str, float],
    sources: Mapping[str, str],
    redact: Redact,
) -> Example | str:
    """The example that an exchange makes, or why it makes none; a disliked answer makes one of its own kind."""
    exchange, label = row.exchange, row.label
    if not exchange.trainable:
        return "not to be trained on"
    if any(passage.get("flags") for passage in exchange.passages):
        return "a passage that it saw is flagged"
    if any(passage.get("verified") for passage in exchange.passages):
        return "it was shown a verified answer"
    task = label.task if label is not None else "unclassified"
    rule = rules.get(task, Rules())
    made = target_of(row, judge=judge, least=LEAST_SUPPORT[rule.filter_quality])
    if made == UNCORRECTED and exchange.state == "finished" and exchange.answer:
        made = Target(exchange.answer, Kind.DISLIKED, UNCORRECTED, True, None)
    if isinstance(made, str):
        return made
    if made.kind in MACHINE and (broken := broken_rule(made, exchange.answer, bool(exchange.passages), rule)):
        return broken
    shown = "\n".join(f"{passage['title']}\n{passage['text']}" for passage in exchange.passages)
    scores = label.scores if label is not None else {}
    covered = [name for name, least in covering.items() if scores.get(name, 0) >= least]
    cited = dict.fromkeys([made.gold, *cited_numbers(made.text)])
    answering = [p["n"] for p in exchange.passages] if made.kind == Kind.DISLIKED else cited
    documents = list(dict.fromkeys(key for n in answering for key in documents_of(exchange.passages, n, sources)))
    digests = {p["n"]: str(p["digest"]) if p.get("document") in sources else "" for p in exchange.passages}
    messages = [{**m, "content": redact(m["content"], public=shown)} for m in exchange.messages]
    return Example(
        id=exchange.id,
        task=task,
        tasks=tuple(dict.fromkeys([task, *covered])),
        question=redact(exchange.question, public=shown),
        messages=messages,
        passages=[passage["text"] for passage in exchange.passages],
        target=redact(made.text, public=shown),
        kind=made.kind,
        reason=made.reason,
        answerable=made.answerable,
        gold=made.gold,
        cluster=documents[0] if documents else f"conversation:{exchange.conversation_id}",
        person=exchange.person_id,
        documents=documents,
        created_at=exchange.created_at.isoformat(),
        rests_on=sorted({digest for n, digest in digests.items() if n in cited and digest}),
        weight=WEIGHTS[Kind(made.kind)],
        rated_by=speaker(row.feedback)[0] if row.feedback is not None else "",
        titles=[passage["title"] for passage in exchange.passages],
        digests=list(digests.values()),
        approved=verified.digest_of(exchange, row.feedback) if row.feedback and made.kind == Kind.APPROVED else "",
        **_logged(exchange, redact(exchange.answer, public=shown), same_prompt=messages == exchange.messages),
    )


def speaker(feedback: Feedback) -> tuple[str, datetime]:
    """Whose word feedback is, and since when: who corrected the answer, or else who rated it."""
    if feedback.correction:
        return feedback.person_id, feedback.updated_at
    return feedback.rated_by or feedback.person_id, feedback.rated_at or feedback.updated_at


def _logged(exchange: Exchange, answer: str, *, same_prompt: bool) -> dict[str, Any]:
    """What an example keeps of what was said in the log; `answer` is without personal data."""
    sampling, whole = exchange.sampling, exchange.state == "finished"
    as_said = same_prompt and answer == exchange.answer
    return {
        "logged_answer": answer if whole else "",
        "logged_adapter": exchange.adapter,
        "logged_base": exchange.model if whole else "",
        "logged_tokens": exchange.completion_tokens,
        "logged_limit": sampling.get("max_tokens", 0),
        "logged_again": as_said and sampling.get("temperature") == 0 and not sampling.get("stop"),
    }


def says_again(row: Mapping[str, Any], *, adapter: str, base_model: str, max_tokens: int) -> bool:
    """Whether an adapter on this base model would answer as an example's row was answered, within `max_tokens`.

    An answer that ended by itself needs that many tokens, one that was cut off the same limit.
    """
    if not row["logged_answer"] or not row.get("logged_again", True):
        return False
    used, limit = row.get("logged_tokens", 0), row.get("logged_limit", 0)
    fits = used <= max_tokens if used < limit else limit == max_tokens
    return fits and (row["logged_adapter"], row.get("logged_base")) == (adapter, base_model)


def documents_of(passages: Sequence[dict[str, Any]], gold: int | None, sources: Mapping[str, str]) -> list[str]:
    """The stable names of the documents that answer: the cited one; given passages go by their text's hash."""
    cited = [passage for passage in passages if passage["n"] == gold]
    return [
        f"document:{sources.get(p['document'], p['document'])}" if p["document"] else f"text:{p['digest']}"
        for p in cited
    ]


def broken_rule(made: Target, logged: str, had_passages: bool, rules: Rules) -> str:
    """Which of a task's data rules a target that the bot wrote breaks; empty when none."""
    if made.answerable and not rules.min_length <= len(made.text) <= rules.max_length:
        return "length outside the task's rules"
    if made.answerable and rules.preserve_context and had_passages and made.gold is None:
        return "it cites none of its passages, which the task's rules demand"
    if rules.preserve_structure and len(steps(made.text)) < len(steps(logged)):
        return "its list lost steps, which the task's rules forbid"
    if rules.preserve_technical_terms and terms(logged) - terms(made.text):
        return "it lost technical terms, which the task's rules forbid"
    return ""


def lineage_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the rows of a dataset rest on: people, documents, and for each example the digests of what it cites.

    Withheld examples have the id of the one that they stand beside, and other passages: they are listed by themselves.
    """
    withheld = [row for row in rows if row.get("kind") == Kind.WITHHELD]
    return {
        "people": sorted({name for row in rows for name in (row["person"], row.get("rated_by", "")) if name}),
        "documents": sorted({name for row in rows for name in row["documents"]}),
        "examples": {row["id"]: row.get("rests_on", []) for row in rows if row.get("kind") != Kind.WITHHELD},
        "withheld": {row["id"]: row.get("rests_on", []) for row in withheld},
    }


def shown_digest(row: Logged) -> str:
    """What an exchange was shown, as one hash: the same passages in any order."""
    digests = sorted(str(passage.get("digest") or passage["text"]) for passage in row.exchange.passages)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:24]
