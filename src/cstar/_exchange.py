"""The HTTP exchange on a connection: its deadline and its progress."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpcore

# Bytes: the length of "HTTP/", with which every response begins.
HEAD_SIZE = 5


class Exchange:
    """The current request and response on a connection.

    Attributes:
        deadline: The end of the attempt, by `time.monotonic()`; `None` for no limit.
        default_timeout: Seconds for each wait to which httpcore gives no timeout, such as for a reply of a SOCKS
            proxy; `None` for no limit.
        reads: The number of reads in this exchange.
        head: The first bytes received in this exchange, decrypted.
        handshakes: The number of TLS handshakes on the connection.
    """

    def __init__(self) -> None:
        self.handshakes: int = 0
        self.begin(None, {})

    def begin(self, deadline: float | None, timeouts: Mapping[str, float | None]) -> None:
        """Reset the state for the next request on the connection.

        Args:
            deadline: The end of the attempt, by `time.monotonic()`; `None` for no limit.
            timeouts: The timeouts in seconds, by httpx's names.
        """
        self.deadline = deadline
        # If `read` or `write` is `None`, httpcore passes no timeout for reads or writes that the caller does not limit.
        has_timeouts = timeouts.get("read") is not None and timeouts.get("write") is not None
        self.default_timeout = timeouts.get("connect") if has_timeouts else None
        self.reads = 0
        self.head = b""

    def record(self, data: bytes) -> None:
        """Record bytes received."""
        self.head = self.head or data[:HEAD_SIZE]

    def time_left(self, timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
        """Return the seconds that a wait may take: its timeout, or the time left until the deadline if that is less.

        Args:
            timeout: Seconds; `None` for `default_timeout`.
            error: The error to raise if the deadline has passed.
        """
        if timeout is None:
            timeout = self.default_timeout
        if self.deadline is None:
            return timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise error("timed out")
        return left if timeout is None else min(left, timeout)
