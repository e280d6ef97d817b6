"""Time in the sandbox: an instant is a number of microseconds since 1970, UTC."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, timezone

SECOND = 1_000_000
HOUR = 3600 * SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def now() -> int:
    """Return the time of the wall clock, as an instant."""
    return time.time_ns() // 1000


def real_time() -> float:
    """Return the seconds of a monotonic clock, which continues while a test freezes the time."""
    # freezegun and time-machine do not freeze this clock. Windows does not have it.
    return time.clock_gettime(time.CLOCK_MONOTONIC) if sys.platform != "win32" else time.monotonic()


def instant(moment: datetime) -> int:
    """Convert an aware datetime to an instant."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """Convert an instant to an aware datetime."""
    return _EPOCH + timedelta(microseconds=at)


def iso(at: int) -> str:
    """Format an instant as ISO 8601 with microseconds, which sorts by time."""
    return moment(at).isoformat(timespec="microseconds").replace("+00:00", "Z")
