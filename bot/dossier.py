"""Everything that a person needs to decide on an adapter, gathered from what the store keeps.

It computes nothing that decides: differences and verdict are the gate's. Questions and passages are read from the log,
so that what was erased is gone here too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from bot.dossier_cycle import contenders, cost, expectation, rule
from store import adapters, approvals, deployments, people
from store.agreements import Agreement, agreements
from store.models import Adapter, AdapterState, AuditEntry, Cycle, CycleStep, Exchange, Feedback
from store.signing import SIGNATURE, Signer, signed_text
from store.staleness import learned_from

SHOWN = 20
"""Wins and losses that are shown, each, the largest first."""
TRIED: dict[str, Any] = {"suite": [], "agreement": [], "counts": [], "reasons": []}
"""What a dossier says of a judge that nobody tried."""
ERASED = "(no longer in the log)"
ACCURACY = "answer_accuracy"
DECIDED = {
    f"adapter.{state}": state
    for state in AdapterState
    if state not in (AdapterState.TRAINING, AdapterState.CANDIDATE, AdapterState.AWAITING_APPROVAL)
}
"""What the audit record calls a decision on an adapter, and the state that it led to."""
LOADED = "bot"
"""Who moves an adapter that it has loaded: that decides nothing."""
JUDGE = "judge"
"""Whose word an accuracy is that nobody's labels corrected."""


def dossier(
    session: Session, adapter_id: str, *, signer: Signer, approvers: int, data: Path | None = None
) -> dict[str, Any]:
    """The dossier of an adapter; parts that were not measured are empty lists or nulls. Raises NotFound.

    With the folder of `data` it also says whether the adapter's files are the published ones, null where they
    were tidied away.
    """
    row = adapters.get(session, adapter_id)
    cycle = session.get(Cycle, row.cycle_id) if row.cycle_id else None
    steps = session.exec(select(CycleStep).where(CycleStep.cycle_id == row.cycle_id)).all() if cycle else []
    changed = changes(row)
    compared = wins_and_losses(row.report, _primaries(row.verdict))
    wins, losses = ([{**one, **logged_case(session, one["id"])} for one in part] for part in compared)
    given = agreements(session, row, deployments.deployment(session), needed=approvers)
    decided = decisions(session, row)
    names = people.names(session, [*_named(given), *(entry.actor for entry in decided)])
    return {
        "adapter": row.id,
        "cycle_id": row.cycle_id,
        "state": row.state,
        "verdict": {
            "decision": row.verdict.get("verdict"),
            "reasons": row.verdict.get("reasons", []),
            # Verdicts of before, without the task, counted all cases instead of those that are missing.
            "needed": row.verdict.get("cases_needed") if row.verdict.get("needed_of") else None,
            "needed_of": row.verdict.get("needed_of", ""),
        },
        "changes": changed,
        "data": trained_on(row, cycle),
        "rules": [rule(delta) | told_by(row.report, delta) for delta in row.verdict.get("deltas", [])],
        "wins": wins,
        "losses": losses,
        "metrics": measured(row.report),
        "slices": sliced(row.report),
        "alternatives": [_by_judge(row.report, one) for one in row.report.get("alternatives", [])],
        "judge": {"name": row.report.get("candidate", {}).get("judge"), **TRIED, **row.report.get("judge", {})},
        "contenders": contenders(cycle),
        "cost": cost(cycle, steps),
        "expectation": expectation(cycle, row.verdict),
        "approvals": [_agreement(one, names) for one in given],
        "decisions": [{"state": DECIDED[entry.action], **_said(entry, names)} for entry in decided],
        "approvers": approvers,
        "digests": digests(row, signer, data),
    }


def decisions(session: Session, row: Adapter) -> list[AuditEntry]:
    """What was decided on an adapter, oldest first: each move of it that is not the loop's own progress."""
    query = select(AuditEntry).where(AuditEntry.subject == row.id, col(AuditEntry.action).in_(DECIDED))
    return list(session.exec(query.where(AuditEntry.actor != LOADED).order_by(col(AuditEntry.id))))


def _said(entry: AuditEntry, names: Mapping[str, str]) -> dict[str, Any]:
    said = {"actor": entry.actor, "name": names.get(entry.actor, entry.actor), "comment": entry.comment}
    return {**said, "at": entry.at.isoformat()}


