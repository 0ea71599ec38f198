"""Rows of the store as the JSON that the API answers with (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from store import previews
from store.exchanges import Logged
from store.models import (
    Adapter,
    AuditEntry,
    Conversation,
    Cycle,
    CycleStep,
    Deployment,
    Document,
    Feedback,
    JudgeLabel,
    Key,
    Person,
    Preview,
    Process,
)
from store.staleness import Resting, Trained, learned_from

_EXCHANGE = (
    *("id", "conversation_id", "parent_id", "person_id", "state", "question", "answer", "messages", "passages"),
    *("citations", "declined", "given", "trainable", "adapter", "model", "sampling", "timings"),
    *("prompt_tokens", "completion_tokens", "error"),
)
_NOTHING_CUT = {"turns": 0, "passages": 0, "characters": 0}
_ADAPTER = (
    *("id", "state", "origin", "lineage", "recipe", "digest", "dataset_digest", "report_digest", "base_model"),
    *("compared_with", "replaced", "parent_id", "cycle_id", "note", "verdict"),
)


def moment(at: datetime | None) -> str | None:
    """A time as ISO 8601 in UTC."""
    return None if at is None else at.isoformat()


def feedback(row: Feedback) -> dict[str, Any]:
    """What somebody said of an answer."""
    return {
        "exchange_id": row.exchange_id,
        "person_id": row.person_id,
        "rating": row.rating,
        "rated_by": row.rated_by,
        "rated_at": moment(row.rated_at),
        "reasons": row.reasons,
        "comment": row.comment,
        "correction": row.correction,
        "approved": row.approved_by is not None,
        "updated_at": moment(row.updated_at),
    }


def exchange(logged: Logged) -> dict[str, Any]:
    """An exchange with what was said of it; its passages say whether they are stale where that was looked up."""
    row, label = logged.exchange, logged.label
    labels = [] if label is None else [{"task": label.task, "confidence": label.confidence, "scores": label.scores}]
    return {
        **{name: getattr(row, name) for name in _EXCHANGE},
        "passages": logged.passages(),
        "cut": {**_NOTHING_CUT, **row.sampling.get("cut", {})},
        "feedback": None if logged.feedback is None else feedback(logged.feedback),
        "labels": labels,
        "created_at": moment(row.created_at),
        "finished_at": moment(row.finished_at),
    }


def judge_label(row: JudgeLabel, names: Mapping[str, str]) -> dict[str, Any]:
    """What a person said of an answer where the judge says it too; `names` are those of people by id."""
    view = {"metric": row.metric, "value": row.value, "labelled_by": row.labelled_by}
    return {**view, "name": names.get(row.labelled_by, row.labelled_by), "labelled_at": moment(row.labelled_at)}


def conversation(row: Conversation) -> dict[str, Any]:
    """A conversation, without its exchanges."""
    return {"id": row.id, "title": row.title, "train": row.trainable, "created_at": moment(row.created_at)}


def me(row: Person, *, via: str) -> dict[str, Any]:
    """The caller as they may see themselves; `via` is key, session or open."""
    return {**{name: getattr(row, name) for name in ("id", "name", "role", "consent")}, "via": via}


def document(row: Document, chunks: int | None = None) -> dict[str, Any]:
    """A document, without its text."""
    view = {name: getattr(row, name) for name in ("id", "source", "title", "media_type", "digest")}
    view |= {"collection": row.collection, "tags": row.tags}
    view |= {"characters": len(row.text), "created_at": moment(row.created_at), "updated_at": moment(row.updated_at)}
    return view if chunks is None else {**view, "chunks": chunks}


def step(row: CycleStep) -> dict[str, Any]:
    """One step of a cycle."""
    names = ("name", "state", "attempts", "progress", "result", "error")
    view = {name: getattr(row, name) for name in names}
    return {**view, "started_at": moment(row.started_at), "finished_at": moment(row.finished_at)}


def cycle(row: Cycle, steps: Sequence[CycleStep]) -> dict[str, Any]:
    """A cycle with its timeline."""
    names = ("id", "state", "outcome", "step", "plan", "results", "adapter_id", "error", "started_by")
    return {
        **{name: getattr(row, name) for name in names},
        "steps": [step(s) for s in steps],
        "created_at": moment(row.created_at),
        "finished_at": moment(row.finished_at),
    }


def adapter(row: Adapter) -> dict[str, Any]:
    """An adapter and everything that was decided about it; its lineage counts the examples instead of listing them."""
    return {
        **{name: getattr(row, name) for name in _ADAPTER},
        "lineage": lineage(row.lineage),
        "evaluation": row.report,
        "reasons": row.verdict.get("reasons", []),
        "created_at": moment(row.created_at),
        "decided_at": moment(row.decided_at),
    }


def lineage(kept: Mapping[str, Any]) -> dict[str, Any]:
    """What an adapter was made of, its examples as their number, `withheld` of them beside others."""
    if "examples" not in kept:
        return dict(kept)
    return {**kept, "examples": len(learned_from(kept)), "withheld": len(kept.get("withheld", ()))}


def trained(found: Trained) -> dict[str, Any]:
    """How much of what an adapter was trained on is stale; nulls where its lineage does not say."""
    return {"examples": found.examples, "stale_examples": found.stale, "stale_share": found.share}


def resting(found: Resting) -> dict[str, Any]:
    """What rests on a document, in numbers and adapters."""
    counts = {
        "exchanges": len(found.exchanges),
        "stale_exchanges": len(found.stale_exchanges),
        "examples": len(found.examples),
        "adapters": len(found.adapters),
    }
    named = {"document": found.document.id, "title": found.document.title, "source": found.document.source}
    removed = found.document.removed_at is not None
    return {**named, "removed": removed, "counts": counts, "adapters": [asdict(one) for one in found.adapters]}


def deployment(row: Deployment, names: Mapping[str, str]) -> dict[str, Any]:
    """What serves; `names` are those of the testers, by id."""
    testers = [names.get(person_id, person_id) for person_id in row.testers]
    canary = None if row.canary is None else {"adapter": row.canary, "share": row.share, "testers": testers}
    return {
        "adapter": row.adapter,
        "canary": canary,
        "generation": row.generation,
        "changed_at": moment(row.changed_at),
    }


def process(row: Process) -> dict[str, Any]:
    """A running process and what it serves."""
    return {name: getattr(row, name) for name in ("id", "kind", "adapter", "canary", "generation", "error")}


def preview(row: Preview) -> dict[str, Any]:
    """A blind preview; which adapter wrote which answer is said once a choice is made."""
    names = ("id", "adapter", "question", "passages", "choice", "comment")
    shown = {name: getattr(row, name) for name in names}
    if row.choice is None:
        answers = [{"label": label, "text": row.answers[label]["text"]} for label in sorted(row.answers)]
        return {**shown, "answers": answers, "created_at": moment(row.created_at)}
    answers = [{"label": label, **row.answers[label]} for label in sorted(row.answers)]
    chosen = {"preferred": previews.preferred(row), "serving": row.serving, "chosen_at": moment(row.chosen_at)}
    return {**shown, **chosen, "answers": answers, "created_at": moment(row.created_at)}


def key(row: Key) -> dict[str, Any]:
    """An API key, without its secret."""
    view = {"id": row.id, "prefix": row.prefix, "scopes": row.scopes}
    return {
        **view,
        "created_at": moment(row.created_at),
        "revoked_at": moment(row.revoked_at),
        "expires_at": moment(row.expires_at),
    }


def person(row: Person, keys: Sequence[Key]) -> dict[str, Any]:
    """Somebody, with their keys."""
    view: dict[str, Any] = {name: getattr(row, name) for name in ("id", "name", "role", "consent")}
    view |= {"signs_in": row.password is not None, "keys": [key(k) for k in keys]}
    return {**view, "created_at": moment(row.created_at), "erased_at": moment(row.erased_at)}


def audit(row: AuditEntry, named: Mapping[str, str]) -> dict[str, Any]:
    """An entry of the audit record; `named` are the names of people by id."""
    names = ("actor", "action", "subject", "comment", "details", "digest")
    view = {"id": str(row.id), "at": moment(row.at), **{name: getattr(row, name) for name in names}}
    who = {f"{name}_name": named.get(view[name], view[name]) for name in ("actor", "subject")}
    return {**view, **who}
