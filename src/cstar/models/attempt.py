"""One attempt of a call, for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from cstar.errors import APIConnectionError

__all__ = ["Attempt"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a call, as passed to `on_attempt`."""

    method: str
    """The HTTP method."""

    path: str
    """The path below the base URL, without the query."""

    number: int
    """The number of the attempt, from 1."""

    status_code: int | None
    """The HTTP status code; `None` if no response was received."""

    error: APIConnectionError | None
    """The connection error; `None` if a response was received."""

    duration: float
    """The duration of the attempt in seconds."""

    retry_wait: float | None
    """The delay in seconds before the next attempt; `None` after the last attempt."""

    request_id: str | None
    """The server's id of the request, if the response has one."""
