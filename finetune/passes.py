"""One pass over some sequences: their loss, and gradients added to the LoRA parameters; on any device, for any model.

A batch is cut into passes of few tokens; a pass that does not fit the memory is halved, and what a layer computed is
kept only where the memory allows. It imports torch, peft and the standard library only.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from peft import PeftModel
from torch.nn.functional import cross_entropy

from finetune import llama
from finetune.errors import TrainingError
from finetune.loading import Tokens

CPU_TOKENS, GPU_TOKENS = 1024, 8192
"""Tokens in a pass at most: on a CPU more gain nothing."""
RESERVE = 2**29


class Pass(Protocol):
    """What the training loop drives."""

    def refresh(self) -> None:
        """Take over the parameters' new values."""

    def add_gradients(self, sequences: Sequence[Tokens], total: int, *, learn: bool = True) -> float:
        """The summed loss of the answers' tokens over `total`; with `learn`, dropout and gradients."""

    def random_state(self) -> torch.Tensor:
        """Where the dropout's random numbers are."""

    def set_random_state(self, state: torch.Tensor) -> None:
        """Go on from there."""


class AutogradPass:
    """The pass of any transformers model, by autograd; sequences are padded on the left."""

    def __init__(self, model: PeftModel) -> None:
        self._model = model

    def refresh(self) -> None:
        """Nothing: the model holds the parameters themselves."""

    def add_gradients(self, sequences: Sequence[Tokens], total: int, *, learn: bool = True) -> float:
        """See `Pass`."""
        self._model.train(learn)
        device = self._model.device
        longest = max(len(one.ids) for one in sequences)
        first = min(longest - len(one.ids) + one.answer for one in sequences)
        rows = [[0] * (longest - len(one.ids)) + one.ids for one in sequences]
        masks = [[0] * (longest - len(one.ids)) + [1] * len(one.ids) for one in sequences]
        answers = [[-100] * (longest - len(one.ids) + one.answer) + one.ids[one.answer :] for one in sequences]
        mask = torch.tensor(masks, device=device)
        padded: dict[str, Any] = {}
        if len(sequences) > 1:
            padded = {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp_(min=0)}
        with torch.set_grad_enabled(learn):
            logits = self._model(
                input_ids=torch.tensor(rows, device=device),
                logits_to_keep=torch.arange(first - 1, longest - 1, device=device),
                use_cache=False,
                **padded,
            ).logits.float()
            wanted = torch.tensor(answers, device=device)[:, first:]
            loss = cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="sum") / total
        if learn:
            loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def random_state(self) -> torch.Tensor:
        """See `Pass`."""
        return torch.cuda.get_rng_state() if torch.cuda.is_available() else torch.get_rng_state()

    def set_random_state(self, state: torch.Tensor) -> None:
        """See `Pass`."""
        (torch.cuda.set_rng_state if torch.cuda.is_available() else torch.set_rng_state)(state)


def choose(model: PeftModel, *, longest: int, seed: int, memory_mb: int = 0) -> tuple[Pass, int]:
    """The fastest pass for this model and machine, and how many tokens it takes at once.

    `memory_mb` is what activations may take, 0 what is free. Where not even the longest sequence fits with all that
    its layers computed, layers are computed again in the backward (gradient checkpointing).
    """
    free = memory_mb * 2**20 if memory_mb else _free(model.device)
    on_cpu = model.device.type == "cpu"
    size = int(model.dtype.itemsize) if on_cpu else 2
    each = bytes_per_token(model.config, longest if on_cpu else 0, size=size)
    recompute = each * longest > free
    most = CPU_TOKENS if on_cpu else GPU_TOKENS
    tokens = longest if recompute else min(most, free // each)
    if llama.fits(model):
        step = llama.LlamaStep(model, seed=seed, recompute=recompute)
        if agrees(step, model):
            return step, tokens
    if on_cpu:
        tokens = 1  # one sequence at a time: no token is padding
    if recompute:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return AutogradPass(model), tokens


def agrees(step: llama.LlamaStep, model: PeftModel) -> bool:
    """Whether the written-out pass gives this model's own loss on some tokens, within bf16's rounding."""
    size = int(model.config.vocab_size)
    some = [Tokens([(7 * i * i + 3 * i + 1) % size for i in range(n)], n // 2) for n in (24, 17)]
    found = step.add_gradients(some, 20, learn=False)
    own = AutogradPass(model).add_gradients(some, 20, learn=False)
    return abs(found - own) <= 0.02 * abs(own)


def bytes_per_token(config: Any, length: int, *, size: int) -> int:
    """What is kept of a token for the backward, from the model's shape, `size` bytes a number; about what was measured.

    `length` is how many weights of its attention are kept, 0 where a GPU's kernels compute them again.
    """
    inner = int(getattr(config, "intermediate_size", 4 * config.hidden_size))
    heads = int(config.num_attention_heads)
    return int(config.num_hidden_layers) * size * (12 * int(config.hidden_size) + 3 * inner + heads * length)


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info()[0]) * 9 // 10
    with open("/proc/meminfo") as file:
        available = next(line for line in file if line.startswith("MemAvailable"))
    return max(RESERVE, int(available.split()[1]) * 2**10 - RESERVE)


def cut(batch: Sequence[Tokens], tokens: int) -> list[list[Tokens]]:
    """A batch in passes of at most `tokens` tokens, in order; a longer sequence is alone."""
    passes: list[list[Tokens]] = []
    used = 0
    for one in batch:
        if passes and used + len(one.ids) <= tokens:
            passes[-1].append(one)
            used += len(one.ids)
        else:
            passes.append([one])
            used = len(one.ids)
    return passes


def answer_tokens(batch: Sequence[Tokens]) -> int:
    """How many tokens are learned from."""
    return sum(len(one.ids) - one.answer for one in batch)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is short, of a GPU or of the machine; the CPU's comes as a RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in said or "not enough memory" in said)


def whole_batch(
    step: Pass, batch: Sequence[Tokens], total: int, parameters: Sequence[torch.Tensor], tokens: int
) -> tuple[float, int]:
    """A batch's summed loss over `total` with its gradients, and the tokens in a pass from now on.

    Out of memory, the batch starts again in passes of half as many tokens. Raises TrainingError when one sequence
    does not fit alone.
    """
    while True:
        passes = cut(batch, tokens)
        try:
            return sum(step.add_gradients(some, total) for some in passes), tokens
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            for parameter in parameters:
                parameter.grad = None
            if max(len(some) for some in passes) == 1:
                longest = max(len(one.ids) for one in batch)
                raise TrainingError(
                    f"a sequence of {longest} tokens does not fit the memory: lower training.max_tokens, or turn on "
                    "training.qlora."
                ) from error
        torch.cuda.empty_cache()
        tokens = max(sum(len(one.ids) for one in some) for some in passes) // 2
