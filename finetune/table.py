"""A gate's verdict as a table for the terminal (pure)."""

from typing import Any


def as_table(verdict: dict[str, Any]) -> str:
    """Metric, task, both figures, the difference with its 95 % interval and n; then verdict and reasons."""
    head = (
        f"{'metric':22} {'over':16} {'candidate':>9} {'serving':>8} {'difference':>11} {'95 % interval':>17} {'n':>5}"
    )
    lines = [head, "-" * len(head)]
    for delta in verdict["deltas"]:
        interval = f"[{delta['low']:+.3f}, {delta['high']:+.3f}]"
        lines.append(
            f"{delta['metric'][:22]:22} {delta['task'][:16]:16} {delta['candidate']:9.3f} {delta['serving']:8.3f} "
            f"{delta['difference']:+11.3f} {interval:>17} {delta['n']:5}"
        )
    lines += ["", f"verdict: {verdict['verdict'].replace('_', ' ')}"]
    return "\n".join([*lines, *(f"  - {reason}" for reason in verdict["reasons"])])
