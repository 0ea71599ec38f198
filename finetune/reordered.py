"""An example with its passages in other orders, for later passes: what answers is to be found, not its place (pure).

The order that passages stand in sways a model (Liu et al. 2024, "Lost in the middle"), and few examples are soon known
by heart; the citations of the answer go with the passages.
"""

import random
from collections.abc import Sequence
from typing import Any

from finetune.examples import Example
from finetune.withheld import Block, numbered
from store.answers import renumbered

OTHERS = "other_orders"
"""Where an example holds them for the trainer."""
TRIES = 4
"""Throws for each other order that is wanted: of two passages there is one, of three there are five."""


def other_orders(one: Example, most: int, *, block: Block, seed: int) -> list[dict[str, Any]]:
    """The `messages` and the `target` of an example for each of at most `most` other orders, thrown by its id.

    None where there is nothing to reorder, or where its prompt was not built as `block` does.
    """
    shown = list(zip(one.titles, one.passages, strict=True))
    if len(shown) < 2 or not one.messages or block(one.question, numbered(shown)) != one.messages[-1]["content"]:
        return []
    chance = random.Random(f"{seed}:{one.id}")
    places = tuple(range(len(shown)))
    orders = [places]
    for _ in range(TRIES * most):
        order = tuple(chance.sample(places, len(places)))
        if order not in orders:
            orders.append(order)
    return [_in_order(one, shown, order, block) for order in orders[1 : most + 1]]


def _in_order(one: Example, shown: Sequence[tuple[str, str]], order: Sequence[int], block: Block) -> dict[str, Any]:
    content = block(one.question, numbered([shown[place] for place in order]))
    new = {place + 1: n for n, place in enumerate(order, start=1)}
    return {
        "messages": [*one.messages[:-1], {**one.messages[-1], "content": content}],
        "target": renumbered(one.target, new),
    }
