"""Claims about a cycle's variants: each has files and an adapter, the best at the gate goes on, the others say why."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune.curated import Curated
from finetune.evaluate import Report
from finetune.examples import Example
from finetune.preferences import available
from scheduler import against, entrants, jobs, planning, trials
from scheduler.dataset_files import PREFERENCES, PREFERRED, PROBE, put_aside, runs_of, write_plan
from scheduler.workbench import Workbench
from store import adapters, audit, case_labels, cycles, people
from store.database import Database
from store.errors import Invalid
from store.models import (
    BASE,
    Adapter,
    AdapterState,
    Ask,
    AuditEntry,
    CaseLabel,
    Conversation,
    Cycle,
    CycleState,
    Exchange,
    Role,
    now,
)
from tests.test_finetune_gate import COUNTS, noisy, report
from tests.test_scheduler_workbench import bench

PHASE = {"tasks": ["facts"], "examples": 9}
VARIANTS = [
    {"name": "single", "strategy": "single", "tasks": ["facts"], "phases": [PHASE]},
    {"name": "progressive", "strategy": "progressive", "tasks": ["facts", "steps"], "phases": [PHASE, PHASE]},
]


@pytest.fixture
def work(database: Database, tmp_path: Path) -> Workbench:
    values = {
        "primary": ("source_attribution", "answer_accuracy"),
        "margin": 0.05,
        "loss_margin": 0.02,
        "min_labels": 20,
        "speed": lambda: 150.0,
    }
    return replace(bench(database, tmp_path), min_cases=24, seed=1, max_minutes=60.0, **values)


def example(number: int, task: str, cluster: str) -> Example:
    values: dict[str, Any] = {"messages": [], "passages": [], "target": "It is.", "kind": "approved", "reason": ""}
    values |= {"answerable": True, "gold": None, "person": "p", "documents": [], "logged_answer": ""}
    named = {"id": f"ex{number}", "task": task, "tasks": (task,), "question": "?", "cluster": cluster}
    return Example(**named, **values, logged_adapter="base", created_at="2026-01-01")


def finalists(work: Workbench, count: int) -> tuple[Cycle, cycles.Claim, list[Adapter]]:
    """A cycle at its gate, with adapters that were trained and evaluated."""
    row, _ = cycles.start(work.database, slot_key="s", first_step="gate", started_by="test")
    claim = cycles.claim(work.database)
    assert claim is not None
    found = []
    for number in range(count):
        adapter = adapters.create(work.database, actor="test", cycle_id=row.id, recipe={"variant": f"way {number}"})
        with work.database.write() as session:
            found.append(adapters.move(session, adapter.id, AdapterState.CANDIDATE, actor="test"))
    row.plan, row.adapter_id = {"tasks": ["facts"]}, found[0].id if found else None
    evaluated = {"serving": "base", "out": str(work.data), "adapters": [one.id for one in found]}
    row.results = {"evaluate": evaluated, "curate": {"data": "."}}
    (work.data / "held_out.jsonl").write_text("")
    return row, claim, found


def evaluated(work: Workbench, gains: Sequence[float]) -> None:
    """Reports of what serves and of candidates that gained so much on the task."""
    (work.data / "serving.json").write_text(report(noisy(1, COUNTS), "serving").to_json())
    for number, gain in enumerate(gains, start=1):
        name = "candidate" if number == 1 else f"candidate-{number}"
        (work.data / f"{name}.json").write_text(report(noisy(1, COUNTS, gain=gain, on="facts")).to_json())


def test_the_best_of_the_finalists_waits_for_approval_and_the_other_is_rejected_with_the_reason(
    work: Workbench,
) -> None:
    row, claim, (first, second) = finalists(work, 2)
    evaluated(work, [0.15, 0.25])
    after = trials.decide(work, claim, row)
    assert (after.result["verdict"], after.values) == ("promote", {"adapter_id": second.id})
    won = after.result["winner"]
    assert (won["adapter"], won["variant"]) == (second.id, "way 1")
    assert re.fullmatch(r"The best at the gate: \+0\.2\d+ against \+0\.1\d+ on the metrics that decide\.", won["why"])
    with work.database.read() as session:
        won, lost = adapters.get(session, second.id), adapters.get(session, first.id)
        assert (won.state, lost.state) == ("awaiting_approval", "rejected")
        assert lost.verdict["reasons"][0].startswith(f"{second.id} did better at the same gate: +0.2")


def test_a_single_candidate_is_judged_as_ever(work: Workbench) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.0])
    after = trials.decide(work, claim, row)
    assert after.outcome == "rejected" and "winner" not in after.result
    with work.database.read() as session:
        assert adapters.get(session, only.id).state == "rejected"


def test_a_verdict_says_which_sides_have_cases_without_a_grade(work: Workbench) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.0])
    serving = Report.from_json((work.data / "serving.json").read_text())
    first, *others = serving.cases
    kept = replace(serving, cases=(replace(first, ungraded=True), *others))
    (work.data / "serving.json").write_text(kept.to_json())
    trials.decide(work, claim, row)
    with work.database.read() as session:
        told = adapters.get(session, only.id).verdict["reasons"][-1]
    assert told == "The judge gave no clear grade of some cases, which count on neither side there: 1 of what serves."


def heard(work: Workbench, only: Adapter, says: dict[str, bool]) -> None:
    """People say of every answer of a side whether it is right; a side's answers are its own."""
    sides = {name: json.loads((work.data / f"{name}.json").read_text()) for name in says}
    person = people.add(work.database, "ann", role=Role.ADMIN, actor="test")
    for side, kept in sides.items():
        for case in kept["cases"]:
            case["answer"] = f"{side} {case['case_id']}"
        (work.data / f"{side}.json").write_text(json.dumps(kept))
    with work.database.write() as session:
        talk = Conversation(person_id=person.id)
        session.add(talk)
        session.flush()
        for case in sides["serving"]["cases"]:
            session.add(Exchange(id=case["case_id"], conversation_id=talk.id, person_id=person.id, question="?"))
        session.flush()
        for side, kept in sides.items():
            for case in kept["cases"]:
                digest = case_labels.digest_of(case["answer"])
                session.add(CaseLabel(exchange_id=case["case_id"], answer_digest=digest, value=says[side]))
        found = adapters.get(session, only.id)
        found.report = sides
        session.add(found)


