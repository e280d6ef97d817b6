"""Why an attempt got no response: whether its request was sent, and the error for the caller."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx

from cstar import _aiohttp
from cstar._response import REDACTED
from cstar.errors import APIConnectionError, APITimeoutError

if TYPE_CHECKING:
    from cstar._call_state import CallState
    from cstar._options import Options

# The request was not sent if httpx raised one of these.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


def was_sent(error: httpx.HTTPError) -> bool:
    """Whether the request may have reached the server, as far as the error tells."""
    return _aiohttp.was_sent(error) if _aiohttp.is_from_aiohttp(error) else not isinstance(error, _NOT_SENT)


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
    cause: BaseException | None = error if "attempts" in str(error) else None
    while cause is not None:
        for each in (cause, *getattr(cause, "exceptions", ())):
            if isinstance(each, OSError) and each.errno is not None:
                return f"[Errno {each.errno}] {os.strerror(each.errno)}"
        cause = cause.__cause__ or cause.__context__
    return str(error)
