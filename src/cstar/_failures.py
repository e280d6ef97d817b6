"""Why an attempt got no response: whether its request was sent, and the error for the caller."""

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

# OpenSSL's reasons for which no handshake succeeds: the server speaks no TLS, or only versions that are not accepted.
_NO_COMMON_PROTOCOL = re.compile("WRONG_VERSION_NUMBER|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS|ALERT_PROTOCOL_VERSION")
# The request was not sent if httpx raised one of these.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


def was_sent(error: httpx.HTTPError) -> bool:
    """Whether the request may have reached the server, as far as the error tells."""
    return _aiohttp.was_sent(error) if _aiohttp.is_from_aiohttp(error) else not isinstance(error, _NOT_SENT)


def is_permanent(error: httpx.HTTPError) -> bool:
    """Whether another attempt would fail for the same reason.

    That is a certificate that is not trusted, a server that does not speak TLS, an unsupported protocol, a malformed
    request, or a refusal by the proxy.
    """
    causes = _causes(error)
    if isinstance(error, httpx.ProxyError):
        return re.match("4(?!08|29)", str(error)) is not None
    if isinstance(error, httpx.LocalProtocolError):
        # In HTTP/2, the state of the connection may be to blame.
        return not any(type(each).__module__.startswith("h2.") for each in causes)
    if isinstance(error, httpx.UnsupportedProtocol) or any(
        isinstance(each, ssl.SSLCertVerificationError) for each in causes
    ):
        return True
    return any(_NO_COMMON_PROTOCOL.search(str(each)) for each in causes if isinstance(each, ssl.SSLError))


def _causes(error: BaseException) -> list[BaseException]:
    """An error, and what led to it."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def connection_error(
    state: CallState, error: httpx.HTTPError, options: Options, proxy: str | None
) -> APIConnectionError:
    """The error for the caller."""
    with suppress(RuntimeError):
        # The error keeps its request, whose headers contain the API key.
        error.request = httpx.Request(error.request.method, error.request.url)
    call, name, is_timeout = state.call, type(error).__name__, _is_timeout(error)
    sentence = f"{call} got no answer from {options.base_url}"
    if proxy is not None:
        sentence += f" through {proxy}"
    if is_timeout:
        sentence += _time_limit(state, options)
    if state.attempts > 1:
        sentence += f" after {state.attempts} attempts"
    reason = "".join(filter(str.isprintable, _reason(error))).replace(options.api_key, REDACTED).rstrip(".")
    sentence += f" ({name}: {reason})." if reason else f" ({name})."
    if call.idempotency_key is not None and state.was_sent:
        sentence += " It may have been carried out: repeating it with this error's idempotency_key is safe."
    return (APITimeoutError if is_timeout else APIConnectionError)(
        sentence, was_sent=state.was_sent, attempts=state.attempts, idempotency_key=call.idempotency_key
    )


def _is_timeout(error: httpx.HTTPError) -> bool:
    if _aiohttp.is_from_aiohttp(error):
        return _aiohttp.is_timeout(error)
    return isinstance(error, httpx.TimeoutException)


def _time_limit(state: CallState, options: Options) -> str:
    """Which limit ran out."""
    left = state.attempt_time_left()
    if left is None or left > 0.01:  # an `httpx.Timeout`, whose waits end before
        return " in time"
    if state.is_cut_by_deadline:
        return f" within the deadline of {options.deadline:g} s"
    return f" within the timeout of {options.timeout:g} s"


def _reason(error: httpx.HTTPError) -> str:
    """The text of an error. Of anyio's and trio's "all attempts to connect failed", the text of the first attempt."""
    for cause in _causes(error) if "attempts" in str(error) else ():
        for each in (cause, *getattr(cause, "exceptions", ())):
            if isinstance(each, OSError) and each.errno is not None:
                return f"[Errno {each.errno}] {os.strerror(each.errno)}"
    return str(error)
