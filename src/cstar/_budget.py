"""The rate limit of the API key: the latest headers, the pages reserved by walks, and the seconds until it resets."""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from contextlib import suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from cstar._logging import logger
from cstar.models.rate_limit import RateLimit

if TYPE_CHECKING:
    import httpx


class Budget:
    """The rate limit of a client and all that share its connections."""

    def __init__(self) -> None:
        # The headers of responses that were not looked at yet. Those that overtake each other are among the last.
        self._unread: deque[httpx.Headers] = deque(maxlen=100)
        self._latest: RateLimit | None = None
        # Pages under way that walks fetch ahead, for each process.
        self._reserved: Counter[int] = Counter()
        self._lock = threading.Lock()

    def learn(self, headers: httpx.Headers) -> None:
        """Take note of a response's headers."""
        if "X-RateLimit-Remaining" in headers:
            self._unread.append(headers)

    @property
    def rate_limit(self) -> RateLimit | None:
        """The latest rate limit. Parsed on demand, because most programs never ask for it."""
        with suppress(IndexError):
            while True:
                self._latest = latest_rate_limit(self._latest, rate_limit(self._unread.popleft()))
        return self._latest

    def reserve_page(self, *, needed: bool) -> bool:
        """Reserve a request for a page.

        Returns:
            Whether one is left, or the page is needed anyway.
        """
        limit = self.rate_limit
        is_known = limit is not None and limit.reset_at > datetime.now(timezone.utc)
        with self._lock:
            if limit is not None and is_known and not needed and limit.remaining <= self._reserved[os.getpid()]:
                return False
            self._reserved[os.getpid()] += 1
            return True

    def release_page(self) -> None:
        """Give a reservation back: its response has been counted, or there will be none."""
        with self._lock:
            self._reserved[os.getpid()] -= 1

    def seconds_until_reset(self, longest: float) -> float:
        """The seconds to wait before the next request: 0 if some are left, or if the wait is longer than `longest`.

        In the latter case, the response to the request will be the better explanation.
        """
        limit = self.rate_limit
        if limit is None or limit.remaining > 0:
            return 0.0
        wait = (limit.reset_at - datetime.now(timezone.utc)).total_seconds()
        if not 0.0 < wait <= longest:
            return 0.0
        logger.info(
            "the rate limit of %d requests is used up; waiting %.2f s",
            limit.limit,
            wait,
            extra={"rate_limit": limit.limit, "rate_limit_wait": wait},
        )
        return wait


def rate_limit(headers: httpx.Headers) -> RateLimit | None:
    """The rate limit in the `X-RateLimit-*` headers; `None` if they are missing or invalid."""
    # In one pass: each look-up of a header in `httpx.Headers` reads all of them.
    prefix = b"x-ratelimit-"
    values = {name[len(prefix) :]: value for raw, value in headers.raw if (name := raw.lower()).startswith(prefix)}
    try:
        return RateLimit(
            limit=int(values[b"limit"]),
            remaining=int(values[b"remaining"]),
            reset_at=datetime.fromtimestamp(float(values[b"reset"]), timezone.utc),
            window=float(values[b"window"]) if b"window" in values else None,
        )
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def latest_rate_limit(known: RateLimit | None, received: RateLimit | None) -> RateLimit | None:
    """The later of two rate limits. In one window, it is the one with fewer requests left."""
    if known is None or received is None:
        return received or known
    if (known.limit, known.reset_at) == (received.limit, received.reset_at):
        return min(known, received, key=lambda limit: limit.remaining)
    return max(known, received, key=lambda limit: limit.reset_at)
