"""The log as files of other programs, and back: one exchange is one or no row of each format.

It decides nothing about quality: a row of `openai`, `sharegpt`, `kto` or `dpo` says what people said of an answer.
Exchanges that must not be trained on are left out of these four, which are made for training; `jsonl` is the whole log.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from store import answers, audit, people
from store.database import Database
from store.errors import Invalid
from store.exchanges import MAX_CORRECTION, RATINGS, Logged, keep_passages
from store.models import Conversation, Exchange, ExchangeState, Feedback, Label, Person, Role, new_id

IMPORTED = "imported"
AT_ONCE = 200
"""Exchanges in one transaction: the chat must be able to write meanwhile."""
"""The name of the person whom imported exchanges belong to."""

Plain = dict[str, Any]
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def as_ratchet(row: Logged) -> Plain:
    """One exchange with its feedback and label (or null) as plain JSON; what the `ratchet` import takes back."""
    plain: Plain = json.loads(row.exchange.model_dump_json(exclude={"history_digest", "process"}))
    for name, part in (("feedback", row.feedback), ("label", row.label)):
        plain[name] = None if part is None else json.loads(part.model_dump_json(exclude={"exchange_id"}))
    return plain


def _target(row: Logged) -> str:
    """The answer that people wrote or liked; empty when there is none."""
    if row.feedback is None or not row.exchange.trainable:
        return ""
    return row.feedback.correction or (row.exchange.answer if row.feedback.rating == "up" else "")


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def _openai(row: Logged) -> list[Plain]:
    target = _target(row)
    return [{"messages": [*row.exchange.messages, *_said(target)]}] if target else []


def _sharegpt(row: Logged) -> list[Plain]:
    turns = [message for line in _openai(row) for message in line["messages"]]
    said = [{"from": _SHAREGPT[turn["role"]], "value": turn["content"]} for turn in turns]
    return [{"conversations": said}] if said else []


def _kto(row: Logged) -> list[Plain]:
    rating = row.feedback.rating if row.feedback is not None and row.exchange.trainable else None
    if rating is None:
        return []
    return [{"prompt": row.exchange.messages, "completion": _said(row.exchange.answer), "label": rating == "up"}]


def _dpo(row: Logged) -> list[Plain]:
    if row.feedback is None or not row.feedback.correction or not row.exchange.trainable:
        return []
    chosen, rejected = _said(row.feedback.correction), _said(row.exchange.answer)
    return [{"prompt": row.exchange.messages, "chosen": chosen, "rejected": rejected}]


FORMATS: dict[str, Callable[[Logged], list[Plain]]] = {
    "jsonl": lambda row: [as_ratchet(row)],
    "openai": _openai,
    "sharegpt": _sharegpt,
    "kto": _kto,
    "dpo": _dpo,
}
"""The export formats: `kto` and `dpo` are those of TRL with chat messages."""


def exported(rows: Iterable[Logged], format: str) -> Iterator[Plain]:
    """The rows of a format one by one, in the order of the log; raises Invalid for an unknown one."""
    if format not in FORMATS:
        raise Invalid(f'the format is "{format}", expected one of {", ".join(FORMATS)}.')
    return (line for row in rows for line in FORMATS[format](row))


@dataclass(frozen=True)
class _Imported:
    """One line, read and checked; the exchange's person and conversation are still to be set."""

    exchange: Exchange
    feedback: Feedback | None = None
    label: Label | None = None


def imported(database: Database, lines: Sequence[str], format: str) -> int:
    """Enter the exchanges of a file for the person `imported`; returns how many were new.

    Raises Invalid naming the first bad line; nothing is imported then. Ids of the format `ratchet` are kept, and an
    id that is there already is passed over. Others can write in between; where it is cut off, the same file imported
    again brings the rest of that format.
    """
    if format not in _READERS:
        raise Invalid(f'the format is "{format}", expected one of {", ".join(_READERS)}.')
    read = [_line(number, line, format) for number, line in enumerate(lines, start=1) if line.strip()]
    with database.write() as session:
        person = _person(session)
    conversations: dict[str, str] = {}
    count = 0
    for start in range(0, len(read), AT_ONCE):
        with database.write() as session:
            some = read[start : start + AT_ONCE]
            count += sum(_enter(session, row, person.id, conversations) for row in some)
    with database.write() as session:
        details = {"format": format, "exchanges": count}
        audit.record(session, actor="command", action="exchanges.imported", subject=person.id, details=details)
    return count


def _person(session: Session) -> Person:
    found = people.by_name(session, IMPORTED)
    if found is not None:
        return found
    row = Person(name=IMPORTED, role=Role.CHAT)
    session.add(row)
    session.flush()
    audit.record(session, actor="command", action="person.added", subject=row.id, details={"role": Role.CHAT})
    return row


def _enter(session: Session, row: _Imported, person_id: str, conversations: dict[str, str]) -> bool:
    if session.get(Exchange, row.exchange.id) is not None:
        return False
    exchange = row.exchange
    exchange.person_id = person_id
    exchange.conversation_id = _conversation(session, exchange, conversations)
    session.add(exchange)
    session.flush()
    for part in (row.feedback, row.label):
        if part is not None:
            session.add(part)
    if row.feedback is not None:
        row.feedback.person_id = person_id
        row.feedback.rated_by = None if row.feedback.rating is None else person_id
    session.flush()
    keep_passages(session, exchange)
    return True


