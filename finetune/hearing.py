"""Whose word on an answer counts: not what comes in a burst, and not what a new account says (pure)."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property

BURST = timedelta(hours=1)
BURSTING = "rated in a burst"
NEW_ACCOUNT = "the account is too new"


class Hearing:
    """What people said, entered in any order; ask only once everything is entered.

    More than `most_per_hour` ratings within an hour are a burst, and a person is new for `new_days` from when they
    `joined`; 0 hears everybody, what was imported is of before they joined, and reviewers are always heard.
    """

    def __init__(
        self,
        reviewers: frozenset[str],
        *,
        joined: Mapping[str, datetime],
        new_days: float = 0.0,
        most_per_hour: int = 0,
    ) -> None:
        self.reviewers = reviewers
        self._joined, self._new, self._most = joined, timedelta(days=new_days), most_per_hour
        self._times: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
        self._early: set[str] = set()

    def enter(self, exchange_id: str, person: str, at: datetime) -> None:
        """Enter that a person said something of an exchange."""
        self._times[person].append((at, exchange_id))
        joined = self._joined.get(person)
        if joined is not None and person not in self.reviewers and joined <= at < joined + self._new:
            self._early.add(exchange_id)

    def unheard(self, exchange_id: str) -> str:
        """Why what was said of an exchange counts for nothing; empty where it counts."""
        if exchange_id in self._bursts:
            return BURSTING
        return NEW_ACCOUNT if exchange_id in self._early else ""

    @cached_property
    def _bursts(self) -> frozenset[str]:
        """The exchanges that somebody rated among more than the most within an hour."""
        found: set[str] = set()
        for person, times in self._times.items():
            if not self._most or person in self.reviewers:
                continue
            times.sort()
            first = 0
            for last, (at, _) in enumerate(times):
                while at - times[first][0] >= BURST:
                    first += 1
                if last - first >= self._most:
                    found.update(exchange for _, exchange in times[first : last + 1])
        return frozenset(found)
