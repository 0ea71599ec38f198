"""The log over HTTP, for admins: looking for exchanges, naming their task, what the judge makes of them, and trends.

The routes stand under those of `bot/api_admin.py`, which need an admin.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from bot import api_views
from bot.api_parts import Admin, Name, Text, WithPage, WithParts, ask_scheduler, listing
from store import adapters, cycles, exchanges, judge_labels, labels, people, staleness, trends
from store.exchanges import Logged
from store.models import now

MAX_IDS = 200
MAX_DAYS = 366
router = APIRouter()
Short = Annotated[str | None, Query(max_length=100)]


class NewLabel(BaseModel):
    """The task of an exchange, or "unclassified"."""

    task: Name


@router.get("/exchanges")
def list_exchanges(
    parts: WithParts,
    page: WithPage,
    task: Short = None,
    rating: Short = None,
    adapter: Short = None,
    q: Annotated[Text, Query(max_length=200)] = "",
    ids: Annotated[list[str] | None, Query(max_length=MAX_IDS)] = None,
    trained: Short = None,
) -> dict[str, Any]:
    """Everybody's exchanges, newest first, that fit everything given; `rating` is up, down, rated, unrated, corrected.

    `q` is looked for in question and answer, `ids` names exchanges, `trained` an adapter that learned from them.
    """
    with parts.database.read() as session:
        if trained is not None:
            ids = list(dict(staleness.learned_from(adapters.get(session, trained).lineage)))
        wanted = {"task": task, "rating": rating, "adapter": adapter, "text": q, "ids": ids}
        rows = exchanges.page(session, limit=page.limit + 1, before=page.cursor, **wanted)
        said = judge_labels.of(session, [row.exchange.id for row in rows])
        known = {row.exchange.person_id for row in rows} | {one.labelled_by for some in said.values() for one in some}
        names = people.names(session, list(known))

    def shown(row: Logged) -> dict[str, Any]:
        told = [api_views.judge_label(one, names) for one in said.get(row.exchange.id, ())]
        return {**api_views.exchange(row), "person": names.get(row.exchange.person_id), "judge_labels": told}

    return listing(rows, page, shown)


@router.put("/exchanges/{exchange_id}/label")
def correct_label(exchange_id: Name, body: NewLabel, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Say which task an exchange is; that wins over the classifier, which learns from it at the next cycle."""
    row = labels.correct(parts.database, exchange_id, body.task, known=parts.tasks(), actor=admin.person.id)
    return {"exchange_id": row.exchange_id, "task": row.task, "labelled_by": row.labelled_by}


@router.get("/exchanges/{exchange_id}/judged")
def judged(exchange_id: Name, parts: WithParts) -> dict[str, Any]:
    """An answer's sentences with the support that the judge finds for each; the scheduler makes it."""
    with parts.database.read() as session:
        exchanges.get(session, exchange_id)
    return ask_scheduler(parts, "judged", {"exchange_id": exchange_id})


class JudgeWord(BaseModel):
    """What a person says of an answer on one metric: is it supported, right, are its passages to the point.

    Null takes back what was said.
    """

    metric: Name
    value: bool | None
    comment: Text = Field("", max_length=5_000)


@router.put("/exchanges/{exchange_id}/judge-label")
def label_for_judge(exchange_id: Name, body: JudgeWord, parts: WithParts, admin: Admin) -> dict[str, Any]:
    """Say whether an answer is supported, right, or its passages relevant: how far the judge is trusted rests on it."""
    said = {"metric": body.metric, "comment": body.comment, "actor": admin.person.id}
    if body.value is None:
        judge_labels.withdraw(parts.database, exchange_id, **said)
        return {"exchange_id": exchange_id, "metric": body.metric, "value": None, "labelled_by": None}
    row = judge_labels.put(parts.database, exchange_id, value=body.value, **said)
    return {"exchange_id": row.exchange_id, **api_views.judge_label(row, {admin.person.id: admin.person.name})}


@router.get("/groundedness")
def groundedness(parts: WithParts) -> dict[str, Any]:
    """Mean groundedness of the newest answers by day; the scheduler makes it."""
    return ask_scheduler(parts, "groundedness", {})


@router.get("/cycles/{cycle_id}/funnel")
def show_funnel(cycle_id: Name, parts: WithParts) -> dict[str, Any]:
    """Each line of a cycle's funnel with its count and the first exchanges behind it; empty where no file was kept."""
    with parts.database.read() as session:
        kept = cycles.get(session, cycle_id).results.get("curate", {}).get("data")
    path = (parts.data / str(kept) / "funnel.json").resolve()
    if not kept or not path.is_relative_to(parts.data.resolve()) or not path.is_file():
        return {"data": [], "next": None}
    found = json.loads(path.read_text())
    rows: dict[str, list[str]] = found["rows"]
    data = [
        {"line": line, "count": count, "ids": rows.get(line, [])[:MAX_IDS]} for line, count in found["counts"].items()
    ]
    return {"data": data, "next": None}


@router.get("/tasks")
def list_tasks(parts: WithParts) -> dict[str, Any]:
    """The names of the taxonomy's tasks, in its order."""
    return {"data": [{"id": name} for name in [*parts.tasks(), labels.UNCLASSIFIED]], "next": None}


@router.get("/trends")
def show_trends(parts: WithParts, days: Annotated[int, Query(ge=1, le=MAX_DAYS)] = 30) -> dict[str, Any]:
    """Exchanges, thumbs, declines, citing answers and tasks of each of the last days, UTC, oldest first."""
    last = now().date()
    first = last - timedelta(days=days - 1)
    with parts.database.read() as session:
        rows = trends.read(session, since=datetime.combine(first, time(), UTC))
    return {"data": [asdict(day) for day in trends.by_day(rows, first=first, last=last)], "next": None}
