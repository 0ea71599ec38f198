"""How far the judge agrees with the people of this installation, and whose word would help most."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from finetune.admission import Labelled, judged
from finetune.agreement import ALL, Agreement, agreement, distrusted, most_useful
from finetune.evaluate import Report
from finetune.fitted import FittedJudge
from finetune.judge import Judge
from finetune.people import ByPeople, corrected, labelled
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

    Which labels would help most is told by words alone, so that a page need not wait for an embedding of all answers.
    """
    judge = judge or bench.fitted
    known = labels(bench)
    with bench.database.read() as session:
        newest = exchanges.page(session, limit=NEWEST)
    seen = {(row.id, row.metric) for row in known}
    fresh = [one for one in newest if one.exchange.answer and one.exchange.passages and not one.exchange.declined]
    open_ = [_row(one, "support", None) for one in fresh if (one.exchange.id, "support") not in seen]
    found = agreement(judged(judge, known))
    low = _distrusted(bench, found)
    return {
        "name": judge.name,
        "agreement": [asdict(one) for one in found],
        "trusted": not low,
        "distrusted": list(dict.fromkeys(one.metric for one in low)),
        "label_next": most_useful(judged(FittedJudge(), open_), ASKED_FOR),
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
    wanted = ", ".join(found["label_next"]) or "any answers"
    return (
        f"The judge agrees too little with people: {said}, expected at least "
        f"{bench.min_agreement:.2f}. Labels of these {len(found['label_next'])} answers would help most: {wanted}."
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


def heard(
    bench: Workbench, ids: list[str], reports: list[Report], serving: Report, anchor: Report | None
) -> Iterator[tuple[Report, Report, Report | None, Report, str]]:
    """For each candidate: its report, that of what serves and the anchor's with people's labels in them.

    Then the candidate's report to hold against the anchor's, and a sentence. Until enough answers of each are labelled,
    the judge's word stands alone.
    """
    for name, report in zip(ids, reports, strict=True):
        one = by_people(bench, name, report, serving, anchor)
        if one is None:
            yield report, serving, anchor, report, ""
            continue
        told = (
            f"People labelled {one.labelled} held-out cases: answer accuracy is the judge's corrected by them (PPI++)."
        )
        beside = report if one.anchor is None else one.candidate
        yield one.candidate, one.serving, one.anchor or anchor, beside, told


def by_people(
    bench: Workbench, adapter_id: str, report: Report, serving: Report, anchor: Report | None
) -> ByPeople | None:
    """A candidate's evaluation with people's labels in it; None until enough answers of both sides are labelled."""
    with bench.database.read() as session:
        said = case_labels.counted(session, adapters.get(session, adapter_id))
    n = min(labelled(report, said), labelled(serving, said))
    if n < bench.min_labels:
        return None
    fixed = corrected(anchor, said) if anchor is not None and labelled(anchor, said) >= bench.min_labels else None
    return ByPeople(n, said, corrected(report, said), corrected(serving, said), fixed)
