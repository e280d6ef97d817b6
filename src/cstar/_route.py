"""The route to the API: its URL, the proxy and the trusted certificates, read from the environment once per client."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes
from urllib.request import getproxies, proxy_bypass

import httpx

from cstar._options import MAX_PORT, is_loopback
from cstar.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_LONGEST_SOCKS_CREDENTIAL = 255  # RFC 1929


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        setting: The environment variable that sets it.
        url: Its scheme, host and port.
        auth: The user name and password.
    """

    setting: str
    url: httpx.URL
    auth: tuple[bytes, bytes] | None = field(repr=False)

    def __str__(self) -> str:
        return f"the proxy {self.url} of {self.setting}"


class Route(NamedTuple):
    """The route to the API.

    Attributes:
        url: The base URL.
        proxy: The proxy; `None` for a direct connection.
        ssl_context: Returns the SSL context. The default context is created for the first connection.
    """

    url: httpx.URL
    proxy: Proxy | None
    ssl_context: Callable[[], ssl.SSLContext]

    @classmethod
    def resolve(cls, base_url: str) -> Route:
        """Read the proxy and certificate settings from the environment.

        Raises:
            ConfigurationError: A setting that applies to this URL is invalid.
        """
        url = httpx.URL(base_url)
        proxy = _proxy_for(url)
        uses_tls = "https" in {url.scheme, proxy.url.scheme if proxy else None}
        return cls(url, proxy, _ssl_context() if uses_tls else _default_ssl_context)


def _proxy_for(url: httpx.URL) -> Proxy | None:
    # Requests to this machine need no proxy.
    if is_loopback(url.host):
        return None
    proxies = getproxies()
    name = f"{url.scheme}_proxy" if proxies.get(url.scheme) else "all_proxy"
    address = (proxies.get(url.scheme) or proxies.get("all") or "").strip()
    port = url.port or (443 if url.scheme == "https" else 80)
    if not address or proxy_bypass(f"{url.host}:{port}"):
        return None
    setting = next((each for each in (name, name.upper()) if os.environ.get(each)), "the system's proxy settings")
    return _parse_proxy(setting, address if "://" in address else f"http://{address}")


def _parse_proxy(setting: str, address: str) -> Proxy:
    # The address may contain a password, so no error may show it, or chain an error that shows it.
    parts: tuple[str, str, int | None, str] | None = None
    with suppress(httpx.InvalidURL, UnicodeError):
        url = httpx.URL(address)
        url.host.encode("idna").decode("idna")  # the socket does this later, with a less helpful error
        if (url.port or 0) <= MAX_PORT and url.host.strip(".") and url.raw_path in {b"", b"/"} and not url.fragment:
            parts = url.scheme, url.host, url.port, url.userinfo.decode()
    if parts is None:
        raise ConfigurationError(
            f"{setting} must be the URL of a proxy, such as 'http://proxy.example:3128': check its host and port, and "
            "remove anything after them (in a password, percent-encode '#', '/', '?' and '@')"
        )
    scheme, host, port, userinfo = parts
    if scheme not in _PROXY_SCHEMES:
        allowed = ", ".join(f"{each}://" for each in _PROXY_SCHEMES)
        raise ConfigurationError(f"{setting} must be the URL of a proxy ({allowed}), not of a {scheme!r}")
    is_socks = scheme.startswith("socks")
    if is_socks and not _is_installed("socksio"):
        raise ConfigurationError(f"{setting} names a SOCKS proxy, which requires a package: pip install 'httpx[socks]'")
    user, _, password = (unquote_to_bytes(part) for part in userinfo.partition(":"))
    if is_socks and max(len(user), len(password)) > _LONGEST_SOCKS_CREDENTIAL:
        raise ConfigurationError(
            f"{setting} must have a user name and a password of at most {_LONGEST_SOCKS_CREDENTIAL} bytes"
        )
    return Proxy(setting, httpx.URL(scheme=scheme, host=host, port=port), (user, password) if userinfo else None)


def _is_installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


def _ssl_context() -> Callable[[], ssl.SSLContext]:
    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not file and not directory:
        return _default_ssl_context
    if directory and not any(Path(each).is_dir() for each in directory.split(os.pathsep)):
        if not file:
            raise ConfigurationError(f"SSL_CERT_DIR must be a directory of certificates: {directory!r} does not exist")
        directory = None
    try:
        context = _load_certificates(file or None, directory or None, Path(file).stat().st_mtime_ns if file else 0)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"SSL_CERT_FILE must be a file of certificates in PEM format, and {file!r} is not: {error}"
        ) from None
    return lambda: context


# Loading certificates takes longer than the rest of creating a client. `modified_at` is part of the cache key, so that
# a changed file is loaded again.
@lru_cache(maxsize=8)
def _load_certificates(file: str | None, directory: str | None, modified_at: int) -> ssl.SSLContext:  # noqa: ARG001
    return ssl.create_default_context(cafile=file, capath=directory)


@cache
def _default_ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
