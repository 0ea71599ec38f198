"""Which weights rank: those approved in the store, looked up at most twice a second; else the default."""

import math
import time
from collections.abc import Mapping

from retrieval import ranking
from store import rankings
from store.database import Database
from store.models import Ranking

LOOK_SECONDS = 0.5


class Weights:
    """Called for each search, by any thread; a decision in any process is followed within half a second."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._weights: Mapping[str, float] = ranking.DEFAULT
        self._looked = -math.inf

    def __call__(self) -> Mapping[str, float]:
        """The weights in force."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            with self._database.read() as session:
                self._weights = of(rankings.in_force(session))
            self._looked = time.monotonic()
        return self._weights


def of(row: Ranking | None) -> Mapping[str, float]:
    """The weights of an approved row; the default without one, and for a row that does not fit.

    It does not fit when it was changed since it was approved, or was fitted for other measures than this program has.
    """
    fits = row is not None and row.digest == rankings.digest(row) and set(row.weights) == set(ranking.MEASURES)
    return row.weights if row is not None and fits else ranking.DEFAULT
