"""What the steps of a cycle work with: the store, folders and plain numbers, wired once by `__main__`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import select

from finetune.dataset import Curated, Rules, curate
from finetune.judge import WordJudge
from finetune.sides import Sides
from retrieval.index import Index
from scheduler.tasks import Classifier, Encode, Item, TaskSpec
from store import exchanges, people, staleness
from store.database import Database
from store.models import Document, Label, Person, Role, Side


@dataclass(frozen=True)
class Workbench:
    """Everything a cycle needs to know, as values."""

    database: Database
    encode: Encode
    data: Path
    checkout: Path
    environment: Mapping[str, str]
    base_model: str
    base_folder: Callable[[], str]
    hidden_size: Callable[[], int]
    index: Callable[[], Index]
    learn: bool
    passages: int
    min_score: float
    tasks: tuple[TaskSpec, ...]
    taxonomy: str
    rules: Mapping[str, Rules]
    recipes: Mapping[str, dict[str, Any]]
    targets: Mapping[str, Mapping[str, float]]
    combined: dict[str, Any]
    phases: tuple[str, ...]
    strategy: str
    min_examples: int
    max_examples: int
    max_minutes: float
    max_passes: int | None
    max_tokens: int
    scale_learning_rate: bool
    unanswerable_share: float
    replay_share: float
    trainer: Mapping[str, Any]
    threads: int
    seed: int
    held_out_share: float
    max_cases: int
    answer_tokens: int
    context_tokens: int
    batch: int
    primary: tuple[str, ...]
    margin: float
    loss_margin: float
    min_cases: int
    approval_days: float
    watch_hours: float
    max_decline_rise: float
    complete_canary_hours: float | None

    def covering(self) -> dict[str, float]:
        """The tasks that score on every exchange with passages, with that score."""
        return {task.name: task.passages_score for task in self.tasks if task.passages_score > 0}


def classifier(bench: Workbench) -> Classifier:
    """The classifier of the taxonomy, taught also by the labels that people gave."""
    with bench.database.read() as session:
        rows = exchanges.labelled_by_people(session)
    return Classifier(bench.tasks, bench.encode, corrections=rows)


def curated(bench: Workbench, *, since: datetime | None = None) -> tuple[Curated, Sides]:
    """The curated log and the sides, known and new; writes nothing."""
    with bench.database.read() as session:
        logged = exchanges.logged(session, since=since)
        known = {side.key: side.side for side in session.exec(select(Side))}
        persons = people.count(session)
        reviewers = session.exec(select(Person.id).where(Person.role != Role.CHAT)).all()
        sources = dict(session.exec(select(Document.id, Document.source)).all())
        live = staleness.live_digests(session)
    sides = Sides(known, held_out_share=bench.held_out_share, people=persons)
    made = curate(
        logged,
        judge=WordJudge(),
        sides=sides,
        rules=bench.rules,
        covering=bench.covering(),
        reviewers=frozenset(reviewers),
        sources=sources,
        unanswerable_share=bench.unanswerable_share,
        persons=persons,
        live=live,
    )
    return made, sides


def label_all(bench: Workbench) -> int:
    """Label the exchanges that have no label of this taxonomy yet; returns how many were labelled."""
    with bench.database.read() as session:
        rows = [
            row.exchange
            for row in exchanges.logged(session)
            if row.label is None or (row.label.taxonomy != bench.taxonomy and row.label.labelled_by is None)
        ]
    if not rows:
        return 0
    items = [Item(row.question, row.answer, tuple(p["text"] for p in row.passages)) for row in rows]
    found = classifier(bench).classify(items)
    labels = [
        Label(exchange_id=row.id, task=one.label, confidence=one.confidence, scores=one.scores, taxonomy=bench.taxonomy)
        for row, one in zip(rows, found, strict=True)
    ]
    exchanges.save_labels(bench.database, labels)
    return len(labels)
