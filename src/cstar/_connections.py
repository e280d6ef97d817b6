"""The connection pool of a client, as an httpx transport: sync and async.

Each attempt leases one connection; the lease ends with the attempt. A connection returns to the pool only after its
response was read completely, and the most recently used connection is reused first. A lost lease closes its connection
when it is garbage-collected. The pool has no locks, so an interrupted call cannot leave one locked.
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

# The maximum number of leases. With httpx's default of 100, further calls of an async program would wait and time out.
MAX_CONNECTIONS = 1000
# Seconds for which an idle connection is kept: httpx's default, and less than most servers allow.
KEEPALIVE_EXPIRY = 5.0
# Seconds between checks for a free slot.
POLL_INTERVAL = 0.01


class StaleConnectionError(httpx.NetworkError):
    """A reused connection was closed, or held data before the request was sent. The server may have the request."""


class _Connection(httpx.HTTPTransport):
    """A connection. It extends `httpx.HTTPTransport` because tracing and testing tools patch that class."""

    is_reused = False
    idle_since = 0.0

    def __init__(self, route: Route) -> None:
        import httpcore

        from cstar._network import Network

        self.network: Network = Network()
        # httpx has no public parameter for a network backend.
        self._pool = _open(route, self.network, (httpcore.HTTPConnection, httpcore.HTTPProxy, httpcore.SOCKSProxy))


class _AsyncConnection(httpx.AsyncHTTPTransport):
    """A connection of the async client; see `_Connection`."""

    is_reused = False
    idle_since = 0.0

    def __init__(self, route: Route) -> None:
        import httpcore

        from cstar._network import AsyncNetwork

        self.network: AsyncNetwork = AsyncNetwork()
        self._pool = _open(
            route, self.network, (httpcore.AsyncHTTPConnection, httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy)
        )


# httpcore's sync and async classes have the same parameters, but no common base.
def _open(route: Route, network: Network | AsyncNetwork, classes: tuple[Any, Any, Any]) -> Any:  # noqa: ANN401
    """Create an httpcore connection for a route. It connects with the first request."""
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
    """A slot of the pool, and the connection that an attempt uses exclusively."""

    def __init__(self, connections: _BaseConnections[C]) -> None:
        self._connections = connections
        self._connection: C | None = None
        connections.slots[id(self)] = ref(self)

    def hold(self, connection: C) -> C:
        self._connection = connection
        return connection

    def return_connection(self) -> None:
        """Return the connection to the pool, if the response left it open, and free the slot."""
        connection, self._connection = self._connection, None
        assert connection is not None  # it carried a response
        self._connections.keep(connection)
        self.close()

    def close(self) -> None:
        """Close the connection, unless it was returned to the pool, and free the slot."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _close(connection)
        self._connections.free_slot(id(self))


def _close(connection: _Connection | _AsyncConnection) -> None:
    # httpcore's `close` acquires locks that an interrupted call may have left locked.
    if connection.network.stream is not None:
        connection.network.stream.close_socket()


class _BaseConnections(Generic[C]):
    """The parts of the pool that do no I/O.

    Attributes:
        slots: The leases by their `id()`.
    """

    def __init__(self, route: Route) -> None:
        self.slots: dict[int, ref[_Lease[C]]] = {}
        self._route = route
        self._idle: deque[C] = deque()
        self._is_closed = False

    def _has_room(self, count: int = 1) -> bool:
        """Return whether the pool can hold `count` more leases."""
        if len(self.slots) + count > MAX_CONNECTIONS:
            # A lease is lost if a signal handler raises an exception before the lease is stored.
            for slot in [slot for slot, lease in self.slots.copy().items() if lease() is None]:
                self.slots.pop(slot, None)
        return len(self.slots) + count <= MAX_CONNECTIONS

    def free_slot(self, slot: int) -> None:
        self.slots.pop(slot, None)

    def keep(self, connection: C) -> None:
        """Add a connection to the idle ones, and close those that have expired."""
        stream = connection.network.stream
        if stream is None or stream.socket.fileno() < 0:
            return
        if self._is_closed:
            stream.close_socket()
            return
        connection.is_reused, connection.idle_since = True, time.monotonic()
        self._idle.append(connection)
        with suppress(IndexError):
            while self._idle[0].idle_since < connection.idle_since - KEEPALIVE_EXPIRY:
                _close(self._idle.popleft())

    def _idle_connection(self, request: httpx.Request) -> C | None:
        """Remove and return the most recently used idle connection that is still usable, if any."""
        oldest = time.monotonic() - KEEPALIVE_EXPIRY
        with suppress(IndexError):
            while not request.extensions.get("new_connection"):
                connection = self._idle.pop()
                stream = connection.network.stream
                # A readable idle connection was closed by the server, or holds an unsolicited response.
                if connection.idle_since >= oldest and stream is not None and not stream.is_readable():
                    return connection
                _close(connection)
        return None

    def close_idle(self) -> None:
        """Close the idle connections now, and each leased connection when its lease ends."""
        self._is_closed = True
        with suppress(IndexError):
            while True:
                _close(self._idle.pop())


def end_lease(request: httpx.Request) -> None:
    """End the lease of a request, if any; see `_Lease.close`."""
    lease = request.extensions.get("lease")
    if lease is not None:
        lease.close()


def _is_established(connection: _Connection | _AsyncConnection, route: Route) -> bool:
    """Return whether the proxy and TLS handshakes are complete, so that the request may have been sent."""
    proxy, exchange = route.proxy, connection.network.exchange
    if connection.network.stream is None:
        return not connection.network.is_used  # a mock of httpcore accepts requests without connecting
    if exchange.handshakes < (route.url.scheme == "https") + (proxy is not None and proxy.url.scheme == "https"):
        return False
    if connection.is_reused or proxy is None or not proxy.url.scheme.startswith("socks"):
        return True
    return exchange.reads >= (2 if proxy.auth is None else 3)  # the number of replies of a SOCKS proxy


