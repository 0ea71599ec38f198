"""What goes into one exchange and what comes out of it, as values: a question, and the events of its answer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from retrieval import hostile
from store import documents
from store.errors import Invalid, TooLarge
from store.models import Person

MAX_QUESTION = 200_000


@dataclass(frozen=True)
class Question:
    """What is asked: OpenAI messages, the last one the user's; `given` passages are used instead of searching.

    `replaces` is the exchange that is asked again or edited.
    """

    person: Person
    messages: list[dict[str, str]]
    conversation_id: str | None = None
    replaces: str | None = None
    given: list[dict[str, str]] | None = None
    trainable: bool = True
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def text(self) -> str:
        """The question itself; raises Invalid when it is empty or not the user's, TooLarge over 200,000 characters."""
        if not self.messages or self.messages[-1]["role"] != "user":
            raise Invalid("the last message is not the user's.", "End messages with one of role user.")
        text = self.messages[-1]["content"].strip()
        if not text:
            raise Invalid("the question is empty.", "Write a question.")
        length = sum(len(message["content"]) for message in self.messages)
        if length > MAX_QUESTION:
            raise TooLarge(f"the messages have {length} characters, at most {MAX_QUESTION} are read.", "Shorten them.")
        return text


@dataclass(frozen=True)
class Started:
    """The exchange is logged as `streaming`; tokens follow.

    `stop` ends the answer from any thread, also while it waits in the queue: what was written is kept as `stopped`.
    """

    exchange_id: str
    conversation_id: str
    adapter: str
    model: str
    passages: list[dict[str, Any]]
    cut: dict[str, int]
    stop: Callable[[], None] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Queued:
    """The answer waits for a slot; `position` 1 is next, 0 says that it has one now."""

    position: int


@dataclass(frozen=True)
class Token:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The exchange is logged as `finished`, or as `stopped` when `stop` was called."""

    exchange_id: str
    conversation_id: str
    adapter: str
    model: str
    passages: list[dict[str, Any]]
    cut: dict[str, int]
    citations: list[dict[str, int]]
    declined: bool
    answer: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


Event = Started | Queued | Token | Ended


def given_passages(passages: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Passages that came with the request, numbered in its order."""
    return [
        {
            "n": n,
            "document": None,
            "title": passage.get("title", ""),
            "chunk_id": None,
            "text": passage["text"],
            "digest": documents.text_digest(passage["text"]),
            "score": 1.0,
            "start": 0,
            "end": len(passage["text"]),
            "flags": hostile.flags_of(f"{passage.get('title', '')}\n{passage['text']}"),
        }
        for n, passage in enumerate(passages, start=1)
    ]
