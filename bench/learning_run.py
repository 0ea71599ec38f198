"""How far a run of `bench.learning` is: written down beside the bot's data, to go on after an interruption."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

KEPT = "learning.json"


@dataclass
class Run:
    """How far the cycles are; kept beside the bot's data, to go on after an interruption."""

    recipe: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: list[dict[str, Any]] = field(default_factory=list)
    """One entry a cycle that has ended."""
    names: list[str] = field(default_factory=lambda: ["base"])
    serving: str = "base"
    first: list[str] = field(default_factory=list)
    """The base's answers to the cases."""
    twice: str = ""
    """How many of them it gave once more when asked at once again."""
    told: int = 0
    """Cycles whose people have asked."""
    cycle: str = ""
    """The cycle that runs."""

    @classmethod
    def of(cls, data: Path) -> Self:
        """The run kept in a folder."""
        return cls(**json.loads((data / KEPT).read_text()))

    def keep(self, data: Path) -> None:
        """Write it down, whole or not at all."""
        part = data / f"{KEPT}.part"
        part.write_text(json.dumps(asdict(self)))
        part.replace(data / KEPT)