def test_labels_of_people_count_once_there_are_enough_of_both_sides(work: Workbench) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.25])
    heard(work, only, {"candidate": False, "serving": True})
    after = trials.decide(work, claim, row)
    assert after.result["verdict"] != "promote"
    assert after.result["reasons"][0].startswith("People labelled 160 held-out cases, 100 of the planned tasks: answer")
    with work.database.read() as session:
        assert adapters.get(session, only.id).report["planned"] == ["facts"]
    assert after.result["gained"]["answer_accuracy"][0] == pytest.approx(-1.0)


@pytest.mark.parametrize(("before", "after", "level"), [([], [160], "97.5"), ([40], [40, 160], "98.75")])
def test_each_look_at_labels_may_err_half_as_often_as_the_one_before(
    work: Workbench, before: list[int], after: list[int], level: str
) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.25])
    heard(work, only, {"candidate": False, "serving": True})
    with work.database.write() as session:
        found = adapters.get(session, only.id)
        found.report = {**found.report, "looks": before}
        session.add(found)
    for _ in range(2):  # A step that is tried anew is the same look.
        said = trials.decide(work, claim, row).result["reasons"]
        assert f"It is look {len(after)} at labels" in said[0] and any(f"{level} % interval" in one for one in said)
        with work.database.read() as session:
            assert adapters.get(session, only.id).report["looks"] == after


