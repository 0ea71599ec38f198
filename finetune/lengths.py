"""How long the answers of a task may be: what its rules say, widened to what people write for it (pure)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from finetune.examples import Rules
from store.answers import declined

ENOUGH = 20
"""So many people's answers to a task say how long its answers are."""
OUTLYING = 0.1
"""The share at either end that is left out: the shortest and the longest."""


def widened(rules: Mapping[str, Rules], written: Iterable[tuple[str, str]]) -> dict[str, Rules]:
    """The rules, each with lengths that let through four of five answers that people wrote for its task.

    `written` are (task, answer); those that decline say nothing of lengths. An adapter that learns from short
    corrections answers as briefly. Were its liked answers cut for that and its declines kept, the next one would
    over-decline.
    """
    lengths: dict[str, list[int]] = {}
    for task, answer in written:
        if task in rules and not declined(answer):
            lengths.setdefault(task, []).append(len(answer.strip()))
    return {task: _wide(rule, sorted(lengths.get(task, []))) for task, rule in rules.items()}


def _wide(rule: Rules, lengths: list[int]) -> Rules:
    if len(lengths) < ENOUGH:
        return rule
    out = int(len(lengths) * OUTLYING)
    shortest, longest = lengths[out], lengths[-1 - out]
    return replace(rule, min_length=min(rule.min_length, shortest), max_length=max(rule.max_length, longest))
