"""Claims about what the scheduler's commands say to an empty log, one exchange, and a taxonomy that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from sqlmodel import select

from configs.settings import load_settings
from scheduler import jobs, planning
from scheduler.__main__ import bench_of, main
from store import exchanges
from store.database import Database
from store.models import Adapter, Ask, Cycle, CycleState, Exchange, Outcome
from tests.test_store_staleness import BREAD, CHEESE, RIVER, ann, asked, keep, passage

Write = Callable[..., Path]
EXAMPLES = ["What does the contract say?", "Am I allowed to sublet?", "Who signs a will?", "When is rent due?"]


@pytest.fixture
def tasks(database: Database, tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Points the commands at a fresh store, a tiny model and a taxonomy, which what is returned writes."""
    values = {
        "RATCHET_DATA": str(tmp_path / "data"),
        "RATCHET_DATABASE_URL": database.url,
        "RATCHET__MODELS__CHAT": tiny_model,
        "RATCHET__TASKS": str(tmp_path / "tasks.yaml"),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)

    def write(content: object = None, **task: object) -> Path:
        one = {"description": "Questions on law.", "examples": EXAMPLES, **task}
        path = tmp_path / "tasks.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump({"tasks": {"legal": one}}))
        return path

    return write


def test_an_empty_log_is_a_report_and_a_plan_of_nothing(tasks: Write, capsys: pytest.CaptureFixture[str]) -> None:
    tasks()
    assert (main(["report"]), main(["plan"])) == (0, 0)
    said = capsys.readouterr()
    assert said.err == "" and said.out.startswith("The log holds no exchanges yet: chat with the bot, then look again.")
    assert "Nothing is trained.\n\nWhy:\n  The log holds no exchanges yet." in said.out


