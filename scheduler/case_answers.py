"""Held-out answers that people called right or wrong, each beside a right one: these tell how a judge scores accuracy.

The labels are kept by the answers' digests (`store/case_labels.py`); their texts stand in the adapters' reports.
"""

from dataclasses import asdict
from typing import Any

from sqlmodel import Session, col, select

from finetune.admission import Labelled
from scheduler import judging
from scheduler.workbench import Workbench
from store.case_labels import SIDES, digest_of
from store.models import Adapter, CaseLabel, Exchange, Feedback

NEWEST = 5
"""As many adapters' reports are looked through, each with some hundred answers."""


def given(bench: Workbench) -> list[dict[str, Any]]:
    """What an evaluation is given to try a judge on: people's labels of logged answers and of held-out ones."""
    return [asdict(row) for row in [*judging.labels(bench), *labelled(bench)]]


def labelled(bench: Workbench) -> list[Labelled]:
    """The labelled answers of the newest reports to questions to which a person wrote or approved a right answer."""
    with bench.database.read() as session:
        said = {(row.exchange_id, row.answer_digest): row.value for row in session.exec(select(CaseLabel))}
        known = {key: value for key, value in _answers(session).items() if key in said} if said else {}
        found = [_row(session, case, said[key]) for key, case in known.items()]
    return [row for row in found if row is not None and row.reference]


def _answers(session: Session) -> dict[tuple[str, str], dict[str, Any]]:
    """The cases of the newest reports by their question and the digest of the answer; a text that came twice once."""
    query = select(Adapter).where(Adapter.report_digest != "").order_by(col(Adapter.created_at).desc(), col(Adapter.id))
    reports = [row.report for row in session.exec(query.limit(NEWEST))]
    cases = [case for report in reports for side in SIDES for case in report.get(side, {}).get("cases", ())]
    return {(case["case_id"], digest_of(case["answer"])): case for case in cases}


def _row(session: Session, case: dict[str, Any], value: bool) -> Labelled | None:
    """A label as a judge is tried on it; None where the question was deleted from the log."""
    exchange, feedback = session.get(Exchange, case["case_id"]), session.get(Feedback, case["case_id"])
    if exchange is None:
        return None
    texts = tuple(passage["text"] for passage in exchange.passages)
    right = feedback.correction if feedback is not None else ""
    return Labelled(exchange.id, "accuracy", case["task"], exchange.question, case["answer"], texts, right, value)
