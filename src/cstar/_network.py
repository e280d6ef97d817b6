"""The sockets of a connection: a network backend of httpcore that keeps a deadline and can be closed at any moment.

httpcore gives each wait a timeout of its own, so a server that sends one byte now and then can keep a call waiting for
ever. Here each wait takes at most the time that is left until a deadline. The sockets are the standard library's, not
an event loop's transports: closing one needs no event loop, no lock and no `await`, so a cancelled or interrupted call
always closes its connection. A stream that is garbage-collected closes its socket.

This module loads with the first connection, because httpcore does.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import weakref
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import anyio
import httpcore

from cstar._event_loop import running_loop
from cstar._tls import start_tls, start_tls_async

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from cstar._tls import AsyncTLSStream, TLSStream

T = TypeVar("T")
# An item of the list that `socket.getaddrinfo` returns.
Address: TypeAlias = "tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]"

# Seconds before the next address of a host is tried in parallel: RFC 8305, section 8.
CONNECTION_ATTEMPT_DELAY = 0.25


class Exchange:
    """The request and response under way on a connection.

    Attributes:
        deadline: The end of the attempt, by `time.monotonic()`; `None` for no limit.
        longest_wait: Seconds that a wait without a timeout may take, as those for a SOCKS proxy; `None` for no limit.
        reads: The number of reads since the exchange began.
        received: Whether any bytes were received since then, decrypted where there is TLS.
        handshakes: The number of TLS handshakes on the connection so far.
    """

    def __init__(self) -> None:
        self.handshakes: int = 0
        self.begin(None, {})

    def begin(self, deadline: float | None, timeouts: Mapping[str, float | None]) -> None:
        """Begin an exchange.

        Args:
            deadline: The end of the attempt.
            timeouts: The timeouts of its waits, as httpx names them.
        """
        self.deadline = deadline
        self.longest_wait = None if timeouts.get("read") is None else timeouts.get("connect")
        self.reads = 0
        self.received = False

    def time_left(self, timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
        """The timeout of the next wait, in seconds.

        Args:
            timeout: The longest wait, in seconds; `None` for no limit.
            error: The error to raise after the deadline.
        """
        if timeout is None:
            timeout = self.longest_wait
        if self.deadline is None:
            return timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise error("timed out")
        return left if timeout is None else min(left, timeout)


class _Stream:
    """A TCP connection: what its sync and its async form share."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket = sock
        self.exchange: Exchange = exchange
        # Not a `__del__` method: if the garbage collector took both at once, it could take the socket first, which
        # would then warn that nobody closed it.
        self.close_socket: Callable[[], object] = weakref.finalize(self, sock.close)

    def is_readable(self) -> bool:
        """Whether a read would return at once: there are bytes, or the peer has closed the connection."""
        try:
            self.socket.setblocking(False)
            self.socket.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            pass
        return True

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        if info == "socket":
            return self.socket
        return self.is_readable() if info == "is_readable" else None

    def _received(self, data: bytes) -> bytes:
        self.exchange.reads += 1
        self.exchange.received = self.exchange.received or bool(data)
        return data


def shut_down(stream: httpcore.NetworkStream | httpcore.AsyncNetworkStream) -> None:
    """Make a connection unusable, on any network backend; a read that waits on it returns at once."""
    with suppress(OSError):
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _is_from_signal_handler(error: OSError) -> bool:
    # A signal handler may raise an OSError, too, such as a TimeoutError. Those of sockets always have arguments and are
    # never of a class from another module.
    return not error.args or type(error).__module__ not in {"builtins", "socket", "ssl"}


