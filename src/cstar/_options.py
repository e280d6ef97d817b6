"""The options of a client: resolved from arguments and environment, and validated."""

from __future__ import annotations

import inspect
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import httpx

from cstar._types import NOT_GIVEN, NotGiven
from cstar.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeGuard

    from cstar.models.attempt import Attempt

DEFAULT_BASE_URL = "https://www.cstar.help/api/v1"

_KEY = re.compile(r"[!-~]+")
_QUOTES = ('"', "'")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~\t]*[!-~])?")
# The headers that are set for each call. As a default header, an Idempotency-Key would make all writes one operation,
# and the other headers would not match the body.
CALL_HEADERS = ("content-type", "content-length", "transfer-encoding", "idempotency-key")
_RESERVED_HEADERS = {"authorization", *CALL_HEADERS}
MAX_PORT = 65535
# Seconds. Sockets reject timeouts that are much longer.
_MAX_TIMEOUT = 1_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """The validated options of a client. `Cstar` documents them."""

    api_key: str = field(repr=False)
    base_url: str
    timeout: float | httpx.Timeout
    deadline: float | None
    max_retries: int
    max_retry_wait: float
    api_version: str
    default_headers: Mapping[str, str] = field(repr=False)
    on_attempt: Callable[[Attempt], object] | None

    def __post_init__(self) -> None:
        _check_key(self.api_key)
        _check_base_url(self.base_url, self.api_key)
        _check_timeout(self.timeout)
        _check_deadline(self.deadline)
        _check_max_retries(self.max_retries)
        _check_max_retry_wait(self.max_retry_wait)
        _check_header("api_version", "CStar-Version", self.api_version)
        if self.on_attempt is not None and not callable(self.on_attempt):
            raise ConfigurationError(
                f"on_attempt must be callable, not a value of type {type(self.on_attempt).__name__}"
            )
        if inspect.iscoroutinefunction(self.on_attempt):
            raise ConfigurationError("on_attempt must be a plain function, not async: it is not awaited")
        for name, value in self.default_headers.items():
            _check_header("default_headers", name, value)

    @classmethod
    def resolve(
        cls,
        *,
        api_key: str | None,
        base_url: str | None,
        default_headers: Mapping[str, str] | None,
        timeout: float | httpx.Timeout,
        deadline: float | None,
        max_retries: int,
        max_retry_wait: float,
        api_version: str,
        on_attempt: Callable[[Attempt], object] | None,
    ) -> Options:
        """Create options, with defaults from the environment."""
        if api_key is None:
            api_key = os.environ.get("CSTAR_API_KEY") or None
        if api_key is None:
            raise ConfigurationError("no API key: pass api_key=… or set the environment variable CSTAR_API_KEY")
        if base_url is None:
            base_url = os.environ.get("CSTAR_BASE_URL") or DEFAULT_BASE_URL
        return cls(
            api_key=api_key,
            base_url=str(base_url).rstrip("/"),
            timeout=timeout,
            deadline=deadline,
            max_retries=max_retries,
            max_retry_wait=max_retry_wait,
            api_version=api_version,
            default_headers={} if default_headers is None else _normalize_headers(default_headers),
            on_attempt=on_attempt,
        )

    def with_changes(
        self,
        *,
        timeout: float | httpx.Timeout | NotGiven,
        deadline: float | NotGiven | None,
        max_retries: int | NotGiven,
        max_retry_wait: float | NotGiven,
        default_headers: Mapping[str, str] | NotGiven,
    ) -> Options:
        """Copy these options with changes. Headers are merged into the existing ones."""
        return replace(
            self,
            timeout=self.timeout if timeout is NOT_GIVEN else timeout,
            deadline=self.deadline if deadline is NOT_GIVEN else deadline,
            max_retries=self.max_retries if max_retries is NOT_GIVEN else max_retries,
            max_retry_wait=self.max_retry_wait if max_retry_wait is NOT_GIVEN else max_retry_wait,
            default_headers=self.default_headers
            if default_headers is NOT_GIVEN
            else {**self.default_headers, **_normalize_headers(default_headers)},
        )


