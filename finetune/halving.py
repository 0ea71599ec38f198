"""Successive halving: how many ways of training stay in, and on which share of the examples a round trains (pure)."""

import math
from collections.abc import Sequence

FINALISTS = 2
"""As many are trained in full, and meet at the gate."""
SHORT = 0.5
"""The share of the examples in the round before the last; each round before takes half of that again."""


def shares(count: int) -> list[float]:
    """The shares of the rounds before the finalists are trained in full; none for so few that all are finalists."""
    rounds = max(0, math.ceil(math.log2(count / FINALISTS))) if count else 0
    return [SHORT ** (rounds - number) for number in range(rounds)]


def best(losses: Sequence[float]) -> list[int]:
    """The places of the lower half of losses, at least FINALISTS of them, in their order; ties go to the first."""
    keep = max(FINALISTS, math.ceil(len(losses) / 2))
    return sorted(sorted(range(len(losses)), key=lambda place: losses[place])[:keep])
