"""Claims about a CUDA GPU (make test-gpu): the same gradients, the same weights again, memory that is short, 4 bits."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from bot.engine import TransformersEngine
from finetune import card
from finetune.llama import LlamaStep
from finetune.loading import Tokens, load
from finetune.passes import AutogradPass, answer_tokens, choose, whole_batch
from finetune.train import Trained, train
from store.models import BASE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA GPU on this machine"),
]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SEQUENCES = [Tokens([(11 * i * i + i) % 4000 for i in range(n)], n - 20) for n in (150, 40, 300)]
EXAMPLES = [
    {"messages": [{"role": "user", "content": f"What weighs machine {i}?"}], "target": f"It weighs {i} kilograms [1]."}
    for i in range(12)
]
WEIGHTS = "adapter_model.safetensors"


def adapted(folder: str, *, dtype: torch.dtype = torch.float32, device: str = "cuda", dropout: float = 0.0) -> Any:
    """The tiny model with LoRA weights that are not zero."""
    torch.manual_seed(5)
    base = load(folder, rank=4, alpha=8, dropout=dropout, target_modules=ALL)
    for name, parameter in base.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator(parameter.device).manual_seed(1))
        elif "lora_A" not in name:
            parameter.data = parameter.data.to(dtype)
    return base.to(device)


def gradients(step: Any, model: Any, batch: list[Tokens]) -> tuple[float, dict[str, torch.Tensor]]:
    loss = step.add_gradients(batch, 50)
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss, found


def far(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest distance of a gradient, relative to it."""
    assert set(found) == set(expected) != set()
    return max(
        float((found[name].cpu() - expected[name].cpu()).norm() / expected[name].cpu().norm()) for name in expected
    )


def trained(base_model: str, out: Path, **more: Any) -> Trained:
    values: dict[str, Any] = {
        "rank": 4, "alpha": 8, "dropout": 0.1, "target_modules": ALL, "learning_rate": 1e-2, "epochs": 4,
        "warmup_steps": 2, "batch_size": 3, "max_tokens": 256, "seed": 1, "threads": 1,
    }  # fmt: skip
    return train(EXAMPLES, base_model=base_model, out=out, **{**values, **more})


def test_gradients_are_those_of_the_processor(tiny_model: str) -> None:
    model = adapted(tiny_model)
    loss, found = gradients(LlamaStep(model, seed=1), model, SEQUENCES)
    own_loss, own = gradients(AutogradPass(model), model, SEQUENCES)
    there = adapted(tiny_model, device="cpu")
    expected_loss, expected = gradients(LlamaStep(there, seed=1), there, SEQUENCES)
    assert loss == pytest.approx(expected_loss, rel=1e-4) and own_loss == pytest.approx(expected_loss, rel=1e-4)
    assert far(found, expected) < 2e-3 and far(own, expected) < 2e-3


def test_bf16_gradients_are_as_near_to_the_exact_ones_as_autograds(tiny_model: str) -> None:
    exact = gradients(AutogradPass(one := adapted(tiny_model, device="cpu")), one, SEQUENCES)[1]
    half = adapted(tiny_model, dtype=torch.bfloat16)
    theirs = far(gradients(AutogradPass(half), half, SEQUENCES)[1], exact)
    assert far(gradients(LlamaStep(half, seed=1), half, SEQUENCES)[1], exact) <= 1.5 * theirs


def test_layers_computed_again_give_the_same(tiny_model: str) -> None:
    model = adapted(tiny_model, dtype=torch.bfloat16, dropout=0.3)
    kept = gradients(LlamaStep(model, seed=7), model, SEQUENCES)
    again = gradients(LlamaStep(model, seed=7, recompute=True), model, SEQUENCES)
    assert kept[0] == again[0] and all(torch.equal(kept[1][name], again[1][name]) for name in kept[1])


def test_a_llama_trains_by_the_written_out_pass(tiny_model: str) -> None:
    step, tokens = choose(adapted(tiny_model, dtype=torch.bfloat16), longest=300, seed=1)
    assert isinstance(step, LlamaStep) and tokens == 8192


def test_the_same_seed_gives_the_same_weights_also_after_an_interruption(tiny_model: str, tmp_path: Path) -> None:
    def stop(row: dict[str, Any]) -> None:
        if row["step"] == 7:
            raise KeyboardInterrupt

    trained(tiny_model, tmp_path / "one")
    trained(tiny_model, tmp_path / "two")
    kept: dict[str, Any] = {"checkpoints": tmp_path / "state.safetensors", "checkpoint_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        trained(tiny_model, tmp_path / "three", progress=stop, **kept)
    trained(tiny_model, tmp_path / "three", **kept)
    one, *others = (load_file(tmp_path / name / WEIGHTS) for name in ("one", "two", "three"))
    assert all(torch.equal(one[name], other[name]) for other in others for name in one)


def test_what_does_not_fit_is_tried_in_smaller_passes(tiny_model: str) -> None:
    model = adapted(tiny_model, dtype=torch.bfloat16)
    step = LlamaStep(model, seed=1)
    batch = [Tokens([(7 * i * i + n) % 4000 for i in range(1000)], 990) for n in range(256)]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    total = answer_tokens(batch)
    roomy, _ = whole_batch(step, batch, total, parameters, 32_000)
    expected = [parameter.grad.clone() for parameter in parameters]  # type: ignore[union-attr]
    model.zero_grad()
    torch.cuda.empty_cache()
    _, whole = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**29) / whole)
    try:
        loss, tokens = whole_batch(step, batch, total, parameters, 256_000)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert tokens <= 128_000 and loss == pytest.approx(roomy, rel=1e-2)
    pairs = zip(parameters, expected, strict=True)
    assert all((parameter.grad - was).norm() <= 0.05 * was.norm() for parameter, was in pairs)  # type: ignore[operator]


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install -e .[gpu]")
def test_four_bits_learn_and_load_on_the_whole_base(tiny_model: str, tmp_path: Path) -> None:
    run = trained(tiny_model, tmp_path, qlora=True, epochs=10)
    assert sum(run.losses[-4:]) < 0.8 * sum(run.losses[:4])
    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = torch.tensor([[1, 2, 3]])
    plain = base(ids).logits
    assert not torch.equal(PeftModel.from_pretrained(base, str(tmp_path))(ids).logits, plain)


def test_the_engine_swaps_on_the_gpu(tiny_model: str, tmp_path: Path) -> None:
    trained(tiny_model, tmp_path / "new", epochs=10)
    engine = TransformersEngine(tiny_model, dtype="bfloat16", slots=4, queue_limit=8, context_tokens=512, threads=1)
    try:
        facts = {"base_model": "tiny", "base_digest": engine.base_digest, "facts": {"rank": 4}}
        digest = card.adopt(tmp_path / "new", tmp_path / "v1-1", **facts)  # type: ignore[arg-type]
        said = lambda name: "".join(engine.stream(EXAMPLES[3]["messages"], adapter=name, max_tokens=12))  # type: ignore[arg-type] # noqa: E731
        base = said(BASE)
        running = engine.stream(EXAMPLES[3]["messages"], adapter=BASE, max_tokens=12)  # type: ignore[arg-type]
        first = next(iter(running))
        engine.load("v1", tmp_path / "v1-1", digest=digest)
        assert said("v1") != base
        engine.unload("v1")
        assert first + "".join(running) == base == said(BASE)
    finally:
        engine.close()
