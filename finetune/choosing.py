"""Which of the curated examples are trained on: those of the planned tasks, and others as replay (pure)."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from finetune.examples import Example, Kind


def replay_count(own: int, others: int, *, most: int, share: float) -> int:
    """How many of `others` are replayed beside `own` examples: their share of these, so that all are at most `most`."""
    return min(others, int(min(own, most / (1 + share)) * share + 1e-9))


def in_turn(examples: Sequence[Example]) -> list[Example]:
    """The examples in their order, one of each task after the other."""
    places: Counter[str] = Counter()
    ranked: list[tuple[int, int, Example]] = []
    for number, example in enumerate(examples):
        ranked.append((places[example.task], number, example))
        places[example.task] += 1
    return [example for _, _, example in sorted(ranked, key=lambda one: one[:2])]


def choose(
    examples: Sequence[Example],
    *,
    replay: Sequence[Example] = (),
    tasks: Sequence[str],
    most: int,
    replay_share: float,
    seed: int,
) -> list[Example]:
    """The examples to train on: those of `tasks`, best kind and newest first, with a share of the others as replay.

    Replay is taken from the other tasks in turn, of each first what the serving adapter answered and the judge found
    supported, then what people wrote, newest first. Where examples are plenty it keeps its share of the `most`.
    """
    ranks = {kind: rank for rank, kind in enumerate(Kind)}
    ordered = sorted(examples, key=lambda e: e.created_at, reverse=True)
    ordered.sort(key=lambda e: ranks[Kind(e.kind)])
    mine = [e for e in ordered if set(e.tasks) & set(tasks)]
    own = sorted(replay, key=lambda e: e.created_at, reverse=True)
    others = in_turn([e for e in [*own, *ordered] if not set(e.tasks) & set(tasks)])
    count = replay_count(len(mine), len(others), most=most, share=replay_share)
    chosen = [*_first(mine, most - count), *others[:count]]
    return mixed(chosen, seed=seed)


def mixed(examples: Sequence[Example], *, seed: int) -> list[Example]:
    """The examples in an order thrown by their ids."""
    return sorted(examples, key=lambda e: hashlib.sha256(f"{seed}:{e.id}".encode()).hexdigest())


def _first(mine: Sequence[Example], most: int) -> list[Example]:
    """The first `most`, among them the share that examples of declining have of all.

    A bot that declines where it should is liked and not corrected: by kind alone, what it declines well would be cut
    first, and the next adapter would not learn to decline.
    """
    declining = [e for e in mine if not e.answerable]
    room = round(len(declining) * most / len(mine)) if len(mine) > most else len(declining)
    return [*[e for e in mine if e.answerable][: most - room], *declining[:room]]
