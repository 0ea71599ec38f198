"""Claims about the training loop: what is kept is a running mean of the weights, at the end and at each look."""

from collections.abc import Sequence

import pytest
import torch

from finetune.alone import Alone
from finetune.loading import Tokens
from finetune.loop import AVERAGED, Loop

SOME = [Tokens([1, 2, 3], 2)]


class Swinging:
    """A pass whose gradient turns its sign; the loss of a look is the weight itself."""

    def __init__(self, weight: torch.nn.Parameter) -> None:
        self.weight, self.stepped, self.looked = weight, list[float](), list[float]()
        self._learned = 0

    def refresh(self) -> None:
        """Note what a step made of the weight."""
        if self._learned > len(self.stepped):
            self.stepped.append(float(self.weight.detach()))

    def add_gradients(self, sequences: Sequence[Tokens], total: int, *, learn: bool = True) -> float:
        """A gradient of -3 and 1 in turn."""
        if not learn:
            self.looked.append(float(self.weight.detach()))
            return self.looked[-1]
        self._learned += 1
        self.weight.grad = torch.tensor(-3.0 if self._learned % 2 else 1.0)
        return 1.0

    def random_state(self) -> torch.Tensor:
        """Nothing is random."""
        return torch.zeros(1)

    def set_random_state(self, state: torch.Tensor) -> None:
        """Nothing is random."""


def swung(steps: int, watched: Sequence[Tokens] = ()) -> tuple[float, Swinging]:
    """The weight that is kept, and the pass that saw it on its way."""
    weight = torch.nn.Parameter(torch.tensor(0.0))
    step = Swinging(weight)
    loop = Loop(
        step,
        [weight],
        [SOME] * steps,
        watched,
        learning_rate=0.1,
        warmup=0,
        tokens=8,
        progress=lambda _: None,
        spread=Alone(),
    )
    loop.run()
    return float(weight.detach()), step


def test_the_weights_that_are_kept_are_the_running_mean_of_all_steps() -> None:
    kept, step = swung(20)
    mean = 0.0
    for number, weight in enumerate(step.stepped, start=1):
        stays = min(AVERAGED, (1 + number) / (10 + number))
        mean = stays * mean + (1 - stays) * weight
    assert len(step.stepped) == 20 and kept == pytest.approx(mean, rel=1e-4)
    assert min(abs(kept - weight) for weight in step.stepped) > 1e-5


def test_a_look_measures_the_mean_and_leaves_the_steps_as_they_are() -> None:
    _, alone = swung(12)
    kept, looked = swung(12, SOME)
    assert len(looked.stepped) >= 4 and looked.stepped == alone.stepped[: len(looked.stepped)]
    assert kept == pytest.approx(min(looked.looked))
    assert not set(looked.looked) & set(looked.stepped)
