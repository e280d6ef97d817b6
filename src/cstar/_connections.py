"""The connections of a client: a transport of httpx, sync and async.

Each call under way has a connection to itself. A connection goes back to the idle ones only after a call that ran to
its end, and the one used last is the next to be used. The lease of a connection ends with its attempt, however that
ends. A lease that is lost even so closes its connection when it is garbage-collected. No lock can be left locked.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import ref

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import anyio

    from cstar._network import AsyncNetwork, Network
    from cstar._route import Route

C = TypeVar("C", bound="_Connection | _AsyncConnection")

# Calls under way at a time. httpx's default of 100 would let the 101st of an async app's calls wait until it times out.
MAX_CONNECTIONS = 1000
# Seconds that an idle connection is kept: as httpx does, and not longer than most servers.
KEEPALIVE_EXPIRY = 5.0
# Seconds between two looks for a free connection, where all are taken.
POLL_INTERVAL = 0.01


class KeptConnectionError(httpx.NetworkError):
    """An idle connection turned out to be closed, or to hold a response already. The request may have been received."""


class _Connection(httpx.HTTPTransport):
    """One connection. It is an `httpx.HTTPTransport` because tracing and testing tools patch that class."""

    was_used = False
    idle_since = 0.0

    def __init__(self, route: Route) -> None:
        import httpcore

        from cstar._network import Network

        self.network: Network = Network()
        # httpx has no public parameter for a network backend.
        self._pool = _open(route, self.network, (httpcore.HTTPConnection, httpcore.HTTPProxy, httpcore.SOCKSProxy))


class _AsyncConnection(httpx.AsyncHTTPTransport):
    """One connection of the async client; see `_Connection`."""

    was_used = False
    idle_since = 0.0

    def __init__(self, route: Route) -> None:
        import httpcore

        from cstar._network import AsyncNetwork

        self.network: AsyncNetwork = AsyncNetwork()
        self._pool = _open(
            route, self.network, (httpcore.AsyncHTTPConnection, httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy)
        )


# The sync and the async classes of httpcore have the same parameters, and no common base.
def _open(route: Route, network: Network | AsyncNetwork, classes: tuple[Any, Any, Any]) -> Any:  # noqa: ANN401
    """A connection of httpcore along a route. Nothing is sent yet."""
    import httpcore

    direct, http_proxy, socks_proxy = classes
    url, proxy = route.url, route.proxy
    if proxy is None:
        scheme, host = url.raw_scheme, url.raw_host
        port = url.port or (443 if url.scheme == "https" else 80)
        return direct(httpcore.Origin(scheme, host, port), route.ssl_context(), network_backend=network)
    proxy_url = httpcore.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
    )
    settings: dict[str, Any] = {"proxy_auth": proxy.auth, "ssl_context": route.ssl_context(), "max_connections": 1}
    if proxy.url.scheme.startswith("socks"):
        return socks_proxy(proxy_url, **settings, network_backend=network)
    if proxy.url.scheme == "https":
        settings["proxy_ssl_context"] = route.ssl_context()
    return http_proxy(proxy_url, **settings, network_backend=network)


class _Lease(Generic[C]):
    """A place among the connections, and the connection that one call has to itself."""

    def __init__(self, connections: _BaseConnections[C]) -> None:
        self._connections = connections
        self._connection: C | None = None
        connections.places[id(self)] = ref(self)

    def take(self, connection: C) -> C:
        self._connection = connection
        return connection

    def give_back(self) -> None:
        """Keep the connection for the next call, if the response has left it open."""
        connection, self._connection = self._connection, None
        assert connection is not None  # a response has come over it
        self._connections.keep(connection)
        self.close()

    def close(self) -> None:
        """Close the connection, unless it was given back, and leave the place."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _close(connection)
        self._connections.leave(id(self))


def _close(connection: _Connection | _AsyncConnection) -> None:
    # httpcore's own `close` takes locks, and an interrupted call may have left them locked.
    if connection.network.stream is not None:
        connection.network.stream.close_socket()


