"""What people said of a side's answers, and which held-out cases came of them: what the gate weighs its cases by."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlmodel import Session, col, select

from finetune.examples import Kind
from finetune.hygiene import same_answer
from finetune.rated import Rated, Signs
from scheduler.judged import unsupported
from scheduler.workbench import Workbench
from store.models import Exchange, ExchangeState, Feedback

LOOKED_AT = 500
"""Answers of each kind, the newest, that the judge looks at."""
Row = Mapping[str, Any]


def rated(bench: Workbench, names: Iterable[str], cases: Sequence[Row]) -> dict[str, Rated]:
    """For each adapter that answered some of the cases in the log: what people said of its answers."""
    judge = unsupported(bench)
    found = {name: found_right(bench, name, cases) for name in names}
    with bench.database.read() as session:
        return {name: _rated(session, bench, name, right, judge) for name, right in found.items() if right}


def found_right(bench: Workbench, name: str, cases: Sequence[Row]) -> dict[str, bool]:
    """The cases that came of an adapter's own answers, each with whether people found that answer right."""
    own = [row for row in cases if (row["logged_adapter"], row.get("logged_base")) == (name, bench.base_model)]
    liked = {row["id"]: True for row in own if row["kind"] == Kind.UPVOTED}
    return liked | {
        row["id"]: same_answer(row["target"], row["logged_answer"])
        for row in own
        if row["kind"] != Kind.UPVOTED and row["logged_answer"]
    }


def _rated(
    session: Session,
    bench: Workbench,
    name: str,
    right: Mapping[str, bool],
    judge: Callable[[str], bool | None] | None,
) -> Rated:
    columns: list[Any] = [Exchange.id, Exchange.answer, Feedback.rating, Feedback.correction]
    query = select(*columns).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
    query = query.where(Exchange.adapter == name, Exchange.model == bench.base_model)
    query = query.where(Exchange.state == ExchangeState.FINISHED, col(Exchange.trainable))
    kinds: dict[str, list[str]] = {"liked": [], "disliked": [], "unrated": []}
    for exchange_id, answer, rating, correction in session.exec(query.order_by(col(Exchange.created_at))):
        wrong = not same_answer(correction, answer) if correction else rating == "down"
        kinds["disliked" if wrong else "liked" if rating or correction else "unrated"].append(exchange_id)
    return Rated(right, **{kind: _signs(ids, judge) for kind, ids in kinds.items()})


def _signs(ids: Sequence[str], judge: Callable[[str], bool | None] | None) -> Signs:
    said = [judge(exchange_id) for exchange_id in ids[-LOOKED_AT:]] if judge is not None else []
    told = [one for one in said if one is not None]
    return Signs(len(ids), len(told), sum(told))
