"""Errors of attempts without a response: whether the request was sent, and the error for the caller."""

from __future__ import annotations

import os
import re
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from cstar import _aiohttp
from cstar._response import REDACTED
from cstar.errors import APIConnectionError, APITimeoutError

if TYPE_CHECKING:
    from cstar._call_state import CallState
    from cstar._options import Options

# OpenSSL's reasons for a permanent failure: the server does not support TLS, or supports only versions that the client
# rejects.
_NO_COMMON_PROTOCOL = re.compile("WRONG_VERSION_NUMBER|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS|ALERT_PROTOCOL_VERSION")
# The request was not sent if httpx raised one of these.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


def was_sent(error: httpx.HTTPError) -> bool:
    """Return whether the request of a failed attempt may have reached the server."""
    return _aiohttp.was_sent(error) if _aiohttp.is_from_aiohttp(error) else not isinstance(error, _NOT_SENT)


def is_permanent(error: httpx.HTTPError) -> bool:
    """Return whether a retry would fail for the same reason.

    Such reasons are an untrusted certificate, a server without TLS, an unsupported protocol, a malformed request, and a
    4xx status of the proxy.
    """
    causes = _causes(error)
    if isinstance(error, httpx.ProxyError):
        # Its text begins with the status. 408 and 429 are temporary.
        return re.match("4(?!08|29)", str(error)) is not None
    if isinstance(error, httpx.LocalProtocolError):
        # In HTTP/2, the reason may be the state of the connection. A retry may use another connection.
        return not any(type(each).__module__.startswith("h2.") for each in causes)
    if isinstance(error, httpx.UnsupportedProtocol) or any(
        isinstance(each, ssl.SSLCertVerificationError) for each in causes
    ):
        return True
    return any(_NO_COMMON_PROTOCOL.search(str(each)) for each in causes if isinstance(each, ssl.SSLError))


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and its causes."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def connection_error(
    state: CallState, error: httpx.HTTPError, options: Options, proxy: str | None
) -> APIConnectionError:
    """Return the error for the caller."""
    with suppress(RuntimeError):
        # Replace the request of the error: its headers contain the API key.
        error.request = httpx.Request(error.request.method, error.request.url)
    call, name, is_timeout = state.call, type(error).__name__, _is_timeout(error)
    sentence = f"{call} got no response from {options.base_url}"
    if proxy is not None:
        sentence += f" through {proxy}"
    if is_timeout:
        sentence += _time_limit(state, options)
    if state.attempts > 1:
        sentence += f" after {state.attempts} attempts"
    reason = "".join(filter(str.isprintable, _reason(error))).replace(options.api_key, REDACTED).rstrip(".")
    sentence += f" ({name}: {reason})." if reason else f" ({name})."
    if call.idempotency_key is not None and state.was_sent:
        sentence += " The request may have been carried out. It is safe to repeat it with this error's idempotency_key."
    return (APITimeoutError if is_timeout else APIConnectionError)(
        sentence, was_sent=state.was_sent, attempts=state.attempts, idempotency_key=call.idempotency_key
    )


def _is_timeout(error: httpx.HTTPError) -> bool:
    if _aiohttp.is_from_aiohttp(error):
        return _aiohttp.is_timeout(error)
    return isinstance(error, httpx.TimeoutException)


def _time_limit(state: CallState, options: Options) -> str:
    """Describe the time limit that was exceeded."""
    left = state.attempt_time_left()
    if left is None or left > 0.01:  # one of the timeouts of an `httpx.Timeout`
        return " in time"
    if state.is_cut_by_deadline:
        return f" within the deadline of {options.deadline:g} s"
    return f" within the timeout of {options.timeout:g} s"


def _reason(error: httpx.HTTPError) -> str:
    """Return the text of an error.

    For "all attempts to connect failed" of anyio or trio, return the text of the first `OSError` among the causes.
    """
    for cause in _causes(error) if "attempts" in str(error) else ():
        for each in (cause, *getattr(cause, "exceptions", ())):
            if isinstance(each, OSError) and each.errno is not None:
                return f"[Errno {each.errno}] {os.strerror(each.errno)}"
    return str(error)