def _named(given: Sequence[Agreement]) -> set[str]:
    """Everybody whose name is told with agreements, by id."""
    made = [effect for one in given for effect in one.made]
    testers = [*(approvals.terms_of(one.entry)[1] for one in given), *(effect.testers for effect in made)]
    return {one.entry.actor for one in given}.union((effect.entry.actor for effect in made), *testers)


def _agreement(one: Agreement, names: Mapping[str, str]) -> dict[str, Any]:
    """An agreement with its terms, the decisions that it `made`, and whether it is `open`, for more people to join."""
    made = [
        {"state": effect.state, **_said(effect.entry, names), **_terms((effect.share, effect.testers), names)}
        for effect in one.made
    ]
    return {**_said(one.entry, names), **_terms(approvals.terms_of(one.entry), names), "made": made, "open": one.open}


def _terms(terms: tuple[float, list[str]], names: Mapping[str, str]) -> dict[str, Any]:
    share, testers = terms
    return {"share": share, "testers": [names.get(one, one) for one in testers]}


def changes(row: Adapter) -> dict[str, Any]:
    """What the adapter is and what it would replace."""
    phases = row.recipe.get("phases", [])
    tasks = list(dict.fromkeys(task for phase in phases for task in phase.get("tasks", [])))
    strategy = row.recipe.get("variant") or (
        "progressive" if len(phases) > 1 else "multi" if len(tasks) > 1 else "single"
    )
    return {
        "base_model": row.base_model,
        "replaces": row.compared_with,
        "origin": row.origin,
        "strategy": strategy if phases else None,
        "tasks": tasks,
        "recipe": phases[0].get("recipe", {}) if len(phases) == 1 else {"phases": phases},
    }


def trained_on(row: Adapter, cycle: Cycle | None) -> dict[str, Any]:
    """What it was trained on: rows by kind, exchanges, people and documents; and the funnel that they came through."""
    curate = (cycle.results if cycle else {}).get("curate", {})
    funnel: Mapping[str, int] = curate.get("funnel", {})
    rested = row.lineage
    return {
        "examples": len(learned_from(rested)),
        "held_out": curate.get("held_out"),
        "kinds": rested.get("kinds", _trained(funnel)),
        "exchanges": funnel.get("exchanges", 0),
        "people": len(rested.get("people", [])),
        "documents": len(rested.get("documents", [])),
        "erased": rested.get("erased", []),
        "funnel": steps_of(funnel),
    }


def _trained(funnel: Mapping[str, int]) -> dict[str, int]:
    """The kinds that curation found, for an adapter whose lineage does not count what it was trained on."""
    return {name.removeprefix("train: "): n for name, n in funnel.items() if name.startswith("train: ")}


def steps_of(funnel: Mapping[str, int]) -> list[dict[str, Any]]:
    """The funnel as steps: what each rule removed and how many exchanges were left after it, largest first."""
    left = funnel.get("exchanges", 0)
    found = []
    gone = {name: n for name, n in funnel.items() if name.startswith("left out: ")}
    for name, removed in sorted(gone.items(), key=lambda one: -one[1]):
        left -= removed
        found.append({"rule": name.removeprefix("left out: "), "removed": removed, "left": left})
    return found


