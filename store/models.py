"""The tables and enums of Ratchet: one vocabulary for every folder.

Times are timezone-aware UTC. JSON columns hold plain lists and dicts, never pickles. Enums are stored as their string
values, so that a newer program can add a member without a migration.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, LargeBinary
from sqlmodel import Field

from store.columns import Row as Row
from store.columns import Utc as Utc
from store.columns import json_column, maybe_time_column, time_column
from store.columns import new_id as new_id
from store.columns import now as now
from store.loop_models import Adapter as Adapter
from store.loop_models import Ask as Ask
from store.loop_models import AuditEntry as AuditEntry
from store.loop_models import Cycle as Cycle
from store.loop_models import CycleStep as CycleStep
from store.loop_models import Deployment as Deployment
from store.loop_models import Preview as Preview
from store.loop_models import Process as Process
from store.loop_models import Ranking as Ranking
from store.loop_models import Schedule as Schedule
from store.states import BASE as BASE
from store.states import AdapterState as AdapterState
from store.states import CycleState as CycleState
from store.states import ExchangeState as ExchangeState
from store.states import Outcome as Outcome
from store.states import Role as Role


class Person(Row, table=True):
    """Somebody who chats, reviews or administers."""

    id: str = Field(default_factory=lambda: new_id("pe"), primary_key=True)
    name: str = Field(unique=True)
    role: str = Role.CHAT
    password: str | None = None
    consent: bool = True
    created_at: datetime = time_column()
    erased_at: datetime | None = maybe_time_column()


class Key(Row, table=True):
    """An API key, kept as a digest; `scopes` adds rights such as `on_behalf` and `given_passages`."""

    id: str = Field(default_factory=lambda: new_id("key"), primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    digest: str = Field(unique=True)
    prefix: str
    scopes: list[str] = json_column(list)
    created_at: datetime = time_column()
    revoked_at: datetime | None = maybe_time_column()
    expires_at: datetime | None = maybe_time_column()


class Identity(Row, table=True):
    """Who somebody is at an identity provider: the issuer and its subject."""

    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    created_at: datetime = time_column()


class Login(Row, table=True):
    """A browser session or a one-time set-up link, kept as a digest."""

    digest: str = Field(primary_key=True)
    kind: str = "session"
    person_id: str | None = Field(default=None, foreign_key="person.id", index=True)
    created_at: datetime = time_column()
    expires_at: datetime = time_column()


class Document(Row, table=True):
    """A source that the bot answers from; its text is kept, so that passages can be shown in place.

    `file_digest` is the SHA-256 of the bytes of the file that it came from, `rules` how they were made into passages.
    """

    id: str = Field(default_factory=lambda: new_id("doc"), primary_key=True)
    source: str = Field(unique=True)
    title: str
    digest: str = Field(index=True)
    file_digest: str = Field(default="", index=True)
    rules: str = ""
    media_type: str = "text/plain"
    text: str
    collection: str = Field(default="", index=True)
    tags: list[str] = json_column(list)
    created_at: datetime = time_column()
    updated_at: datetime = time_column()
    removed_at: datetime | None = maybe_time_column()


class Chunk(Row, table=True):
    """A passage of a document; `start` and `end` are character offsets into the document's text.

    `embedding` is float32, unit length, little-endian bytes; `sentences` holds a vector of the title and of each
    sentence, int8, or nothing yet. `flags` says why the passage is handled with care.
    """

    id: str = Field(default_factory=lambda: new_id("ch"), primary_key=True)
    document_id: str = Field(foreign_key="document.id", index=True)
    ordinal: int
    title: str
    text: str
    digest: str = Field(index=True)
    start: int
    end: int
    embedding: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    embedding_model: str
    sentences: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    flags: list[str] = json_column(list)
    retired_at: datetime | None = maybe_time_column()


class IndexEvent(Row, table=True):
    """The outbox of the vector index: what it still has to add or delete, in order of `id`."""

    id: int | None = Field(default=None, primary_key=True)
    chunk_id: str
    operation: str


class Conversation(Row, table=True):
    """Exchanges that belong together; belongs to one person, who says whether they may be trained on."""

    id: str = Field(default_factory=lambda: new_id("co"), primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    title: str = ""
    trainable: bool = True
    pinned_adapter: str | None = None
    created_at: datetime = time_column(index=True)


class Exchange(Row, table=True):
    """One question and its answer, with exactly what the model saw."""

    id: str = Field(default_factory=lambda: new_id("ex"), primary_key=True)
    conversation_id: str = Field(foreign_key="conversation.id", index=True)
    parent_id: str | None = None
    person_id: str = Field(foreign_key="person.id", index=True)
    state: str = Field(default=ExchangeState.STREAMING, index=True)
    question: str
    search_query: str = ""
    history_digest: str = Field(default="", index=True)
    messages: list[dict[str, str]] = json_column(list)
    passages: list[dict[str, Any]] = json_column(list)
    given: bool = False
    trainable: bool = True
    answer: str = ""
    citations: list[dict[str, int]] = json_column(list)
    declined: bool = False
    adapter: str = Field(default=BASE, index=True)
    model: str = ""
    sampling: dict[str, Any] = json_column(dict)
    timings: dict[str, float] = json_column(dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""
    process: str = ""
    created_at: datetime = time_column(index=True)
    finished_at: datetime | None = maybe_time_column()


class ExchangePassage(Row, table=True):
    """A document's passage that an exchange was shown, by the SHA-256 of its text; `cited` by correction or answer."""

    exchange_id: str = Field(primary_key=True, foreign_key="exchange.id")
    document_id: str = Field(primary_key=True, index=True)
    digest: str = Field(primary_key=True, index=True)
    cited: bool = False


