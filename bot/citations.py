"""The `[n]` markers of an answer, matched with the passages it was given (pure)."""

from collections.abc import Sequence
from typing import Any

from store import answers


def valid(text: str, passages: Sequence[dict[str, Any]]) -> list[dict[str, int]]:
    """The citations that name a passage of this exchange: number and character offsets of the marker in `text`."""
    numbers = {passage["n"] for passage in passages}
    return [
        {"n": found.n, "start": found.start, "end": found.end}
        for found in answers.citations(text)
        if found.n in numbers
    ]
