"""Corrections of httpx-aiohttp's errors: it maps most of aiohttp's to `ConnectTimeout`, and some not at all."""

from __future__ import annotations

import httpx

# The request was not sent if aiohttp raised one of these.
_NOT_SENT = {
    "ClientConnectorError",
    "ClientHttpProxyError",
    "ClientProxyConnectionError",
    "ConnectionTimeoutError",
    "InvalidURL",
}


def is_from_aiohttp(error: httpx.HTTPError) -> bool:
    """Whether httpx-aiohttp has made an error of one of aiohttp's."""
    return _package(type(error.__cause__).__module__) == "aiohttp"


def was_sent(error: httpx.HTTPError) -> bool:
    """Whether the request of such an error may have reached the server."""
    return _NOT_SENT.isdisjoint(cls.__name__ for cls in type(error.__cause__).__mro__)


def is_timeout(error: httpx.HTTPError) -> bool:
    """Whether such an error is about time."""
    return any(cls.__name__ == "TimeoutError" for cls in type(error.__cause__).__mro__)


def as_httpx_error(error: Exception) -> httpx.HTTPError | None:
    """The error of httpx for one that httpx-aiohttp does not map; `None` for what is not its or aiohttp's error."""
    if _package(type(error).__module__) == "aiohttp":
        # The text of the exception shows the query, and its request the API key, so it is not chained.
        return httpx.RemoteProtocolError(" ".join(str(getattr(error, "message", error)).split()))
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None and _package(trace.tb_frame.f_globals.get("__name__", "")) == "httpx_aiohttp":
        # It cannot encode every reason phrase.
        return httpx.RemoteProtocolError(str(error))
    return None


def _package(module: str) -> str:
    return module.partition(".")[0]