class Feedback(Row, table=True):
    """What people said of an answer: a rating by whom and since when, and a correction.

    `person_id` corrected or spoke last, at `updated_at`; `approved_by` is the reviewer who confirmed the correction;
    `by_reviewer` tells whether who wrote it was a reviewer or an admin then.
    """

    exchange_id: str = Field(primary_key=True, foreign_key="exchange.id")
    person_id: str = Field(foreign_key="person.id", index=True)
    rating: str | None = None
    rated_by: str | None = None
    rated_at: datetime | None = maybe_time_column()
    reasons: list[str] = json_column(list)
    comment: str = ""
    correction: str = ""
    approved_by: str | None = None
    by_reviewer: bool = False
    updated_at: datetime = time_column(index=True)


class Label(Row, table=True):
    """The task scores of an exchange under one taxonomy; a person's label wins over the classifier's."""

    __table_args__ = (Index("ix_label_labelled_by_taxonomy", "labelled_by", "taxonomy"),)

    exchange_id: str = Field(primary_key=True, foreign_key="exchange.id")
    task: str = Field(index=True)
    confidence: float
    scores: dict[str, float] = json_column(dict)
    taxonomy: str
    labelled_by: str | None = None
    labelled_at: datetime = time_column()


class JudgeLabel(Row, table=True):
    """What a person says of an answer where a judge says it too: is it supported, right, to the point."""

    exchange_id: str = Field(primary_key=True, foreign_key="exchange.id")
    metric: str = Field(primary_key=True)
    value: bool
    comment: str = ""
    labelled_by: str = ""
    labelled_at: datetime = time_column()


class CaseLabel(Row, table=True):
    """Whether an answer to a held-out question is right, as a person says; it holds for the text, whoever wrote it."""

    exchange_id: str = Field(primary_key=True, foreign_key="exchange.id")
    answer_digest: str = Field(primary_key=True)
    value: bool
    labelled_by: str = ""
    labelled_at: datetime = time_column()


class TaughtAnswer(Row, table=True):
    """What a teacher model answers to an exchange that people disliked and nobody corrected."""

    exchange_id: str = Field(primary_key=True, foreign_key="exchange.id")
    model: str
    text: str
    answered_at: datetime = time_column()


class Embedding(Row, table=True):
    """What tasks are told by, kept so that nothing is embedded twice: vectors of one embedding model.

    `question` and `answer` are unit vectors as int8 bytes, empty where there is no text; `words` are the hashed words
    of the question, `given` says whether it was answered over passages, `parent_id` is the exchange before it.
    """

    __table_args__ = (Index("ix_embedding_exchange_id_model", "exchange_id", "model", unique=True),)

    id: int | None = Field(default=None, primary_key=True)
    exchange_id: str = Field(foreign_key="exchange.id")
    model: str
    question: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    answer: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    words: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    given: bool = False
    parent_id: str | None = None


class Side(Row, table=True):
    """The side, train or held_out, that a document, conversation, near-duplicate or person was given, for ever."""

    key: str = Field(primary_key=True)
    side: str
    first_seen: datetime = time_column()
