"""The rate limit of each API key, in fixed windows. The first request of a key opens its window."""

from __future__ import annotations

from dataclasses import dataclass

from cstar.sandbox._clock import SECOND


@dataclass(frozen=True)
class Usage:
    """The rate limit of a key after a request, in requests and seconds; `reset` is in Unix seconds."""

    limit: int
    used: int
    window: int
    reset: int
    retry_after: int

    @property
    def exceeded(self) -> bool:
        """Whether this request exceeded the limit."""
        return self.used > self.limit

    def headers(self) -> dict[str, str]:
        """Return the headers of the response."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Reset": str(self.reset),
            "X-RateLimit-Window": str(self.window),
        }


class RateLimiter:
    """The requests of each key, counted in memory: in the database, every read would need a synced write."""

    def __init__(self, limit: int, window: int) -> None:
        self._limit = limit
        self._window = window
        self._used: dict[str, tuple[int, int]] = {}

    def count(self, key: str, now: int) -> Usage:
        """Count one request of a key at an instant."""
        end, used = self._used.get(key, (0, 0))
        if not 0 < end - now <= self._window:  # the clock may have been set back
            end, used = now + self._window, 0
        self._used[key] = end, used + 1
        return self._usage(used + 1, end, now)

    def unused(self, now: int) -> Usage:
        """Return the usage for a request without a known key, which is not counted."""
        return self._usage(0, now + self._window, now)

    def clear(self) -> None:
        """Begin a new window for every key."""
        self._used.clear()

    def _usage(self, used: int, end: int, now: int) -> Usage:
        window, reset, retry_after = (-(-span // SECOND) for span in (self._window, end, end - now))  # rounded up
        return Usage(self._limit, used, window, reset, retry_after)