# ── Sync ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Stream(_Stream, httpcore.NetworkStream):
    """A TCP connection of the sync client."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self.socket.settimeout(self.exchange.time_left(timeout, httpcore.ReadTimeout))
            return self._received(self.socket.recv(max_bytes))
        except OSError as error:
            if _is_from_signal_handler(error):
                raise
            raise (httpcore.ReadTimeout if isinstance(error, TimeoutError) else httpcore.ReadError)(
                str(error)
            ) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        unsent = memoryview(buffer)
        try:
            while unsent:
                self.socket.settimeout(self.exchange.time_left(timeout, httpcore.WriteTimeout))
                unsent = unsent[self.socket.send(unsent) :]
        except OSError as error:
            if _is_from_signal_handler(error):
                raise
            raise (httpcore.WriteTimeout if isinstance(error, TimeoutError) else httpcore.WriteError)(
                str(error)
            ) from error

    def close(self) -> None:
        self.close_socket()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> TLSStream:
        return start_tls(self, ssl_context, server_hostname, timeout, self.exchange)


class Network(httpcore.NetworkBackend):
    """The network of one connection of the sync client.

    Attributes:
        exchange: The request and response under way.
        stream: The TCP connection, once there is one.
    """

    def __init__(self) -> None:
        self.exchange: Exchange = Exchange()
        self.stream: Stream | None = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> Stream:
        try:
            addresses = _resolve(host, port, self.exchange.time_left(timeout, httpcore.ConnectTimeout))
            for place, (family, kind, protocol, _, address) in enumerate(addresses):
                sock = socket.socket(family, kind, protocol)
                stream = self.stream = Stream(sock, self.exchange)
                try:
                    left = self.exchange.time_left(timeout, httpcore.ConnectTimeout)
                    # An address that does not answer leaves time for the others.
                    sock.settimeout(None if left is None else left / (len(addresses) - place))
                    sock.connect(address)
                except OSError as error:
                    stream.close()
                    if place == len(addresses) - 1 or _is_from_signal_handler(error):
                        raise
                else:
                    return stream
        except OSError as error:
            if _is_from_signal_handler(error):
                raise
            raise (httpcore.ConnectTimeout if isinstance(error, TimeoutError) else httpcore.ConnectError)(
                str(error)
            ) from error
        raise httpcore.ConnectError(f"{host} has no address")


def _numeric_addresses(host: str, port: int) -> Sequence[Address]:
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return []


def _resolve(host: str, port: int, timeout: float | None) -> Sequence[Address]:
    # The system's resolver takes no timeout, so it runs in a thread that can be abandoned.
    if addresses := _numeric_addresses(host, port):
        return addresses
    found: Future[Sequence[Address]] = Future()

    def look_up() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except BaseException as error:
            found.set_exception(error)

    try:
        threading.Thread(target=look_up, name="cstar-resolver", daemon=True).start()
    except RuntimeError:  # no further thread, as when the interpreter shuts down
        look_up()
    try:
        return found.result(timeout)
    except FutureTimeoutError:
        raise TimeoutError(f"{host} was not resolved in time") from None


# ── Async ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class AsyncStream(_Stream, httpcore.AsyncNetworkStream):
    """A TCP connection of the async client, on asyncio or trio."""

    def __init__(self, sock: socket.socket, exchange: Exchange) -> None:
        super().__init__(sock, exchange)
        sock.setblocking(False)
        # Do not keep the event loop: an event loop that has ended is found by its being garbage-collected.
        self._trio: Any = None
        if not isinstance(running_loop(), asyncio.AbstractEventLoop):
            import trio

            self._trio = trio.socket.from_stdlib_socket(sock)

    async def connect(self, address: Any) -> None:  # noqa: ANN401 - each address family has its own form
        if self._trio is not None:
            await self._trio.connect(address)
        else:
            await asyncio.get_running_loop().sock_connect(self.socket, address)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._received(
            await self._wait(lambda: self._read(max_bytes), timeout, httpcore.ReadTimeout, httpcore.ReadError)
        )

    async def _read(self, max_bytes: int) -> bytes:
        if self._trio is not None:
            data: bytes = await self._trio.recv(max_bytes)
            return data
        return await asyncio.get_running_loop().sock_recv(self.socket, max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._wait(lambda: self._write(buffer), timeout, httpcore.WriteTimeout, httpcore.WriteError)

    async def _write(self, buffer: bytes) -> None:
        if self._trio is None:
            return await asyncio.get_running_loop().sock_sendall(self.socket, buffer)
        unsent = memoryview(buffer)
        while unsent:
            unsent = unsent[await self._trio.send(unsent) :]
        return None

    async def _wait(
        self,
        operation: Callable[[], Awaitable[T]],
        timeout: float | None,
        timeout_error: type[httpcore.TimeoutException],
        error: type[httpcore.NetworkError],
    ) -> T:
        left = self.exchange.time_left(timeout, timeout_error)
        limit = self.exchange.longest_wait if timeout is None else timeout
        try:
            # The whole attempt is cancelled at its deadline, so a wait that may last until then needs no timeout.
            if left is None or left != limit:
                return await operation()
            with anyio.fail_after(left):
                return await operation()
        except TimeoutError as failure:
            raise timeout_error(str(failure)) from failure
        except OSError as failure:
            raise error(str(failure)) from failure

    async def aclose(self) -> None:
        self.close_socket()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncTLSStream:
        left = self.exchange.time_left(timeout, httpcore.ConnectTimeout)
        return await start_tls_async(self, ssl_context, server_hostname, left, self.exchange)


class AsyncNetwork(httpcore.AsyncNetworkBackend):
    """The network of one connection of the async client; see `Network`."""

    def __init__(self) -> None:
        self.exchange: Exchange = Exchange()
        self.stream: AsyncStream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncStream:
        try:
            with anyio.fail_after(self.exchange.time_left(timeout, httpcore.ConnectTimeout)):
                addresses = _numeric_addresses(host, port) or await anyio.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM
                )
                self.stream = await self._connect_first(addresses)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return self.stream

    async def _connect_first(self, addresses: Sequence[Address]) -> AsyncStream:
        """Connect to the first address that answers ("Happy Eyeballs", RFC 8305)."""
        if len(addresses) == 1:
            return await self._connect_to(addresses[0])
        connected: list[AsyncStream] = []
        failures: list[OSError] = []

        async def attempt(address: Address, failed: anyio.Event) -> None:
            try:
                connected.append(await self._connect_to(address))
            except OSError as error:
                failures.append(error)
                failed.set()
            else:
                attempts.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as attempts:
                for address in addresses:
                    failed = anyio.Event()
                    attempts.start_soon(attempt, address, failed)
                    with anyio.move_on_after(CONNECTION_ATTEMPT_DELAY):
                        await failed.wait()
            if not connected:
                raise failures[0] if failures else OSError("the host has no address")
            return connected.pop(0)
        finally:
            failures.clear()  # each holds the frame that holds it
            for late in connected:
                late.close_socket()

    async def _connect_to(self, address: Address) -> AsyncStream:
        family, kind, protocol, _, place = address
        stream = AsyncStream(socket.socket(family, kind, protocol), self.exchange)
        try:
            await stream.connect(place)
        except BaseException as error:
            stream.close_socket()
            if isinstance(error, OSError) and error.errno is not None:
                # asyncio replaces the reason by the address.
                raise OSError(error.errno, os.strerror(error.errno)) from None
            raise
        return stream
