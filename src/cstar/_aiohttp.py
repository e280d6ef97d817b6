"""Corrections for httpx-aiohttp, which maps most errors of aiohttp to `ConnectTimeout`, and some not at all."""

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
    """Return whether httpx-aiohttp converted the error from an error of aiohttp."""
    return _package(type(error.__cause__).__module__) == "aiohttp"


def was_sent(error: httpx.HTTPError) -> bool:
    """Return whether the request of a converted error may have reached the server."""
    return _NOT_SENT.isdisjoint(cls.__name__ for cls in type(error.__cause__).__mro__)


def is_timeout(error: httpx.HTTPError) -> bool:
    """Return whether a converted error is a timeout."""
    return any(cls.__name__ == "TimeoutError" for cls in type(error.__cause__).__mro__)


def as_httpx_error(error: Exception) -> httpx.HTTPError | None:
    """Convert an error that httpx-aiohttp does not map. Return `None` for errors from other packages."""
    if _package(type(error).__module__) == "aiohttp":
        # Do not chain the error: its text contains the query, and its request contains the API key.
        return httpx.RemoteProtocolError(" ".join(str(getattr(error, "message", error)).split()))
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None and _package(trace.tb_frame.f_globals.get("__name__", "")) == "httpx_aiohttp":
        # httpx-aiohttp cannot encode every reason phrase.
        return httpx.RemoteProtocolError(str(error))
    return None


def _package(module: str) -> str:
    return module.partition(".")[0]
