"""An httpcore network backend that enforces a deadline and can be closed at any time.

httpcore applies a timeout to each wait, so a server that sends single bytes slowly can delay a call without limit. Here
each wait also ends at the deadline. The sockets are the standard library's instead of an event loop's transports.
Closing one needs no event loop, lock or `await`, so a cancelled or interrupted call always closes its connection. A
stream that is garbage-collected closes its socket.

This module is imported with the first connection, because importing httpcore takes time.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from contextlib import suppress
from itertools import pairwise
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, cast

import anyio
import httpcore

from cstar._event_loop import running_loop
from cstar._exchange import Exchange
from cstar._tls import start_tls, start_tls_async

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import FrameType

    from cstar._tls import AsyncTLSStream, TLSStream

T = TypeVar("T")
# An item of the result of `socket.getaddrinfo`.
Address: TypeAlias = "tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]"

# Seconds before the next address of a host is tried in parallel (RFC 8305, section 8).
CONNECTION_ATTEMPT_DELAY = 0.25


class _Stream:
    """A TCP connection: the parts that do no I/O."""

    def __init__(self, family: int, kind: int, protocol: int, exchange: Exchange) -> None:
        self.exchange: Exchange = exchange
        # Create the socket after the stream: a garbage collection of both then finalizes the stream first, which closes
        # the socket. Otherwise the socket would emit a ResourceWarning.
        self.socket: socket.socket = socket.socket(family, kind, protocol)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close_socket(self) -> None:
        """Close the connection, with or without an event loop, from any thread."""
        self.socket.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # creating the socket failed
            self.close_socket()

    def is_readable(self) -> bool:
        """Return whether a read would not block: bytes have arrived, or the peer has closed the connection."""
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

    def _record(self, data: bytes) -> bytes:
        self.exchange.reads += 1
        self.exchange.record(data)
        return data


def shut_down(stream: httpcore.NetworkStream | httpcore.AsyncNetworkStream) -> None:
    """Shut down a connection of any network backend; a pending read returns at once."""
    with suppress(OSError, AttributeError):
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _is_from_signal_handler(error: OSError) -> bool:
    """Return whether a signal handler raised an error. Such an error must reach the caller unchanged."""
    # The arguments of a signal handler include the frame that it interrupts.
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return any(_refers_to(inner, outer) for outer, inner in pairwise(frames))


def _refers_to(inner: FrameType, outer: FrameType) -> bool:
    """Return whether a local variable of a frame is another frame, or a tuple that contains it (`*args`)."""
    for value in inner.f_locals.values():
        items = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
        if any(item is outer for item in items):
            return True
    return False


# ── Sync ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Stream(_Stream, httpcore.NetworkStream):
    """A TCP connection of the sync client."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self.socket.settimeout(self.exchange.time_left(timeout, httpcore.ReadTimeout))
            return self._record(self.socket.recv(max_bytes))
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
    """The network backend of one connection of the sync client.

    Attributes:
        exchange: The current request and response.
        stream: The TCP connection, once established.
        is_used: Whether httpcore has opened a connection. A mock of httpcore opens none.
    """

    def __init__(self) -> None:
        self.exchange: Exchange = Exchange()
        self.stream: Stream | None = None
        self.is_used: bool = False

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> Stream:
        self.is_used = True
        end = None if timeout is None else time.monotonic() + timeout
        try:
            failure = OSError("the host has no address")
            addresses = _resolve(host, port, self._time_left(end))
            for index, (family, kind, protocol, _, address) in enumerate(addresses):
                left = self._time_left(end)
                try:
                    stream = self.stream = Stream(family, kind, protocol, self.exchange)
                    # Leave time for the other addresses.
                    stream.socket.settimeout(None if left is None else left / (len(addresses) - index))
                    stream.socket.connect(address)
                except OSError as error:
                    self.close()
                    if _is_from_signal_handler(error):
                        raise
                    failure = error if index == 0 else failure
                else:
                    return stream
            raise failure
        except OSError as error:
            if _is_from_signal_handler(error):
                raise
            raise (httpcore.ConnectTimeout if isinstance(error, TimeoutError) else httpcore.ConnectError)(
                str(error)
            ) from error

    def _time_left(self, end: float | None) -> float | None:
        # Sockets reject a negative timeout, and 0 means non-blocking.
        left = None if end is None else max(end - time.monotonic(), 0.001)
        return self.exchange.time_left(left, httpcore.ConnectTimeout)

    def close(self) -> None:
        """Close the connection and discard it."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()


def _numeric_addresses(host: str, port: int) -> Sequence[Address]:
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return []


class _Lookup:
    """The resolution of a host name in a thread, because the system's resolver supports no timeout."""

    _running: ClassVar[dict[tuple[int, str, int], _Lookup]] = {}
    _lock = threading.Lock()

    def __init__(self, key: tuple[int, str, int]) -> None:
        self._key = key
        self._callbacks: list[Callable[[], object]] = []
        self._addresses: Sequence[Address] = []
        self._error: Exception | None = None

    @classmethod
    def join(cls, host: str, port: int, done: Callable[[], object]) -> _Lookup:
        """Join the pending lookup of a name, or start one; call `done` when it ends."""
        key = os.getpid(), host, port  # a forked process does not have its parent's threads
        with cls._lock:
            lookup = cls._running.get(key)
            is_new = lookup is None
            lookup = cls._running[key] = lookup or cls(key)
            lookup._callbacks.append(done)
        if is_new:
            try:
                threading.Thread(target=lookup._run, name="cstar-resolver", daemon=True).start()
            except RuntimeError:  # no thread can be started, such as at interpreter shutdown
                lookup._run()
        return lookup

    def _run(self) -> None:
        try:
            self._addresses = socket.getaddrinfo(*self._key[1:], type=socket.SOCK_STREAM)
        except Exception as error:
            self._error = error.with_traceback(None)
        with self._lock:
            del self._running[self._key]
        for done in self._callbacks:
            done()

    def result(self) -> Sequence[Address]:
        if self._error is not None:
            raise OSError(*self._error.args)
        return self._addresses


