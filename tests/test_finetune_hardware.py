"""Claims about what is known of a base model and a machine before anything is loaded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from finetune.hardware import (
    GUESSED_SPEED,
    TRAINER_SHARE,
    Machine,
    base_of,
    expected_speed,
    this_machine,
    training_speed,
)
from finetune.pace import training_rate
from finetune.precision import matrix_rate


def test_the_shape_of_a_model_is_that_of_the_loaded_model(tiny_model: str) -> None:
    found = base_of(tiny_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert (found.hidden_size, found.inner_size, found.layers, found.vocabulary) == (64, 128, 2, 49152)
    assert found.weights == sum(parameter.numel() for parameter in model.parameters())
    every = dict(model.named_modules())
    inside = [one for name, one in every.items() if isinstance(one, torch.nn.Linear) and name != "lm_head"]
    assert found.linear == sum(one.weight.numel() for one in inside)
    assert list(found.modules) == ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert found.modules["k_proj"] == 2 * (64 + 32)
    assert found.every_linear == tuple(found.modules)


def test_the_linear_layers_of_another_family_are_known_by_its_own_names(tmp_path: Path) -> None:
    GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=16, n_positions=32).save_pretrained(tmp_path)
    found = base_of(str(tmp_path))
    assert "wpe" in found.modules and found.every_linear == ("c_attn", "c_proj", "c_fc")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_gpu_has_no_memory_of_one() -> None:
    assert this_machine() == Machine(0, four_bit=False)


def test_a_model_of_twice_the_weights_is_expected_to_train_half_as_fast(tiny_model: str) -> None:
    base = base_of(tiny_model)
    larger = replace(base, weights=2 * base.weights)
    assert expected_speed(4e9, base) == pytest.approx(TRAINER_SHARE * 1e9 / base.weights)
    assert expected_speed(4e9, larger) == pytest.approx(expected_speed(4e9, base) / 2)


def test_the_speed_to_expect_is_measured_on_this_machine(tiny_model: str) -> None:
    base = base_of(tiny_model)
    assert matrix_rate(64, 128, threads=1, seconds=0.01) > 1e6
    assert training_rate(tiny_model, ["q_proj"], rank=4, threads=1) > 0
    found = training_speed(base, tiny_model, ["q_proj", "v_proj"], threads=1)
    assert found > 0 and found != GUESSED_SPEED


def test_where_the_model_cannot_be_tried_its_products_tell(tiny_model: str) -> None:
    base = base_of(tiny_model)
    found = training_speed(base, tiny_model, ["no_such_module"], threads=1)
    assert found > 0 and found != GUESSED_SPEED


def test_a_model_that_would_take_the_memory_is_not_tried(tiny_model: str) -> None:
    huge = replace(base_of(tiny_model), weights=10**13)
    assert training_speed(huge, tiny_model, ["q_proj"], threads=1) < 1


def test_a_speed_that_cannot_be_measured_is_guessed(tiny_model: str) -> None:
    """A product of more numbers than can be counted."""
    base = replace(base_of(tiny_model), hidden_size=2**60, inner_size=2**60)
    assert training_speed(base, "nowhere", ["q_proj"], threads=1) == GUESSED_SPEED
