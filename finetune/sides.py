"""Which side, train or held out, an example is on: by the hash of what answers it, at first sight, for ever (pure).

People, who may be few, are not hashed but dealt out as they come, so that their share is held out from the start.

Sides are kept in the store by whoever calls; here they are a mapping that grows.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

TRAIN, HELD_OUT, LEAVES = "train", "held_out", "leaves"
PERSON = "person:"
"""What the key of a person begins with."""

PEOPLE = 20
"""From so many on, people have sides."""


class Sides:
    """The sides given so far, and new ones by hash.

    `known` maps keys to sides; `new` collects what was added. People count once there are 20 of them, and from then on
    for ever, however many are left.
    """

    def __init__(self, known: dict[str, str], *, held_out_share: float, people: int) -> None:
        self.known = known
        self.new: dict[str, str] = {}
        self._share = held_out_share
        self._people = Counter(side for key, side in known.items() if key.startswith(PERSON))
        self._split_people = people >= PEOPLE or bool(self._people)

    def of(self, keys: Sequence[str], *, person: str, held_out: bool = False) -> str:
        """The side of an example with these keys, the deciding one first; LEAVES when they disagree.

        Keys without a side inherit it, so that a conversation or a near-duplicate follows its first example; `held_out`
        holds an example out where no key says otherwise yet.
        """
        every = [*keys, *([person] if self._split_people else [])]
        found = {self.known[key] for key in every if key in self.known}
        if len(found) > 1:
            return LEAVES
        side = found.pop() if found else HELD_OUT if held_out else self._hashed(keys[0])
        if held_out and side != HELD_OUT:
            return LEAVES
        if self._split_people and person not in self.known:
            self._enter(person, self._dealt())
            if self.known[person] != side:
                return LEAVES
        for key in keys:
            self._enter(key, side)
        return side

    def _dealt(self) -> str:
        """The side of the next person: held out whenever that brings the share of people nearer to what is wanted."""
        wanted = self._share * (self._people.total() + 1)
        side = HELD_OUT if self._people[HELD_OUT] + 0.5 <= wanted else TRAIN
        self._people[side] += 1
        return side

    def _hashed(self, key: str) -> str:
        value = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
        return HELD_OUT if value < self._share else TRAIN

    def _enter(self, key: str, side: str) -> None:
        if key not in self.known:
            self.known[key] = self.new[key] = side
