"""The rate limit of the API key: the latest headers, the pages reserved by walks, and the seconds until it resets.

The server's clock may differ from this machine's, so the seconds until a reset count from the `Date` of the response.
The monotonic clock measures them.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from cstar._logging import logger
from cstar.models.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

# Seconds. No reset is believed to be further ahead, unless the window is longer.
DAY = 86_400.0
# A reset is in Unix seconds. Numbers outside of these bounds, of 2001 and 5138, are in another unit.
MIN_UNIX_TIME, MAX_UNIX_TIME = 1e9, 1e11


@dataclass(frozen=True, slots=True)
class _Reading:
    """The rate limit in a response.

    Attributes:
        limit: The rate limit.
        sent: When the request was sent, by the monotonic clock.
        received: When the response was received.
        reset: When the window ends.
    """

    limit: RateLimit
    sent: float
    received: float
    reset: float


class Budget:
    """The rate limit of a client and all that share its connections.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Responses whose headers were not looked at yet: the headers, when the request was sent, and when the response
        # was received, by the monotonic clock and by this machine's. Those that overtake each other are among the last.
        self._unread: deque[tuple[httpx.Headers, float, float, float]] = deque(maxlen=100)
        self._latest: _Reading | None = None
        # Pages under way that walks fetch ahead, for each process.
        self._reserved: Counter[int] = Counter()
        self._lock = threading.Lock()

    def learn(self, headers: httpx.Headers, *, sent: float) -> None:
        """Take note of a response's headers.

        Args:
            headers: The headers.
            sent: When the request was sent, by the monotonic clock.
        """
        if "X-RateLimit-Remaining" in headers:
            self._unread.append((headers, sent, self._clock(), time.time()))

    @property
    def rate_limit(self) -> RateLimit | None:
        """The latest rate limit."""
        reading = self._reading()
        return None if reading is None else reading.limit

    def _reading(self) -> _Reading | None:
        # Parsed on demand, because most programs never ask for it.
        with suppress(IndexError):
            while True:
                headers, sent, received, wall_clock = self._unread.popleft()
                now = server_time(headers) or datetime.fromtimestamp(wall_clock, timezone.utc)
                if (limit := rate_limit(headers, now=now)) is not None:
                    reset = received + (limit.reset_at - now).total_seconds()
                    self._latest = _latest(self._latest, _Reading(limit, sent, received, reset))
        return self._latest

    def reserve_page(self, *, needed: bool) -> bool:
        """Reserve a request for a page.

        Returns:
            Whether one is left, or the page is needed anyway.
        """
        reading = self._reading()
        is_known = reading is not None and reading.reset > self._clock()
        with self._lock:
            if reading and is_known and not needed and reading.limit.remaining <= self._reserved[os.getpid()]:
                return False
            self._reserved[os.getpid()] += 1
            return True

    def release_page(self) -> None:
        """Give a reservation back: its response has been counted, or there will be none."""
        with self._lock:
            self._reserved[os.getpid()] -= 1

    def seconds_until_reset(self, longest: float) -> float:
        """The seconds to wait before the next request: 0 if some are left, or if the wait is longer than `longest`.

        If the wait is longer, the request is sent, because its response explains the limit better.
        """
        reading = self._reading()
        if reading is None or reading.limit.remaining > 0:
            return 0.0
        wait = reading.reset - self._clock()
        if not 0.0 < wait <= longest:
            return 0.0
        logger.info(
            "the rate limit of %d requests is used up; waiting %.2f s",
            reading.limit.limit,
            wait,
            extra={"rate_limit": reading.limit.limit, "rate_limit_wait": wait},
        )
        return wait


def rate_limit(headers: httpx.Headers, *, now: datetime | None = None) -> RateLimit | None:
    """The rate limit in the `X-RateLimit-*` headers; `None` if they are missing or invalid.

    Args:
        headers: The headers of a response.
        now: The time of the response, where it has no `Date`; by default this machine's.
    """
    # In one pass: each look-up of a header in `httpx.Headers` reads all of them.
    prefix = b"x-ratelimit-"
    values = {name[len(prefix) :]: value for raw, value in headers.raw if (name := raw.lower()).startswith(prefix)}
    try:
        limit, remaining, reset = int(values[b"limit"]), int(values[b"remaining"]), float(values[b"reset"])
        if not math.isfinite(reset):
            return None
        window = _window(values.get(b"window", b""))
        now = server_time(headers) or now or datetime.now(timezone.utc)
        if reset > MAX_UNIX_TIME:
            reset /= 1000  # in milliseconds
        elif reset < MIN_UNIX_TIME:
            reset += now.timestamp()  # seconds from now
        furthest = now + timedelta(seconds=window if window is not None and window > 0 else DAY)
        reset_at = datetime.fromtimestamp(min(reset, furthest.timestamp()), timezone.utc)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
    return RateLimit(limit=limit, remaining=remaining, reset_at=reset_at, window=window)


def _window(value: bytes) -> float | None:
    with suppress(ValueError):
        return float(value)
    return None


def seconds_until_reset(headers: httpx.Headers) -> float | None:
    """The seconds from a response to the reset of a rate limit that it says is used up; otherwise `None`."""
    now = server_time(headers) or datetime.now(timezone.utc)
    limit = rate_limit(headers, now=now)
    if limit is None or limit.remaining > 0:
        return None
    wait = (limit.reset_at - now).total_seconds()
    return wait if wait > 0 else None


def server_time(headers: httpx.Headers) -> datetime | None:
    """The time of a response by the server's clock (RFC 9110, section 6.6.1)."""
    date = headers.get("Date")
    return None if date is None else http_date(date)


def http_date(text: str) -> datetime | None:
    """A date as HTTP writes it; `None` for any other text."""
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        # "-0000" says that the zone is not known.
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc)
    except (ValueError, OverflowError, TypeError):
        return None


def _latest(known: _Reading | None, received: _Reading) -> _Reading:
    """Which of two readings counts."""
    # The request was sent after the other response was there, so the server knew what it said.
    if known is None or received.sent >= known.received:
        return received
    # They overtook each other: in one window, the one with fewer requests left is the later one.
    if (known.limit.limit, known.limit.reset_at) == (received.limit.limit, received.limit.reset_at):
        return min(known, received, key=lambda reading: reading.limit.remaining)
    return max(known, received, key=lambda reading: reading.reset)
