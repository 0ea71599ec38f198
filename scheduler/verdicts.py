"""The gate's verdict on each finalist of a cycle, and which of them is the best."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from finetune import gate, instead
from finetune.comparison import LOSS, SERVING, Delta, Rules, Verdict
from finetune.evaluate import ALL, Report
from finetune.people import Said, at_look
from finetune.rated import Rated
from scheduler import judging
from scheduler.workbench import Workbench
from store.models import Cycle

ORDER = ("promote", "not_enough_evidence", "reject")
"""Verdicts, best first."""


def verdict_of(
    bench: Workbench,
    cycle: Cycle,
    candidate: Report,
    serving: Report,
    anchor: Report | None,
    said: Said,
    *,
    candidates: int,
    looks: int = 0,
    rated: Mapping[str, Rated] | None = None,
) -> Verdict:
    """One candidate's verdict; with several the error allowed is shared among them (Bonferroni).

    `said` is what people said of held-out answers, at which this is the look number `looks`.
    """
    planned = planned_tasks(bench, cycle, candidate)
    found = gate.decide(
        candidate,
        serving,
        planned_tasks=planned,
        said=said,
        min_labels=bench.min_labels,
        anchor=anchor,
        primary=bench.primary,
        margin=bench.margin,
        loss_margin=bench.loss_margin,
        min_cases=bench.min_cases,
        confidence=at_look(looks, 1 - (1 - Rules.confidence) / candidates),
        seed=bench.seed,
        rated=rated,
    )
    weighed = (rated or {}).get(serving.model)
    mine = {case.case_id: case.task for case in candidate.cases if case.task in planned}
    how = weighed.sentence(serving.model, among=mine) if weighed else ""
    told = judging.told(bench, candidate, serving, said, planned)
    if looks and told:
        told += f" It is look {looks} at labels, and each one may err half as often as the one before."
    open_ = ungraded({"the candidate": candidate, "what serves": serving, "the anchor": anchor})
    return replace(found, reasons=tuple(one for one in (told, *found.reasons, how, open_) if one))


def ungraded(sides: Mapping[str, Report | None]) -> str:
    """A sentence on the cases of which the judge gave no clear grade, by side; empty where there are none."""
    counts = {name: sum(case.ungraded for case in report.cases) for name, report in sides.items() if report is not None}
    told = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
    return f"The judge gave no clear grade of some cases, which count on neither side there: {told}." if told else ""


def of_alternatives(
    bench: Workbench,
    cycle: Cycle,
    out: Path,
    serving: Report,
    anchor: Report | None,
    *,
    rated: Mapping[str, Rated] | None = None,
) -> dict[str, Verdict]:
    """The same gate's verdict on what was tried instead of training, by name, each over the cases that it answered."""

    def of(one: Report) -> Verdict:
        ids = {case.case_id for case in one.cases} & {case.case_id for case in serving.cases}
        mine, base = _among(one, ids), None if anchor is None else _among(anchor, ids)
        return verdict_of(bench, cycle, mine, _among(serving, ids), base, {}, candidates=1, rated=rated)

    return {one.model: of(one) for one in instead.reports(out)}


def _among(report: Report, ids: Collection[str]) -> Report:
    return replace(report, cases=tuple(case for case in report.cases if case.case_id in ids))


def lead(verdict: Verdict) -> float:
    """The largest difference of a primary metric from what serves."""
    return max((delta.difference for delta in _from_serving(verdict) if delta.role == "primary"), default=0.0)


def over_planned(verdict: Verdict) -> list[Delta]:
    """The differences from what serves over the planned tasks' cases, and over all where a metric has no such."""
    over = {delta.metric: delta for delta in _from_serving(verdict) if delta.task == ALL and delta.metric != LOSS}
    over |= {delta.metric: delta for delta in _from_serving(verdict) if delta.task == gate.PLANNED}
    return list(over.values())


def _from_serving(verdict: Verdict) -> list[Delta]:
    """Those against what serves; those against the anchor guard only."""
    return [delta for delta in verdict.deltas if delta.against == SERVING]


def planned_tasks(bench: Workbench, cycle: Cycle, report: Report) -> list[str]:
    """The tasks that the plan's tasks cover: one that scores on every exchange with passages covers all."""
    planned = list(cycle.plan["tasks"])
    if set(planned) & set(bench.covering()):
        planned += [case.task for case in report.cases]
    return list(dict.fromkeys(planned))


def why_best(best: Verdict, others: list[Verdict]) -> str:
    """Why the best of several finalists is kept, as a sentence; "" for one that stood alone at the gate."""
    if not others:
        return ""
    last = max(others, key=lambda verdict: (-ORDER.index(verdict.verdict), lead(verdict)))
    leads = f"{lead(best):+.3f} against {lead(last):+.3f} on the metrics that decide"
    verdicts = "" if best.verdict == last.verdict else f"; {best.verdict} against {last.verdict}"
    return f"The best at the gate: {leads}{verdicts}.".replace("_", " ")
