"""Claims about the trainer: it learns the answers only, repeats itself exactly, and publishes whole folders."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from sqlmodel import select
from transformers import AutoModelForCausalLM

from bot import adapters as folders
from bot.engine import TransformersEngine
from bot.models import base_digest
from finetune.jobs import train_job
from finetune.registration import register
from finetune.train import Trained, TrainingError, train
from store import adapters
from store.database import Database
from store.errors import BrokenAdapter
from store.models import BASE, Adapter, AdapterState

CONFIG, WEIGHTS = folders.CONFIG, folders.WEIGHTS


def example(question: str, target: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}], "target": target}


EXAMPLES = [example(f"What weighs machine {i}?", f"Machine {i} weighs {i} kilograms [1].") for i in range(6)]


def trained(base_model: str, out: Path, examples: Sequence[dict[str, Any]] = EXAMPLES, **more: Any) -> Trained:
    """A short training; any argument can be named."""
    values: dict[str, Any] = {
        "rank": 4,
        "alpha": 8,
        "dropout": 0.0,
        "target_modules": ["q_proj", "v_proj"],
        "learning_rate": 1e-2,
        "epochs": 1,
        "warmup_steps": 0,
        "batch_size": 3,
        "max_tokens": 256,
        "seed": 1,
        "threads": 1,
        **more,
    }
    return train(examples, base_model=base_model, out=out, **values)


def test_the_loss_falls(tiny_model: str, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    run = trained(tiny_model, tmp_path, epochs=15, progress=seen.append)
    assert run.steps == len(run.losses) == len(seen) == 30
    assert sum(run.losses[-4:]) < 0.8 * sum(run.losses[:4])
    assert [row["step"] for row in seen] == list(range(1, 31)) and seen[-1]["eta_seconds"] == 0
    assert {"steps", "loss", "tokens_per_second", "memory_mb"} <= set(seen[0])


def test_the_same_seed_gives_the_same_weights(tiny_model: str, tmp_path: Path) -> None:
    runs = {
        name: load_file(_out(tiny_model, tmp_path / name, seed=seed, dropout=0.1) / WEIGHTS)
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    }
    same = [torch.equal(runs["one"][name], runs["again"][name]) for name in runs["one"]]
    assert all(same)
    assert not all(torch.equal(runs["one"][name], runs["other"][name]) for name in runs["one"])


def _out(base_model: str, out: Path, **more: Any) -> Path:
    trained(base_model, out, **more)
    return out


def test_each_pass_sees_another_order_where_an_example_has_them(tiny_model: str, tmp_path: Path) -> None:
    """At a rate of 0 a pass's loss tells which of the orders it saw; after the last one the first comes again."""
    first, second = EXAMPLES[0], example("What weighs the longest of all machines?", "It weighs a ton [2].")
    orders = trained(tiny_model, tmp_path / "orders", [{**first, "other_orders": [second]}], epochs=3, learning_rate=0)
    alone = [trained(tiny_model, tmp_path / str(n), [one]).losses[0] for n, one in enumerate((first, second))]
    assert alone[0] != alone[1]
    assert orders.losses == [alone[0], alone[1], alone[0]]
    with pytest.raises(TrainingError, match="none of 1 examples"):
        trained(tiny_model, tmp_path / "long", [{**first, "other_orders": [example("what " * 300, "that")]}])


