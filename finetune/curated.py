"""What curation makes of the log: the examples of each side, and the funnel of what went where and why (pure)."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field

from finetune.examples import Example

NOT_ASKED = "not asked: held out, and newer cases are enough"


@dataclass
class Curated:
    """What curation made of the log: examples by side, replay, and the funnel of what went where and why.

    `rows` holds the exchanges behind every number of the funnel. Each exchange is left out for one reason or stands on
    one side; a withheld example, a disliked answer kept for preferences, and what was changed or is not asked, are
    counted there already.
    """

    train: list[Example] = field(default_factory=list)
    held_out: list[Example] = field(default_factory=list)
    replay: list[Example] = field(default_factory=list)
    disliked: list[Example] = field(default_factory=list)
    golden: frozenset[str] = frozenset()
    funnel: Counter[str] = field(default_factory=Counter)
    rows: dict[str, list[str]] = field(default_factory=dict)

    def count(self, exchange_id: str, what: str) -> None:
        """Count an exchange under a line of the funnel."""
        self.funnel[what] += 1
        self.rows.setdefault(what, []).append(exchange_id)

    def drop(self, exchange_id: str, why: str) -> None:
        """Count an exchange that was left out, with its reason."""
        self.count(exchange_id, f"left out: {why}")

    def count_sides(self, max_cases: int | None = None) -> None:
        """Count every example under its side and kind, and the held-out ones beyond `max_cases`, which nobody asks."""
        sides = {"train": self.train, "held out": self.held_out, "replay": self.replay}
        for name, side in (sides | {"preferences alone": self.disliked}).items():
            for example in side:
                self.count(example.id, f"{name}: {example.kind}")
        asked = {example.id for example in self.cases(len(self.held_out) if max_cases is None else max_cases)}
        for example in self.held_out:
            if example.id not in asked:
                self.count(example.id, NOT_ASKED)

    def sides(self) -> tuple[list[Example], ...]:
        """The examples of every side."""
        return self.train, self.held_out, self.replay, self.disliked

    def digest(self) -> str:
        """The SHA-256 over the examples of all sides."""
        hashed = hashlib.sha256()
        for side in self.sides():
            hashed.update(f"{len(side)}\n".encode())
            for example in side:
                hashed.update(json.dumps(asdict(example)).encode())
        return hashed.hexdigest()

    def cases(self, most: int) -> list[Example]:
        """The held-out cases of an evaluation: all golden ones, and the newest others up to `most`."""
        fixed = [example for example in self.held_out if example.id in self.golden]
        others = [example for example in self.held_out if example.id not in self.golden]
        return [*fixed, *others[max(0, len(others) - max(0, most - len(fixed))) :]]