def test_beside_the_judges_figures_stand_those_that_people_corrected_and_the_verdict_rests_on(work: Workbench) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.25])
    heard(work, only, {"candidate": False, "serving": True})
    trials.decide(work, claim, row)
    with work.database.read() as session:
        kept = adapters.get(session, only.id).report
    found = kept["corrected"]
    means = [{one["task"]: round(one["mean"], 6) for one in found[side]} for side in ("candidate", "serving")]
    assert means == [dict.fromkeys(("all", "facts", "steps"), mean) for mean in (0.0, 1.0)]
    assert (found["labels"], found["anchor"]) == (160, False)
    gains = {}
    for by, part in (("judge", kept), ("people", found)):
        named = [one for one in part["slices"] if one["metric"] == "answer_accuracy"]
        gains[by] = {one["slice"]: one["difference"] for one in named}
    assert gains["judge"]["task: facts"] > 0.15 and gains["people"]["task: facts"] == pytest.approx(-1.0)


def test_without_labels_of_people_the_judges_figures_stand_alone(work: Workbench) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.25])
    trials.decide(work, claim, row)
    with work.database.read() as session:
        assert "corrected" not in adapters.get(session, only.id).report


@pytest.mark.parametrize(("anchors", "difference"), [(True, 0.0), (False, 1.0), (None, 0.25)])
def test_the_anchor_is_held_against_what_people_said_of_its_answers_too(
    work: Workbench, anchors: bool | None, difference: float
) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.25])
    (work.data / "anchor.json").write_text(report(noisy(1, COUNTS), "the first").to_json())
    heard(work, only, {"candidate": True, "serving": False, **({} if anchors is None else {"anchor": anchors})})
    trials.decide(work, claim, row)
    with work.database.read() as session:
        found = adapters.get(session, only.id)
    deltas = [d for d in found.verdict["deltas"] if (d["metric"], d["role"]) == ("answer_accuracy", "primary")]
    against = {d["against"]: d["difference"] for d in deltas}
    assert against["serving"] == pytest.approx(1.0)
    assert against["the anchor the first"] == pytest.approx(difference, abs=0.06)
    assert found.report["anchor"]["model"] == "the first"


def test_what_a_cycle_gained_is_told_from_what_served_not_from_the_anchor(work: Workbench) -> None:
    row, claim, found = finalists(work, 2)
    evaluated(work, [0.15, 0.25])
    (work.data / "anchor.json").write_text(report(noisy(1, COUNTS, gain=-0.3, on="facts"), "the first").to_json())
    after = trials.decide(work, claim, row)
    with work.database.read() as session:
        deltas = adapters.get(session, found[1].id).verdict["deltas"]
    first = {
        d["against"]: d["difference"] for d in deltas if d["role"] == "primary" and d["metric"] == "answer_accuracy"
    }
    assert first["the anchor the first"] > first["serving"] + 0.2
    assert after.result["gained"]["answer_accuracy"][0] == pytest.approx(first["serving"], abs=1e-3)
    assert re.search(r"\+0\.2\d+ against \+0\.1\d+", after.result["winner"]["why"])


def test_a_variant_that_left_early_is_registered_and_rejected_with_its_reason(work: Workbench) -> None:
    row = finalists(work, 0)[0]
    row.results = {"curate": {"digest": "d"}}
    run = {"name": "twice the rank", "phases": [{**PHASE, "file": str(work.data / "phase-0.jsonl")}]}
    (work.data / "phase-0.jsonl").write_text(json.dumps({"id": "e", "person": "p", "documents": []}) + "\n")
    adapter = adapters.create(work.database, actor="test")
    left = "Left the tournament after 50% of its examples."
    made = {
        "folder": "x/v1-1",
        "digest": "d",
        "dataset_digest": "s",
        "phases": [{"phase": 1, "folder": "v1-1"}],
        "left": left,
    }
    trials.enter_lineage(work, adapter.id, run)
    trials.published(work, row, adapter.id, run, made)
    with work.database.read() as session:
        found = adapters.get(session, adapter.id)
        assert (found.state, found.verdict["reasons"], found.recipe["variant"]) == ("rejected", [left], run["name"])
        assert found.lineage["people"] == ["p"]