def test_a_missing_target_module_is_named(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no module c_attn, w_pack: correct target_modules"):
        trained(tiny_model, tmp_path, target_modules=["q_proj", "c_attn", "w_pack"])


def test_the_loss_is_that_of_the_answers_tokens_as_the_engine_counts_them(tiny_model: str, tmp_path: Path) -> None:
    engine = TransformersEngine(tiny_model, dtype="bfloat16", threads=1)
    for one in EXAMPLES[:3]:
        # The first step's loss is the base model's, as LoRA's B begins at zero.
        run = trained(tiny_model, tmp_path, [one], batch_size=1)
        found = engine.logprobs(one["messages"], one["target"], adapter=BASE)
        assert run.losses[0] == pytest.approx(-sum(found) / len(found), rel=0.02)
        assert run.tokens == engine.count(one["messages"]) + len(found)
    engine.close()


def test_a_batch_weighs_every_answer_token_alike(tiny_model: str, tmp_path: Path) -> None:
    long = example("What?", "A much longer answer with many more tokens than the other one has, on and on it goes.")
    short = example("What?", "Yes.")
    engine = TransformersEngine(tiny_model, dtype="bfloat16", threads=1)
    tokens = [p for one in (long, short) for p in engine.logprobs(one["messages"], one["target"], adapter=BASE)]
    engine.close()
    run = trained(tiny_model, tmp_path, [long, short], batch_size=2)
    assert run.losses[0] == pytest.approx(-sum(tokens) / len(tokens), rel=0.02)


def test_the_folder_loads_in_plain_peft(tiny_model: str, tmp_path: Path) -> None:
    trained(tiny_model, tmp_path, epochs=10)
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = torch.arange(10, 30)[None]
    before = base(ids).logits.clone()
    model = PeftModel.from_pretrained(base, str(tmp_path))
    assert not torch.allclose(model(ids).logits, before)
    assert {tensor.dtype for tensor in load_file(tmp_path / WEIGHTS).values()} == {torch.float32}


def test_longer_examples_are_left_out_and_counted(tiny_model: str, tmp_path: Path) -> None:
    long = example("What?", "word " * 300)
    assert trained(tiny_model, tmp_path, [*EXAMPLES, long]).too_long == 1
    with pytest.raises(TrainingError, match="none of 1 examples has at most 256 tokens"):
        trained(tiny_model, tmp_path, [long])


@pytest.mark.filterwarnings("ignore")
def test_an_example_is_seen_in_as_many_passes_as_its_weight_says(tiny_model: str, tmp_path: Path) -> None:
    light = [{**one, "weight": 0.5} for one in EXAMPLES]
    steps = trained(tiny_model, tmp_path / "light", light, epochs=10, batch_size=1).steps
    assert 18 <= steps <= 42
    assert trained(tiny_model, tmp_path / "same", light, epochs=10, batch_size=1).steps == steps
    assert trained(tiny_model, tmp_path / "full", epochs=2, batch_size=1).steps == 12


def test_a_loss_that_is_not_finite_is_a_sentence(tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) at step \d+: lower the learning rate"):
        trained(tiny_model, tmp_path, learning_rate=2e37, epochs=20)


def test_a_phase_continues_the_adapter_before_it(tiny_model: str, tmp_path: Path) -> None:
    first = trained(tiny_model, tmp_path / "first", epochs=15)
    second = trained(tiny_model, tmp_path / "second", start_from=tmp_path / "first", learning_rate=1e-9)
    assert second.losses[0] < 0.8 * first.losses[0]


# published folders


def job(tiny_model: str, folder: Path, phases: int = 1) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "phase.jsonl").write_text("".join(json.dumps(row) + "\n" for row in EXAMPLES))
    recipe = {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": ["q_proj"], "learning_rate_used": 1e-2}
    recipe |= {"epochs": 2, "warmup_steps": 0, "batch_size": 3}
    return {
        "phases": [{"tasks": ["rag"], "recipe": recipe, "file": str(folder / "phase.jsonl")}] * phases,
        "out": str(folder / "adapters" / "v1-3"),
        "base_model": "tiny",
        "base_folder": tiny_model,
        "max_tokens": 256,
        "seed": 1,
        "threads": 1,
    }


def test_a_folder_is_published_in_one_step_with_digests(tiny_model: str, tmp_path: Path) -> None:
    made = job(tiny_model, tmp_path, phases=2)
    out = Path(made["out"])
    left = out.with_suffix(".work") / "phase-0"
    left.mkdir(parents=True)
    (left / "half-written.safetensors").write_text("by a killed attempt")
    seen: list[dict[str, Any]] = []

    def show(progress: dict[str, Any]) -> None:
        assert not out.exists()
        seen.append(progress)

    digest = base_digest(tiny_model)
    done = train_job(made, base_digest=digest, show=show)
    assert [(row["phase"], row["step"]) for row in seen] == [(p, s) for p in (1, 2) for s in (1, 2, 3, 4)]
    folders.check(out, digest=done["digest"], base_digest=digest)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (
        set(manifest["files"])
        == {CONFIG, WEIGHTS, "README.md", "loss.png"}
        == {p.name for p in out.iterdir()} - {"manifest.json"}
    )
    read = [hashlib.sha256(Path(phase["file"]).read_bytes()).hexdigest() for phase in made["phases"]]
    both = hashlib.sha256("".join(read).encode()).hexdigest()
    assert (manifest["base_model"], manifest["dataset_digest"], manifest["steps"]) == ("tiny", both, 8)
    first = json.loads((out.with_name(f"{out.name}-phase-1") / "manifest.json").read_text())
    assert (first["dataset_digest"], done["dataset_digest"]) == (read[0], both)
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, f"{out.name}-phase-1"]
    assert tiny_model not in (out / CONFIG).read_text() + (out / "README.md").read_text()


def test_the_dataset_digest_is_of_what_was_read_though_somebody_is_erased_meanwhile(
    tiny_model: str, tmp_path: Path
) -> None:
    made = job(tiny_model, tmp_path)
    file = Path(made["phases"][0]["file"])
    read = hashlib.sha256(file.read_bytes()).hexdigest()
    done = train_job(made, base_digest=base_digest(tiny_model), show=lambda _: (file.write_text(""), None)[1])
    manifest = json.loads((Path(made["out"]) / "manifest.json").read_text())
    assert done["dataset_digest"] == manifest["dataset_digest"] == read


# registering what was trained elsewhere


