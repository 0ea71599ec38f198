"""What a training begins with: examples as token ids, and a base model with LoRA weights on this machine's device.

It imports torch, transformers, peft, the standard library and how a turn ends (`store/turns.py`), and trains nothing.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel

from finetune.errors import TrainingError
from finetune.precision import compute_dtype
from store.turns import end_token


@dataclass(frozen=True)
class Tokens:
    """Token ids of prompt and answer; `answer` is the index of the first answer token.

    `weight` is the share of the passes in which the example is seen.
    """

    ids: list[int]
    answer: int
    weight: float = 1.0


def tokenised(examples: Sequence[Mapping[str, Any]], base_model: str) -> list[list[Tokens]]:
    """Each example's chat prompt and answer as token ids, the end of the turn behind it; then its `other_orders`.

    Raises TrainingError when the tokenizer has no chat template.
    """
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    if not tokenizer.chat_template:
        raise TrainingError(
            f"the tokenizer of {base_model} has no chat template: use an instruction-tuned base model, or put its "
            "template into the model's folder as chat_template.jinja."
        )
    end = end_token(tokenizer)
    return [
        [
            _tokens(one, tokenizer, end, float(example.get("weight", 1.0)))
            for one in (example, *example.get("other_orders", ()))
        ]
        for example in examples
    ]


def _tokens(example: Mapping[str, Any], tokenizer: Any, end: int, weight: float) -> Tokens:
    prompt = tokenizer.apply_chat_template(
        example["messages"], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    answer = tokenizer(example["target"], add_special_tokens=False).input_ids
    return Tokens([*prompt, *answer, end], len(prompt), weight)


def load(
    base_model: str,
    *,
    rank: int,
    alpha: int,
    dropout: float,
    target_modules: Sequence[str],
    start_from: Path | None = None,
    qlora: bool = False,
) -> PeftModel:
    """The base model with fp32 LoRA weights, new ones or those of `start_from`.

    The base is in bf16, in fp32 where a CPU only imitates bf16, and in 4 bits with `qlora`.

    Raises TrainingError when the model lacks a target module, or `qlora` has no GPU or no bitsandbytes.
    """
    base = _base(base_model, qlora)
    if start_from is not None:
        return PeftModel.from_pretrained(base, str(start_from), is_trainable=True)
    present = {name.split(".")[-1] for name, module in base.named_modules() if _has_matrix(module)}
    missing = [name for name in target_modules if name not in present]
    if missing:
        raise TrainingError(
            f"{base_model} has no module {', '.join(missing)}: correct target_modules in the task's recipe."
        )
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(target_modules), task_type="CAUSAL_LM"
    )
    return get_peft_model(base, config, autocast_adapter_dtype=True)


def gpus() -> int:
    """How many CUDA GPUs this machine has."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_matrix(module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.dim() > 1


def _base(base_model: str, qlora: bool) -> PreTrainedModel:
    if qlora:
        return four_bits(base_model)
    cuda = torch.cuda.is_available()
    # On a CPU, torch 2.13's fused attention in bf16 is slower than plain matrix products.
    options: dict[str, Any] = {"dtype": compute_dtype(), "attn_implementation": "sdpa" if cuda else "eager"}
    base: Any = AutoModelForCausalLM.from_pretrained(base_model, **options)
    plain: PreTrainedModel = base.to("cuda" if cuda else "cpu")
    return plain


def four_bits(base_model: str) -> PreTrainedModel:
    """The base model with its linear layers in 4 bits, on the GPU.

    Raises TrainingError where there is no CUDA GPU or no bitsandbytes.
    """
    if not torch.cuda.is_available():
        raise TrainingError(
            "training.qlora is on, and this machine has no CUDA GPU: set it to auto, or train where a GPU is."
        )
    config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )
    try:
        base: Any = AutoModelForCausalLM.from_pretrained(
            base_model,
            quantization_config=config,
            device_map={"": torch.cuda.current_device()},
            dtype=torch.bfloat16,
            attn_implementation="sdpa",
        )
    except ImportError as error:
        raise TrainingError("training.qlora needs bitsandbytes: install it with `pip install -e .[gpu]`.") from error
    made: PreTrainedModel = prepare_model_for_kbit_training(base, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    return made


def fingerprint(sequences: Sequence[Tokens], base_model: str, start_from: Path | None, **values: Any) -> str:
    """What a run is recognised by, as a SHA-256: tokens and weights of examples, models it begins with, settings."""
    found = hashlib.sha256(repr((base_model, sorted(values.items()))).encode())
    for one in sequences:
        found.update(repr((one.answer, one.ids, one.weight)).encode())
    if start_from is not None:
        found.update((start_from / "adapter_model.safetensors").read_bytes())
    return found.hexdigest()
