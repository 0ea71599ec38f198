"""How many more held-out cases would probably settle what is still open (pure)."""

import math
from collections.abc import Sequence
from typing import Protocol

from scipy import stats

POWER = 0.8
SMALLEST_GAIN = 0.01
"""No gain smaller than this is planned for when the cases still needed are counted."""


class Open(Protocol):
    """What is known of a difference that is not settled."""

    @property
    def task(self) -> str: ...
    @property
    def difference(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...
    @property
    def margin(self) -> float: ...
    @property
    def few(self) -> bool: ...
    @property
    def labels(self) -> int | None: ...


def more_cases(delta: Open, confidence: float, *, effect: float, least: int = 0) -> int:
    """How many more cases of its task than it has would show `effect`, with POWER, and be `least` in all; 1 at least.

    Where people's labels decide, it is labelled cases that are counted.
    ((z1 + z2) sd / effect) squared, sd from the interval, so clustered. Where few pairs differ the interval is a bound
    on what was not seen, which shrinks with the cases themselves.
    """
    effect, n = max(effect, SMALLEST_GAIN), delta.n if delta.labels is None else delta.labels
    if delta.few:
        wanted = math.ceil(n * (delta.difference - delta.low) / effect)
    else:
        z = float(stats.norm.ppf((1 + confidence) / 2))
        sd = (delta.high - delta.low) / (2 * z) * math.sqrt(n)
        wanted = math.ceil(((z + float(stats.norm.ppf(POWER))) * sd / effect) ** 2)
    return max(wanted - n, least - n, 1)


def unsettled(delta: Open) -> float:
    """What more cases of an open guardrail would show: that it is within its margin, or else that the loss is real."""
    return delta.margin + min(delta.difference, 0.0) if delta.difference > -delta.margin else -delta.difference


def most_of(open_: Sequence[Open], confidence: float) -> tuple[int, str]:
    """The most cases that one of several open guardrails needs, and what they are of."""
    return max((more_cases(one, confidence, effect=unsettled(one)), needed_of(one)) for one in open_)


def needed_of(delta: Open) -> str:
    """Of which task more cases are needed, and that people must label them where labels decide."""
    return delta.task if delta.labels is None else f"{delta.task}, labelled by people"


def least_documents(confidence: float) -> int:
    """Fewer documents show no gain at this level, however large: all of them gain by chance as often (sign test)."""
    return math.ceil(math.log2(2 / (1 - confidence)))


def about(more: int, task: str) -> str:
    """So many more cases, in words."""
    return f"about {more} more held-out {'case' if more == 1 else 'cases'} ({task})"
