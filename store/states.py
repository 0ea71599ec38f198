"""Roles, states and outcomes, a sentence per member; stored as their string values.

Which state may follow which is said in `store/adapters.py` and `store/cycles.py`.
"""

from enum import StrEnum

BASE = "base"
"""The name under which the base model, without any adapter, is logged and served."""


class Role(StrEnum):
    """What a person may do; each role includes the ones before it."""

    CHAT = "chat"
    """Asks, rates and corrects."""
    REVIEWER = "reviewer"
    """Also reads other people's exchanges and approves answers."""
    ADMIN = "admin"
    """Also manages documents, cycles, adapters and people."""


class ExchangeState(StrEnum):
    """How far one question and answer has come."""

    STREAMING = "streaming"
    """Committed before the first token; an answer is on its way."""
    FINISHED = "finished"
    """The model ended its answer."""
    STOPPED = "stopped"
    """The person stopped it or disconnected; the partial text is kept."""
    ABORTED = "aborted"
    """The bot died under it; found at the next start, never trained on."""
    FAILED = "failed"
    """The engine or retrieval raised; the error is kept."""


class AdapterState(StrEnum):
    """Where an adapter version stands; see ARCHITECTURE.md for the arrows."""

    TRAINING = "training"
    """Its folder is being written."""
    CANDIDATE = "candidate"
    """Published and digested; not evaluated, or without enough evidence."""
    REJECTED = "rejected"
    """The gate or an admin said no."""
    AWAITING_APPROVAL = "awaiting_approval"
    """The gate said yes; a person has to."""
    APPROVED = "approved"
    """A person said yes; the bots are loading it."""
    CANARY = "canary"
    """Serves a share of the conversations."""
    LIVE = "live"
    """Answers new requests."""
    RETIRED = "retired"
    """Was live until a better one came."""
    ROLLED_BACK = "rolled_back"
    """Was approved, a canary or live, and was taken back."""
    SUPERSEDED = "superseded"
    """A newer candidate came while it waited."""
    EXPIRED = "expired"
    """Nobody decided in time."""
    QUARANTINED = "quarantined"
    """Its files do not match their digests, or it rests on erased data."""


class CycleState(StrEnum):
    """Where a retraining cycle stands."""

    RUNNING = "running"
    """A step is due or in progress."""
    AWAITING_APPROVAL = "awaiting_approval"
    """A person has to decide; no lease is held."""
    WATCHING = "watching"
    """Its adapter is live and being watched."""
    DONE = "done"
    """Ended with an outcome."""
    FAILED = "failed"
    """A step failed three times; the error says why."""
    CANCELLED = "cancelled"
    """An admin stopped it."""


class Outcome(StrEnum):
    """What a cycle that is done came to."""

    PROMOTED = "promoted"
    """Its adapter went live."""
    REJECTED = "rejected"
    """The gate or an admin refused its adapter."""
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence"
    """The gate could not tell."""
    TOO_LITTLE_DATA = "too_little_data"
    """Nothing was trained: the log does not hold enough usable examples, or none to measure with."""
    SUPERSEDED = "superseded"
    """A newer cycle's candidate took its place."""
