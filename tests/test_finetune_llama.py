"""Claims about the written-out pass: autograd's loss and gradients, no cross-talk, no memory of what was not asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from finetune.errors import TrainingError
from finetune.llama import LlamaStep, fits
from finetune.loading import Tokens
from finetune.passes import AutogradPass, Pass, agrees, answer_tokens, choose, cut, whole_batch
from finetune.pieces import FUSED, Pieces
from finetune.projection import Projection

QKV, ALL = ["q_proj", "k_proj", "v_proj"], ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SEQUENCES = [
    Tokens([(11 * i * i + i) % 4000 for i in range(150)], 130),
    Tokens([(7 * i * i + 5) % 4000 for i in range(40)], 39),
    Tokens([(3 * i * i + 9) % 4000 for i in range(300)], 270),
]


def adapted(folder: str, targets: list[str], dtype: torch.dtype = torch.float32, dropout: float = 0.0) -> Any:
    """The tiny model with LoRA weights that are not zero."""
    torch.manual_seed(5)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(base, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def gradients(step: Pass, model: Any, *batches: list[Tokens]) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss over batches and the gradients they add up to, which are then cleared."""
    loss = sum(step.add_gradients(batch, 50) for batch in batches)
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss, found


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float) -> bool:
    assert set(found) == set(expected) != set()
    return all((found[name] - expected[name]).norm() <= tolerance * expected[name].norm() for name in expected)


@pytest.mark.parametrize("targets", [QKV, ALL, ["down_proj", "v_proj"]], ids=",".join)
def test_loss_and_gradients_are_autograds(tiny_model: str, targets: list[str]) -> None:
    model = adapted(tiny_model, targets)
    loss, expected = gradients(AutogradPass(model), model, *([one] for one in SEQUENCES))
    found_loss, found = gradients(LlamaStep(model, seed=1), model, SEQUENCES)
    assert found_loss == pytest.approx(loss, rel=1e-5)
    assert close(found, expected, 1e-4)


@pytest.mark.parametrize("targets", [QKV, ALL], ids=",".join)
def test_loss_and_gradients_are_autograds_by_what_a_gpu_takes_too(tiny_model: str, targets: list[str]) -> None:
    model = adapted(tiny_model, targets)
    loss, expected = gradients(AutogradPass(model), model, *([one] for one in SEQUENCES))
    found_loss, found = gradients(LlamaStep(model, seed=1, fused=True), model, SEQUENCES)
    assert found_loss == pytest.approx(loss, rel=1e-5)
    assert close(found, expected, 1e-4)


def test_padded_sequences_give_the_same_as_each_alone(tiny_model: str) -> None:
    model = adapted(tiny_model, QKV)
    loss, expected = gradients(AutogradPass(model), model, *([one] for one in SEQUENCES))
    found_loss, found = gradients(AutogradPass(model), model, SEQUENCES)
    assert found_loss == pytest.approx(loss, rel=1e-4)
    assert close(found, expected, 1e-3)


def test_bf16_gradients_are_as_near_to_the_exact_ones_as_autograds(tiny_model: str) -> None:
    exact = gradients(AutogradPass(one := adapted(tiny_model, ALL)), one, SEQUENCES[:1])[1]
    half = adapted(tiny_model, ALL, torch.bfloat16)
    theirs = gradients(AutogradPass(half), half, SEQUENCES[:1])[1]
    ours = gradients(LlamaStep(half, seed=1), half, SEQUENCES[:1])[1]
    errors = {
        name: [float((side[name] - exact[name]).norm() / exact[name].norm()) for side in (ours, theirs)]
        for name in exact
    }
    assert sum(mine for mine, _ in errors.values()) <= 1.5 * sum(their for _, their in errors.values())


def test_sequences_in_one_pass_do_not_see_each_other(tiny_model: str) -> None:
    model = adapted(tiny_model, ALL)
    step = LlamaStep(model, seed=1)
    apart = gradients(step, model, SEQUENCES[:1])[1], gradients(step, model, SEQUENCES[2:])[1]
    together = gradients(step, model, [SEQUENCES[0], SEQUENCES[2]])[1]
    assert close(together, {name: apart[0][name] + apart[1][name] for name in together}, 1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_computing_layers_again_gives_the_same_with_the_same_dropout(tiny_model: str, fused: bool) -> None:
    kept, again = (
        gradients(LlamaStep(model, seed=7, recompute=recompute, fused=fused), model, SEQUENCES, SEQUENCES)
        for recompute in (False, True)
        for model in [adapted(tiny_model, ALL, dropout=0.3)]
    )
    assert kept[0] == again[0]
    assert all(torch.equal(kept[1][name], again[1][name]) for name in kept[1])


def test_dropout_changes_learning_and_not_looking(tiny_model: str) -> None:
    model = adapted(tiny_model, ALL, dropout=0.3)
    step = LlamaStep(model, seed=1)
    looked = [step.add_gradients(SEQUENCES, 50, learn=False) for _ in range(2)]
    assert looked[0] == looked[1] == pytest.approx(AutogradPass(model).add_gradients(SEQUENCES, 50, learn=False), 1e-4)
    assert all(parameter.grad is None for parameter in model.parameters())
    learnt = [gradients(step, model, SEQUENCES)[0] for _ in range(2)]
    assert len({*learnt, looked[0]}) == 3


@pytest.mark.parametrize("pieces", [Pieces(), FUSED], ids=["plain", "fused"])
def test_dropout_keeps_the_mean(tiny_model: str, pieces: Pieces) -> None:
    module = adapted(tiny_model, ["v_proj"], dropout=0.1).base_model.model.model.layers[0].self_attn.v_proj
    projection = Projection([module], pieces)
    projection.refresh()
    x, draws = torch.randn(20, 64, generator=torch.Generator().manual_seed(2)), torch.Generator().manual_seed(1)
    plain = projection(x, None)[0] - torch.nn.functional.linear(x, module.base_layer.weight)
    many = [projection(x, draws)[0] - torch.nn.functional.linear(x, module.base_layer.weight) for _ in range(500)]
    assert (sum(many) / 500 - plain).norm() < 0.05 * plain.norm() < (many[0] - plain).norm()


def test_other_models_train_by_autograd(tmp_path: Path) -> None:
    torch.manual_seed(1)
    base = GPT2LMHeadModel(
        GPT2Config(vocab_size=4001, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    )
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["c_attn"], task_type="CAUSAL_LM"))
    assert not fits(model)
    step, tokens = choose(model, longest=300, seed=1)
    assert isinstance(step, AutogradPass) and tokens == 1
    loss, found = gradients(step, model, SEQUENCES[:2])
    apart = gradients(step, model, SEQUENCES[:1], SEQUENCES[1:2])
    assert loss == pytest.approx(apart[0], rel=1e-4) and close(found, apart[1], 1e-3)


