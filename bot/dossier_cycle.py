"""Of the cycle that made an adapter: its cost, the ways that it tried, what the plan expected (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any

from store.cycles import WATCH
from store.models import Cycle, CycleStep


def rule(delta: Mapping[str, Any]) -> dict[str, Any]:
    """One rule of the gate with its difference, interval and sentence."""
    role = delta.get("role", "shown")
    role = "information" if role == "shown" else role
    return {"against": "serving", **delta, "role": role}


def cost(cycle: Cycle | None, steps: Sequence[CycleStep]) -> dict[str, Any]:
    """Seconds, tokens and memory that the cycle took; its seconds are those of all steps but the watch, which waits."""
    train = (cycle.results if cycle else {}).get("train", {})
    spent = {
        step.name: (step.finished_at - step.started_at).total_seconds()
        for step in steps
        if step.finished_at is not None and step.name != WATCH
    }
    return {
        "train_seconds": train.get("seconds"),
        "tokens": train.get("tokens"),
        "evaluate_seconds": spent.get("evaluate"),
        "cycle_seconds": sum(spent.values()) or None,
        "peak_mb": train.get("peak_mb"),
    }


def contenders(cycle: Cycle | None) -> list[dict[str, Any]]:
    """The ways of training that a tournament tried, with the rounds of each, the one that was kept, and why."""
    results = cycle.results if cycle else {}
    won: Mapping[str, Any] = results.get("gate", {}).get("winner") or {}
    found = []
    for one in results.get("train", {}).get("variants", []):
        kept = one["adapter"] == won.get("adapter")
        stayed = (won.get("why") if kept else f"{won['adapter']} did better at the same gate.") if won else None
        found.append({**one, "rounds": one.get("rounds", []), "kept": kept, "why": one.get("left") or stayed})
    return found


def expectation(cycle: Cycle | None, verdict: Mapping[str, Any]) -> dict[str, str | None]:
    """What the plan expected to gain, and what was found, each as a sentence."""
    expected: Mapping[str, float] = (cycle.plan if cycle else {}).get("expected", {})
    primaries = [rule(d) for d in verdict.get("deltas", []) if d.get("role") == "primary"]
    over = {d["metric"]: d for d in primaries if d["against"] == "serving"}
    wanted = [f"{_plain(metric)} {gain:+.2f}" for metric, gain in expected.items()]
    measured = [
        f"{_plain(metric)} {found['difference']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
        for metric in expected
        if (found := over.get(metric))
    ]
    return {"expected": ", ".join(wanted) or None, "found": ", ".join(measured) or None}


def _plain(metric: str) -> str:
    return metric.replace("_", " ")