def test_an_adapter_of_phases_names_each_in_its_lineage_and_rests_on_what_it_was_trained_on(work: Workbench) -> None:
    row = finalists(work, 0)[0]
    row.results = {"curate": {"digest": "d"}}
    files = [work.data / f"phase-{number}.jsonl" for number in range(2)]
    for number, file in enumerate(files):
        file.write_text(json.dumps({"id": f"e{number}", "person": f"p{number}", "documents": []}) + "\n")
    run = {"name": "", "phases": [{**PHASE, "file": str(file)} for file in files]}
    phases = [
        {"phase": 1, "folder": "v1-1", "forgot": {}},
        {"phase": 2, "folder": "v1-1-phase-2", "forgot": {"facts": 0.1}},
    ]
    adapter = adapters.create(work.database, actor="test")
    trials.enter_lineage(work, adapter.id, run)
    trials.published(
        work, row, adapter.id, run, {"folder": "x/v1-1", "digest": "d", "dataset_digest": "s", "phases": phases}
    )
    with work.database.read() as session:
        found = adapters.get(session, adapter.id)
    assert found.lineage["phases"] == phases and found.lineage["people"] == ["p0"]
    assert len(found.recipe["phases"]) == 1


def test_every_variant_has_its_files_and_what_is_put_aside_is_in_none(work: Workbench, tmp_path: Path) -> None:
    train = [example(n, "facts" if n < 40 else "steps", f"doc-{n // 2}") for n in range(60)]
    counts = write_plan(work, Curated(train=train), {"variants": VARIANTS}, tmp_path / "data")
    files = [phase["file"] for run in runs_of({"variants": VARIANTS}, tmp_path / "data") for phase in run["phases"]]
    assert [Path(file).parent.name for file in files] == ["variant-0", "variant-1", "variant-1"]
    aside = {json.loads(line)["cluster"] for line in (tmp_path / "data" / PROBE).read_text().splitlines()}
    trained = {json.loads(line)["cluster"] for file in files for line in Path(file).read_text().splitlines()}
    assert counts["put_aside"] == 2 * len(aside) and not aside & trained


def test_what_is_put_aside_is_an_eighth_of_each_task_in_whole_documents() -> None:
    train = [example(n, "facts" if n < 60 else "steps", f"doc-{n // 3}") for n in range(90)]
    kept, aside = put_aside(train, seed=1)
    assert [sum(one.task == task for one in aside) for task in ("facts", "steps")] == [9, 6]
    assert not {one.cluster for one in kept} & {one.cluster for one in aside}
    assert put_aside([example(n, "facts", "one") for n in range(9)], seed=1)[1] == []


def test_choosing_a_strategy_needs_a_known_one_and_a_comment_that_is_kept(work: Workbench) -> None:
    with pytest.raises(Invalid, match='the strategy is "both", expected auto, single, multi, progressive, tournament'):
        jobs.start_now(work, "ann", strategy="both", comment="why not")
    with pytest.raises(Invalid, match="needs a comment that says why"):
        jobs.start_now(work, "ann", strategy="multi", comment=" ")
    row = jobs.start_now(work, "ann", strategy="multi", comment="both matter")
    assert row.plan == {"asked": {"strategy": "multi", "comment": "both matter"}}
    with work.database.read() as session:
        entry = session.get_one(AuditEntry, 1)
        assert (entry.action, entry.comment, entry.details["strategy"]) == ("cycle.started", "both matter", "multi")


