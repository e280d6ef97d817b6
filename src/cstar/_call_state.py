"""The state of a call: its attempts so far and its deadlines."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from cstar._call import Call
    from cstar._response import ReceivedResponse
    from cstar.errors import APIConnectionError

    Outcome: TypeAlias = ReceivedResponse | APIConnectionError
    """The outcome of an attempt."""


@dataclass(slots=True, eq=False, repr=False)
class CallState:
    """The state of a call.

    Attributes:
        call: The call.
        deadline: The end of the call, by `time.monotonic()`; `None` for no limit.
        attempts: The number of attempts so far.
        attempt_started: The start of the current attempt, by `time.monotonic()`.
        attempt_deadline: The end of the current attempt, by `time.monotonic()`; `None` for no limit.
        is_cut_by_deadline: Whether the deadline of the call ends the current attempt before its timeout.
        was_sent: Whether any attempt may have reached the server.
        lost_response: Whether any attempt may have reached the server without returning a response.
        is_permanent: Whether the last attempt failed for a reason that a retry cannot change.
        needs_new_connection: Whether the next attempt must open a new connection.
        first: The outcome of the first attempt, until the retry loop takes it.
        last: The outcome of the last attempt.
    """

    call: Call[Any]
    deadline: float | None = None
    attempts: int = 0
    attempt_started: float = 0.0
    attempt_deadline: float | None = None
    is_cut_by_deadline: bool = False
    was_sent: bool = False
    lost_response: bool = False
    is_permanent: bool = False
    needs_new_connection: bool = False
    first: Outcome | None = None
    last: Outcome | None = None

    def __str__(self) -> str:
        return str(self.call)

    def begin_attempt(self, timeout: float | None) -> None:
        """Begin an attempt of at most `timeout` seconds."""
        self.attempts += 1
        self.is_permanent = False
        self.attempt_started = time.monotonic()
        self.attempt_deadline = None if timeout is None else self.attempt_started + timeout
        self.is_cut_by_deadline = self.deadline is not None and (
            self.attempt_deadline is None or self.deadline < self.attempt_deadline
        )
        if self.is_cut_by_deadline:
            self.attempt_deadline = self.deadline

    def time_left(self) -> float | None:
        """Return the seconds until the deadline of the call; `None` for no limit."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the deadline of the call has passed."""
        return self.deadline is not None and self.deadline <= time.monotonic()

    def attempt_time_left(self) -> float | None:
        """Return the seconds until the deadline of the attempt; `None` for no limit."""
        return None if self.attempt_deadline is None else self.attempt_deadline - time.monotonic()

    @property
    def attempt_duration(self) -> float:
        """Seconds since the attempt began."""
        return time.monotonic() - self.attempt_started

    @property
    def log_fields(self) -> dict[str, object]:
        """The extra attributes of every log record about the call."""
        return {"method": self.call.method, "path": self.call.path, "attempt": self.attempts}
