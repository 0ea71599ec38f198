"""The steps of a cycle, each idempotent: collect, classify, rank, plan, curate, train, evaluate, gate, watch.

A step's body takes the workbench, the claim and the cycle and says how the cycle goes on. Folders carry the fence, so
that what a killed attempt left behind is never mistaken for the result.
"""

import time
import traceback
from datetime import timedelta

from scheduler import decisions, forgotten, planning, rank, teaching, tidying, watch
from scheduler.dataset_files import keep_sides, write_dataset, write_plan
from scheduler.judged import unsupported
from scheduler.labelling import label_all
from scheduler.steps import Body, Next, folder, renewed
from scheduler.trials import decide, evaluate, train
from scheduler.window import passed, window
from scheduler.workbench import Workbench, curated
from store import cycles, exchanges
from store.errors import Conflict, Invalid, LostLease
from store.models import Cycle, CycleState, Outcome

FIRST = "collect"
SPARE = {"rank": "plan"}
"""Steps that a cycle does without when they fail, and the step after each."""
WATCH_LOOK_SECONDS = 5.0
WATCH_REST = 20
"""Times as long as a look took, until the next one: the log of a long watch must not keep a core busy."""
NOTHING_HELD_OUT = "No example is held out, so that nothing could tell whether training helped: nothing is trained."


def work(bench: Workbench, claim: cycles.Claim) -> None:
    """Do one claimed step; it catches everything, so that no error stops the scheduler."""
    with bench.database.read() as session:
        cycle = cycles.get(session, claim.cycle_id)
    try:
        begun = time.monotonic()
        with renewed(bench.database, claim):
            after = STEPS[claim.step](bench, claim, cycle)
        if after is None:
            rest = WATCH_REST * (time.monotonic() - begun)
            cycles.wait(bench.database, claim, seconds=max(WATCH_LOOK_SECONDS, rest))
            return
        cycles.finish_step(
            bench.database,
            claim,
            result=after.result,
            next_step=after.step,
            state=after.state,
            outcome=after.outcome,
            **after.values,
        )
    except LostLease:
        return
    except Invalid as error:
        _failed(bench, claim, f"{error} {error.hint}".strip())
    except Exception as error:  # the job boundary: the traceback is kept in the cycle's row
        _failed(bench, claim, f"{str(error) or type(error).__name__}\n{traceback.format_exc(limit=-4)}")


def _failed(bench: Workbench, claim: cycles.Claim, error: str) -> None:
    try:
        if claim.step in SPARE:
            cycles.finish_step(bench.database, claim, result={"error": error}, next_step=SPARE[claim.step])
        else:
            cycles.fail_step(bench.database, claim, error)
    except LostLease:
        return


def collect(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Count what the log holds."""
    with bench.database.read() as session:
        answered, rated = exchanges.counted(session)
    return Next({"exchanges": answered, "with_feedback": rated}, "classify")


def classify(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Label new exchanges, or all of them when the taxonomy changed or people taught another answer."""
    return Next({"labelled": label_all(bench, relearn=True)}, "rank")


def weigh(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Fit retrieval's weights to the log; whatever comes of it, the cycle goes on."""
    return Next(rank.step(bench, claim, cycle), "plan")


def plan(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Choose a strategy, once the teacher has answered, if there is one; end here when the log holds too little."""
    told = teaching.ask(bench, claim)
    asked = cycle.plan.get("asked", {})
    made = planning.plan_now(bench, strategy_wanted=asked.get("strategy"), comment=asked.get("comment", ""))
    result = {"strategy": made["strategy"], "tasks": made["tasks"], "examples": made["examples"], **told}
    if made["too_little_data"]:
        return Next(result, None, CycleState.DONE, Outcome.TOO_LITTLE_DATA, {"plan": made})
    return Next(result, "curate", values={"plan": made})


def curate(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next:
    """Write the dataset and keep the new sides for ever; end here when nothing is held out to measure with."""
    made, sides = curated(bench)
    out = folder(bench, cycle.id) / f"data-{claim.fence}"
    write_dataset(bench, made, out)
    counts = write_plan(bench, made, cycle.plan, out)
    keep_sides(bench, sides)
    forgotten.forget_since(bench, out, [one.id for side in made.sides() for one in side])
    tidying.tidy(bench)
    result = {
        "data": str(out.relative_to(bench.data)),
        "digest": made.digest(),
        "funnel": dict(made.funnel),
        **counts,
        "held_out": len(made.cases(bench.max_cases)),
    }
    if not result["held_out"]:
        told = {
            "reasons": [NOTHING_HELD_OUT, *cycle.plan["reasons"]],
            "text": f"{NOTHING_HELD_OUT}\n\n{cycle.plan['text']}",
        }
        return Next(result, None, CycleState.DONE, Outcome.TOO_LITTLE_DATA, {"plan": {**cycle.plan, **told}})
    return Next(result, "train")


def watching(bench: Workbench, claim: cycles.Claim, cycle: Cycle) -> Next | None:
    """Look at what the new adapter answers, as a canary or live; None means: look again later."""
    adapter_id = cycle.adapter_id or ""
    seen = window(bench.database, cycle_id=cycle.id, adapter_id=adapter_id)
    found = watch.look(
        bench.database,
        adapter_id=adapter_id,
        hours=bench.watch_hours,
        max_decline_rise=bench.max_decline_rise,
        complete_canary_hours=bench.complete_canary_hours,
        watched=passed(seen),
        unsupported=unsupported(bench),
        new_account_days=bench.new_account_days,
    )
    try:
        decisions.act_on(bench.database, found, adapter_id=adapter_id)
    except Conflict:  # somebody else decided while this looked: the next look finds what became of the adapter
        return None
    asked = found.sentence if found.verdict == "asks" else ""
    hours = round(passed(seen) / timedelta(hours=1), 2)
    cycles.renew(bench.database, claim, progress={"asks": asked, "watched_hours": hours, "window": seen})
    if found.verdict in ("waiting", "complete", "asks"):
        return None
    outcome = Outcome.PROMOTED if found.verdict == "kept" else Outcome.REJECTED
    return Next({"verdict": found.verdict, "sentence": found.sentence}, None, CycleState.DONE, outcome)


STEPS: dict[str, Body] = {
    "collect": collect,
    "classify": classify,
    "rank": weigh,
    "plan": plan,
    "curate": curate,
    "train": train,
    "evaluate": evaluate,
    "gate": decide,
    "watch": watching,
}