def test_the_pages_start_a_cycle_with_and_without_a_strategy_of_their_own(work: Workbench) -> None:
    plain = {"actor": "ann", "strategy": None, "comment": ""}
    started = jobs.answer(work, Ask(kind="run_cycle", payload=plain))["cycle_id"]
    assert jobs.answer(work, Ask(kind="run_cycle", payload={"actor": "ann"})) == {"cycle_id": started}
    wrong = jobs.answer(work, Ask(kind="run_cycle", payload={**plain, "strategy": "both"}))
    assert 'the strategy is "both"' in wrong["error"]


def test_preferences_are_trained_on_top_of_the_same_examples_and_meet_the_gate(tmp_path: Path, work: Workbench) -> None:
    made = Curated(train=[corrected(number) for number in range(9)])
    chosen = {"method": "dpo", "most": 4, "reason": "pairs"}
    plan = {"phases": [PHASE], "preference": chosen}
    first, second = runs_of(plan, tmp_path)
    assert (first["name"], second["name"]) == ("without preferences", "with DPO")
    assert first["phases"] == second["phases"]
    counts = write_plan(work, made, plan, tmp_path)
    assert counts == {"train": [9]}
    rows = [json.loads(line) for line in Path(second["preference"]["file"]).read_text().splitlines()]
    assert len(rows) == 4
    assert rows[0]["rejected"] == [{"role": "assistant", "content": "No idea."}]
    assert len(runs_of({"phases": [PHASE], "preference": {"method": None}}, tmp_path)) == 1


def corrected(number: int) -> Example:
    return replace(example(number, "facts", f"c{number}"), kind="correction", logged_answer="No idea.")


def test_preferences_that_do_not_all_fit_are_the_newest_of_every_kind(work: Workbench, tmp_path: Path) -> None:
    liked = [replace(example(n, "facts", f"c{n}"), kind="upvoted", created_at=f"2026-01-{n + 1:02}") for n in range(8)]
    disliked = [replace(one, id=f"down{n}", kind="disliked") for n, one in enumerate(liked)]
    chosen = {"method": "kto", "most": 4, "file": str(tmp_path / PREFERENCES)}
    plan = {"phases": [PHASE], "preference": chosen}
    write_plan(work, Curated(train=liked, disliked=disliked), plan, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / PREFERENCES).read_text().splitlines()]
    assert sorted(row["label"] for row in rows) == [False, False, True, True]
    behind = {json.loads(line)["id"] for line in (tmp_path / PREFERRED).read_text().splitlines()}
    assert behind == {"ex7", "ex6", "down7", "down6"}


def test_a_plan_says_why_preferences_are_not_used(work: Workbench) -> None:
    few = planning.preference_of(work, [corrected(number) for number in range(9)], tokens_per_example=100)
    assert few["method"] is None
    assert few["reason"].startswith(
        "18 preference labels, 9 pairs, 9 unwanted answers: 300 labels of both kinds are needed"
    )
    many = [corrected(number) for number in range(200)]
    no_time = planning.preference_of(replace(work, max_minutes=0.1), many, tokens_per_example=100)
    assert no_time["method"] is None
    off = planning.preference_of(replace(work, preference="off"), many, tokens_per_example=100)
    assert (off["method"], off["reason"]) == (None, "Preferences are off.")


def test_a_plan_counts_on_the_speed_of_the_last_cycle_and_before_the_first_on_the_machines(work: Workbench) -> None:
    def most() -> int:
        return int(planning.preference_of(timed, [], tokens_per_example=100)["most"])

    timed = replace(work, speed=lambda: 10.0, max_minutes=60)
    first = most()
    assert first == int(60 * 60 * planning.PREFERENCE_SHARE * 10 / (100 * planning.PASSES_PER_PAIR))
    with timed.database.write() as session:
        session.add(Cycle(slot_key="once", results={"train": {"tokens_per_second": 20.0}}))
    assert most() == 2 * first
    with timed.database.write() as session:
        other = {"base_digest": "another model"}
        session.add(Cycle(slot_key="other", plan=other, results={"train": {"tokens_per_second": 90.0}}))
    assert most() == 2 * first


