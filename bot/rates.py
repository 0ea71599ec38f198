"""How often somebody may ask, and how often an address may try to sign in, in a minute (library: limits).

Counted in this process: with several bots behind one address each has its own count.
"""

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from store.errors import Busy

MINUTE = 60


class Rates:
    """Counts requests of people and failed or attempted sign-ins of addresses; safe to share between threads."""

    def __init__(self, *, requests_per_minute: int, sign_ins_per_minute: int) -> None:
        self._requests = RateLimitItemPerMinute(requests_per_minute)
        self._sign_ins = RateLimitItemPerMinute(sign_ins_per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def request(self, person_id: str) -> None:
        """Count a request of somebody; raises Busy over the limit."""
        self._count(self._requests, "requests", person_id, "requests of yours")

    def sign_in(self, address: str) -> None:
        """Count an attempt to sign in from an address, or a wrong key; raises Busy over the limit."""
        self._count(self._sign_ins, "sign-in", address, "attempts to sign in from this address")

    def _count(self, limit: RateLimitItemPerMinute, kind: str, whose: str, what: str) -> None:
        if not self._limiter.hit(limit, kind, whose):
            busy = Busy(f"more than {limit.amount} {what} within a minute.", "Try again in a minute.")
            busy.retry_after = MINUTE
            raise busy