class _BaseConnections(Generic[C]):
    """What both transports do without waiting.

    Attributes:
        places: The leases, by their ids.
    """

    def __init__(self, route: Route) -> None:
        self.places: dict[int, ref[_Lease[C]]] = {}
        self._route = route
        self._idle: deque[C] = deque()
        self._is_closed = False

    def _has_place(self, count: int = 1) -> bool:
        """Whether there are so many places free."""
        if len(self.places) + count > MAX_CONNECTIONS:
            # Some may have left without notice, because a signal handler raised an exception at that moment.
            for place in [place for place, lease in self.places.copy().items() if lease() is None]:
                self.places.pop(place, None)
        return len(self.places) + count <= MAX_CONNECTIONS

    def leave(self, place: int) -> None:
        self.places.pop(place, None)

    def keep(self, connection: C) -> None:
        """Keep a connection for reuse, and close idle connections that have expired."""
        stream = connection.network.stream
        if stream is None or stream.socket.fileno() < 0:
            return
        if self._is_closed:
            stream.close_socket()
            return
        connection.was_used, connection.idle_since = True, time.monotonic()
        self._idle.append(connection)
        with suppress(IndexError):
            while self._idle[0].idle_since < connection.idle_since - KEEPALIVE_EXPIRY:
                _close(self._idle.popleft())

    def _idle_connection(self, request: httpx.Request) -> C | None:
        """The idle connection that was used last, if it is still good, and may be used for this request."""
        oldest = time.monotonic() - KEEPALIVE_EXPIRY
        with suppress(IndexError):
            while not request.extensions.get("new_connection"):
                connection = self._idle.pop()
                stream = connection.network.stream
                # Bytes that come unasked are the end of the connection, or a response that belongs to no request.
                if connection.idle_since >= oldest and stream is not None and not stream.is_readable():
                    return connection
                _close(connection)
        return None

    def close_idle(self) -> None:
        """Close the idle connections now, and the others when their calls end."""
        self._is_closed = True
        with suppress(IndexError):
            while True:
                _close(self._idle.pop())


def end_lease(request: httpx.Request) -> None:
    """End the lease of a request, if it has one. Its connection is closed, unless it was given back."""
    lease = request.extensions.get("lease")
    if lease is not None:
        lease.close()


def _is_established(connection: _Connection | _AsyncConnection, route: Route) -> bool:
    """Whether the handshakes with the proxy and of TLS are complete, so that the request may have been sent."""
    proxy, exchange = route.proxy, connection.network.exchange
    if connection.network.stream is None:
        return not connection.network.is_used  # a mock of httpcore takes a request without a connection
    if exchange.handshakes < (route.url.scheme == "https") + (proxy is not None and proxy.url.scheme == "https"):
        return False
    if connection.was_used or proxy is None or not proxy.url.scheme.startswith("socks"):
        return True
    return exchange.reads >= (2 if proxy.auth is None else 3)  # a SOCKS proxy sends so many replies


def _proxy_error(error: Exception, route: Route) -> httpx.ProxyError | None:
    """The error of httpx for one of a SOCKS proxy, whose replies httpcore does not check before it uses them."""
    is_of_socks = type(error).__module__.partition(".")[0] == "socksio" or isinstance(error, AssertionError)
    if is_of_socks and route.proxy is not None and route.proxy.url.scheme.startswith("socks"):
        return httpx.ProxyError(str(error) or "an unknown reply")
    return None


def _was_closed(connection: _Connection | _AsyncConnection, error: BaseException) -> bool:
    """Whether an error means that an idle connection turned out to be closed, so that the call can be sent again."""
    if not connection.was_used:
        return False
    # Surplus bytes of the previous response cause a protocol error, too.
    if isinstance(error, httpx.RemoteProtocolError):
        return True
    return isinstance(error, httpx.NetworkError) and not _is_in_step(connection)


def _clearer_error(
    error: BaseException, connection: _Connection | _AsyncConnection, route: Route
) -> httpx.TransportError | None:
    """The error that says what became of the connection, if `error` does not."""
    if _was_closed(connection, error):
        return KeptConnectionError(str(error))
    return _proxy_error(error, route) if isinstance(error, Exception) else None


def _check_own_response(connection: _Connection | _AsyncConnection) -> None:
    if connection.was_used and not _is_in_step(connection):
        raise KeptConnectionError("the connection held a part of a response before the request was sent")


def _is_in_step(connection: _Connection | _AsyncConnection) -> bool:
    """Whether the bytes received since the request begin with a status line."""
    head = connection.network.exchange.head
    return head != b"" and b"HTTP/".startswith(head)


