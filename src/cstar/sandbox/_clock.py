"""Time as the sandbox keeps it: whole microseconds since 1970, UTC."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, timezone

SECOND = 1_000_000
HOUR = 3600 * SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def now() -> int:
    """The time by the wall clock."""
    return time.time_ns() // 1000


def real_time() -> float:
    """Seconds by a monotonic clock that goes on when a program freezes its time for a test."""
    # freezegun and time-machine do not touch this clock. Windows does not have it.
    return time.clock_gettime(time.CLOCK_MONOTONIC) if sys.platform != "win32" else time.monotonic()


def instant(moment: datetime) -> int:
    """An aware datetime as an instant."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """An instant as an aware datetime."""
    return _EPOCH + timedelta(microseconds=at)


def iso(at: int) -> str:
    """An instant as the API writes it: ISO 8601, always with microseconds, so that text sorts as time does."""
    return moment(at).isoformat(timespec="microseconds").replace("+00:00", "Z")