def _check_key(api_key: object) -> None:
    # No message may contain the key or a part of it.
    if not isinstance(api_key, str):
        raise ConfigurationError(f"api_key must be a string, not a value of type {type(api_key).__name__}")
    if not api_key:
        raise ConfigurationError("api_key must not be empty")
    if api_key.casefold().startswith("bearer "):
        raise ConfigurationError("api_key must not begin with 'Bearer', which the client adds")
    if not _KEY.fullmatch(api_key):
        reason = " (was it read from a file with a line break at its end?)" if api_key.endswith(("\n", "\r")) else ""
        raise ConfigurationError(f"api_key must be printable ASCII without spaces or line breaks{reason}")
    if api_key.startswith(_QUOTES) or api_key.endswith(_QUOTES):
        raise ConfigurationError("api_key must not be in quotation marks")
    if api_key.startswith("whsec_"):
        raise ConfigurationError("api_key must be an API key, not the secret of a webhook")


def _check_base_url(base_url: str, api_key: str) -> None:
    try:
        url = httpx.URL(base_url)
        url.host.encode("idna")  # the socket does this later, with a less helpful error
    except (httpx.InvalidURL, UnicodeError) as invalid:
        raise ConfigurationError(f"base_url is not a URL: {invalid}") from None
    if url.scheme not in {"https", "http"} or not url.host.strip(".") or re.search(r"\s", base_url):
        raise ConfigurationError(f"base_url must have the scheme http or https and a host, as in {DEFAULT_BASE_URL!r}")
    if (url.port or 0) > MAX_PORT:
        raise ConfigurationError(f"base_url must have a port up to {MAX_PORT}, not {url.port}")
    if url.userinfo:
        # httpx would send them as Basic authentication instead of the API key.
        raise ConfigurationError("base_url must not contain a user name or password")
    if url.query or url.fragment:
        raise ConfigurationError("base_url must not contain a query or a fragment")
    if url.scheme == "http" and not is_loopback(url.host) and not _is_test_key(api_key):
        raise ConfigurationError(
            f"a live key must not be sent over plain http to {url.host}: use https, a test key (sk_test_…), "
            "or a loopback address"
        )


def _is_test_key(api_key: str) -> bool:
    # Keys with an unknown prefix are treated as live keys.
    return api_key.startswith(("sk_test_", "pk_test_"))


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address or name."""
    host = host.rstrip(".")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761, section 6.3


def _check_timeout(timeout: object) -> None:
    parts = [timeout]
    if isinstance(timeout, httpx.Timeout):
        parts = [part for part in timeout.as_dict().values() if part is not None]
    if not all(_is_number(part) and 0 < part <= _MAX_TIMEOUT for part in parts):
        raise ConfigurationError(
            f"timeout must be a positive number of seconds up to {_MAX_TIMEOUT}, or an httpx.Timeout with such values, "
            f"not {timeout!r} (httpx.Timeout(None) waits forever)"
        )


def _check_deadline(deadline: object) -> None:
    if deadline is not None and not (_is_number(deadline) and 0 < deadline <= _MAX_TIMEOUT):
        raise ConfigurationError(
            f"deadline must be a positive number of seconds up to {_MAX_TIMEOUT}, or None, not {deadline!r}"
        )


def _check_max_retries(max_retries: object) -> None:
    if not isinstance(max_retries, int) or isinstance(max_retries, bool) or max_retries < 0:
        raise ConfigurationError(f"max_retries must be a non-negative whole number, not {max_retries!r}")


def _check_max_retry_wait(max_retry_wait: object) -> None:
    if not _is_number(max_retry_wait) or not max_retry_wait >= 0:
        raise ConfigurationError(f"max_retry_wait must be a non-negative number of seconds, not {max_retry_wait!r}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _normalize_headers(headers: object) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"default_headers must be a mapping, not a value of type {type(headers).__name__}")
    # In lower case, because header names are case-insensitive.
    named = cast("Mapping[object, str]", headers)
    if invalid := [name for name in named if not isinstance(name, str)]:
        raise ConfigurationError(f"default_headers: {invalid[0]!r} is not a header name")
    return {str(name).lower(): value for name, value in named.items()}


def _check_header(option: str, name: str, value: object) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise ConfigurationError(f"{option}: {name!r} is not a header name")
    if name in _RESERVED_HEADERS:
        raise ConfigurationError(f"{option}: {name} is set for each call, by api_key, idempotency_key or the body")
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        raise ConfigurationError(f"{option}: the value of {name} must be printable ASCII without a space at either end")
