"""One exchange: retrieve, prompt, generate, cite, log. The product in one function, also a LangChain runnable.

It knows no HTTP. What the model saw is what is logged: messages, passages and adapter are those of the answer.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import Runnable, RunnableLambda

from bot import citations, prompt
from bot.engine import Engine
from bot.langchain_model import EngineModel
from bot.live import Live
from retrieval.library import Library
from store import answers, documents, exchanges
from store.database import Database
from store.errors import Invalid, RatchetError, TooLarge
from store.models import Conversation, Exchange, ExchangeState, Person

MAX_QUESTION = 200_000


@dataclass(frozen=True)
class Question:
    """What is asked: OpenAI messages, the last one the user's; `given` passages are used instead of searching."""

    person: Person
    messages: list[dict[str, str]]
    conversation_id: str | None = None
    given: list[dict[str, str]] | None = None
    trainable: bool = True
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Started:
    """The exchange is logged as `streaming`; tokens follow."""

    exchange_id: str
    conversation_id: str
    adapter: str
    model: str
    passages: list[dict[str, Any]]


@dataclass(frozen=True)
class Token:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The exchange is logged as `finished`."""

    exchange_id: str
    conversation_id: str
    adapter: str
    model: str
    passages: list[dict[str, Any]]
    citations: list[dict[str, int]]
    declined: bool
    answer: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass
class _Writing:
    """What is known of an answer while it is written."""

    started: float
    timings: dict[str, float]
    text: str = ""
    finish_reason: str = "stop"
    usage: dict[str, int] = field(default_factory=dict)


class Chat:
    """Answers questions from a library with whatever adapter is live."""

    def __init__(
        self,
        database: Database,
        library: Library,
        engine: Engine,
        live: Live,
        *,
        passages: int,
        max_tokens: int,
        temperature: float,
    ) -> None:
        self._database = database
        self._library = library
        self._engine = engine
        self._live = live
        self._passages = passages
        self._max_tokens = max_tokens
        self._temperature = temperature

    def answer(self, question: Question) -> Iterator[Started | Token | Ended]:
        """Answer a question, streamed; closing the generator stops the answer and keeps its partial text.

        Raises Invalid for an empty question, TooLarge over 200,000 characters, NotFound for an unknown conversation,
        Busy when too many wait; all before Started.
        """
        begun = time.monotonic()
        text = _checked(question)
        conversation_id, parent_id = exchanges.find_conversation(
            self._database,
            person_id=question.person.id,
            conversation_id=question.conversation_id,
            messages=question.messages,
        )
        history = self._history(question, parent_id)
        query = prompt.search_query(text, history)
        passages = self._library.search(query, self._passages) if question.given is None else _given(question.given)
        retrieved = time.monotonic()
        max_tokens = min(question.max_tokens or self._max_tokens, self._engine.context_tokens // 2)
        messages, passages, cut = prompt.fitted(
            text,
            passages,
            history,
            budget=self._engine.context_tokens - max_tokens,
            count=self._engine.count,
            keep_passages=question.given is not None,
        )
        exchange = Exchange(
            conversation_id=conversation_id,
            parent_id=parent_id,
            person_id=question.person.id,
            question=text,
            search_query=query,
            messages=messages,
            passages=passages,
            given=question.given is not None,
            trainable=question.trainable and question.person.consent,
            adapter=self._live.adapter_for(conversation_id),
            model=self._engine.name,
            sampling={"max_tokens": max_tokens, "temperature": self._temperature_of(question), "cut": cut},
            process=self._live.process_id,
        )
        yield from self._write(question, exchange, history, begun, retrieved)

    def _temperature_of(self, question: Question) -> float:
        return self._temperature if question.temperature is None else question.temperature

    def _history(self, question: Question, parent_id: str | None) -> list[dict[str, str]]:
        earlier = [m for m in question.messages[:-1] if m["role"] in ("user", "assistant")]
        if earlier or parent_id is None or question.conversation_id is None:
            return earlier
        with self._database.read() as session:
            return exchanges.turns(session, parent_id)

    def _write(
        self,
        question: Question,
        exchange: Exchange,
        history: list[dict[str, str]],
        begun: float,
        retrieved: float,
    ) -> Iterator[Started | Token | Ended]:
        model = EngineModel(
            engine=self._engine,
            adapter=exchange.adapter,
            max_tokens=exchange.sampling["max_tokens"],
            temperature=exchange.sampling["temperature"],
            top_p=question.top_p,
            seed=question.seed,
        )
        generation = model.begin(exchange.messages, question.stop)
        try:
            exchanges.begin(self._database, exchange)
        except RatchetError:
            generation.cancel()
            raise
        chunks = model.stream(exchange.messages, generation=generation)
        logged = time.monotonic()
        timings = {"retrieval_ms": 1000 * (retrieved - begun), "prepare_ms": 1000 * (logged - retrieved)}
        writing = _Writing(started=logged, timings=timings)
        state = ExchangeState.STOPPED
        error = ""
        try:
            yield Started(
                exchange.id, exchange.conversation_id, exchange.adapter, exchange.model, list(exchange.passages)
            )
            yield from _tokens(chunks, writing)
            state = ExchangeState.FINISHED
        except RatchetError as problem:
            state, error = ExchangeState.FAILED, problem.message
            raise
        finally:
            generation.cancel()
            ended = self._finish(exchange, history, writing, state, error)
        yield ended

    def _finish(
        self, exchange: Exchange, history: list[dict[str, str]], writing: _Writing, state: ExchangeState, error: str
    ) -> Ended:
        answer = writing.text.strip()
        turns = [*history, {"role": "user", "content": exchange.question}, {"role": "assistant", "content": answer}]
        ended = Ended(
            exchange_id=exchange.id,
            conversation_id=exchange.conversation_id,
            adapter=exchange.adapter,
            model=exchange.model,
            passages=list(exchange.passages),
            citations=citations.valid(answer, exchange.passages),
            declined=answers.declined(answer),
            answer=answer,
            finish_reason=writing.finish_reason,
            prompt_tokens=writing.usage.get("input_tokens", 0),
            completion_tokens=writing.usage.get("output_tokens", 0),
        )
        exchanges.finish(
            self._database,
            exchange.id,
            state=state,
            answer=answer,
            citations=ended.citations,
            declined=ended.declined,
            history_digest=exchanges.history_digest(exchange.person_id, turns),
            timings={**writing.timings, "total_ms": 1000 * (time.monotonic() - writing.started)},
            prompt_tokens=ended.prompt_tokens,
            completion_tokens=ended.completion_tokens,
            error=error,
        )
        return ended

    def runnable(self, person: Person) -> Runnable[Any, Ended]:
        """This bot as a LangChain runnable: a question in, the finished exchange out."""

        def run(text: str) -> Ended:
            question = Question(person=person, messages=[{"role": "user", "content": text}])
            *_, last = self.answer(question)
            assert isinstance(last, Ended)
            return last

        return RunnableLambda(run)

    def conversation(self, person: Person) -> str:
        """A new conversation's id."""
        row = Conversation(person_id=person.id)
        with self._database.write() as session:
            session.add(row)
        return row.id