class Connections(_BaseConnections[_Connection], httpx.BaseTransport):
    """The connections of `Cstar`, as a transport of its httpx client."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["was_sent"] = False
        lease = request.extensions["lease"] = self._lease(request)
        connection = lease.take(self._idle_connection(request) or _Connection(self._route))
        connection.network.exchange.begin(request.extensions.get("deadline"), request.extensions["timeout"])
        try:
            response = connection.handle_request(request)
        except BaseException as error:
            request.extensions["was_sent"] = _is_established(connection, self._route)
            if (clearer_error := _clearer_error(error, connection, self._route)) is not None:
                raise clearer_error from error
            raise
        request.extensions["was_sent"] = True
        _check_own_response(connection)
        response.stream = _Body(cast("httpx.SyncByteStream", response.stream), lease)
        return response

    def _lease(self, request: httpx.Request) -> _Lease[_Connection]:
        lease = _Lease(self)
        if not self._has_place(0):
            end = _end_of_wait(request)
            while not self._has_place(0):
                lease.close()
                if time.monotonic() >= end:
                    raise httpx.PoolTimeout(f"{MAX_CONNECTIONS} calls are under way")
                time.sleep(POLL_INTERVAL)
                lease = _Lease(self)
        return lease


def _end_of_wait(request: httpx.Request) -> float:
    """When a call that waits for a place gives up, by `time.monotonic()`."""
    timeout: float | None = request.extensions["timeout"].get("pool")
    deadline: float | None = request.extensions.get("deadline")
    end = math.inf if timeout is None else time.monotonic() + timeout
    return end if deadline is None else min(end, deadline)


class _Body(httpx.SyncByteStream):
    """The body of a response. When it is closed, its connection is kept if the body was read to its end."""

    def __init__(self, stream: httpx.SyncByteStream, lease: _Lease[_Connection]) -> None:
        self._stream = stream
        self._lease = lease
        self._is_complete = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream
        self._is_complete = True

    def close(self) -> None:
        if self._is_complete:
            self._stream.close()
            self._lease.give_back()
        self._lease.close()


class AsyncConnections(_BaseConnections[_AsyncConnection], httpx.AsyncBaseTransport):
    """The connections of `AsyncCstar` in one event loop, as a transport of its httpx client there."""

    def __init__(self, route: Route) -> None:
        super().__init__(route)
        self._waiting: deque[_Waiter] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["was_sent"] = False
        lease = request.extensions["lease"] = await self._lease(request)
        connection = lease.take(self._idle_connection(request) or _AsyncConnection(self._route))
        connection.network.exchange.begin(request.extensions.get("deadline"), request.extensions["timeout"])
        try:
            response = await connection.handle_async_request(request)
        except BaseException as error:
            request.extensions["was_sent"] = _is_established(connection, self._route)
            if (clearer_error := _clearer_error(error, connection, self._route)) is not None:
                raise clearer_error from error
            raise
        request.extensions["was_sent"] = True
        _check_own_response(connection)
        response.stream = _AsyncBody(cast("httpx.AsyncByteStream", response.stream), lease)
        return response

    async def _lease(self, request: httpx.Request) -> _Lease[_AsyncConnection]:
        if not self._waiting and self._has_place():
            return _Lease(self)
        import anyio

        waiter = _Waiter(anyio.Event())
        self._waiting.append(waiter)
        try:
            with anyio.fail_after(request.extensions["timeout"].get("pool")):
                await waiter.turn.wait()
        except BaseException as error:
            if waiter.lease is None:
                self._waiting.remove(waiter)
            else:
                waiter.lease.close()  # which gives the place to the next one
            if isinstance(error, TimeoutError):
                raise httpx.PoolTimeout(f"{MAX_CONNECTIONS} calls are under way") from None
            raise
        assert waiter.lease is not None
        return waiter.lease

    def leave(self, place: int) -> None:
        super().leave(place)
        if self._waiting and self._has_place():
            waiter = self._waiting.popleft()
            waiter.lease = _Lease(self)
            waiter.turn.set()


class _Waiter:
    """A call that waits for a place. The place is given to it, so that no later call can take it."""

    def __init__(self, turn: anyio.Event) -> None:
        self.turn = turn
        self.lease: _Lease[_AsyncConnection] | None = None


class _AsyncBody(httpx.AsyncByteStream):
    """The body of a response of the async client; see `_Body`."""

    def __init__(self, stream: httpx.AsyncByteStream, lease: _Lease[_AsyncConnection]) -> None:
        self._stream = stream
        self._lease = lease
        self._is_complete = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        self._is_complete = True

    async def aclose(self) -> None:
        if self._is_complete:
            await self._stream.aclose()
            self._lease.give_back()
        self._lease.close()