def test_one_exchange_of_a_taxonomy_of_one_task_is_reported_and_planned(
    tasks: Write, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks()
    row = asked(database, answer="It says so.")
    exchanges.rate(database, row.id, person=ann(database), rating="up")
    assert (main(["report", "--json"]), main(["plan", "--json"]), main(["once", "--json"])) == (0, 0, 0)
    report, plan, cycle = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert report["exchanges"] == 1 and [line["name"] for line in report["tasks"]] == ["legal"]
    assert plan["too_little_data"] and plan["data_needed"][0].startswith("About ")
    assert (cycle["state"], cycle["outcome"]) == ("done", "too_little_data")


def test_nothing_is_trained_where_no_case_is_held_out_to_measure_it(
    tasks: Write, database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks()
    monkeypatch.setenv("RATCHET__TRAINING__MIN_EXAMPLES", "2")
    monkeypatch.setenv("RATCHET__EVALUATION__HELD_OUT_SHARE", "0.001")
    texts = (RIVER, BREAD, CHEESE)
    notes = keep(database, "notes", *texts)
    for question, text in zip(EXAMPLES, texts, strict=False):
        row = asked(database, passage(1, notes.id, text), answer=text.replace(".", " [1]."))
        with database.write() as session:
            session.get_one(Exchange, row.id).question = question
        exchanges.rate(database, row.id, person=ann(database), rating="up")
    assert main(["once", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["state"], said["outcome"]) == ("done", "too_little_data")
    with database.read() as session:
        assert session.exec(select(Adapter)).all() == []
        plan = session.exec(select(Cycle)).one().plan
    assert plan["reasons"][0].startswith("No example is held out")
    assert plan["text"].startswith("No example is held out")


def test_a_target_that_nothing_measures_is_told_with_the_plan(tasks: Write, capsys: pytest.CaptureFixture[str]) -> None:
    tasks(metrics={"answer_accuracy": 0.9, "perplexity": 0.0, "answer_acuracy": 0.9})
    assert main(["plan", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    said = 'The target of legal for "answer_acuracy" counts for nothing: no such metric is measured.'
    assert plan["unmeasured"] == [said] and plan["text"].endswith(said)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("tasks: {a: {description: d, examples: [x]}, a: {description: e, examples: [y]}}", '"a" is defined twice'),
        ("tasks: {a: {description: d, examples: [x], colour: red}}", "tasks.a.colour: Extra inputs are not permitted"),
        ("tasks: {a: {description: d, examples: [x], recipe: {rnak: 3}}}", "tasks.a.recipe.rnak: Extra inputs"),
        ("tasks:\n  a: {description: d, examples: [What?, Why?]}", "line 2, column 38: expected ',' or ']'"),
    ],
)
@pytest.mark.parametrize("command", ["report", "plan", "once"])
def test_a_taxonomy_that_cannot_be_used_is_one_sentence(
    tasks: Write, capsys: pytest.CaptureFixture[str], command: str, content: str, sentence: str
) -> None:
    path = tasks(content)
    assert main([command]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith(f"{path}: {sentence}") and said.err.count("\n") == 1


def test_a_recipe_that_the_model_cannot_take_is_a_sentence_before_anything_is_trained(
    tasks: Write, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks(recipe={"target_modules": ["q_proj", "c_attn", "lm_head", "input_layernorm"]})
    asked(database, answer="It says so.")
    sentence = "the recipe of the task legal puts LoRA on c_attn, lm_head, input_layernorm, which "
    hint = "this model has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.\n"
    assert (main(["report"]), main(["plan"])) == (0, 1)
    said = capsys.readouterr()
    assert sentence in said.err and said.err.endswith(hint)
    assert main(["once"]) == 1
    assert f"the cycle failed in its step plan: {sentence}" in capsys.readouterr().err
    with database.read() as session:
        [cycle] = session.exec(select(Cycle)).all()
        assert cycle.state == "failed" and cycle.adapter_id is None
        assert cycle.error.startswith(sentence) and cycle.error.endswith(hint.strip())
        assert not session.exec(select(Adapter)).all()
    assert not (tmp_path / "data" / "adapters").exists() and not (tmp_path / "data" / "cycles").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_four_bits_without_a_gpu_are_refused_when_the_plan_is_made(
    tasks: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks()
    monkeypatch.setenv("RATCHET__TRAINING__QLORA", "on")
    assert main(["plan"]) == 1
    assert capsys.readouterr().err.startswith("training.qlora is on, and this machine has no CUDA GPU. Set it to auto")


def test_the_pages_get_the_sentence_and_the_hint_of_a_recipe_that_does_not_fit(tasks: Write) -> None:
    tasks(recipe={"target_modules": ["c_attn"]})
    answer = jobs.answer(bench_of(load_settings()), Ask(kind="plan", payload={}))
    assert answer["error"].startswith("the recipe of the task legal puts LoRA on c_attn")
    assert "this model has q_proj" in answer["hint"]


def test_what_won_a_search_counts_until_the_recipe_is_written_anew(tasks: Write, database: Database) -> None:
    def recipe(rank: int) -> dict[str, object]:
        return {"rank": rank, "alpha": 8, "target_modules": ["q_proj", "v_proj"], "learning_rate": 2e-4, "epochs": 2}

    tasks(recipe=recipe(4))
    way = "on every linear layer"
    bench = bench_of(load_settings())
    written = {"tasks": {"legal": dict(bench.recipes["legal"])}, "combined": bench.combined}
    won = Cycle(slot_key="once", state=CycleState.DONE, outcome=Outcome.PROMOTED)
    won.plan = {"strategy": "tournament", "tasks": ["legal"], "recipes": json.loads(json.dumps(written))}
    won.plan["variants"] = [{"name": way, "strategy": "single", "tasks": ["legal"]}]
    won.results = {"gate": {"winner": {"adapter": "v1", "variant": way}}}
    with database.write() as session:
        session.add(won)
    assert [(one.way, one.tried) for one in planning.earlier(bench)] == [(way, (way,))]
    tasks(recipe=recipe(6))
    assert [(one.way, one.tried) for one in planning.earlier(bench_of(load_settings()))] == [("", ())]