def load_config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def registered(database: Database, folder: Path, tmp_path: Path, base: str | None = None) -> Adapter:
    given = load_config(folder) if base is None else {}
    return register(
        database,
        folder,
        data=tmp_path / "data",
        base_model="tiny",
        base_folder=Path(base or given.get("base_model_name_or_path", "")),
        base_digest="b" * 64,
        comment="from the lab",
        actor="ann",
    )


def test_a_registered_folder_is_a_candidate_that_loads(database: Database, tiny_adapter: Path, tmp_path: Path) -> None:
    row = registered(database, tiny_adapter, tmp_path)
    with database.read() as session:
        kept = adapters.get(session, row.id)
    assert (kept.state, kept.origin, kept.note) == (AdapterState.CANDIDATE, "registered", "from the lab")
    assert (kept.base_model, kept.recipe["rank"]) == ("tiny", 4)
    assert Path(kept.folder) == tmp_path / "data" / "adapters" / "v1-registered"
    folders.check(Path(kept.folder), digest=kept.digest, base_digest="b" * 64)
    shutil.rmtree(tmp_path / "data" / "adapters" / "v1-registered")
    assert (tiny_adapter / WEIGHTS).exists()


def test_bf16_and_dora_weights_can_be_registered(database: Database, tiny_adapter: Path, tmp_path: Path) -> None:
    folder = altered(tiny_adapter, tmp_path, lambda tensor: tensor.bfloat16())
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, "use_dora": True}))
    assert registered(database, folder, tmp_path).state == AdapterState.CANDIDATE


def altered(source: Path, tmp_path: Path, change: Any) -> Path:
    folder = tmp_path / "elsewhere"
    shutil.copytree(source, folder)
    weights = load_file(folder / WEIGHTS)
    save_file({name: change(tensor) for name, tensor in weights.items()}, folder / WEIGHTS)
    return folder


def configured(**values: Any) -> Any:
    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**config, **values}))

    return change


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, f"has no {CONFIG}"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"has no {WEIGHTS}"),
        (lambda folder: (folder / CONFIG).write_text("{"), "is not JSON"),
        (lambda folder: (folder / CONFIG).write_text("[]"), "has the peft_type None, expected 'LORA'"),
        (configured(peft_type="PREFIX_TUNING"), "has the peft_type 'PREFIX_TUNING', expected 'LORA'"),
        (configured(modules_to_save=["lm_head"]), r"replaces whole modules \(lm_head\)"),
        (configured(target_modules=None), "has the target_modules None, expected names"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"not weights"), f"{WEIGHTS} in .* cannot be read"),
        (lambda folder: save_file({"x.weight": torch.zeros(2)}, folder / WEIGHTS), "holds no LoRA weights"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused_and_nothing_is_entered(
    database: Database, tiny_adapter: Path, tmp_path: Path, damage: Any, sentence: str
) -> None:
    folder = altered(tiny_adapter, tmp_path, lambda tensor: tensor)
    damage(folder)
    with pytest.raises(BrokenAdapter, match=sentence):
        registered(database, folder, tmp_path)
    with database.read() as session:
        assert session.exec(select(Adapter)).all() == []
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("named", "fits"), [("elsewhere/Tiny", True), ("", True), ("meta/Llama-8B", False)])
def test_an_adapter_of_another_base_model_is_refused_by_its_name(
    database: Database, tiny_model: str, tiny_adapter: Path, tmp_path: Path, named: str, fits: bool
) -> None:
    folder = altered(tiny_adapter, tmp_path, lambda tensor: tensor)
    configured(base_model_name_or_path=named)(folder)
    if fits:
        assert registered(database, folder, tmp_path, tiny_model).state == AdapterState.CANDIDATE
        return
    with pytest.raises(BrokenAdapter, match="was trained on meta/Llama-8B, and the base model here is tiny"):
        registered(database, folder, tmp_path, tiny_model)


@pytest.mark.parametrize(
    ("kind", "sentence"), [("A", r"_A.weight has the shape \[4, "), ("B", "_B.weight has the shape")]
)
def test_an_adapter_of_another_base_model_is_refused_by_its_shapes(
    database: Database, tiny_model: str, tiny_adapter: Path, tmp_path: Path, kind: str, sentence: str
) -> None:
    def other(tensor: torch.Tensor) -> torch.Tensor:
        side = 1 if kind == "A" else 0
        return torch.cat([tensor, tensor], side) if tensor.shape[1 - side] == 4 else tensor

    folder = altered(tiny_adapter, tmp_path, other)
    with pytest.raises(BrokenAdapter, match=f"{sentence}.*does not fit .* of the base model tiny"):
        registered(database, folder, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_values_that_are_not_finite_are_refused(
    database: Database, tiny_adapter: Path, tmp_path: Path, dtype: torch.dtype, value: float
) -> None:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.to(dtype).clone()
        changed[-1, -1] = value
        return changed

    with pytest.raises(BrokenAdapter, match="holds values that are not finite in base_model"):
        registered(database, altered(tiny_adapter, tmp_path, change), tmp_path)
