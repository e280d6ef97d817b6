"""The log of received requests, for tests and for the page."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from pydantic.alias_generators import to_camel

from cstar.sandbox import _clock
from cstar.sandbox._models import JsonObject

_MAX_REQUESTS = 1000
_MAX_BYTES = 64 * 1024 * 1024
_KEY = re.compile(r"([sp]k_(?:live|test)_|whsec_)[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that the sandbox received, and its response."""

    method: str
    """The HTTP method."""
    path: str
    """The path as sent, percent-encoded, without the query."""
    query: str
    """The query string as sent; empty if there was none."""
    headers: Mapping[str, str] = field(repr=False)
    """The headers, with lower-case names. `***` replaces credentials, API keys and webhook secrets."""
    body: bytes
    """The body; empty if it was over the limit of 1 MiB."""
    status: int | None
    """The status of the response; `None` if the connection was dropped instead."""
    request_id: str | None
    """The `X-Request-Id` of the response; `None` if it has none."""
    replayed: bool
    """Whether the response repeats that of an earlier request with the same `Idempotency-Key`."""
    fault: str | None
    """The kind of the fault that applied; `None` if there was none. For "flaky", the kind that was chosen."""
    at: datetime
    """The time when the last byte of the request arrived."""
    duration: float
    """Seconds from `at` to the response, including any latency."""


def request_json(received: ReceivedRequest) -> JsonObject:
    """Convert a request to JSON; a body that is not UTF-8 gets replacement characters."""
    body, at = received.body.decode(errors="replace"), _clock.iso(_clock.instant(received.at))
    return {to_camel(name): value for name, value in {**asdict(received), "body": body, "at": at}.items()}


def redact(text: str) -> str:
    """Redact API keys and webhook secrets."""
    return _KEY.sub(r"\1***", text)


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Redact the credentials in headers; convert the names to lower case."""
    shown = {name.lower(): redact(value) for name, value in headers.items()}
    if "authorization" in shown:
        scheme, space, _ = shown["authorization"].partition(" ")
        shown["authorization"] = f"{scheme} ***" if space else "***"
    return shown


class RequestLog:
    """The newest requests, oldest first. It is thread-safe. `resets` is the number of calls of `clear`."""

    def __init__(self) -> None:
        self.resets: int = 0
        self._requests = deque[ReceivedRequest]()
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, request: ReceivedRequest) -> None:
        with self._lock:
            self._requests.append(request)
            self._bytes += len(request.body)
            while len(self._requests) > _MAX_REQUESTS or self._bytes > _MAX_BYTES:
                self._bytes -= len(self._requests.popleft().body)

    def clear(self) -> None:
        with self._lock:
            self.resets += 1
            self._requests.clear()
            self._bytes = 0

    def requests(self) -> tuple[ReceivedRequest, ...]:
        with self._lock:
            return tuple(self._requests)
