"""Beside the two reports of an evaluation: what else than training would do, and which approved questions it passes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune import metrics
from finetune.alternatives import against, asked_otherwise, at_gate, written_by_people
from finetune.comparison import Verdict
from finetune.evaluate import Answer, Case, Report, evaluate, score_case
from finetune.jobs import Show, cases_of, read_rows
from finetune.judge import Judge
from store.models import BASE

ALTERNATIVES, VERIFIED, TOO_LONG = "alternatives.json", "verified.json", "too_long.json"
REPORTS = "alternative-*.json"
"""The reports of the other ways, without the texts that were answered: the gate looks at scores alone."""
_FILES = {"alternatives": ALTERNATIVES, "verified": VERIFIED, "too_long": TOO_LONG}
MOST_VERIFIED = 50
"""Approved questions that a candidate is asked, the newest: beyond these, verified answers stay in use."""


def measure(
    job: Mapping[str, Any],
    rows: list[dict[str, Any]],
    *,
    engine: Any,
    candidates: Sequence[Report],
    judge: Judge,
    show: Show,
) -> None:
    """Ask what the job wants beside the cases, a batch at a time, and write it into the job's folder.

    Every other way is asked once and held against each candidate; approved questions are asked of each. `engine` has
    the base, what serves, and the candidates under their reports' names. A prompt that its context does not hold is not
    asked.
    """
    out = Path(job["out"])
    out.mkdir(parents=True, exist_ok=True)
    if cases := cases_of(rows)[: job.get("alternatives", 0)]:
        _alternatives(job, cases, engine=engine, candidates=candidates, judge=judge, show=show)
    if job.get("verified"):
        newest = read_rows(Path(job["verified"]))[:MOST_VERIFIED]
        approved = {row["id"]: row.get("approved") or True for row in newest}
        some = _askable(engine, cases_of(newest))
        passed = {one.model: _passed(job, some, engine, one.model, judge, approved) for one in candidates}
        (out / VERIFIED).write_text(json.dumps(passed))


def _passed(
    job: Mapping[str, Any],
    some: list[Case],
    engine: Any,
    adapter: str,
    judge: Judge,
    approved: Mapping[str, str | bool],
) -> dict[str, str | bool]:
    """For each approved question False, or where the adapter passed it the digest of what was approved."""
    batches = (some[start : start + job["batch"]] for start in range(0, len(some), job["batch"]))
    said = [text for batch in batches for text in _answers(engine, adapter, batch, job["max_tokens"])]
    return {case.id: passes(case, text, judge) and approved[case.id] for case, text in zip(some, said, strict=True)}


def _alternatives(
    job: Mapping[str, Any], cases: list[Case], *, engine: Any, candidates: Sequence[Report], judge: Judge, show: Show
) -> None:
    """Ask the cases in every other way; how many of each way are too long for the model is written beside."""

    def fits(messages: Sequence[dict[str, str]]) -> bool:
        return bool(engine.count(list(messages)) + job["max_tokens"] <= engine.context_tokens)

    approved = written_by_people(read_rows(Path(job["train"])))
    ways = [(name, BASE, asked) for name, asked in asked_otherwise(cases, approved, fits=fits).items()]
    ways += [(name, job["serving"]["id"], asked) for name, asked in _refetched(job).items()]
    found: dict[str, Report] = {}
    too_long: dict[str, list[int]] = {}
    for number, (name, adapter, asked) in enumerate(ways):
        show({"evaluating": name, "step": number, "steps": len(ways)})
        askable = _askable(engine, asked)
        if len(askable) < len(asked):
            too_long[name] = [len(asked) - len(askable), len(asked)]
        if askable:
            found[name] = _report(name, askable, engine, job, judge, adapter=adapter)
    for number, report in enumerate(found.values()):
        bare = replace(report, cases=tuple(replace(case, answer="") for case in report.cases))
        (Path(job["out"]) / REPORTS.replace("*", str(number))).write_text(bare.to_json())
    compared = {one.model: against(one, found, metrics=job["primary"]) for one in candidates}
    (Path(job["out"]) / ALTERNATIVES).write_text(json.dumps(compared))
    (Path(job["out"]) / TOO_LONG).write_text(json.dumps(too_long))


def _askable(engine: Any, cases: Sequence[Case]) -> list[Case]:
    """The cases whose prompt the model's context holds; another system message or other passages may be longer."""
    return [case for case in cases if engine.count(list(case.messages)) < engine.context_tokens]


def passes(case: Case, text: str, judge: Judge) -> bool:
    """Whether an answer is as right as the approved one: accurate, and citing what answers where that is known."""
    scores = score_case(case, Answer(text), judge).scores
    accurate = (scores["answer_accuracy"] or 0.0) >= metrics.YES
    return accurate and scores["right_citation"] in (None, 1.0)


def _refetched(job: Mapping[str, Any]) -> dict[str, list[Case]]:
    """The cases over other passages (`scheduler/refetched.py`), by what was changed in retrieval."""
    rows = read_rows(Path(job["refetched"])) if job.get("refetched") else []
    names = dict.fromkeys(row["what"] for row in rows)
    return {name: cases_of([row for row in rows if row["what"] == name]) for name in names}


def _report(name: str, cases: list[Case], engine: Any, job: Mapping[str, Any], judge: Judge, *, adapter: str) -> Report:
    return evaluate(
        cases,
        lambda some: _answers(engine, adapter, some, job["max_tokens"]),
        lambda some: [[] for _ in some],
        model=name,
        judge=judge,
        seed=job["seed"],
        batch=job["batch"],
    )


def _answers(engine: Any, adapter: str, cases: list[Case], most: int) -> list[str]:
    writing = [engine.stream(list(case.messages), adapter=adapter, max_tokens=most) for case in cases]
    return ["".join(answer).strip() for answer in writing]


def better_than_training(found: Mapping[str, Any]) -> list[str]:
    """A sentence for each metric on which something else did best, and for each way that left cases out."""
    best = [
        f"Training is not the best that was tried: {row['what']} has {row['metric'].replace('_', ' ')} "
        f"{row['mean']:.2f}, {row['difference']:+.2f} against the candidate (95 % interval {row['low']:+.2f} to "
        f"{row['high']:+.2f}, n = {row['n']})."
        for row in found.get("alternatives", [])
        if row["best"]
    ]
    return best + [
        f"{count} of {of} questions were too long for the model to be asked of {name}."
        for name, (count, of) in found.get("too_long", {}).items()
    ]


def _of_one(part: Any) -> bool:
    """Whether a file is of one candidate alone, as an earlier version wrote it."""
    return isinstance(part, list) or bool(part and all(isinstance(value, bool) for value in part.values()))


def reports(out: Path) -> list[Report]:
    """The reports of the other ways that `measure` wrote; each is named by what was done."""
    return [Report.from_json(path.read_text()) for path in sorted(out.glob(REPORTS))]


def read(out: Path, model: str, verdicts: Mapping[str, Verdict] | None = None) -> dict[str, Any]:
    """What `measure` wrote of a candidate, for the registry; nothing where it was not asked to.

    `verdicts` are the gate's on the other ways.
    """
    found = {name: json.loads((out / file).read_text()) for name, file in _FILES.items() if (out / file).exists()}
    whole = {name: part for name, part in found.items() if _of_one(part)}
    theirs = {name: part[model] for name, part in found.items() if name != "too_long" and model in part} | whole
    if verdicts and "alternatives" in theirs:
        theirs["alternatives"] = at_gate(theirs["alternatives"], verdicts)
    return {**theirs, **({"too_long": found["too_long"]} if "too_long" in found else {})}
