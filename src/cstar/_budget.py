"""The rate limit of the API key: the latest headers, the requests reserved for prefetching, and the time to its reset.

The server's clock may differ from the local clock. Therefore the time until the reset is counted from the `Date` of the
response, and measured with the monotonic clock.
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

# Seconds. The longest plausible time to a reset, if the response has no window.
DAY = 86_400.0
# A reset is a Unix time in seconds. Numbers outside these bounds (the years 2001 and 5138) have another unit.
MIN_UNIX_TIME, MAX_UNIX_TIME = 1e9, 1e11


@dataclass(frozen=True, slots=True)
class _Reading:
    """The rate limit of a response, with times by the monotonic clock.

    Attributes:
        limit: The rate limit.
        sent: The time when the request was sent.
        received: The time when the response was received.
        reset: The time when the window ends.
    """

    limit: RateLimit
    sent: float
    received: float
    reset: float


class Budget:
    """The rate limit of a client and of all clients that share its connections.

    Args:
        clock: The monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Responses whose headers are not parsed yet: the headers, the monotonic times when the request was sent and the
        # response was received, and the local time when it was received. The latest 100 are enough, even if responses
        # arrive out of order.
        self._unread: deque[tuple[httpx.Headers, float, float, float]] = deque(maxlen=100)
        self._latest: _Reading | None = None
        # The number of pages being prefetched, by process.
        self._reserved: Counter[int] = Counter()
        self._lock = threading.Lock()

    def record(self, headers: httpx.Headers, *, sent: float) -> None:
        """Record the headers of a response.

        Args:
            headers: The headers.
            sent: The time when the request was sent, by the monotonic clock.
        """
        if "X-RateLimit-Remaining" in headers:
            self._unread.append((headers, sent, self._clock(), time.time()))

    @property
    def rate_limit(self) -> RateLimit | None:
        """The latest rate limit."""
        reading = self._reading()
        return None if reading is None else reading.limit

    def _reading(self) -> _Reading | None:
        # Parsed on demand, because most programs never use it.
        with suppress(IndexError):
            while True:
                headers, sent, received, wall_clock = self._unread.popleft()
                now = server_time(headers) or datetime.fromtimestamp(wall_clock, timezone.utc)
                if (limit := rate_limit(headers, now=now)) is not None:
                    reset = received + (limit.reset_at - now).total_seconds()
                    self._latest = _later(self._latest, _Reading(limit, sent, received, reset))
        return self._latest

    def reserve_page(self, *, needed: bool) -> bool:
        """Reserve a request for a page.

        Returns:
            Whether to request the page: it is needed now, or a request remains in the window.
        """
        reading = self._reading()
        is_current = reading is not None and reading.reset > self._clock()
        with self._lock:
            if reading and is_current and not needed and reading.limit.remaining <= self._reserved[os.getpid()]:
                return False
            self._reserved[os.getpid()] += 1
            return True

    def release_page(self) -> None:
        """Release a reservation: the response has been recorded, or the request has failed."""
        with self._lock:
            self._reserved[os.getpid()] -= 1

    def seconds_until_reset(self, longest: float) -> float:
        """Return the seconds to wait before the next request: 0 if requests remain, or if the wait exceeds `longest`.

        A request that would wait longer is sent at once, because the server's error explains the limit better.
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
    """Return the rate limit in the `X-RateLimit-*` headers; `None` if they are missing or invalid.

    Args:
        headers: The headers of a response.
        now: The time of the response if it has no `Date`; by default the local time.
    """
    # In one pass, because each lookup in `httpx.Headers` iterates over all headers.
    prefix = b"x-ratelimit-"
    values = {name[len(prefix) :]: value for raw, value in headers.raw if (name := raw.lower()).startswith(prefix)}
    try:
        limit, remaining, reset = int(values[b"limit"]), int(values[b"remaining"]), float(values[b"reset"])
        if not math.isfinite(reset):
            return None
        window = _window(values.get(b"window", b""))
        now = server_time(headers) or now or datetime.now(timezone.utc)
        if reset > MAX_UNIX_TIME:
            reset /= 1000  # milliseconds
        elif reset < MIN_UNIX_TIME:
            reset += now.timestamp()  # seconds from now
        latest_reset = now + timedelta(seconds=window if window is not None and window > 0 else DAY)
        reset_at = datetime.fromtimestamp(min(reset, latest_reset.timestamp()), timezone.utc)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
    return RateLimit(limit=limit, remaining=remaining, reset_at=reset_at, window=window)


def _window(value: bytes) -> float | None:
    with suppress(ValueError):
        return float(value)
    return None


def seconds_until_reset(headers: httpx.Headers) -> float | None:
    """Return the seconds until the rate limit resets, if the headers show that it is used up; otherwise `None`."""
    now = server_time(headers) or datetime.now(timezone.utc)
    limit = rate_limit(headers, now=now)
    if limit is None or limit.remaining > 0:
        return None
    wait = (limit.reset_at - now).total_seconds()
    return wait if wait > 0 else None


def server_time(headers: httpx.Headers) -> datetime | None:
    """Return the `Date` of a response (RFC 9110, section 6.6.1)."""
    date = headers.get("Date")
    return None if date is None else http_date(date)


def http_date(text: str) -> datetime | None:
    """Parse an HTTP date; return `None` for other text."""
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        # The zone "-0000" gives a datetime without a zone.
        return moment.replace(tzinfo=moment.tzinfo or timezone.utc)
    except (ValueError, OverflowError, TypeError):
        return None


def _later(known: _Reading | None, new: _Reading) -> _Reading:
    """Return the later of two readings."""
    # A request that was sent after the known response was received is the later one.
    if known is None or new.sent >= known.received:
        return new
    # Concurrent requests: in the same window, the reading with fewer remaining requests is the later one.
    if (known.limit.limit, known.limit.reset_at) == (new.limit.limit, new.limit.reset_at):
        return min(known, new, key=lambda reading: reading.limit.remaining)
    return max(known, new, key=lambda reading: reading.reset)
