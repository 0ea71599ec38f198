"""How far the judge agrees with the people of this installation, and whose word would help most."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from finetune.admission import Labelled, judged
from finetune.agreement import ALL, Agreement, agreement, distrusted, most_useful
from finetune.evaluate import Report
from finetune.fitted import FittedJudge
from finetune.judge import Judge
from finetune.people import ByPeople, Said, heard, labelled
from scheduler.workbench import Workbench
from store import adapters, case_labels, exchanges, judge_labels
from store.exchanges import Logged

ASKED_FOR = 20
"""As many answers are named whose labels would help most."""
NEWEST = 200
TRIED = "judge.json"
"""What an evaluation's folder holds about the configured judge."""


def judged_now(bench: Workbench, judge: Judge | None = None) -> dict[str, Any]:
    """Agreement per metric and task with n, the answers to label next, and how the configured judge last did.

    They are answers that nobody labelled on a metric where the judge is distrusted, or else on support.
    """
    judge = judge or bench.fitted
    known = labels(bench)
    with bench.database.read() as session:
        newest = exchanges.page(session, limit=NEWEST)
    fresh = [one for one in newest if one.exchange.answer and one.exchange.passages and not one.exchange.declined]
    found = agreement(judged(judge, known))
    low = _distrusted(bench, found)
    metrics, seen = {one.metric for one in low} or {"support"}, {(row.id, row.metric) for row in known}
    open_ = [one.exchange.id for one in fresh if any((one.exchange.id, metric) not in seen for metric in metrics)]
    return {
        "name": judge.name,
        "agreement": [asdict(one) for one in found],
        "trusted": not low,
        "distrusted": list(dict.fromkeys(one.metric for one in low)),
        "label_next": most_useful(open_, ASKED_FOR),
        "tried": last_tried(bench),
    }


def trusted(bench: Workbench, metric: str) -> bool:
    """Whether people's labels leave the fitted judge its word on a metric, by words alone; few say nothing against."""
    known = [row for row in labels(bench) if row.metric == metric]
    found = agreement(judged(FittedJudge(), known))
    return not _distrusted(bench, found)


def labels(bench: Workbench) -> list[Labelled]:
    """Everything that people said of logged answers."""
    with bench.database.read() as session:
        return [_row(logged, row.metric, row.value) for row, logged in judge_labels.labelled(session)]


def last_tried(bench: Workbench) -> dict[str, Any] | None:
    """How the configured judge did at the last evaluation; None before one."""
    found = sorted(bench.data.glob(f"cycles/*/evaluation-*/{TRIED}"), key=lambda path: path.stat().st_mtime)
    return dict(json.loads(found[-1].read_text())) if found else None


def _row(logged: Logged, metric: str, value: bool | None) -> Labelled:
    exchange = logged.exchange
    return Labelled(
        exchange.id,
        metric,
        logged.label.task if logged.label is not None else "unclassified",
        exchange.question,
        exchange.answer,
        tuple(passage["text"] for passage in exchange.passages),
        logged.feedback.correction if logged.feedback is not None else "",
        value,
    )


def doubt(bench: Workbench, tried: Mapping[str, Any] | None = None) -> str:
    """Why the gate may not rely on the judge, as a sentence; empty where it may.

    `tried` is how the evaluation's judge did: what it is blind to, and the metrics on which another judge than the
    fitted one counted because people agree with it.
    """
    tried = tried or {}
    if blind := tried.get("blind"):
        return f"The judge does not notice answers made worse: {' '.join(blind)}"
    found = judged_now(bench)
    metrics = [metric for metric in found["distrusted"] if metric not in _replaced(tried)]
    if not metrics:
        return ""
    low = _distrusted(bench, [Agreement(**one) for one in found["agreement"]])
    said = "; ".join(_right(one) for one in low if one.metric in metrics)
    wanted, on = found["label_next"], " and ".join(metrics)
    which = f"of these {len(wanted)} answers, a random sample: {', '.join(wanted)}" if wanted else "of further answers"
    return (
        f"The judge agrees too little with people: {said}, expected at least "
        f"{bench.min_agreement:.2f}. Labels on {on} would help most {which}."
    )


def _distrusted(bench: Workbench, found: Sequence[Agreement]) -> list[Agreement]:
    return distrusted(found, least=bench.min_agreement, labels=bench.min_labels)


def _right(one: Agreement) -> str:
    where = "" if one.task == ALL else f" in {one.task}"
    how = "balanced accuracy" if one.balanced is not None else "accuracy, as people gave one answer only,"
    return f"{how} of {one.metric}{where} {one.worth:.2f} over {one.n} labels"


def _replaced(tried: Mapping[str, Any]) -> Sequence[str]:
    """The metrics that another judge than the fitted one scored."""
    fitted = str(tried.get("name")).partition("+")[0] == FittedJudge.family
    return () if fitted else tried.get("counts", ())


def said_of(bench: Workbench, ids: Sequence[str]) -> list[Said]:
    """What people said of the held-out answers of each candidate and of those that it is held against."""
    with bench.database.read() as session:
        return [case_labels.counted(session, adapters.get(session, name)) for name in ids]


def looks_of(bench: Workbench, name: str, candidate: Report, serving: Report, said: Said) -> dict[str, Any]:
    """With how many labelled cases the gate has decided about a candidate, now included where they are enough.

    As a report keeps it (`case_labels.looked`).
    """
    with bench.database.read() as session:
        report = adapters.get(session, name).report
    both = labelled(candidate, said) & labelled(serving, said)
    return case_labels.looked(report, said, len(both), least=bench.min_labels)


def told(bench: Workbench, candidate: Report, serving: Report, said: Said, planned: Sequence[str]) -> str:
    """A sentence on how people's labels count at the gate; empty until enough cases are labelled."""
    found = heard(candidate, serving, said, planned=planned, least=bench.min_labels)
    if not found.decided:
        return ""
    mine = len(found.labels(case.case_id for case in candidate.cases if case.task in planned) or ())
    how = f"People labelled {len(found.labelled)} held-out cases, {mine} of the planned tasks"
    if mine < bench.min_labels:
        return f"{how}: too few for a gain in answer accuracy there, {bench.min_labels} are needed."
    return f"{how}: answer accuracy is the judge's corrected by them (PPI++)."


def by_people(
    bench: Workbench, candidate: Report, serving: Report, anchor: Report | None, said: Said, planned: Sequence[str]
) -> ByPeople | None:
    """A candidate's evaluation with people's labels in it; None until enough answers of both sides are labelled."""
    found = heard(candidate, serving, said, planned=planned, least=bench.min_labels)
    if found.candidate is candidate:
        return None
    beside = heard(candidate, anchor, said, planned=planned, least=bench.min_labels) if anchor is not None else None
    fixed = beside.other if beside is not None and beside.other is not anchor else None
    return ByPeople(len(found.labelled), said, found.candidate, found.other, fixed)