def served_once(work: Workbench, name: str, base: str) -> Path:
    """An adapter made for a base model that was live, and the evaluation in which it served."""
    folder = work.data / "adapters" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"base_digest": base}))
    made = adapters.create(work.database, actor="test", folder=str(folder))
    with work.database.write() as session:
        row = adapters.get(session, made.id)
        row.state = AdapterState.RETIRED
        session.add(row)
        audit.record(session, actor="test", action="adapter.live", subject=made.id)
    job = work.data / "cycles" / name / "evaluate-3.json"
    evaluation = job.with_name("evaluation-3")
    evaluation.mkdir(parents=True)
    job.write_text(json.dumps({"base_digest": base, "max_tokens": 40}))
    (evaluation / "serving.json").write_text(report(noisy(1, COUNTS), made.id).to_json())
    return evaluation / "serving.json"


def test_the_anchor_and_its_known_answers_are_of_todays_base_model(work: Workbench) -> None:
    today = replace(work, base_digest=lambda: "new", answer_tokens=40)
    served_once(work, "first", "old")
    kept = served_once(work, "second", "new")
    with work.database.read() as session:
        anchor = against.anchor_of(today, session)
        none = against.anchor_of(replace(today, base_digest=lambda: "a third one"), session)
    assert anchor is not None and Path(anchor.folder).name == "second" and none is None
    assert against.known_answers(today, anchor) == str(kept)
    assert against.known_answers(replace(today, answer_tokens=80), anchor) == ""
    assert against.known_answers(replace(today, base_digest=lambda: "old"), anchor) == ""


def test_the_anchor_does_not_move_when_adapters_are_rolled_back_past_it(work: Workbench) -> None:
    today = replace(work, base_digest=lambda: "new")
    for name in ("first", "second", "third"):
        served_once(work, name, "new")

    def at(name: str, *states: AdapterState) -> str:
        with work.database.write() as session:
            for state in states:
                adapters.move(session, name, state, actor="test")
            found = against.anchor_of(today, session)
        return found.id if found else BASE

    assert at("v1") == "v1"
    assert at("v1", AdapterState.LIVE, AdapterState.ROLLED_BACK) == "v2"
    assert at("v2", AdapterState.LIVE, AdapterState.RETIRED, AdapterState.LIVE, AdapterState.ROLLED_BACK) == "v2"
    with work.database.write() as session:
        adapters.move(session, "v2", AdapterState.LIVE, actor="test", decided_at=now())
    assert at("v2") == "v2"
    assert at("v2", AdapterState.QUARANTINED) == "v3"


def test_what_was_registered_by_hand_stands_at_the_next_gate(work: Workbench) -> None:
    cycle = finalists(work, 1)[0]
    known = replace(work, base_digest=lambda: "new", base_folder=lambda: str(work.data))
    for base in ("new", "old"):
        folder = work.data / "adapters" / base
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"base_digest": base}))
        (folder / "adapter_config.json").write_text("{}")
        row = adapters.create(work.database, actor="test", origin="registered", folder=str(folder))
        with work.database.write() as session:
            adapters.move(session, row.id, AdapterState.CANDIDATE, actor="test")
    found = entrants.contenders(known, cycle)
    assert found[0].id == cycle.adapter_id
    assert [Path(row.folder).name for row in found if row.origin == "registered"] == ["new"]
    assert [row.id for row in entrants.contenders(known, cycle)] == [row.id for row in found]
    with work.database.write() as session:
        session.get_one(Cycle, cycle.id).state = CycleState.CANCELLED
    later = Cycle(id="cy_later", slot_key="later", adapter_id=cycle.adapter_id)
    assert [Path(row.folder).name for row in entrants.contenders(known, later)] == ["new"]
    (work.data / "adapters" / "new" / "adapter_config.json").unlink()
    with work.database.write() as session:
        session.get_one(Adapter, "v2").cycle_id = None
    assert [row.origin for row in entrants.contenders(known, later)] == ["trained"]
    with work.database.read() as session:
        assert adapters.get(session, "v2").state == AdapterState.REJECTED


