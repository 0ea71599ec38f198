"""One training over several processes, a GPU each: every process takes its share of each batch, gradients are added up.

`launched` starts them by torchrun and reads what the first one says; they run this module, and accelerate gives each
its place and device. Weights and losses are those of one process up to rounding, but for dropout, whose random numbers
differ.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from finetune.alone import Alone
from finetune.errors import TrainingError
from finetune.loading import Tokens
from finetune.loop import Progress
from finetune.train import Trained, train

_DIES_WITH_PARENT = 1
"""Linux's PR_SET_PDEATHSIG."""


class Spread(Alone):
    """This process among those that were started together."""

    def __init__(self) -> None:
        from accelerate import PartialState  # noqa: PLC0415, one process needs none of it

        state = PartialState(cpu=not torch.cuda.is_available())
        self.rank, self.size, self._device = state.process_index, state.num_processes, state.device

    def share(self, batch: Sequence[Tokens]) -> Sequence[Tokens]:
        """Every so many-th of a batch."""
        return batch[self.rank :: self.size]

    def add_up(self, parameters: Sequence[torch.nn.Parameter], loss: float) -> float:
        """Replace each gradient by the sum over all processes; returns the sum of the losses."""
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([torch.tensor([loss], device=self._device), *(part.flatten().float() for part in parts)])
        torch.distributed.all_reduce(flat)
        place = 1
        for parameter in parameters:
            parameter.grad = flat[place : place + parameter.numel()].view_as(parameter).to(parameter.dtype)
            place += parameter.numel()
        return float(flat[0])

    def agreed(self, yes: bool) -> bool:
        """What the first process says."""
        flag = torch.tensor([float(yes and self.main)], device=self._device)
        torch.distributed.all_reduce(flag)
        return bool(flag.item())

    def states(self, own: torch.Tensor) -> dict[str, torch.Tensor]:
        """The random state of every process, by its place."""
        found = [torch.zeros_like(own).to(self._device) for _ in range(self.size)]
        torch.distributed.all_gather(found, own.to(self._device))
        return {f"random.{rank}": state.cpu() for rank, state in enumerate(found)}


def launched(arguments: Mapping[str, Any], processes: int, *, progress: Progress) -> Trained:
    """Call `train` with these arguments in so many processes; raises TrainingError with what went wrong there."""
    with tempfile.TemporaryDirectory() as folder:
        call = Path(folder) / "call.json"
        call.write_text(json.dumps(arguments, default=str))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        with subprocess.Popen(
            [*command, "-m", "finetune.spread", str(call)],
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "OMP_NUM_THREADS": str(arguments["threads"])},
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509, it only calls prctl
        ) as child:
            assert child.stdout is not None
            last: dict[str, Any] = {}
            for line in child.stdout:
                if line.startswith("{"):
                    last = json.loads(line)
                    if "step" in last:
                        progress(last)
    if "trained" not in last:
        raise TrainingError(
            last.get("error") or f"training in {processes} processes ended with code {child.returncode}."
        )
    return Trained(**last["trained"])


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGTERM)


def main(call: Path) -> int:
    """What each process does; the first one says what came of it, one JSON object a line."""
    spread = Spread()
    arguments = json.loads(call.read_text())
    for name in ("out", "start_from", "checkpoints"):
        arguments[name] = Path(arguments[name]) if arguments.get(name) else None
    say: Progress = (lambda said: print(json.dumps(said), flush=True)) if spread.main else (lambda _: None)
    try:
        found = train(**arguments, spread=spread, progress=say)
    except TrainingError as error:
        say({"error": str(error)})
        return 1
    say({"trained": asdict(found)})
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