def _conversation(session: Session, exchange: Exchange, conversations: dict[str, str]) -> str:
    """The conversation of that id, made when new; one that belongs to somebody else is not joined."""
    wanted = exchange.conversation_id
    if wanted not in conversations:
        found = session.get(Conversation, wanted)
        if found is None or found.person_id != exchange.person_id:
            made = Conversation(id=wanted if found is None else new_id("co"), person_id=exchange.person_id)
            made.title, made.created_at = exchange.question[:80], exchange.created_at
            session.add(made)
            session.flush()
            found = made
        conversations[wanted] = found.id
    return conversations[wanted]


def _line(number: int, line: str, format: str) -> _Imported:
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError(f"found {type(row).__name__}, expected an object.")
        return _READERS[format](row)
    except json.JSONDecodeError as error:
        raise Invalid(f"line {number}: found {line[:40]!r}, expected JSON ({error.msg}).", _NOTHING) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        found = f"{first['input']!r:.60}"
        raise Invalid(f"line {number}: {key}: found {found}, expected otherwise: {first['msg']}.", _NOTHING) from error
    except ValueError as error:
        raise Invalid(f"line {number}: {error}", _NOTHING) from error


_NOTHING = "Nothing was imported: correct the line and import the file again."


def _from_messages(messages: list[dict[str, str]], answer: str, at: datetime | None = None) -> _Imported:
    if not messages or messages[-1]["role"] != "user":
        last = messages[-1]["role"] if messages else "nothing"
        raise ValueError(f"before the answer found {last}, expected a message with role user.")
    values: Plain = {"created_at": at} if at is not None else {}
    exchange = Exchange(
        conversation_id=new_id("co"),
        person_id="",
        state=ExchangeState.FINISHED,
        question=messages[-1]["content"],
        messages=messages,
        answer=answer,
        declined=answers.declined(answer),
        adapter=IMPORTED,
        **values,
    )
    exchange.finished_at = exchange.created_at
    return _Imported(exchange)


def _read_openai(row: Plain) -> _Imported:
    *messages, last = _messages(row.get("messages"), "messages")
    if last["role"] != "assistant":
        raise ValueError(f"the last message has role {last['role']}, expected assistant.")
    return _from_messages(messages, last["content"])


def _read_flywheel(row: Plain) -> _Imported:
    request, response = row.get("request"), row.get("response")
    if not isinstance(request, dict) or not isinstance(response, dict):
        raise ValueError(f"found the keys {', '.join(row) or 'none'}, expected request and response.")
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise ValueError(f"response.choices: found {choices!r:.60}, expected a list with a message.")
    said = _messages([{"role": "assistant", **(choices[0].get("message") or {})}], "response.choices.0.message")
    return _from_messages(
        _messages(request.get("messages"), "request.messages"), said[0]["content"], _time(row.get("timestamp"))
    )


def _read_ratchet(row: Plain) -> _Imported:
    if not isinstance(row.get("id"), str):
        raise ValueError(f"id: found {row.get('id')!r:.60}, expected the id of an exchange.")
    # Without sampling, an answer is never taken for one that an adapter of this installation gave.
    plain = {**row, "person_id": "", "state": ExchangeState.FINISHED, "sampling": {}, "history_digest": ""}
    exchange = Exchange.model_validate(plain)
    exchange.messages = _messages(row.get("messages"), "messages")
    feedback, label = _part(row, "feedback"), _part(row, "label")
    rated = Feedback.model_validate({**feedback, "exchange_id": exchange.id, "person_id": ""}) if feedback else None
    if rated is not None and rated.rated_at is None and rated.rating is not None:
        rated.rated_at = rated.updated_at  # a file of before, which had one time for both
    if rated is not None and rated.rating not in RATINGS:
        raise ValueError(f'feedback.rating: found "{rated.rating}", expected "up", "down" or null.')
    if rated is not None and len(rated.correction) > MAX_CORRECTION:
        raise ValueError(f"feedback.correction: found {len(rated.correction)} characters, expected {MAX_CORRECTION}.")
    named = Label.model_validate({**label, "exchange_id": exchange.id}) if label else None
    return _Imported(exchange, rated, named)


def _part(row: Plain, key: str) -> Plain | None:
    found = row.get(key)
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{key}: found {found!r:.60}, expected an object or null.")
    return found


_READERS: dict[str, Callable[[Plain], _Imported]] = {
    "openai": _read_openai,
    "flywheel": _read_flywheel,
    "ratchet": _read_ratchet,
}


def _messages(found: object, key: str) -> list[dict[str, str]]:
    if not isinstance(found, list) or not found:
        raise ValueError(f"{key}: found {found!r:.60}, expected a list of messages.")
    return [_message(message, f"{key}.{position}") for position, message in enumerate(found)]


def _message(found: object, key: str) -> dict[str, str]:
    role = _ROLES.get(str(found.get("role"))) if isinstance(found, dict) else None
    if not isinstance(found, dict) or role is None:
        raise ValueError(f"{key}: found {found!r:.60}, expected role system, user or assistant.")
    content = found.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"{key}.content: found {content!r:.60}, expected a text.")
    return {"role": role, "content": content}


def _time(found: object) -> datetime | None:
    try:
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return datetime.fromtimestamp(found, UTC)
        if isinstance(found, str):
            at = datetime.fromisoformat(found)
            return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"timestamp: found {found!r:.60}, expected Unix seconds or an ISO 8601 time.") from error
    if found is not None:
        raise ValueError(f"timestamp: found {found!r:.60}, expected Unix seconds or an ISO 8601 time.")
    return None
