"""Where the tokens of several sequences lie in one pass, and which of them ask.

All layers but the last compute every token; the last one only those whose next token the loss looks at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

BLOCK = 128
"""Query positions that attend at a time: fewer skip more of what the mask hides, more are fewer calls."""


@dataclass(frozen=True)
class Span:
    """A sequence among the rows of a pass: rows `start` to `start + length`; its queries are positions `first` on.

    The queries lie at `rows` in their own tensor, which is shorter than the keys' in the last layer.
    """

    start: int
    length: int
    rows: int
    first: int

    def blocks(self) -> list[tuple[int, int, slice]]:
        """First and last position of each block of queries, and its rows."""
        steps = range(self.first, self.length, BLOCK)
        ends = [(at, min(at + BLOCK, self.length)) for at in steps]
        return [(at, end, slice(self.rows + at - self.first, self.rows + end - self.first)) for at, end in ends]


class Placed:
    """Where the tokens of a pass lie, and their positions' turns."""

    def __init__(self, sequences: Sequence[Any], body: Any, device: torch.device) -> None:
        lengths = [len(one.ids) for one in sequences]
        starts = [sum(lengths[:i]) for i in range(len(lengths))]
        asked = [
            range(start + one.answer - 1, start + len(one.ids) - 1)
            for start, one in zip(starts, sequences, strict=True)
        ]
        self.ids = torch.tensor([token for one in sequences for token in one.ids], device=device)
        self.wanted = torch.tensor([row for rows in asked for row in rows], device=device)
        self.targets = self.ids[self.wanted + 1]
        positions = torch.cat([torch.arange(length) for length in lengths]).to(device)
        cos, sin = body.rotary_emb(body.embed_tokens.weight[:1], positions[None])
        half = cos.shape[-1] // 2
        self.cos, self.sin = cos[0, :, :half], sin[0, :, :half]
        self._all = [Span(start, length, start, 0) for start, length in zip(starts, lengths, strict=True)]
        rows = [sum(len(one) for one in asked[:i]) for i in range(len(asked))]
        # The last position of a sequence asks nothing: its span ends one earlier.
        self._last = [
            Span(start, length - 1, row, one.answer - 1)
            for start, length, row, one in zip(starts, lengths, rows, sequences, strict=True)
        ]

    def spans(self, last: bool) -> list[Span]:
        """Where the sequences' queries and keys are, in the last layer or in another."""
        return self._last if last else self._all

    def turned(self, last: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of the queries' positions (queries, half a head)."""
        return (self.cos[self.wanted], self.sin[self.wanted]) if last else (self.cos, self.sin)

    @cached_property
    def there(self) -> torch.Tensor:
        """Which places of a grid (sequences, longest) hold a token."""
        lengths = torch.tensor([span.length for span in self._all], device=self.ids.device)
        return torch.arange(int(lengths.max()), device=self.ids.device) < lengths[:, None]

    @cached_property
    def places(self) -> torch.Tensor:
        """Each token's place in the grid, row after row."""
        return self.there.flatten().nonzero()[:, 0]

    @cached_property
    def grid(self) -> torch.Tensor:
        """The token at each place of the grid; the first one where none is."""
        return self._gridded(self.places)[0]

    @cached_property
    def asked(self) -> torch.Tensor:
        """The places of the tokens that ask."""
        return self.places[self.wanted]

    @cached_property
    def asked_grid(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Of those that ask, the one at each place, and where there is one."""
        return self._gridded(self.asked)

    def _gridded(self, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        grid = torch.full_like(self.there, -1, dtype=torch.int64).flatten()
        grid[places] = torch.arange(len(places), device=grid.device)
        grid = grid.view_as(self.there)
        return grid.clamp(min=0), grid >= 0