def test_a_pass_that_does_not_agree_is_not_used(tiny_model: str) -> None:
    model = adapted(tiny_model, QKV)
    step = LlamaStep(model, seed=1)
    assert agrees(step, model)
    step._epsilon = 10.0
    assert not agrees(step, model)


def test_layers_are_computed_again_only_where_memory_is_short(tiny_model: str) -> None:
    model = adapted(tiny_model, QKV)
    roomy, tokens = choose(model, longest=1000, seed=1, memory_mb=1000)
    assert isinstance(roomy, LlamaStep) and not roomy._recompute and tokens == 1024
    tight, tokens = choose(model, longest=1000, seed=1, memory_mb=2)
    assert isinstance(tight, LlamaStep) and tight._recompute and tokens == 1000


@pytest.mark.parametrize(("dtype", "short"), [(torch.float32, True), (torch.bfloat16, False)])
def test_whole_precision_takes_twice_the_memory(tiny_model: str, dtype: torch.dtype, short: bool) -> None:
    chosen, _ = choose(adapted(tiny_model, QKV, dtype=dtype), longest=1000, seed=1, memory_mb=30)
    assert isinstance(chosen, LlamaStep) and chosen._recompute is short


def gpu_full() -> None:
    """What a GPU without room raises."""
    raise torch.OutOfMemoryError("out of memory")


def machine_full() -> None:
    """What this machine raises where memory is asked of it that it does not have."""
    torch.empty(10**15, dtype=torch.uint8)


class Small:
    """A device that holds at most so many tokens."""

    def __init__(self, most: int, parameter: torch.nn.Parameter, full: Callable[[], None] = gpu_full) -> None:
        self.most, self.parameter, self.full, self.seen = most, parameter, full, list[int]()

    def refresh(self) -> None: ...

    def add_gradients(self, sequences: Any, total: int, *, learn: bool = True) -> float:
        self.seen.append(sum(len(one.ids) for one in sequences))
        self.parameter.grad = (self.parameter.grad if self.parameter.grad is not None else 0) + torch.ones(1) * len(
            sequences
        )
        if self.seen[-1] > self.most:
            self.full()
        return 1.0

    def random_state(self) -> torch.Tensor:
        return torch.zeros(1)

    def set_random_state(self, state: torch.Tensor) -> None: ...


@pytest.mark.parametrize("full", [gpu_full, machine_full])
def test_out_of_memory_halves_the_pass_and_begins_the_batch_again(full: Callable[[], None]) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    device = Small(320, parameter, full)
    loss, tokens = whole_batch(device, SEQUENCES, answer_tokens(SEQUENCES), [parameter], 1024)
    assert device.seen == [490, 190, 300] and tokens == 245
    assert (loss, float(parameter.grad or 0)) == (2.0, 3.0)
    with pytest.raises(TrainingError, match="a sequence of 300 tokens does not fit the memory: lower training"):
        whole_batch(Small(200, parameter, full), SEQUENCES, answer_tokens(SEQUENCES), [parameter], 1024)


@pytest.mark.parametrize("said", ["DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.", "a bug"])
def test_another_error_in_a_pass_is_not_taken_for_a_full_memory(said: str) -> None:
    def failing() -> None:
        raise RuntimeError(said)

    parameter = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(TrainingError if "memory" in said else RuntimeError) as told:
        whole_batch(Small(0, parameter, failing), SEQUENCES, answer_tokens(SEQUENCES), [parameter], 1024)
    assert ("does not fit the memory" in str(told.value)) is ("memory" in said)


def test_a_batch_is_cut_in_order_and_long_sequences_are_alone() -> None:
    assert [[len(one.ids) for one in some] for some in cut(SEQUENCES, 200)] == [[150, 40], [300]]
    assert [len(some) for some in cut(SEQUENCES, 1)] == [1, 1, 1]
