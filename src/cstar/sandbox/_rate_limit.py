"""The rate limit of each key, in fixed windows that a key's first request opens."""

from __future__ import annotations

from dataclasses import dataclass

from cstar.sandbox._clock import SECOND


@dataclass(frozen=True)
class Usage:
    """The rate limit of a key after a request; instants and spans in microseconds."""

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
        """Seconds until the next window, rounded up."""
        return _seconds(self.ends - self.now)

    def headers(self) -> dict[str, str]:
        """The headers of a response: requests, and seconds (since 1970 for the reset)."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Reset": str(_seconds(self.ends)),
            "X-RateLimit-Window": str(_seconds(self.window)),
        }


class RateLimiter:
    """Counts requests in memory: in the database, every read would cost a synced write."""

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

    def unused(self, now: int) -> Usage:
        """The rate limit of a request without a known key, which counts against none."""
        return Usage(self._limit, 0, self._window, now + self._window, now)

    def clear(self) -> None:
        """Begin a new window for every key."""
        self._used.clear()


def _seconds(microseconds: int) -> int:
    return -(-microseconds // SECOND)
