"""What a training asks of the processes that share it, as the only one of them answers; it imports torch alone."""

from collections.abc import Sequence

import torch

from finetune.loading import Tokens


class Alone:
    """The only process of a training; `finetune/spread.py` has one among several."""

    rank, size = 0, 1

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def share(self, batch: Sequence[Tokens]) -> Sequence[Tokens]:
        """The part of a batch that this process computes."""
        return batch

    def add_up(self, parameters: Sequence[torch.nn.Parameter], loss: float) -> float:
        """Make gradients and loss those of the whole batch."""
        return loss

    def agreed(self, yes: bool) -> bool:
        """What the first process says."""
        return yes

    def states(self, own: torch.Tensor) -> dict[str, torch.Tensor]:
        """The random states of all processes, by name."""
        return {"random.0": own}
