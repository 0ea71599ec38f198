"""The tables of the learning loop: adapters and what is deployed, cycles, processes, audit, learned rankings.

They are part of `store/models.py`'s vocabulary and are imported from there.
"""

from datetime import datetime
from typing import Any

from sqlmodel import Field

from store.columns import Row, json_column, maybe_time_column, new_id, time_column
from store.states import BASE, AdapterState, CycleState


class Adapter(Row, table=True):
    """An immutable LoRA adapter version and everything that was decided about it.

    `compared_with` served when it was evaluated, `replaced` when everybody got it, or while it is a canary when it was
    approved: rolling back returns to the latter.
    """

    id: str = Field(primary_key=True)
    state: str = Field(default=AdapterState.TRAINING, index=True)
    origin: str = "trained"
    cycle_id: str | None = Field(default=None, index=True)
    parent_id: str | None = None
    folder: str = ""
    base_model: str = ""
    digest: str = ""
    dataset_digest: str = ""
    report_digest: str = ""
    compared_with: str = BASE
    replaced: str = BASE
    recipe: dict[str, Any] = json_column(dict)
    lineage: dict[str, Any] = json_column(dict)
    report: dict[str, Any] = json_column(dict)
    verdict: dict[str, Any] = json_column(dict)
    note: str = ""
    created_at: datetime = time_column(index=True)
    decided_at: datetime | None = maybe_time_column()


class Deployment(Row, table=True):
    """The one row that says which adapter answers; `generation` grows with each change.

    While there is a `canary`, it answers the `testers` (ids of people) and a `share` of the conversations.
    """

    id: int = Field(default=1, primary_key=True)
    adapter: str = BASE
    canary: str | None = None
    share: float = 0.0
    testers: list[str] = json_column(list)
    generation: int = 0
    changed_at: datetime = time_column()


class Preview(Row, table=True):
    """One question answered twice over the same passages, by a candidate and by what served, for a blind choice.

    `answers` holds adapter and text under the labels A and B; `choice` is A, B, tie or not yet made.
    """

    id: str = Field(default_factory=lambda: new_id("pv"), primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    adapter: str = Field(index=True)
    serving: str
    question: str
    passages: list[dict[str, Any]] = json_column(list)
    answers: dict[str, dict[str, str]] = json_column(dict)
    choice: str | None = None
    comment: str = ""
    created_at: datetime = time_column(index=True)
    chosen_at: datetime | None = maybe_time_column()


class Process(Row, table=True):
    """A running bot or scheduler, what it has loaded and when it was last heard of."""

    id: str = Field(primary_key=True)
    kind: str
    pid: int
    generation: int = 0
    adapter: str = BASE
    canary: str | None = None
    error: str = ""
    started_at: datetime = time_column()
    heartbeat: datetime = time_column()


class Cycle(Row, table=True):
    """One retraining cycle; `slot_key` is unique, so that two schedulers start it once."""

    id: str = Field(default_factory=lambda: new_id("cy"), primary_key=True)
    slot_key: str = Field(unique=True)
    state: str = Field(default=CycleState.RUNNING, index=True)
    outcome: str | None = None
    step: str = "collect"
    fence: int = 0
    lease_until: datetime | None = maybe_time_column()
    attempts: int = 0
    adapter_id: str | None = None
    plan: dict[str, Any] = json_column(dict)
    results: dict[str, Any] = json_column(dict)
    error: str = ""
    started_by: str = "schedule"
    created_at: datetime = time_column(index=True)
    finished_at: datetime | None = maybe_time_column()


class CycleStep(Row, table=True):
    """One step of a cycle: attempts, times, progress and result, shown as the cycle's timeline."""

    cycle_id: str = Field(primary_key=True, foreign_key="cycle.id")
    name: str = Field(primary_key=True)
    position: int
    state: str = "running"
    attempts: int = 1
    progress: dict[str, Any] = json_column(dict)
    result: dict[str, Any] = json_column(dict)
    error: str = ""
    started_at: datetime = time_column()
    finished_at: datetime | None = maybe_time_column()


class Schedule(Row, table=True):
    """When cycles are due; one row, changed by admins."""

    id: int = Field(default=1, primary_key=True)
    cron: str
    enabled: bool = True
    changed_at: datetime = time_column()


class Ask(Row, table=True):
    """Something the pages ask of the scheduler; taken once, answered once."""

    id: str = Field(default_factory=lambda: new_id("ask"), primary_key=True)
    kind: str
    payload: dict[str, Any] = json_column(dict)
    state: str = Field(default="waiting", index=True)
    answer: dict[str, Any] = json_column(dict)
    created_at: datetime = time_column()


class AuditEntry(Row, table=True):
    """Who did what and why; `digest` chains over the entry before it."""

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = time_column(index=True)
    actor: str
    action: str
    subject: str
    comment: str = ""
    details: dict[str, Any] = json_column(dict)
    previous: str = ""
    digest: str = ""


class Ranking(Row, table=True):
    """Fitted weights of retrieval's measures, what they are worth, and what was decided about them.

    `compared_with` was in force when they were fitted, `previous` when they were approved: rolling back returns to the
    latter. Empty is the default.
    """

    id: str = Field(primary_key=True)
    state: str = Field(default="candidate", index=True)
    weights: dict[str, float] = json_column(dict)
    metrics: dict[str, Any] = json_column(dict)
    verdict: dict[str, Any] = json_column(dict)
    digest: str = Field(default="", index=True)
    compared_with: str = ""
    previous: str = ""
    cycle_id: str | None = None
    comment: str = ""
    created_at: datetime = time_column(index=True)
    decided_at: datetime | None = maybe_time_column()
