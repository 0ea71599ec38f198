"""What a plan has to know of the base model and of this machine: sizes, modules, memory of the GPU. Loads no weights.

torch is imported where it is asked, so that the scheduler can import these names without it.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

TRAINER_SHARE = 0.6
"""Of the matrix rate, at 4 FLOPs per weight and token: 0.41 to 0.61 on an H200, 0.7 on a processor with AVX2."""
GUESSED_SPEED = 150.0
"""Tokens per second where a matrix rate could not be measured."""


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
    """What this machine has now; a process of its own asks the GPU, so that this one takes none of its memory."""
    import torch  # noqa: PLC0415, seconds that only this needs

    if not torch.cuda.is_available():
        return Machine()
    asked = "import torch; print(torch.cuda.mem_get_info()[0] // 2**20)"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False).stdout.split()
    free = int(said[-1]) if said and said[-1].isdigit() else 0
    return Machine(free_mb=free, four_bit=find_spec("bitsandbytes") is not None)


def training_speed(base: Base, *, threads: int) -> float:
    """Tokens per second to expect of training where none was measured yet, by how fast its device multiplies matrices.

    A process of its own multiplies for half a second.
    """
    sizes = f"{base.hidden_size}, {base.inner_size}, threads={threads}"
    asked = f"from finetune.precision import matrix_rate; print(matrix_rate({sizes}))"
    run = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return GUESSED_SPEED if run.returncode else expected_speed(float(run.stdout), base)


def expected_speed(matrix_rate: float, base: Base) -> float:
    """Tokens per second of training at a matrix rate in FLOP/s."""
    return TRAINER_SHARE * matrix_rate / (4 * base.weights)
