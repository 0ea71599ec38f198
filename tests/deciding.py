"""Rows for the tests of the pages, written by the store: exchanges, a cycle with its course, adapters."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from store import adapters, cycles, exchanges, histories, labels
from store.database import Database
from store.models import Adapter, AdapterState, Conversation, Cycle, Exchange, ExchangeState, Feedback, Label, now
from store.signing import SIGNATURE, Signer, signed_text
from tests.queued import QUESTION, RIVER, QueuedBot

PRIMARY: dict[str, Any] = {
    **{"metric": "source_attribution", "task": "rag_enhanced", "candidate": 0.71, "serving": 0.4, "difference": 0.31},
    **{"low": 0.2, "high": 0.42, "n": 60, "role": "primary", "passed": True, "sentence": "It cites far better."},
}
GUARD: dict[str, Any] = {
    **{"metric": "decline_correct", "task": "all", "candidate": 0.9, "serving": 0.92, "difference": -0.02},
    **{
        "low": -0.06,
        "high": 0.02,
        "n": 60,
        "role": "guardrail",
        "passed": True,
        "margin": 0.1,
        "sentence": "It holds.",
    },
}


def awaiting(database: Database, *, report: dict[str, Any] | None = None, **values: Any) -> Adapter:
    """An adapter that passed the gate and waits for a decision."""
    verdict = {"verdict": "promote", "sentence": "It gains.", "reasons": ["It gains."], "deltas": [PRIMARY, GUARD]}
    kept = {"report": report or {}, "report_digest": adapters.report_digest(report or {}), "digest": "d" * 64}
    row = adapters.create(database, actor="test", verdict=verdict, **kept, **values)
    with database.write() as session:
        adapters.move(session, row.id, AdapterState.CANDIDATE, actor="test")
        return signed(database, adapters.move(session, row.id, AdapterState.AWAITING_APPROVAL, actor="test"))


def signed(database: Database, row: Adapter) -> Adapter:
    """An adapter with the gate's signature, by the key beside the database."""
    signer = Signer(Path(database.url.removeprefix("sqlite:///")).parent)
    row.verdict = {**row.verdict, SIGNATURE: signer.sign(signed_text(row))}
    return row


def evaluated(bot: QueuedBot, *answers: tuple[str, float, str, float]) -> dict[str, Any]:
    """A report over as many logged questions: what the candidate and what serves answered, with their scores."""
    sides: dict[str, list[dict[str, Any]]] = {"candidate": [], "serving": []}
    for n, (mine, score, theirs, other) in enumerate(answers):
        row = one_exchange(bot, question=f"Question {n}?")
        for side, text, value in (("candidate", mine, score), ("serving", theirs, other)):
            case = {"case_id": row.id, "task": "travel", "cluster": row.id, "answerable": True, "answer": text}
            sides[side].append({**case, "scores": {"source_attribution": value}})
    return {side: {"judge": "words", "cases": cases} for side, cases in sides.items()}


def running_cycle(database: Database) -> tuple[Cycle, cycles.Claim]:
    """A cycle that is training, with the steps before it done."""
    cycle, _ = cycles.start(database, slot_key="test", first_step="collect", started_by="test")
    result: dict[str, Any] = {"exchanges": 40, "with_feedback": 30}
    for before, after in (("collect", "classify"), ("classify", "train")):
        claim = cycles.claim(database, cycle_id=cycle.id)
        assert claim is not None and claim.step == before
        cycles.finish_step(database, claim, result=result, next_step=after)
    claim = cycles.claim(database, cycle_id=cycle.id)
    assert claim is not None
    return cycle, claim


def train(database: Database, claim: cycles.Claim, *, step: int, steps: int = 40) -> None:
    """Report so far a step of training, as the child process does."""
    progress = {"step": step, "steps": steps, "loss": 2.0 / (1 + step / 10), "tokens_per_second": 150.0}
    cycles.renew(database, claim, progress={**progress, "eta_seconds": 3 * (steps - step)})


def one_exchange(bot: QueuedBot, *, question: str = QUESTION, answer: str = "288 km [1].", **values: Any) -> Exchange:
    """An exchange that ended, logged as the bot logs it."""
    person = bot.people["chat"]
    talk, parent = histories.find_conversation(
        bot.database, person_id=person.id, conversation_id=None, messages=[{"role": "user", "content": question}]
    )
    passage = {"n": 1, "document": None, "title": "The Aare", "text": RIVER, "digest": "x", "score": 0.8, "flags": []}
    passage |= {"start": 0, "end": len(RIVER), "chunk_id": None}
    row = Exchange(conversation_id=talk, parent_id=parent, person_id=person.id, question=question, passages=[passage])
    row.messages = [{"role": "system", "content": "Answer from the passages."}, {"role": "user", "content": question}]
    for name, value in values.items():
        setattr(row, name, value)
    exchanges.begin(bot.database, row)
    exchanges.finish(
        bot.database, row.id, state=ExchangeState.FINISHED, answer=answer, citations=[{"n": 1, "start": 7, "end": 10}]
    )
    return row


def many(bot: QueuedBot, count: int) -> None:
    """So many exchanges, ratings and labels, spread over the last 30 days, in one transaction."""
    person, start = bot.people["chat"].id, now() - timedelta(days=30)
    talk = Conversation(person_id=person, title="Many")
    step = timedelta(days=30) / max(count, 1)
    rows = [
        Exchange(
            id=f"ex_{n:08}",
            conversation_id=talk.id,
            person_id=person,
            state=ExchangeState.FINISHED,
            created_at=start + n * step,
            question=f"How long is river number {n}?",
            answer=f"River {n} is {n} kilometres long [1]. " * 4,
            messages=[
                {"role": "system", "content": "Answer from the passages. " * 20},
                {"role": "user", "content": "x" * 900},
            ],
            passages=[{"n": 1, "document": None, "title": f"River {n}", "text": "A river. " * 90, "score": 0.5}],
            citations=[{"n": 1, "start": 0, "end": 3}],
            adapter="v1" if n % 3 else "base",
        ).model_dump()
        for n in range(count)
    ]
    rated = [n for n in range(count) if n % 4 == 0]
    feedback = [
        Feedback(
            exchange_id=f"ex_{n:08}",
            person_id=person,
            rating="up" if n % 8 else "down",
            correction="x" if n % 40 == 0 else "",
        ).model_dump()
        for n in rated
    ]
    found = [
        Label(
            exchange_id=f"ex_{n:08}", task=("legal", "travel", labels.UNCLASSIFIED)[n % 3], confidence=0.8, taxonomy="t"
        ).model_dump()
        for n in range(count)
    ]
    with bot.database.write() as session:
        session.add(talk)
        session.flush()
        for table, values in ((Exchange, rows), (Feedback, feedback), (Label, found)):
            if values:
                session.execute(sa.insert(table), values)