@pytest.mark.skipif(not available(), reason="TRL is not installed: pip install -e .[preference]")
def test_a_plan_chooses_preferences_once_there_are_enough(work: Workbench) -> None:
    many = [corrected(number) for number in range(200)]
    found = planning.preference_of(work, many, tokens_per_example=100)
    assert found["method"] == "dpo"
    assert found["most"] >= 150


def test_who_is_erased_while_an_adapter_trains_is_flagged_in_it(work: Workbench) -> None:
    row = finalists(work, 0)[0]
    row.results = {"curate": {"digest": "d"}}
    ann, ben = (people.add(work.database, name, role=Role.CHAT, actor="test") for name in ("ann", "ben"))
    file = work.data / "phase-0.jsonl"
    rows = [
        {"id": f"ex_{person.name}", "person": person.id, "documents": [], "kind": "correction"} for person in (ann, ben)
    ]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    run = {"name": "", "phases": [{**PHASE, "file": str(file)}]}
    adapter = adapters.create(work.database, actor="test")
    trials.enter_lineage(work, adapter.id, run)
    assert people.erase(work.database, "ann", actor="test")["adapters_flagged"] == 1
    file.write_text(json.dumps(rows[1]) + "\n")
    trials.enter_lineage(work, adapter.id, run)
    made = {"folder": "x/v1-1", "digest": "d", "dataset_digest": "s", "phases": [{"phase": 1, "folder": "v1-1"}]}
    trials.published(work, row, adapter.id, run, made)
    with work.database.read() as session:
        lineage = adapters.get(session, adapter.id).lineage
    assert lineage["erased"] == [ann.id] and lineage["people"] == sorted([ann.id, ben.id])
    assert sorted(lineage["examples"]) == ["ex_ann", "ex_ben"] and lineage["kinds"] == {"correction": 1}


def test_an_adapter_is_found_where_the_data_folder_is_now(work: Workbench) -> None:
    kept = served_once(work, "first", "new")
    with work.database.write() as session:
        row = adapters.get(session, "v1")
        row.folder = "/elsewhere/var/adapters/first"
        session.add(row)
    with work.database.read() as session:
        assert against.anchor_of(replace(work, base_digest=lambda: "new"), session) is not None
    assert adapters.place(row, work.data) == work.data / "adapters" / "first"
    assert adapters.place(Adapter(id="v9", folder="/elsewhere/mine"), work.data) == Path("/elsewhere/mine")
    assert kept.exists()


@pytest.mark.parametrize("state", [AdapterState.REJECTED, AdapterState.QUARANTINED])
def test_an_adapter_that_was_refused_while_it_was_evaluated_supersedes_nothing(
    work: Workbench, state: AdapterState
) -> None:
    row, claim, (only,) = finalists(work, 1)
    evaluated(work, [0.25])
    waits = adapters.create(work.database, actor="test")
    with work.database.write() as session:
        for after in (AdapterState.CANDIDATE, AdapterState.AWAITING_APPROVAL):
            adapters.move(session, waits.id, after, actor="test")
        adapters.move(session, only.id, state, actor="ann", comment="no")
    trials.decide(work, claim, row)
    with work.database.read() as session:
        assert adapters.get(session, only.id).state == state
        assert adapters.get(session, waits.id).state == AdapterState.AWAITING_APPROVAL


@pytest.mark.parametrize("state", [AdapterState.APPROVED, AdapterState.CANARY])
def test_what_not_everybody_got_is_no_anchor(work: Workbench, state: AdapterState) -> None:
    served_once(work, "first", "new")
    with work.database.write() as session:
        row = adapters.get(session, "v1")
        row.state = state
        session.add(row)
    with work.database.read() as session:
        assert against.anchor_of(replace(work, base_digest=lambda: "new"), session) is None
