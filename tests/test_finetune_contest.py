"""Claims about phases that follow one another and about ways of training that compete, on a tiny model."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.contest import Peak, contest
from finetune.forgetting import by_task, forgotten, rise
from finetune.halving import best, shares
from finetune.jobs import train_job
from finetune.preferences import Preference, available, rows_for
from finetune.probe import losses
from scheduler.trials import KEPT

RECIPE = {
    "rank": 4, "alpha": 8, "dropout": 0.0, "epochs": 1, "warmup_steps": 0, "batch_size": 2,
    "target_modules": ["q_proj", "v_proj", "down_proj"], "learning_rate_used": 5e-3,
}  # fmt: skip
ROWS = [{"tasks": ["a"]}, {"tasks": ["a", "b"]}, {"tasks": ["b"]}, {"tasks": ["a"]}]


def row(task: str, n: int, target: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Question {n} of {task}?"}]
    return {"task": task, "tasks": [task], "messages": messages, "target": target}


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(path)


def phase(file: str, task: str, **recipe: Any) -> dict[str, Any]:
    return {"tasks": [task], "recipe": {**RECIPE, **recipe}, "file": file}


@pytest.fixture
def job(tiny_model: str, tmp_path: Path) -> dict[str, Any]:
    """What every job has; the probe holds two examples of each task."""
    probe = [row(task, n, said) for task, said in (("a", "alpha alpha"), ("b", "beta beta")) for n in (90, 91)]
    return {
        "base_model": "tiny", "base_folder": tiny_model, "max_tokens": 128, "seed": 1,
        "threads": 1, "probe": written(tmp_path / "probe.jsonl", probe), "margin": 0.02,
    }  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    rows = {"a": [row("a", n, "alpha alpha") for n in range(8)], "b": [row("b", n, "beta beta") for n in range(8)]}
    rows["against a"] = [row("a", n, "zero nought nothing void") for n in range(24)]
    return {name: written(tmp_path / f"{name}.jsonl", some) for name, some in rows.items()}


def quiet(_: dict[str, Any]) -> None:
    """Progress that nobody reads."""


# pure


def test_two_ways_are_both_finalists_and_four_are_halved_once() -> None:
    assert [shares(count) for count in (0, 1, 2, 3, 4, 8)] == [[], [], [], [0.5], [0.5], [0.25, 0.5]]
    assert best([0.5, 0.1, 0.4, 0.3]) == [1, 3]
    assert best([0.3, 0.2, 0.1]) == [1, 2] and best([0.2]) == [0]


def test_a_rise_is_paired_and_relative() -> None:
    assert rise(ROWS, "b", [1, 1, 1, 1], [1, 1.2, 1.2, 9]) == (pytest.approx(0.2), pytest.approx(0.0))
    assert rise(ROWS, "b", [1, None, 1, 1], [1, 1.2, 1.2, 9]) is None
    assert by_task(ROWS, [1.0, 2.0, None, 3.0]) == {"a": 2.0, "b": 2.0}


def test_a_task_is_forgotten_when_its_loss_rose_by_more_than_the_margin_and_its_error() -> None:
    before, after = [1.0, 1.0, 1.0, 1.0], [1.3, 1.3, 1.0, 1.3]
    assert forgotten(ROWS, [["a"], ["b"]], [before, after], margin=0.02) == {"a": 0.3}
    assert forgotten(ROWS, [["a"], ["b"]], [before, [1.01] * 4], margin=0.02) == {}
    assert forgotten(ROWS, [["a"], ["b"]], [before, [1.9, 0.5, 1.0, 1.0]], margin=0.02) == {}
    assert forgotten(ROWS, [["a"], ["a"]], [before, after], margin=0.02) == {}
    assert forgotten(ROWS, [["a"]], [before], margin=0.02) == {}


def test_the_memory_of_several_runs_is_the_most_that_any_of_them_told_not_the_last() -> None:
    seen: list[dict[str, Any]] = []
    peak = Peak(seen.append)
    assert peak.mb is None
    told = [{"variant": name, "memory_mb": mb} for name, mb in (("a", 900), ("a", 1200), ("b", 700))]
    for one in (*told, {"step": 4}):
        peak(one)
    assert peak.mb == 1200 and seen == [*told, {"step": 4}]


# on a model


def test_every_phases_adapter_is_kept_and_named_in_the_manifest(
    job: dict[str, Any], files: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "adapters" / "v1-1"
    phases = [phase(files["a"], "a"), phase(files["b"], "b")]
    done = train_job({**job, "margin": 9.0, "phases": phases, "out": str(out)}, base_digest="b", show=quiet)
    assert [one["folder"] for one in done["phases"]] == ["v1-1-phase-1", "v1-1"]
    assert done["forgot"] == {} and set(done["phases"][0]["losses"]) == {"a", "b"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert [one["folder"] for one in manifest["kept_phases"]] == ["v1-1-phase-1", "v1-1"]
    first = out.with_name("v1-1-phase-1")
    assert json.loads((first / "manifest.json").read_text())["phases"][-1]["tasks"] == ["a"]
    assert done["digest"] != done["phases"][0]["digest"] == manifest["kept_phases"][0]["digest"]
    assert sorted(path.name for path in out.parent.iterdir()) == ["v1-1", "v1-1-phase-1"]


def test_training_stops_at_the_phase_that_forgot_and_keeps_the_one_before(
    job: dict[str, Any], files: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "adapters" / "v1-1"
    unlearn = phase(files["against a"], "b", epochs=10, learning_rate_used=3e-2)
    learn = phase(files["a"], "a", epochs=20, learning_rate_used=3e-2)
    phases = [learn, unlearn, phase(files["b"], "b")]
    done = train_job({**job, "phases": phases, "out": str(out)}, base_digest="b", show=quiet)
    assert list(done["forgot"]) == ["a"] and done["forgot"]["a"] > 0.02
    assert [(one["phase"], one["folder"]) for one in done["phases"]] == [(1, "v1-1"), (2, "v1-1-phase-2")]
    assert done["phases"][1]["forgot"] == done["forgot"]
    probe = [json.loads(line) for line in Path(job["probe"]).read_text().splitlines()]
    measured = losses(probe, base_model=job["base_folder"], adapter=out, max_tokens=128, threads=1)
    assert by_task(probe, measured) == pytest.approx(done["phases"][0]["losses"], abs=1e-3)


def test_the_worst_ways_leave_after_half_and_every_ways_adapter_is_published(
    job: dict[str, Any], files: dict[str, str], tmp_path: Path
) -> None:
    rates = {"careful": 1e-5, "quick": 1e-2, "idle": 1e-9}
    runs = [
        {"name": name, "phases": [phase(files["a"], "a", learning_rate_used=rate)], "out": str(tmp_path / name)}
        for name, rate in rates.items()
    ]
    runs[2]["phases"] *= 2
    shown: list[dict[str, Any]] = []
    done = contest({**job, "runs": runs}, base_digest="b", show=shown.append)
    assert [run["name"] for run in done["runs"]] == list(rates)
    assert [bool(run.get("left")) for run in done["runs"]] == [False, False, True]
    assert done["runs"][2]["left"].startswith("Left the tournament after 50% of its examples: loss on examples put")
    assert [[(one["share"], one["steps"]) for one in run["rounds"]] for run in done["runs"]] == [
        [(0.5, 2), (1.0, 4)],
        [(0.5, 2), (1.0, 4)],
        [(0.5, 4)],
    ]
    left = [one["folder"] for one in done["runs"][2]["phases"]]
    assert left == ["idle-phase-1", "idle"] and done["runs"][2]["folder"] == str(tmp_path / "idle")
    assert all((tmp_path / name / "manifest.json").exists() for name in left)
    assert all((tmp_path / name / "manifest.json").exists() for name in rates)
    assert not list(tmp_path.glob("*tried*"))
    assert done["steps"] == 2 + 2 + 4 + 2 * 4 and {one["variant"] for one in shown} == set(rates)
    assert done["peak_mb"] == max(one["memory_mb"] for one in shown) > 0 and done.keys() >= {"peak_mb", *KEPT}


def test_an_example_that_is_too_long_has_no_loss(job: dict[str, Any], tiny_adapter: Path) -> None:
    rows = [row("a", 1, "alpha"), row("a", 2, "alpha " * 300)]
    found = losses(rows, base_model=job["base_folder"], adapter=tiny_adapter, max_tokens=128, threads=1)
    assert found[0] is not None and found[0] > 0 and found[1] is None


@pytest.mark.skipif(not available(), reason="TRL is not installed: pip install -e .[preference]")
def test_a_run_with_preferences_goes_on_from_the_others_adapter_and_is_published_beside_it(
    job: dict[str, Any], files: dict[str, str], tmp_path: Path
) -> None:
    pairs = [Preference(row("a", n, "")["messages"], "alpha alpha", "zero nought") for n in range(4)]
    plain = {"name": "without preferences", "phases": [phase(files["a"], "a")], "out": str(tmp_path / "one")}
    chosen = {"method": "dpo", "file": written(tmp_path / "pairs.jsonl", rows_for("dpo", pairs))}
    run = {**plain, "name": "with DPO", "preference": chosen, "out": str(tmp_path / "two")}
    seen: list[dict[str, Any]] = []
    done = contest({**job, "probe": "", "runs": [plain, run]}, base_digest="b", show=seen.append)
    first, second = done["runs"]
    assert (first["name"], second["name"]) == ("without preferences", "with DPO")
    assert first["digest"] != second["digest"]
    assert second["phases"][-1]["folder"] == "two"
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert manifest["preference"]["method"] == "dpo"
    assert manifest["preference"]["rows"] == 4
    assert any(one.get("preference") == "dpo" and "loss" in one for one in seen)
