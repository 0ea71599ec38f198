"""Examples to a LoRA adapter folder, written once: PEFT on a bf16 base, fp32 LoRA weights, loss on answer tokens only.

The same examples, settings and seed give the same weights on the same machine, also when the run was killed and went
on from its checkpoint. It and its parts import torch, transformers, peft, safetensors and the standard library only.
"""

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from finetune import checkpoint
from finetune.alone import Alone
from finetune.errors import TrainingError as TrainingError
from finetune.loading import Tokens, fingerprint, load, tokenised
from finetune.passes import Pass, answer_tokens, choose, cut, whole_batch

Progress = Callable[[dict[str, Any]], None]
LOOKS, PATIENCE = 12, 3
"""How often the held-out loss is measured, and how many looks without a gain end the training."""


@dataclass(frozen=True)
class Trained:
    """What a run came to: optimiser steps, tokens seen, seconds, mean loss per step, examples that were too long.

    `held_out` is (step, mean loss per answer token) at each look; the weights are those of `best_step`.
    """

    steps: int
    tokens: int
    seconds: float
    losses: list[float]
    too_long: int
    held_out: list[tuple[int, float]]
    best_step: int


@dataclass
class _State:
    """How far a run is."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    best: list[torch.Tensor] = field(default_factory=list)

    def best_step(self) -> int:
        """The step with the lowest held-out loss; the last one where there is none."""
        return min(self.held_out, key=lambda look: look[1])[0] if self.held_out else self.step

    def without_gain(self) -> int:
        """Looks since the best one."""
        return sum(step > self.best_step() for step, _ in self.held_out)


def train(
    examples: Sequence[Mapping[str, Any]],
    *,
    base_model: str,
    out: Path,
    rank: int,
    alpha: int,
    dropout: float,
    target_modules: Sequence[str],
    learning_rate: float,
    epochs: int,
    warmup_steps: int,
    batch_size: int,
    max_tokens: int,
    seed: int,
    threads: int,
    held_out: Sequence[Mapping[str, Any]] = (),
    start_from: Path | None = None,
    checkpoints: Path | None = None,
    checkpoint_seconds: float = 60.0,
    memory_mb: int = 0,
    qlora: bool = False,
    progress: Progress = lambda _: None,
    spread: Alone | None = None,
) -> Trained:
    """Train on examples with `messages` and `target` and save the adapter's weights and configuration into `out`.

    `learning_rate` is used as it is; `start_from` continues an adapter (progressive phases). Longer examples than
    `max_tokens` are left out. With `held_out` examples the training ends when their loss stops falling, and the best
    weights are kept. With a file `checkpoints` a killed run goes on there. `memory_mb` is what activations may take,
    0 what is free; `spread` is this process among several. Raises TrainingError when nothing is left to train on or the
    model lacks a target module.
    """
    spread = spread or Alone()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    sequences = _short(examples, base_model, max_tokens)
    if not sequences:
        raise TrainingError(f"none of {len(examples)} examples has at most {max_tokens} tokens.")
    watched = _short(held_out, base_model, max_tokens) if held_out else []
    lora: dict[str, Any] = {"rank": rank, "alpha": alpha, "dropout": dropout, "target_modules": list(target_modules)}
    model = load(base_model, **lora, start_from=start_from, qlora=qlora)
    longest = max(len(one.ids) for one in [*sequences, *watched])
    step, tokens = choose(model, longest=longest, seed=seed + 1_000 * spread.rank, memory_mb=memory_mb)
    order = _batches([one.weight for one in sequences], epochs, batch_size, seed)
    loop = Loop(
        step,
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        [[sequences[i] for i in batch] for batch in order],
        watched,
        learning_rate=learning_rate,
        warmup=min(warmup_steps, len(order) // 10),
        tokens=tokens,
        progress=progress,
        spread=spread,
    )
    if checkpoints is not None:
        run = {**lora, "rate": learning_rate, "order": order, "warmup": warmup_steps, "seed": seed, "qlora": qlora}
        run["processes"] = spread.size
        loop.keep(checkpoints, fingerprint([*sequences, *watched], start_from, **run), checkpoint_seconds)
    state = loop.run()
    if spread.main:
        model.save_pretrained(str(out))
    left = len(examples) - len(sequences)
    return Trained(state.step, state.tokens, state.seconds, state.losses, left, state.held_out, state.best_step())


def _short(examples: Sequence[Mapping[str, Any]], base_model: str, max_tokens: int) -> list[Tokens]:
    return [one for one in tokenised(examples, base_model) if len(one.ids) <= max_tokens]


def _batches(weights: Sequence[float], epochs: int, batch_size: int, seed: int) -> list[list[int]]:
    """Examples by place, shuffled anew in each pass; one of weight 0.7 is seen in about 70 % of the passes."""
    generator = random.Random(seed)
    batches: list[list[int]] = []
    for number in range(epochs):
        order = [place for place, weight in enumerate(weights) if weight >= 1 or generator.random() < weight]
        if not order and number == 0:
            order = list(range(len(weights)))
        generator.shuffle(order)
        batches += [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return batches


class Loop:
    """Optimiser steps over batches, looks at held-out sequences, checkpoints; `step` computes the gradients."""

    def __init__(
        self,
        step: Pass,
        parameters: Sequence[torch.nn.Parameter],
        batches: Sequence[Sequence[Tokens]],
        watched: Sequence[Tokens],
        *,
        learning_rate: float,
        warmup: int,
        tokens: int,
        progress: Progress,
        spread: Alone,
    ) -> None:
        self._pass, self._parameters, self._batches, self._watched = step, list(parameters), batches, watched
        self._rate, self._warmup, self._tokens, self._progress = learning_rate, warmup, tokens, progress
        self._optimizer = torch.optim.AdamW(self._parameters, lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.95))
        self._state, self._spread = _State(), spread
        self._file: Path | None = None
        self._fingerprint, self._every, self._kept_at = "", 0.0, time.monotonic()
        self._look_every = max(1, len(batches) // LOOKS)

    def keep(self, file: Path, fingerprint: str, seconds: float) -> None:
        """Write a checkpoint every so many seconds, and go on from one of this run."""
        self._file, self._fingerprint, self._every = file, fingerprint, seconds
        found = checkpoint.load(file, fingerprint=fingerprint)
        if found is not None:
            self._resume(*found)

    def run(self) -> _State:
        """Train to the end or to the early stop; the parameters then hold the best weights."""
        state = self._state
        while state.step < len(self._batches) and state.without_gain() < PATIENCE:
            begun = time.monotonic()
            loss = self._one(self._batches[state.step])
            state.seconds += time.monotonic() - begun
            state.losses.append(loss)
            ended = state.step == len(self._batches)
            if self._watched and (ended or state.step % self._look_every == 0):
                self._look()
            self._tell(loss)
            if self._file is not None:
                due = ended or time.monotonic() - self._kept_at >= self._every
                if self._spread.agreed(due):
                    self._keep()
        with torch.no_grad():
            for parameter, best in zip(self._parameters, state.best, strict=bool(state.best)):
                parameter.copy_(best)
        return state

    def _one(self, batch: Sequence[Tokens]) -> float:
        state = self._state
        part, total = self._spread.share(batch), answer_tokens(batch)
        loss, self._tokens = whole_batch(self._pass, part, total, self._parameters, self._tokens)
        loss = self._spread.add_up(self._parameters, loss)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {state.step + 1}: lower the learning rate of the recipe."
            )
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * rate(state.step, self._warmup, len(self._batches))
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._pass.refresh()
        state.step += 1
        state.tokens += sum(len(one.ids) for one in batch)
        return loss

    def _look(self) -> None:
        """Measure the held-out loss, and keep the weights when it is the lowest so far."""
        total = answer_tokens(self._watched)
        passes = cut(self._spread.share(self._watched), self._tokens)
        loss = sum(self._pass.add_gradients(some, total, learn=False) for some in passes)
        loss = self._spread.add_up((), loss)
        self._state.held_out.append((self._state.step, loss))
        if self._state.best_step() == self._state.step:
            self._state.best = [parameter.detach().clone() for parameter in self._parameters]

    def _tell(self, loss: float) -> None:
        state = self._state
        shown: dict[str, Any] = {
            "step": state.step,
            "steps": len(self._batches),
            "loss": round(loss, 4),
            "tokens_per_second": round(state.tokens / max(state.seconds, 1e-9), 1),
            "eta_seconds": round(state.seconds / state.step * (len(self._batches) - state.step)),
            "memory_mb": memory_mb(),
        }
        if state.held_out:
            shown["held_out_loss"] = round(state.held_out[-1][1], 4)
        self._progress(shown)

    def _keep(self) -> None:
        assert self._file is not None
        tensors = self._spread.states(self._pass.random_state())
        self._kept_at = time.monotonic()
        if not self._spread.main:
            return
        for i, parameter in enumerate(self._parameters):
            moments = self._optimizer.state[parameter]
            tensors |= {f"{i}.weight": parameter.detach(), f"{i}.step": moments["step"]}
            tensors |= {f"{i}.mean": moments["exp_avg"], f"{i}.square": moments["exp_avg_sq"]}
        tensors |= {f"{i}.best": best for i, best in enumerate(self._state.best)}
        facts = {key: value for key, value in asdict(self._state).items() if key != "best"}
        checkpoint.save(self._file, tensors, {**facts, "fingerprint": self._fingerprint, "pass_tokens": self._tokens})

    def _resume(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        held_out = [(int(step), float(loss)) for step, loss in facts["held_out"]]
        best = [tensors[f"{i}.best"] for i in range(len(self._parameters)) if f"{i}.best" in tensors]
        plain = {name: facts[name] for name in ("step", "tokens", "seconds", "losses")}
        self._state = _State(**plain, held_out=held_out, best=best)
        self._tokens = int(facts["pass_tokens"])
        with torch.no_grad():
            for i, parameter in enumerate(self._parameters):
                parameter.copy_(tensors[f"{i}.weight"])
                device = parameter.device
                self._optimizer.state[parameter] = {
                    "step": tensors[f"{i}.step"],
                    "exp_avg": tensors[f"{i}.mean"].to(device),
                    "exp_avg_sq": tensors[f"{i}.square"].to(device),
                }
        self._pass.set_random_state(tensors[f"random.{self._spread.rank}"])
        self._pass.refresh()


def rate(step: int, warmup: int, steps: int) -> float:
    """The learning rate's factor: linear warm-up, then cosine down to a tenth."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def memory_mb() -> int:
    """What this process takes, in MB: of the GPU at most so far, of the machine now."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() // 2**20
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20
