"""Claims about the end of a turn: it is what the chat template says, in training, scoring and serving alike."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bot.engine import TransformersEngine
from finetune.loading import tokenised
from finetune.probe import losses
from store.models import BASE
from store.turns import end_token

GEMMA = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}bot: {% endif %}"
)
ROW = {"messages": [{"role": "user", "content": "Open?"}], "target": "Yes [1]."}


def tokenizer_of(folder: str, *, template: str | None, special: tuple[str, ...] = ()) -> Any:
    """The tiny model's tokenizer with another template, and another `eos_token` than what ends a turn."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.chat_template = template or tokenizer.chat_template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "special", "end"),
    [
        (None, (), "<|im_end|>"),
        (GEMMA, ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
        (PHI, ("<|user|>", "<|assistant|>", "<|end|>"), "<|end|>"),
        (PLAIN, (), "<|endoftext|>"),
    ],
    ids=["chatml", "gemma", "phi", "without an end"],
)
def test_a_turn_ends_with_the_first_special_token_after_what_was_said(
    tiny_model: str, template: str | None, special: tuple[str, ...], end: str
) -> None:
    tokenizer = tokenizer_of(tiny_model, template=template, special=special)
    assert tokenizer.convert_ids_to_tokens(end_token(tokenizer)) == end


def test_without_a_template_a_turn_ends_with_the_end_of_text(tiny_model: str) -> None:
    tokenizer = tokenizer_of(tiny_model, template=None)
    tokenizer.chat_template = None
    assert end_token(tokenizer) == tokenizer.eos_token_id


@pytest.fixture
def other_end(tiny_model: str, tmp_path: Path) -> str:
    """The tiny model with an `eos_token` that ends no turn."""
    folder = tmp_path / "other"
    shutil.copytree(tiny_model, folder)
    tokenizer_of(tiny_model, template=None).save_pretrained(folder)
    return str(folder)


def test_training_and_scoring_go_by_the_end_of_the_turn_and_not_the_end_of_text(
    other_end: str, tiny_adapter: Path
) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(other_end)
    [[trained]] = tokenised([ROW], other_end)
    assert tokenizer.convert_ids_to_tokens(trained.ids[-1]) == "<|im_end|>" != tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(other_end, dtype=torch.float32)
    with torch.inference_mode():
        logits = model(torch.tensor([trained.ids])).logits[0, trained.answer - 1 : -1].float()
    wanted = torch.tensor(trained.ids[trained.answer :])[:, None]
    expected = torch.log_softmax(logits, -1).gather(1, wanted)[:, 0]
    engine = TransformersEngine(other_end, dtype="float32", slots=1, context_tokens=256, threads=1)
    assert engine.logprobs(ROW["messages"], "Yes [1].", adapter=BASE) == pytest.approx(expected.tolist(), abs=1e-3)  # type: ignore[arg-type]
    engine.close()
    here, there = (
        losses([ROW], base_model=folder, adapter=tiny_adapter, max_tokens=128, threads=1)
        for folder in (str(other_end), _as_it_was(other_end))
    )
    assert here == pytest.approx(there, abs=1e-4)


def _as_it_was(folder: str) -> str:
    """The same model whose `eos_token` ends its turns."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = "<|im_end|>"
    copied = Path(folder).with_name("same")
    shutil.copytree(folder, copied)
    tokenizer.save_pretrained(copied)
    return str(copied)
