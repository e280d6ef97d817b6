"""Counting what each key has used of its hourly budget."""

from __future__ import annotations

from dataclasses import dataclass

from cstar.sandbox._clock import HOUR, SECOND


@dataclass(frozen=True)
class Usage:
    """Where a key stands after a request."""

    limit: int
    remaining: int
    reset: int
    window: int

    def headers(self) -> dict[str, str]:
        """The contract's headers: requests, and seconds (since 1970 for the reset)."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset),
            "X-RateLimit-Window": str(self.window),
        }


class RateCounter:
    """Counts requests per key in fixed windows, each opened by a key's first request.

    In memory: a restart gives everyone a fresh budget, which costs nothing, while counting in the database would cost
    every read a synced write.
    """

    def __init__(self, limit: int = 1_000_000, window: int = HOUR) -> None:
        self._limit = limit
        self._window = window
        self._used: dict[str, tuple[int, int]] = {}

    def count(self, key: str, now: int) -> Usage:
        """Count one request of a key at an instant."""
        ends, used = self._used.get(key, (0, 0))
        if now >= ends:
            ends, used = now + self._window, 0
        self._used[key] = ends, used + 1
        return Usage(
            limit=self._limit,
            remaining=max(0, self._limit - used - 1),
            reset=-(-ends // SECOND),  # rounded up: by then the budget is back for certain
            window=self._window // SECOND,
        )