def measured(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every metric of the candidate by task, with its interval and what serves beside it, in the report's order.

    `n` counts the cases it applies to, `human_share` is the share of them whose right answer people wrote. Where
    people's labels corrected the judge's accuracy, both stand there, each with `by`.
    """
    corrected = report.get("corrected", {})
    fixed = {one["task"]: one for one in _beside(corrected.get("candidate", []), corrected.get("serving", []))}
    found = []
    for one in _beside(*(report.get(side, {}).get("summaries", []) for side in ("candidate", "serving"))):
        found.append(_by_judge(report, one))
        if one["metric"] == ACCURACY and one["task"] in fixed:
            found.append({**fixed[one["task"]], "by": _by_people(corrected)})
    return found


def _beside(mine: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    theirs = {(one["task"], one["metric"]): one["mean"] for one in other}
    return [{**one, "serving": theirs.get((one["task"], one["metric"]))} for one in mine]


def sliced(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The slices by the judge and, where people's labels corrected its accuracy, beside each the corrected one."""
    corrected = report.get("corrected", {})
    fixed = {one["slice"]: {**one, "by": _by_people(corrected)} for one in corrected.get("slices", [])}
    found: list[dict[str, Any]] = []
    for one in report.get("slices", []):
        found.append(_by_judge(report, one))
        if one["metric"] == ACCURACY and one["slice"] in fixed:
            found.append(fixed[one["slice"]])
    return found


def told_by(report: Mapping[str, Any], delta: Mapping[str, Any]) -> dict[str, str]:
    """Whose word the accuracies of a rule are, where people's labels corrected the judge's; else nothing."""
    if not (corrected := report.get("corrected")) or delta.get("metric") != ACCURACY:
        return {}
    told = {one["task"] for one in corrected["candidate"]}
    part = {"planned tasks": {*report.get("planned", ())}, "other tasks": told}.get(delta["task"], {delta["task"]})
    fixed = delta.get("against", "serving") == "serving" or corrected["anchor"]
    return {"by": _by_people(corrected) if fixed and told & part else JUDGE}


def _by_people(corrected: Mapping[str, Any]) -> str:
    return f"{JUDGE}, corrected by people's labels of {corrected['labels']} cases"


def _by_judge(report: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    """A figure of the judge's, named so where people's labels corrected others of its kind."""
    return {**one, "by": JUDGE} if "corrected" in report and one.get("metric") == ACCURACY else {**one}


def _primaries(verdict: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(d["metric"] for d in verdict.get("deltas", []) if d.get("role") == "primary"))


def wins_and_losses(
    report: Mapping[str, Any], metrics: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The cases where the candidate did better and worse on one of `metrics`, the largest difference first.

    A case that gained on one metric and lost on another stands in both: a gain hides no loss.
    """
    serving = {case["case_id"]: case for case in report.get("serving", {}).get("cases", [])}
    found = [
        one
        for case in report.get("candidate", {}).get("cases", [])
        if case["case_id"] in serving
        for one in _differences(case, serving[case["case_id"]], metrics)
    ]
    wins = sorted((one for one in found if one["delta"] > 0), key=lambda one: -one["delta"])
    losses = sorted((one for one in found if one["delta"] < 0), key=lambda one: one["delta"])
    return wins[:SHOWN], losses[:SHOWN]


def _differences(case: Mapping[str, Any], other: Mapping[str, Any], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """A case on the metric that gained most and on the one that lost most, as far as there are such."""
    both = [
        (mine - theirs, metric, mine, theirs)
        for metric in metrics
        if (mine := case["scores"].get(metric)) is not None and (theirs := other["scores"].get(metric)) is not None
    ]
    gained = max((one for one in both if one[0] > 0), key=lambda one: one[0], default=None)
    lost = min((one for one in both if one[0] < 0), key=lambda one: one[0], default=None)
    return [
        {
            "id": case["case_id"],
            "task": case["task"],
            "answerable": case["answerable"],
            "serving": {"text": other["answer"], "score": theirs},
            "candidate": {"text": case["answer"], "score": mine},
            "delta": delta,
            "metric": metric,
        }
        for delta, metric, mine, theirs in (one for one in (gained, lost) if one is not None)
    ]


def logged_case(session: Session, case_id: str) -> dict[str, Any]:
    """What the log has of a case: its question, its passages and the right answer."""
    exchange, feedback = session.get(Exchange, case_id), session.get(Feedback, case_id)
    passages = exchange.passages if exchange else []
    right = (feedback.correction if feedback else "") or (exchange.answer if exchange else "")
    return {
        "question": exchange.question if exchange else ERASED,
        "passages": [{"n": p["n"], "title": p.get("title", ""), "text": p["text"]} for p in passages],
        "references": [right] if right else [],
    }


def digests(row: Adapter, signer: Signer, folder: Path | None) -> dict[str, Any]:
    """What an approval is bound to, the gate's signature of it, and whether that and the files still fit."""
    signature = row.verdict.get(SIGNATURE)
    fits = None if signature is None else signer.verifies(signed_text(row), signature)
    return {
        "adapter": row.digest,
        "files_fit": adapters.files_fit(row, folder) if folder is not None else None,
        "dataset": row.dataset_digest,
        "report": row.report_digest,
        "report_fits": row.report_digest == adapters.report_digest(row.report) if row.report else None,
        "signature": signature,
        "signature_fits": fits,
    }
