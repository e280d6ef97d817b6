"""One attempt of a call, for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from cstar.errors import APIConnectionError

__all__ = ["Attempt"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a call, as `on_attempt` receives it.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL, without the query.
        number: The number of the attempt; the first is 1.
        status_code: The HTTP status; `None` if there was no response.
        error: Why there was no response; `None` if there was one.
        duration: Seconds that the attempt took.
        retry_wait: Seconds until the next attempt; `None` after the last one.
        request_id: The server's name for this request, where it gives one.
    """

    method: str
    path: str
    number: int
    status_code: int | None
    error: APIConnectionError | None
    duration: float
    retry_wait: float | None
    request_id: str | None
