"""Counting what each key has used of its budget."""

from __future__ import annotations

from dataclasses import dataclass

from cstar.sandbox._clock import SECOND


@dataclass(frozen=True)
class Usage:
    """Where a key stands after a request: requests, and instants and spans in microseconds."""

    limit: int
    used: int
    window: int
    ends: int
    now: int

    @property
    def exceeded(self) -> bool:
        """Whether this request was one too many."""
        return self.used > self.limit

    @property
    def retry_after(self) -> int:
        """Seconds until the budget is back for certain, so rounded up."""
        return _seconds(self.ends - self.now)

    def headers(self) -> dict[str, str]:
        """The contract's headers: requests, and seconds (since 1970 for the reset)."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Reset": str(_seconds(self.ends)),
            "X-RateLimit-Window": str(_seconds(self.window)),
        }


class RateLimiter:
    """Counts requests per key in fixed windows, each opened by a key's first request.

    In memory: a restart gives everyone a fresh budget, which costs nothing, while counting in the database would cost
    every read a synced write.
    """

    def __init__(self, limit: int, window: int) -> None:
        self._limit = limit
        self._window = window
        self._used: dict[str, tuple[int, int]] = {}

    def count(self, key: str, now: int) -> Usage:
        """Count one request of a key at an instant."""
        ends, used = self._used.get(key, (0, 0))
        if now >= ends:
            ends, used = now + self._window, 0
        self._used[key] = ends, used + 1
        return Usage(self._limit, used + 1, self._window, ends, now)

    def untouched(self, now: int) -> Usage:
        """Where a key stands that has not been used: what strangers are told, who have no budget to use up."""
        return Usage(self._limit, 0, self._window, now + self._window, now)

    def clear(self) -> None:
        """Give every key a fresh budget."""
        self._used.clear()


def _seconds(microseconds: int) -> int:
    return -(-microseconds // SECOND)
