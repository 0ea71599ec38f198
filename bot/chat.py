"""One exchange: retrieve, prompt, generate, cite, log. The product in one function, also a LangChain runnable.

It knows no HTTP. What the model saw is what is logged: messages, passages and adapter are those of the answer.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import Runnable, RunnableLambda

from bot import citations, prompt
from bot.events import MAX_QUESTION as MAX_QUESTION
from bot.events import Ended as Ended
from bot.events import Event as Event
from bot.events import Question as Question
from bot.events import Queued as Queued
from bot.events import Started as Started
from bot.events import Token as Token
from bot.events import given_passages
from bot.langchain_model import EngineModel
from bot.live import Live
from bot.pace import Pace
from bot.protocols import Engine, Generation
from bot.verified import Verified, with_answer
from bot.writing import Writing
from retrieval.library import Library
from store import answers, exchanges, histories
from store.database import Database
from store.errors import Busy, NotLoaded, RatchetError
from store.models import Conversation, Exchange, ExchangeState, Person


@dataclass(frozen=True)
class Prompt:
    """What the model will see, and what had to be cut for it."""

    messages: list[dict[str, str]]
    passages: list[dict[str, Any]]
    cut: dict[str, int]
    max_tokens: int


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
        verified: Verified | None = None,
    ) -> None:
        self._database = database
        self._library = library
        self._engine = engine
        self._live = live
        self._passages = passages
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._verified = verified
        self.pace = Pace()

    def answer(self, question: Question) -> Iterator[Event]:
        """Answer a question, streamed; closing the generator stops the answer and keeps its partial text.

        Raises Invalid for an empty question, TooLarge over 200,000 characters, NotFound for an unknown conversation,
        Busy when too many wait; all before Started.
        """
        begun = time.monotonic()
        text = question.text()
        conversation_id, parent_id = histories.find_conversation(
            self._database,
            person_id=question.person.id,
            conversation_id=question.conversation_id,
            messages=question.messages,
            replaces=question.replaces,
        )
        history = self._history(question, parent_id)
        query = prompt.search_query(text, history)
        adapter = self._live.adapter_for(conversation_id, question.person.id)
        found = self.search(query, adapter=adapter) if question.given is None else given_passages(question.given)
        retrieved = time.monotonic()
        made = self.prompt(text, found, history, max_tokens=question.max_tokens, given=question.given is not None)
        exchange = Exchange(
            conversation_id=conversation_id,
            parent_id=parent_id,
            person_id=question.person.id,
            question=text,
            search_query=query,
            messages=made.messages,
            passages=made.passages,
            given=question.given is not None,
            trainable=self._may_train(question, conversation_id),
            adapter=adapter,
            model=self._engine.name,
            sampling={
                "max_tokens": made.max_tokens,
                "temperature": self._temperature_of(question),
                "cut": made.cut,
                **({"stop": list(question.stop)} if question.stop else {}),
            },
            process=self._live.process_id,
        )
        yield from self._write(question, exchange, history, begun, retrieved)

    def search(self, query: str, *, adapter: str = "") -> list[dict[str, Any]]:
        """The passages for a query, as many as a prompt gets; with a verified answer where `adapter` needs it."""
        found = self._library.search(query, self._passages)
        if self._verified is None or not adapter:
            return found
        return with_answer(found, self._verified.passage(query, adapter=adapter), self._passages)

    def prompt(
        self,
        text: str,
        passages: list[dict[str, Any]],
        history: list[dict[str, str]],
        *,
        max_tokens: int | None = None,
        given: bool = False,
    ) -> Prompt:
        """The messages that fit beside the answer; `given` passages are shortened but not dropped."""
        longest = min(max_tokens or self._max_tokens, self._engine.context_tokens // 2)
        messages, kept, cut = prompt.fitted(
            text,
            passages,
            history,
            budget=self._engine.context_tokens - longest,
            count=self._engine.count,
            keep_passages=given,
        )
        return Prompt(messages, kept, cut, longest)

    def _temperature_of(self, question: Question) -> float:
        return self._temperature if question.temperature is None else question.temperature

    def _may_train(self, question: Question, conversation_id: str) -> bool:
        with self._database.read() as session:
            row = session.get(Conversation, conversation_id)
        return question.trainable and question.person.consent and (row is None or row.trainable)

    def _history(self, question: Question, parent_id: str | None) -> list[dict[str, str]]:
        earlier = [m for m in question.messages[:-1] if m["role"] in ("user", "assistant")]
        if earlier or parent_id is None or (question.conversation_id is None and question.replaces is None):
            return earlier
        with self._database.read() as session:
            return histories.turns(session, parent_id, characters=MAX_QUESTION)

    def _write(
        self,
        question: Question,
        exchange: Exchange,
        history: list[dict[str, str]],
        begun: float,
        retrieved: float,
    ) -> Iterator[Event]:
        model = EngineModel(
            engine=self._engine,
            adapter=exchange.adapter,
            max_tokens=exchange.sampling["max_tokens"],
            temperature=exchange.sampling["temperature"],
            top_p=question.top_p,
            seed=question.seed,
        )
        generation = self._begin(model, question, exchange)
        logged = time.monotonic()
        timings = {"retrieval_ms": 1000 * (retrieved - begun), "prepare_ms": 1000 * (logged - retrieved)}
        writing = Writing(generation, self.pace.queued(), started=logged, timings=timings)
        state, error = ExchangeState.STOPPED, ""
        try:
            yield _started(exchange, writing)
            yield from writing.waited()
            if not writing.stopped.is_set():
                yield from writing.tokens(model.stream(exchange.messages, generation=generation))
            state = ExchangeState.STOPPED if writing.stopped.is_set() else ExchangeState.FINISHED
        except RatchetError as problem:
            state, error = ExchangeState.FAILED, problem.message
            raise
        finally:
            writing.end()
            ended = self._finish(exchange, history, writing, state, error)
        yield ended

    def _begin(self, model: EngineModel, question: Question, exchange: Exchange) -> Generation:
        """Queue the answer, then log that it is on its way; both or neither."""
        try:
            generation = self._queued(model, question, exchange)
        except Busy as busy:
            busy.retry_after = max(busy.retry_after, self.pace.retry_after())
            raise
        try:
            exchanges.begin(self._database, exchange, title=histories.title_of(question.messages))
        except RatchetError:
            generation.cancel()
            raise
        return generation

    def _queued(self, model: EngineModel, question: Question, exchange: Exchange) -> Generation:
        """Queue the answer; what serves is chosen once more where a rollback came while the passages were searched."""
        try:
            return model.begin(exchange.messages, question.stop)
        except NotLoaded:
            exchange.adapter = self._live.adapter_for(exchange.conversation_id, exchange.person_id)
            model.adapter = exchange.adapter
            return model.begin(exchange.messages, question.stop)

    def _finish(
        self, exchange: Exchange, history: list[dict[str, str]], writing: Writing, state: ExchangeState, error: str
    ) -> Ended:
        answer = writing.text.strip()
        turns = [*history, {"role": "user", "content": exchange.question}, {"role": "assistant", "content": answer}]
        ended = Ended(
            exchange_id=exchange.id,
            conversation_id=exchange.conversation_id,
            adapter=exchange.adapter,
            model=exchange.model,
            passages=list(exchange.passages),
            cut=exchange.sampling["cut"],
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
            history_digest=histories.history_digest(exchange.person_id, turns),
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


def _started(exchange: Exchange, writing: Writing) -> Started:
    return Started(
        exchange_id=exchange.id,
        conversation_id=exchange.conversation_id,
        adapter=exchange.adapter,
        model=exchange.model,
        passages=list(exchange.passages),
        cut=exchange.sampling["cut"],
        stop=writing.stop,
    )
