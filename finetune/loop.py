"""Optimiser steps over batches, looks at held-out examples, checkpoints; it knows no file and no base model.

What it keeps is a running mean of the weights, so that the last few small batches do not decide. Of libraries it
imports torch only.
"""

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from finetune import checkpoint
from finetune.alone import Alone
from finetune.errors import TrainingError
from finetune.loading import Tokens
from finetune.passes import Pass, answer_tokens, cut, whole_batch

Progress = Callable[[dict[str, Any]], None]
LOOKS, PATIENCE = 12, 3
"""How often the held-out loss is measured, and how many looks that are worse end the training."""
TOLERATED = 1.1
"""The held-out loss, against the lowest so far, up to which a look counts as no worse: as a model grows sure of itself
the loss rises while its answers still get better (Ouyang et al. 2022, appendix C)."""
AVERAGED = 0.95
"""What of the weights' running mean stays at a step (Polyak and Juditsky 1992): a few small batches do not decide."""


@dataclass
class State:
    """How far a run is."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    mean: list[torch.Tensor] = field(default_factory=list)
    best: list[torch.Tensor] = field(default_factory=list)

    def best_step(self) -> int:
        """The last step whose held-out loss is tolerably near the lowest; the last of all where there is none."""
        lowest = min((loss for _, loss in self.held_out), default=0.0)
        return max((step for step, loss in self.held_out if loss <= TOLERATED * lowest), default=self.step)

    def without_gain(self) -> int:
        """Looks since the last good one."""
        return sum(step > self.best_step() for step, _ in self.held_out)


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
        self._state, self._spread = State(mean=self._weights()), spread
        self._file: Path | None = None
        self._fingerprint, self._every, self._kept_at = "", 0.0, time.monotonic()
        self._look_every = max(1, len(batches) // LOOKS)

    def keep(self, file: Path, fingerprint: str, seconds: float) -> None:
        """Write a checkpoint every so many seconds, and go on from one of this run."""
        self._file, self._fingerprint, self._every = file, fingerprint, seconds
        found = checkpoint.load(file, fingerprint=fingerprint)
        if found is not None:
            self._resume(*found)

    def run(self) -> State:
        """Train to the end or to the early stop; the parameters then hold the best mean of the weights."""
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
        self._put(state.best or state.mean)
        return state

    def _weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self._parameters]

    def _put(self, weights: Sequence[torch.Tensor]) -> None:
        with torch.no_grad():
            for parameter, weight in zip(self._parameters, weights, strict=True):
                parameter.copy_(weight)
        self._pass.refresh()

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
        stays = min(AVERAGED, (1 + state.step) / (10 + state.step))
        with torch.no_grad():
            for mean, parameter in zip(state.mean, self._parameters, strict=True):
                mean.lerp_(parameter, 1 - stays)
        state.tokens += sum(len(one.ids) for one in batch)
        return loss

    def _look(self) -> None:
        """Measure the held-out loss of the weights' mean, and keep it when it is tolerably near the lowest so far."""
        now = self._weights()
        self._put(self._state.mean)
        total = answer_tokens(self._watched)
        passes = cut(self._spread.share(self._watched), self._tokens)
        loss = sum(self._pass.add_gradients(some, total, learn=False) for some in passes)
        loss = self._spread.add_up((), loss)
        self._state.held_out.append((self._state.step, loss))
        if self._state.best_step() == self._state.step:
            self._state.best = self._weights()
        self._put(now)

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
            tensors |= {f"{i}.moment": moments["exp_avg"], f"{i}.square": moments["exp_avg_sq"]}
        for name, weights in (("mean", self._state.mean), ("best", self._state.best)):
            tensors |= {f"{i}.{name}": weight for i, weight in enumerate(weights)}
        facts = {key: value for key, value in vars(self._state).items() if key not in ("mean", "best")}
        checkpoint.save(self._file, tensors, {**facts, "fingerprint": self._fingerprint, "pass_tokens": self._tokens})

    def _resume(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        held_out = [(int(step), float(loss)) for step, loss in facts["held_out"]]
        mean, best = (
            [tensors[f"{i}.{name}"].to(p.device) for i, p in enumerate(self._parameters) if f"{i}.{name}" in tensors]
            for name in ("mean", "best")
        )
        plain = {name: facts[name] for name in ("step", "tokens", "seconds", "losses")}
        self._state = State(**plain, held_out=held_out, mean=mean, best=best)
        self._tokens = int(facts["pass_tokens"])
        with torch.no_grad():
            for i, parameter in enumerate(self._parameters):
                parameter.copy_(tensors[f"{i}.weight"])
                device = parameter.device
                self._optimizer.state[parameter] = {
                    "step": tensors[f"{i}.step"],
                    "exp_avg": tensors[f"{i}.moment"].to(device),
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
