"""What a plan has to know of the base model and of this machine: sizes, modules, memory of the GPU. Loads no weights.

torch is imported where it is asked, so that the scheduler can import these names without it.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

TRAINER_SHARE = 0.6
"""Of the matrix rate, at 4 FLOPs per weight and token; 0.41 to 0.61 on an H200 (bench/results/train_gpu.json)."""
GUESSED_SPEED = 150.0
"""Tokens per second where nothing could be measured."""
BYTES_OF_A_WEIGHT, ROOM_SHARE = 4, 0.5
"""A model is tried only where its weights take less than this share of the free memory."""
TRY_SECONDS = 120
RANK = 16
"""Of the LoRA weights that are tried; it hardly matters for the speed."""


@dataclass(frozen=True)
class Base:
    """A base model's shape; `linear` of its `weights` are in layers that 4 bits shrink.

    `modules` holds what LoRA can be put on, by name: the features in and out, summed over the layers, which is how many
    weights LoRA adds for each rank; `every_linear` names the linear layers among them. The embeddings and the output
    layer, which many models share, are in neither.
    """

    hidden_size: int
    inner_size: int
    layers: int
    vocabulary: int
    weights: int
    linear: int
    modules: Mapping[str, int]
    every_linear: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """What there is to train on: free memory of the CUDA GPU, 0 without one; `four_bit` when bitsandbytes is there."""

    free_mb: int = 0
    four_bit: bool = False


def base_of(folder: str) -> Base:
    """The shape of the model in a folder or of a hub id, from its configuration alone."""
    import torch  # noqa: PLC0415, seconds that only this needs
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415
    from transformers.pytorch_utils import Conv1D  # noqa: PLC0415, GPT-2's linear layer

    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    plain = config.get_text_config()
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    modules: Counter[str] = Counter()
    every_linear: dict[str, None] = {}
    linear = 0
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and weight.dim() > 1 and module not in ends:
            last = name.split(".")[-1]
            modules[last] += sum(weight.shape)
            linear += weight.numel() * isinstance(module, torch.nn.Linear)
            every_linear |= {last: None} if isinstance(module, torch.nn.Linear | Conv1D) else {}
    return Base(
        hidden_size=int(plain.hidden_size),
        inner_size=int(getattr(plain, "intermediate_size", None) or 4 * plain.hidden_size),
        layers=int(plain.num_hidden_layers),
        vocabulary=int(plain.vocab_size),
        weights=sum(parameter.numel() for parameter in model.parameters()),
        linear=linear,
        modules=dict(modules),
        every_linear=tuple(every_linear),
    )


def this_machine() -> Machine:
    """What this machine has now; a process of its own asks the GPU, so that this one takes none of its memory.

    A GPU too full to be asked has 1 MB.
    """
    import torch  # noqa: PLC0415, seconds that only this needs

    if not torch.cuda.is_available():
        return Machine()
    free = _said("import torch; print(torch.cuda.mem_get_info()[0] // 2**20)")
    return Machine(free_mb=max(1, int(free or 0)), four_bit=find_spec("bitsandbytes") is not None)


def training_speed(base: Base, folder: str, modules: Sequence[str], *, threads: int) -> float:
    """Tokens per second to expect of training where none was measured yet, with LoRA on these modules.

    A process of its own trains on some made-up tokens: how fast the device multiplies matrices does not tell, as what
    lies between the products takes most of the time where these are fast. Where the model does not fit beside what runs
    now, the products have to tell.
    """
    asked = f"{folder!r}, {list(modules)!r}, rank={RANK}, threads={threads}"
    small = base.weights * BYTES_OF_A_WEIGHT < ROOM_SHARE * (this_machine().free_mb * 2**20 or _free_memory())
    if small and (rate := _said(f"from finetune.pace import training_rate; print(training_rate({asked}))")):
        return float(rate)
    sizes = f"{base.hidden_size}, {base.inner_size}, threads={threads}"
    rate = _said(f"from finetune.precision import matrix_rate; print(matrix_rate({sizes}))")
    return expected_speed(float(rate), base) if rate else GUESSED_SPEED


def expected_speed(matrix_rate: float, base: Base) -> float:
    """Tokens per second of training at a matrix rate in FLOP/s."""
    return TRAINER_SHARE * matrix_rate / (4 * base.weights)


def _said(code: str) -> str:
    """The last word that a Python process of its own prints in the checkout; empty where it fails or takes too long."""
    checkout = Path(__file__).resolve().parent.parent
    nice = f"import os; os.nice(19); {code}"
    try:
        run = subprocess.run(
            [sys.executable, "-c", nice], cwd=checkout, capture_output=True, text=True, timeout=TRY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return "" if run.returncode else (run.stdout.split() or [""])[-1]


def _free_memory() -> int:
    return int(psutil.virtual_memory().available)
