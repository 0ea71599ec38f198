"""What people said of a side's answers, and which held-out cases came of them: what the gate weighs its cases by.

What curation does not hear, bursts and new accounts, counts as unrated here.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlmodel import Session, col, select

from finetune.examples import Kind, speaker
from finetune.hearing import Hearing
from finetune.hygiene import same_answer
from finetune.rated import Answers, Rated, Signs
from scheduler.judged import unsupported
from scheduler.tasks import UNCLASSIFIED
from scheduler.workbench import Workbench, joined_at, reviewers_of
from store.models import Exchange, ExchangeState, Feedback, Label

LOOKED_AT = 500
"""Answers of each kind to each task that has cases, the newest, that the judge looks at."""
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
    columns: list[Any] = [Exchange.id, Exchange.answer, Label.task, Feedback]
    query = select(*columns).join(Feedback, col(Feedback.exchange_id) == col(Exchange.id), isouter=True)
    query = query.join(Label, col(Label.exchange_id) == col(Exchange.id), isouter=True)
    query = query.where(Exchange.adapter == name, Exchange.model == bench.base_model)
    query = query.where(Exchange.state == ExchangeState.FINISHED, col(Exchange.trainable))
    rows = session.exec(query.order_by(col(Exchange.created_at))).all()
    hearing = Hearing(
        reviewers_of(session),
        joined=joined_at(session),
        new_days=bench.new_account_days,
        most_per_hour=bench.most_ratings_per_hour,
    )
    for exchange_id, _, _, feedback in rows:
        if feedback is not None:
            hearing.enter(exchange_id, *speaker(feedback))
    kinds: dict[str, list[tuple[str, str]]] = {"liked": [], "disliked": [], "unrated": []}
    for exchange_id, answer, task, feedback in rows:
        heard = feedback is not None and not hearing.unheard(exchange_id)
        kinds[_kind(feedback, answer) if heard else "unrated"].append((exchange_id, task or UNCLASSIFIED))
    among = {task or UNCLASSIFIED for exchange_id, _, task, _ in rows if exchange_id in right}
    by_kind = {kind: signs_of(answers, judge, among=among) for kind, answers in kinds.items()}
    tasks = sorted({task for signs in by_kind.values() for task in signs})
    return Rated(right, {task: Answers(**{kind: signs[task] for kind, signs in by_kind.items()}) for task in tasks})


def _kind(feedback: Feedback, answer: str) -> str:
    wrong = not same_answer(feedback.correction, answer) if feedback.correction else feedback.rating == "down"
    return "disliked" if wrong else "liked" if feedback.rating or feedback.correction else "unrated"


def signs_of(
    answers: Sequence[tuple[str, str]], judge: Callable[[str], bool | None] | None, *, among: Collection[str]
) -> defaultdict[str, Signs]:
    """By task of answers (id, task), oldest first; `judge` is asked of the newest LOOKED_AT of each task `among`."""
    found = defaultdict[str, Signs](Signs)
    for exchange_id, task in reversed(answers):
        looks = judge is not None and task in among and found[task].answers < LOOKED_AT
        said = judge(exchange_id) if judge is not None and looks else None
        found[task] += Signs(1) if said is None else Signs(1, 1, int(said))
    return found