def _tokens(chunks: Iterator[AIMessageChunk], writing: _Writing) -> Iterator[Token]:
    try:
        for chunk in chunks:
            if chunk.usage_metadata is not None:
                writing.usage = dict(chunk.usage_metadata)  # type: ignore[arg-type]
                writing.finish_reason = chunk.response_metadata.get("finish_reason", "stop")
            elif chunk.content:
                text = str(chunk.content) if writing.text else str(chunk.content).lstrip()
                if not text:
                    continue
                writing.timings.setdefault("first_token_ms", 1000 * (time.monotonic() - writing.started))
                writing.text += text
                yield Token(text)
    finally:
        chunks.close()  # type: ignore[attr-defined]


def _checked(question: Question) -> str:
    if not question.messages or question.messages[-1]["role"] != "user":
        raise Invalid("the last message is not the user's.", "End messages with one of role user.")
    text = question.messages[-1]["content"].strip()
    if not text:
        raise Invalid("the question is empty.", "Write a question.")
    length = sum(len(message["content"]) for message in question.messages)
    if length > MAX_QUESTION:
        raise TooLarge(f"the messages have {length} characters, at most {MAX_QUESTION} are read.", "Shorten them.")
    return text


def _given(passages: list[dict[str, str]]) -> list[dict[str, Any]]:
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
        }
        for n, passage in enumerate(passages, start=1)
    ]
