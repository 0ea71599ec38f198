"""What the steps of a cycle work with: the store, folders and plain numbers, wired once by `__main__`."""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session, select

from bot import prompt
from finetune.curated import Curated
from finetune.dataset import Policy, curate
from finetune.examples import Rules
from finetune.fitted import FittedJudge
from finetune.hardware import Base, Machine
from finetune.judge import SELECTING
from finetune.lengths import widened
from finetune.redact import Redact
from finetune.sides import Sides
from retrieval import hostile
from retrieval.index import Index
from scheduler.tasks import Encode, TaskSpec
from store import deployments, exchanges, golden, labels, people, staleness
from store.database import Database
from store.models import Document, Person, Role, Side


@dataclass(frozen=True)
class Workbench:
    """Everything a cycle needs to know, as values."""

    database: Database
    encode: Encode
    embedding_model: str
    data: Path
    checkout: Path
    environment: Mapping[str, str]
    base_model: str
    base_folder: Callable[[], str]
    base_digest: Callable[[], str]
    """What the base model is recognised by: an adapter's manifest, a plan and an evaluation name the one of theirs."""
    base: Callable[[], Base]
    machine: Callable[[], Machine]
    speed: Callable[[], float]
    """Tokens per second to expect of the trainer before it ever ran here; measuring that may take minutes."""
    speed_soon: Callable[[], float]
    """The same, or a guess where that is not known within seconds."""
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
    strategy_comment: str
    min_examples: int
    max_examples: int
    max_minutes: float
    max_passes: int | None
    max_tokens: int
    scale_learning_rate: bool
    unanswerable_share: float
    replay_share: float
    preference: str
    min_preferences: int
    redact: Redact
    new_account_days: float
    most_ratings_per_hour: int
    trainer: Mapping[str, Any]
    teacher: Mapping[str, Any]
    qlora: str
    threads: int
    seed: int
    held_out_share: float
    max_cases: int
    answer_tokens: int
    context_tokens: int
    batch: int
    alternative_cases: int
    judge: Mapping[str, Any]
    fitted: FittedJudge
    primary: tuple[str, ...]
    margin: float
    loss_margin: float
    min_cases: int
    min_agreement: float
    min_labels: int
    approval_days: float
    keep_datasets: int
    watch_hours: float
    max_decline_rise: float
    complete_canary_hours: float | None

    def covering(self) -> dict[str, float]:
        """The tasks that score on every exchange with passages, with that score."""
        return {task.name: task.passages_score for task in self.tasks if task.passages_score > 0}


def rules_of(bench: Workbench, session: Session) -> dict[str, Rules]:
    """The rules of every task, their lengths widened to what people write."""
    return widened(bench.rules, labels.corrections(session))


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """No search for reference cycles: it would go through all examples again and again, and finds next to none."""
    searched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searched:
            gc.enable()


def reviewers_of(session: Session) -> frozenset[str]:
    """The people who review others' answers today."""
    return frozenset(session.exec(select(Person.id).where(Person.role != Role.CHAT)).all())


def joined_at(session: Session) -> dict[str, datetime]:
    """When people joined."""
    return {row: at for row, at in session.exec(select(Person.id, Person.created_at)).all()}


def curated(bench: Workbench, *, since: datetime | None = None) -> tuple[Curated, Sides]:
    """The curated log and the sides, known and new; writes nothing."""
    with _nothing_collected(), bench.database.read() as session:
        known = {side.key: side.side for side in session.exec(select(Side))}
        persons = people.count(session)
        reviewers, joined = reviewers_of(session), joined_at(session)
        sides = Sides(known, held_out_share=bench.held_out_share, people=persons)
        policy = Policy(
            judge=SELECTING,
            rules=rules_of(bench, session),
            covering=bench.covering(),
            reviewers=reviewers,
            sources=dict(session.exec(select(Document.id, Document.source)).all()),
            unanswerable_share=bench.unanswerable_share,
            persons=persons,
            live=staleness.live_digests(session),
            serving=deployments.deployment(session).adapter,
            redacted=bench.redact,
            golden=golden.members(session),
            joined=joined,
            new_account_days=bench.new_account_days,
            most_per_hour=bench.most_ratings_per_hour,
            suspicious=lambda text: bool(hostile.flags_of(text)),
            max_cases=bench.max_cases,
            block=prompt.question_block,
        )
        return curate(exchanges.logged(session, since=since), sides=sides, policy=policy), sides
