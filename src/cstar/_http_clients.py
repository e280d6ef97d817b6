"""The httpx clients that send the requests: a custom one, or one for each process and event loop."""

from __future__ import annotations

import os
import threading
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import httpx

from cstar._connections import AsyncConnections, Connections
from cstar._route import Route
from cstar.errors import ConfigurationError, CstarError

H = TypeVar("H", httpx.Client, httpx.AsyncClient)


class _NoCookies(httpx.Cookies):
    """A cookie jar that stays empty. The API sets no cookies, and those of a proxy could make requests too large."""

    def extract_cookies(self, response: httpx.Response) -> None:
        pass


# An httpx client copies the `Cookies` that it is given, so set them in a subclass.
class _HttpClient(httpx.Client):
    cookies: Any = _NoCookies()


class _AsyncHttpClient(httpx.AsyncClient):
    cookies: Any = _NoCookies()


class _BaseHttpClients(Generic[H]):
    """The httpx clients of a `Cstar` or `AsyncCstar`, and of the clients that its `with_options` creates.

    Attributes:
        user_agent: The `User-Agent` header of a custom httpx client, if the caller has set it.
    """

    def __init__(self, base_url: str, custom: H | None) -> None:
        self._route = Route.resolve(base_url) if custom is None else None
        self._custom: H | None = custom
        self._process = os.getpid()
        self._is_closed = False
        self._lock = threading.Lock()
        agent = "" if custom is None else custom.headers.get("User-Agent", "")
        self.user_agent: str | None = None if not agent or agent.startswith("python-httpx") else agent

    @property
    def is_custom(self) -> bool:
        """Whether the caller passed an httpx client."""
        return self._custom is not None

    @property
    def proxy(self) -> str | None:
        """The proxy of the route to the API, as shown in error messages."""
        return None if self._route is None or self._route.proxy is None else str(self._route.proxy)

    def get(self) -> H:
        """Return the httpx client to send a request with.

        Raises:
            CstarError: The client is closed, or the custom httpx client was created before this process was forked.
        """
        custom = self._custom
        if self._is_closed:
            raise CstarError("the client is closed: create a new one, or keep this one open while it is used")
        if custom is not None and custom.is_closed:
            raise CstarError("the http_client is closed: keep it open while the client is used")
        if custom is None:
            return self._get_or_build()
        if self._process != os.getpid():
            raise CstarError("a custom http_client does not survive a fork: create it in the process that uses it")
        return custom

    def _get_or_build(self) -> H:
        raise NotImplementedError


def _wrong_http_client(expected: str, custom: object) -> ConfigurationError:
    kind = type(custom)
    if isinstance(custom, httpx.AsyncClient):
        return ConfigurationError(f"http_client must be an httpx.{expected}, not an httpx.AsyncClient (use AsyncCstar)")
    if isinstance(custom, httpx.Client):
        return ConfigurationError(f"http_client must be an httpx.{expected}, not an httpx.Client (use Cstar)")
    if kind.__module__.partition(".")[0] != "httpx2" or httpx.__name__ == "httpx2":
        return ConfigurationError(f"http_client must be an httpx.{expected}, not a {kind.__name__}")
    return ConfigurationError(
        f"http_client must be an httpx.{expected}, not an httpx2.{kind.__name__}: if the program uses only httpx2, "
        "call httpx2.alias_httpx() before anything imports httpx"
    )


class HttpClients(_BaseHttpClients[httpx.Client]):
    """The httpx clients of `Cstar`: one for each process."""

    def __init__(self, base_url: str, custom: httpx.Client | object | None) -> None:
        if custom is not None and not isinstance(custom, httpx.Client):
            raise _wrong_http_client("Client", custom)
        super().__init__(base_url, custom)
        self._built: tuple[int, httpx.Client, Connections] | None = None

    def _get_or_build(self) -> httpx.Client:
        # After a fork, parent and child would read each other's responses from shared sockets.
        if (built := self._built) is not None and built[0] == os.getpid():
            return built[1]
        with self._lock:
            if (built := self._built) is None or built[0] != os.getpid():
                assert self._route is not None
                connections = Connections(self._route)
                http = _HttpClient(transport=connections, trust_env=False)
                built = self._built = os.getpid(), http, connections
        return built[1]

    def close(self) -> None:
        """Close the connections, except those of a custom httpx client."""
        self._is_closed = self._custom is None
        if (built := self._built) is not None:
            built[2].close_idle()


class AsyncHttpClients(_BaseHttpClients[httpx.AsyncClient]):
    """The httpx clients of `AsyncCstar`: one for each event loop, because event loops cannot share a socket."""

    def __init__(self, base_url: str, custom: httpx.AsyncClient | object | None) -> None:
        if custom is not None and not isinstance(custom, httpx.AsyncClient):
            raise _wrong_http_client("AsyncClient", custom)
        super().__init__(base_url, custom)
        self._built: WeakKeyDictionary[Any, tuple[int, httpx.AsyncClient, AsyncConnections]] = WeakKeyDictionary()

    def _get_or_build(self) -> httpx.AsyncClient:
        from cstar._event_loop import running_loop

        loop = running_loop()
        if (built := self._built.get(loop)) is not None and built[0] == os.getpid():
            return built[1]
        assert self._route is not None
        connections = AsyncConnections(self._route)
        http = _AsyncHttpClient(transport=connections, trust_env=False)
        with self._lock:
            self._close_ended_loops()
            self._built[loop] = os.getpid(), http, connections
        return http

    def _close_ended_loops(self) -> None:
        for loop, (_, _, connections) in list(self._built.items()):
            # The token of an ended trio run is garbage-collected, and its connections with it.
            if hasattr(loop, "is_closed") and loop.is_closed():
                connections.close_idle()
                del self._built[loop]

    def close(self) -> None:
        """Close the connections of all event loops, except those of a custom httpx client."""
        self._is_closed = self._custom is None
        for _, _, connections in list(self._built.values()):
            connections.close_idle()
