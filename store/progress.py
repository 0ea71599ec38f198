"""A step's progress with the course of its loss, so that a page that is opened late shows all of it (pure)."""

from collections.abc import Mapping
from typing import Any

CURVE = "curve"
MAX_POINTS = 240


def with_curve(before: Mapping[str, Any], reported: Mapping[str, Any]) -> dict[str, Any]:
    """What was reported last, with `curve`: the points [step, loss] so far, thinned to at most 240.

    A step that begins anew, at a number not above the last one, begins a new curve.
    """
    step, loss = reported.get("step"), reported.get("loss")
    if not isinstance(step, int) or not isinstance(loss, int | float):
        return dict(reported)
    curve = [list(point) for point in before.get(CURVE, []) if point[0] < step]
    curve = [*curve, [step, round(float(loss), 4)]]
    return {**reported, CURVE: curve if len(curve) <= MAX_POINTS else [*curve[:-1:2], curve[-1]]}
