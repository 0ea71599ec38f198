"""What people say of answers to held-out questions: is this one right. The gate's intervals rest on it beside a judge.

A label holds for a text, whichever adapter wrote it. Cases are asked in an order thrown by the adapter's digest, the
planned tasks' before the others, and count only up to the first that is open, so that they are a random sample of
either: picked ones would bend the result.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from store import adapters, audit
from store.database import Database
from store.errors import Invalid, NotFound
from store.models import Adapter, CaseLabel, Exchange, now

SIDES = ("candidate", "serving", "anchor")
"""Whose answers are asked about; an adapter's report has the anchor's where that is another than what serves."""
METRIC = "answer_accuracy"
LOOKS = "looks"
"""Where an adapter's report keeps with how many labelled cases the gate decided, each time that labels counted."""
LOOKED = "looked_at"
"""Where it keeps a digest of each case's labels of the last time: one put right since is worth another look."""
Told = Mapping[tuple[str, str], bool]
"""Labels by case and answer text, in the order of the cases."""


@dataclass(frozen=True)
class Open:
    """How many cases in order are labelled whole, of how many, and the next one.

    `said` holds the labels that count: those of the cases labelled whole. `asked` holds each case in order with its
    answers, equal ones once, and what is said of each.
    """

    labelled: int
    cases: int
    case_id: str | None
    said: Told
    asked: Mapping[str, Mapping[str, bool | None]]


def digest_of(text: str) -> str:
    """What a label is tied to."""
    return hashlib.sha256(text.encode()).hexdigest()


def _cases(session: Session, row: Adapter) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The cases on which accuracy is measured on all sides, in the order in which they are asked.

    A case whose question was deleted from the log is none any more, whatever was said of it.
    """
    sides: list[dict[str, Any]] = [
        {case["case_id"]: case for case in row.report.get(side, {}).get("cases", ())}
        for side in SIDES
        if side != "anchor" or side in row.report
    ]
    shared = set.intersection(*(set(side) for side in sides))
    shared = set(session.exec(select(Exchange.id).where(col(Exchange.id).in_(shared))))
    planned = row.report.get("planned")

    def turn(name: str) -> tuple[bool, str]:
        later = planned is not None and sides[0][name].get("task") not in planned
        return later, hashlib.sha256(f"{row.digest}{name}".encode()).hexdigest()

    for name in sorted(shared, key=turn):
        found = [side[name] for side in sides]
        if all(case["scores"].get(METRIC) is not None for case in found):
            yield name, tuple(dict.fromkeys(case["answer"] for case in found))


def counted(session: Session, row: Adapter) -> dict[tuple[str, str], bool]:
    """The labels that count, by case and answer text: of the first cases in order, up to the first that is open."""
    return dict(next_open(session, row).said)


def next_open(session: Session, row: Adapter) -> Open:
    """The first case in order with an answer that nobody labelled."""
    cases = list(_cases(session, row))
    labels = session.exec(select(CaseLabel).where(col(CaseLabel.exchange_id).in_([name for name, _ in cases])))
    known = {(label.exchange_id, label.answer_digest): label.value for label in labels}
    asked = {name: {text: known.get((name, digest_of(text))) for text in answers} for name, answers in cases}
    said: dict[tuple[str, str], bool] = {}
    for place, (case_id, values) in enumerate(asked.items()):
        if None in values.values():
            return Open(place, len(cases), case_id, said, asked)
        said |= {(case_id, text): value for text, value in values.items() if value is not None}
    return Open(len(cases), len(cases), None, said, asked)


def looked(report: dict[str, Any], said: Told, labelled: int, *, least: int) -> dict[str, Any]:
    """With how many labelled cases the gate has decided, `labelled` now being the last where they are enough.

    The same labels again are the same look: a step that is tried anew spends nothing.
    """
    looks = list(report.get(LOOKS, ()))
    if labelled >= least and (looks[-1:] != [labelled] or _put_right(report, said)):
        looks.append(labelled)
    return {LOOKS: looks, LOOKED: _digests(said) if looks else {}}


def needed(report: dict[str, Any], cases: int, *, least: int, said: Told) -> int | None:
    """From how many labelled cases on the gate may look again: twice as many as at the last look, or all there are.

    `least` before the first look; as many as at the last one where a label of those was put right since; None where it
    has looked at all.
    """
    last = max(report.get(LOOKS, ()), default=0)
    if not last:
        return least
    if _put_right(report, said):
        return min(last, cases)
    return min(2 * last, cases) if last < cases else None


def _put_right(report: dict[str, Any], said: Told) -> bool:
    """Whether a case that is still there has other labels than at the last look."""
    before, now_ = report.get(LOOKED) or {}, _digests(said)
    return any(now_[case] != digest for case, digest in before.items() if case in now_)


def _digests(said: Told) -> dict[str, str]:
    """A digest of each case's labels."""
    rows: dict[str, list[tuple[str, bool]]] = {}
    for (case, text), value in said.items():
        rows.setdefault(case, []).append((digest_of(text), value))
    return {case: digest_of(json.dumps(sorted(found))) for case, found in rows.items()}


def put(database: Database, adapter_id: str, case_id: str, *, answer: str, value: bool, actor: str) -> CaseLabel:
    """Say of an answer, by the digest of its text, whether it is right; a second word replaces the first.

    Raises NotFound for an adapter or a case that there is not, and Invalid for an answer that no side gave.
    """
    with database.write() as session:
        answers = dict(_cases(session, adapters.get(session, adapter_id))).get(case_id)
        if answers is None:
            raise NotFound(f"adapter {adapter_id} was not measured on a case {case_id}.")
        if answer not in {digest_of(text) for text in answers}:
            raise Invalid("no such answer to this case.", "Take its digest from label-next.")
        row = session.get(CaseLabel, (case_id, answer)) or CaseLabel(
            exchange_id=case_id, answer_digest=answer, value=value
        )
        row.value, row.labelled_by, row.labelled_at = value, actor, now()
        session.add(row)
        details = {"adapter": adapter_id, "answer": answer, "value": value}
        audit.record(session, actor=actor, action="case.labelled", subject=case_id, details=details)
    return row