def _proxy_error(error: Exception, route: Route) -> httpx.ProxyError | None:
    """Convert an error about a SOCKS proxy's reply. httpcore raises errors of socksio, or an `AssertionError`."""
    is_about_socks = type(error).__module__.partition(".")[0] == "socksio" or isinstance(error, AssertionError)
    if is_about_socks and route.proxy is not None and route.proxy.url.scheme.startswith("socks"):
        return httpx.ProxyError(str(error) or "an unknown reply")
    return None


def _is_stale(connection: _Connection | _AsyncConnection, error: BaseException) -> bool:
    """Return whether an error means that a reused connection was stale, so that the request can be sent again."""
    if not connection.is_reused:
        return False
    # Surplus bytes after the previous response cause a protocol error, too.
    if isinstance(error, httpx.RemoteProtocolError):
        return True
    return isinstance(error, httpx.NetworkError) and not _has_response(connection)


def _clearer_error(
    error: BaseException, connection: _Connection | _AsyncConnection, route: Route
) -> httpx.TransportError | None:
    """Return a more specific error to raise instead of `error`, if any."""
    if _is_stale(connection, error):
        return StaleConnectionError(str(error))
    return _proxy_error(error, route) if isinstance(error, Exception) else None


def _reject_early_response(connection: _Connection | _AsyncConnection) -> None:
    if connection.is_reused and not _has_response(connection):
        raise StaleConnectionError("the connection held part of a response before the request was sent")


def _has_response(connection: _Connection | _AsyncConnection) -> bool:
    """Return whether the bytes received since the request begin with a status line."""
    head = connection.network.exchange.head
    return head != b"" and b"HTTP/".startswith(head)  # at most five bytes


class Connections(_BaseConnections[_Connection], httpx.BaseTransport):
    """The connection pool of `Cstar`, as the transport of its httpx client."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["was_sent"] = False
        lease = request.extensions["lease"] = self._acquire(request)
        connection = lease.hold(self._idle_connection(request) or _Connection(self._route))
        connection.network.exchange.begin(request.extensions.get("deadline"), request.extensions["timeout"])
        try:
            response = connection.handle_request(request)
        except BaseException as error:
            request.extensions["was_sent"] = _is_established(connection, self._route)
            if (clearer_error := _clearer_error(error, connection, self._route)) is not None:
                raise clearer_error from error
            raise
        request.extensions["was_sent"] = True
        _reject_early_response(connection)
        response.stream = _Body(cast("httpx.SyncByteStream", response.stream), lease)
        return response

    def _acquire(self, request: httpx.Request) -> _Lease[_Connection]:
        # Take a slot before checking the limit, because other threads may do the same.
        lease = _Lease(self)
        if not self._has_room(0):
            end = _pool_deadline(request)
            while not self._has_room(0):
                lease.close()
                if time.monotonic() >= end:
                    raise httpx.PoolTimeout(f"all {MAX_CONNECTIONS} connections are in use")
                time.sleep(POLL_INTERVAL)
                lease = _Lease(self)
        return lease


def _pool_deadline(request: httpx.Request) -> float:
    """Return the time at which a wait for a free slot times out, by `time.monotonic()`."""
    timeout: float | None = request.extensions["timeout"].get("pool")
    deadline: float | None = request.extensions.get("deadline")
    end = math.inf if timeout is None else time.monotonic() + timeout
    return end if deadline is None else min(end, deadline)


class _Body(httpx.SyncByteStream):
    """The body of a response. Closing it returns the connection to the pool, if the body was read completely."""

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
            self._lease.return_connection()
        self._lease.close()


class AsyncConnections(_BaseConnections[_AsyncConnection], httpx.AsyncBaseTransport):
    """The connection pool of `AsyncCstar` in one event loop, as the transport of its httpx client there."""

    def __init__(self, route: Route) -> None:
        super().__init__(route)
        self._waiting: deque[_Waiter] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["was_sent"] = False
        lease = request.extensions["lease"] = await self._acquire(request)
        connection = lease.hold(self._idle_connection(request) or _AsyncConnection(self._route))
        connection.network.exchange.begin(request.extensions.get("deadline"), request.extensions["timeout"])
        try:
            response = await connection.handle_async_request(request)
        except BaseException as error:
            request.extensions["was_sent"] = _is_established(connection, self._route)
            if (clearer_error := _clearer_error(error, connection, self._route)) is not None:
                raise clearer_error from error
            raise
        request.extensions["was_sent"] = True
        _reject_early_response(connection)
        response.stream = _AsyncBody(cast("httpx.AsyncByteStream", response.stream), lease)
        return response

    async def _acquire(self, request: httpx.Request) -> _Lease[_AsyncConnection]:
        if not self._waiting and self._has_room():
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
                waiter.lease.close()  # passes the slot to the next waiter
            if isinstance(error, TimeoutError):
                raise httpx.PoolTimeout(f"all {MAX_CONNECTIONS} connections are in use") from None
            raise
        assert waiter.lease is not None
        return waiter.lease

    def free_slot(self, slot: int) -> None:
        super().free_slot(slot)
        if self._waiting and self._has_room():
            waiter = self._waiting.popleft()
            waiter.lease = _Lease(self)
            waiter.turn.set()


class _Waiter:
    """A call that waits for a free slot. It is passed a lease directly, so that no later call can take its slot."""

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
            self._lease.return_connection()
        self._lease.close()
