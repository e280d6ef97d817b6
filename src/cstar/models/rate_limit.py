"""Where the key stands in its rate limit, as the API's Rate limits page describes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["RateLimit"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The `X-RateLimit-*` headers of an answer.

    Attributes:
        limit: Requests allowed in a window.
        remaining: Requests left in this one.
        reset_at: When the window ends, in UTC.
        window: The window's length in seconds, where the server says it.
    """

    limit: int
    remaining: int
    reset_at: datetime
    window: float | None = None