def _resolve(host: str, port: int, timeout: float | None) -> Sequence[Address]:
    if addresses := _numeric_addresses(host, port):
        return addresses
    done = threading.Event()
    lookup = _Lookup.join(host, port, done.set)
    if not done.wait(timeout):
        raise TimeoutError(f"{host} was not resolved in time")
    return lookup.result()


# ── Async ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class AsyncStream(_Stream, httpcore.AsyncNetworkStream):
    """A TCP connection of the async client, on asyncio or trio."""

    def __init__(self, family: int, kind: int, protocol: int, exchange: Exchange) -> None:
        super().__init__(family, kind, protocol, exchange)
        self.socket.setblocking(False)
        # Do not store the event loop, so that it can be garbage-collected after it has ended.
        self._trio: Any = None
        if not isinstance(running_loop(), asyncio.AbstractEventLoop):
            import trio

            self._trio = trio.socket.from_stdlib_socket(self.socket)

    async def connect(self, address: Any) -> None:  # noqa: ANN401 - depends on the address family
        if self._trio is not None:
            await self._trio.connect(address)
        else:
            await asyncio.get_running_loop().sock_connect(self.socket, address)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._record(
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
        limit = self.exchange.default_timeout if timeout is None else timeout
        try:
            # The attempt is cancelled at its deadline, so a wait up to the deadline needs no timeout.
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


async def _resolve_async(host: str, port: int) -> Sequence[Address]:
    done = anyio.Event()
    loop: Any = running_loop()
    call_in_loop = loop.call_soon_threadsafe if isinstance(loop, asyncio.AbstractEventLoop) else loop.run_sync_soon

    def notify() -> None:
        with suppress(Exception):  # the event loop may have ended
            call_in_loop(done.set)

    lookup = _Lookup.join(host, port, notify)
    await done.wait()
    return lookup.result()


class AsyncNetwork(httpcore.AsyncNetworkBackend):
    """The network backend of one connection of the async client; see `Network`."""

    def __init__(self) -> None:
        self.exchange: Exchange = Exchange()
        self.stream: AsyncStream | None = None
        self.is_used: bool = False

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> AsyncStream:
        self.is_used = True
        try:
            with anyio.fail_after(self.exchange.time_left(timeout, httpcore.ConnectTimeout)):
                addresses = _numeric_addresses(host, port) or await _resolve_async(host, port)
                self.stream = await self._connect_first(addresses)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return self.stream

    async def _connect_first(self, addresses: Sequence[Address]) -> AsyncStream:
        """Connect to the address that accepts first ("Happy Eyeballs", RFC 8305)."""
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
            failures.clear()  # break the reference cycles of errors and frames
            for unused in connected:
                unused.close_socket()

    async def _connect_to(self, address: Address) -> AsyncStream:
        family, kind, protocol, _, socket_address = address
        stream = AsyncStream(family, kind, protocol, self.exchange)
        try:
            await stream.connect(socket_address)
        except BaseException as error:
            stream.close_socket()
            if isinstance(error, OSError) and error.errno is not None:
                # asyncio's message has the address instead of the reason.
                raise OSError(error.errno, os.strerror(error.errno)) from None
            raise
        return stream
