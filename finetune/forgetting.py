"""Whether a later phase of training made an earlier task worse: paired losses on examples put aside (pure)."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Losses = Sequence[float | None]
"""The mean loss per token of each put-aside example; None for one that is too long."""


def by_task(rows: Sequence[Mapping[str, Any]], losses: Losses) -> dict[str, float]:
    """The mean loss of each task's examples, one that counts for several in each of them."""
    found: dict[str, list[float]] = {}
    for row, loss in zip(rows, losses, strict=True):
        for task in row["tasks"] if loss is not None else ():
            found.setdefault(task, []).append(float(loss or 0.0))
    return {task: round(statistics.fmean(values), 4) for task, values in sorted(found.items())}


def rise(rows: Sequence[Mapping[str, Any]], task: str, before: Losses, after: Losses) -> tuple[float, float] | None:
    """The relative rise of a task's loss and its standard error, paired by example; None with fewer than two."""
    pairs = [
        (old, new)
        for row, old, new in zip(rows, before, after, strict=True)
        if task in row["tasks"] and old is not None and new is not None
    ]
    if len(pairs) < 2:
        return None
    level = max(statistics.fmean(old for old, _ in pairs), 1e-9)
    moved = [new - old for old, new in pairs]
    return statistics.fmean(moved) / level, statistics.stdev(moved) / len(pairs) ** 0.5 / level


def forgotten(
    rows: Sequence[Mapping[str, Any]], phases: Sequence[Sequence[str]], history: Sequence[Losses], *, margin: float
) -> dict[str, float]:
    """The earlier tasks that the latest phase made worse by more than `margin`, with the relative rise of their loss.

    `phases` are the tasks of the phases so far and `history` the losses after each. A task is held to the loss right
    after its own latest phase, and counts as forgotten when the rise less its standard error exceeds the margin.
    """
    found = {}
    latest = set(phases[-1])
    for number, tasks in enumerate(phases[:-1]):
        for task in set(tasks) - latest:
            measured = rise(rows, task, history[number], history[-1])
            if measured is not None and measured[0] - measured[1] > margin:
                found[task] = round(measured[0], 4)
    return dict(sorted(found.items()))
