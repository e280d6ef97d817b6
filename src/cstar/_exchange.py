"""What a connection knows of the request and response under way: how long they may take, and how far they got."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpcore

# Bytes: of "HTTP/", with which every response begins.
HEAD_SIZE = 5


class Exchange:
    """The request and response under way on a connection.

    Attributes:
        deadline: The end of the attempt, by `time.monotonic()`; `None` for no limit.
        longest_wait: Seconds that a wait without a timeout may take, as those for a SOCKS proxy; `None` for no limit.
        reads: The number of reads since the exchange began.
        head: The first bytes received since then, decrypted where there is TLS.
        handshakes: The number of TLS handshakes on the connection so far.
    """

    def __init__(self) -> None:
        self.handshakes: int = 0
        self.begin(None, {})

    def begin(self, deadline: float | None, timeouts: Mapping[str, float | None]) -> None:
        """Begin an exchange.

        Args:
            deadline: The end of the attempt.
            timeouts: The timeouts of its waits, as httpx names them.
        """
        self.deadline = deadline
        self.longest_wait = None if timeouts.get("read") is None else timeouts.get("connect")
        self.reads = 0
        self.head = b""

    def note(self, data: bytes) -> None:
        """Take note of bytes received."""
        self.head = self.head or data[:HEAD_SIZE]

    def time_left(self, timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
        """The timeout of the next wait, in seconds.

        Args:
            timeout: The longest wait, in seconds; `None` for no limit.
            error: The error to raise after the deadline.
        """
        if timeout is None:
            timeout = self.longest_wait
        if self.deadline is None:
            return timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise error("timed out")
        return left if timeout is None else min(left, timeout)
