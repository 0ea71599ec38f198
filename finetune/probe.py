"""The loss of an adapter on examples put aside from training: cheap, no answer is written.

It loads the base model with the adapter folder and reads each example once; one example at a time.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from finetune.loading import four_bits
from finetune.precision import compute_dtype
from store.turns import end_token


def losses(
    rows: Sequence[Mapping[str, Any]],
    *,
    base_model: str,
    adapter: Path,
    max_tokens: int,
    threads: int,
    four_bit: bool = False,
) -> list[float | None]:
    """The mean loss per answer token of each row with `messages` and `target`; None where it is over `max_tokens`.

    With `four_bit` the base model is held as it was in training, where 16 bits may not fit.
    """
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    base = four_bits(base_model) if four_bit else _whole(base_model)
    model = PeftModel.from_pretrained(base, str(adapter)).eval()
    end = end_token(tokenizer)
    with torch.inference_mode():
        return [_loss(model, tokenizer, end, row, max_tokens) for row in rows]


def _whole(base_model: str) -> PreTrainedModel:
    base: Any = AutoModelForCausalLM.from_pretrained(base_model, dtype=compute_dtype())
    moved: PreTrainedModel = base.to("cuda" if torch.cuda.is_available() else "cpu")
    return moved


def _loss(model: PeftModel, tokenizer: Any, end: int, row: Mapping[str, Any], max_tokens: int) -> float | None:
    prompt = tokenizer.apply_chat_template(
        row["messages"], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    answer = [*tokenizer(row["target"], add_special_tokens=False).input_ids, end]
    if len(prompt) + len(answer) > max_tokens:
        return None
    ids = torch.tensor([[*prompt, *answer]], device=model.device)
    logits = model(input_ids=ids, logits_to_keep=len(answer) + 1, use_cache=False).logits[0, :-1].float()
    return float(torch.nn.functional.cross_entropy(logits, ids[0, len(prompt) :]))
