"""Whether a model can run packed (bot/packed.py): by its kind, then by comparing both on a few tokens."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from bot.forward import Span
from bot.packed import PackedForward

FAMILIES = frozenset({"llama", "mistral", "qwen2"})
ROPES = frozenset({"default", "linear", "llama3"})
PROBE = 24
TOLERANCE = {torch.bfloat16: 0.2, torch.float32: 1e-3}
"""Mean difference of the probe's log-probabilities that is rounding; bfloat16 itself is 0.1 away from float32."""


MULTIPLIES = ("amx_bf16", "avx512_bf16", "bf16")
"""What a processor says that multiplies bfloat16, the last one an ARM. oneDNN imitates it with plain AVX-512 as well:
a quarter of float32's speed."""


def computes_bfloat16(known: Mapping[str, Any] | None = None) -> bool:
    """Whether this processor, or one of which torch knows so much, multiplies bfloat16, and oneDNN lets it."""
    known = torch.cpu.get_capabilities() if known is None else known
    return torch.backends.mkldnn.is_available() and any(known.get(name) for name in MULTIPLIES)  # type: ignore[no-untyped-call]


def fits(model: PreTrainedModel) -> bool:
    """Whether a model is of a kind that this module computes."""
    config: Any = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return (
        config.model_type in FAMILIES
        and model.device.type == "cpu"
        and model.dtype in TOLERANCE
        and (model.dtype == torch.float32 or computes_bfloat16())
        and config.hidden_act == "silu"
        and rope in ROPES
        and not getattr(config, "sliding_window", None)
        and not getattr(config, "mlp_bias", False)
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


@torch.inference_mode()
def agrees(model: PreTrainedModel, forward: PackedForward) -> bool:
    """Whether packed and module give the same log-probabilities on a probe, within rounding."""
    tokens = [(7919 * i + 13) % model.config.vocab_size for i in range(PROBE)]
    taken = forward.take(tokens)
    if taken is None:
        return False
    slot, _ = taken
    found = forward.run([Span(slot, 0, tokens[:-2], wanted=1)])
    found = torch.cat([found, forward.run([Span(slot, PROBE - 2, tokens[-2:], wanted=2)])])
    forward.release(slot)
    logits = model(input_ids=torch.tensor([tokens]), logits_to_keep=3).logits[0].float()
    gap = (torch.log_softmax(found, -1) - torch.log_softmax(logits, -1)).abs().mean()
    return bool(gap <= TOLERANCE[model.dtype])
