"""The rate limit of the API key, as on the API page "Rate limits"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["RateLimit"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The `X-RateLimit-*` headers of a response."""

    limit: int
    """The number of requests allowed in a window."""

    remaining: int
    """The number of requests remaining in the current window."""

    reset_at: datetime
    """The end of the current window, in UTC."""

    window: float | None = None
    """The length of a window in seconds, if the response has it."""
