"""TLS over any httpcore network stream, by the standard library's `ssl.SSLObject` and two memory buffers.

All I/O goes through the underlying stream, so its deadline, cancellation and closing apply to TLS, too. TLS streams can
be nested: TLS to the API inside TLS to a proxy.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import httpcore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cstar._exchange import Exchange

T = TypeVar("T")

READ_SIZE = 64 * 1024


class _TLS:
    """TLS without I/O: an SSL object between two memory buffers."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl_object: ssl.SSLObject = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )

    def run(self, operation: Callable[[], T]) -> Generator[bytes | None, bytes, T]:
        """Perform an operation of the SSL object: a generator that yields bytes to send, or `None` to receive bytes."""
        while True:
            failure: ssl.SSLError | None = None
            result: list[T] = []
            try:
                result.append(operation())
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                failure = error
            if data := self._outgoing.read():  # may be an alert about the failure
                yield data
            if failure is not None:
                raise failure
            if result:
                return result[0]
            if data := (yield None):
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def read(self, max_bytes: int) -> bytes:
        # Most servers close a connection without the alert that TLS requires. HTTP delimits a response itself.
        try:
            return self.ssl_object.read(max_bytes)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""


class TLSStream(httpcore.NetworkStream):
    """TLS over another stream."""

    def __init__(self, stream: httpcore.NetworkStream, tls: _TLS, exchange: Exchange) -> None:
        self._stream = stream
        self._tls = tls
        self._exchange = exchange

    def run(self, operation: Callable[[], T], timeout: float | None) -> T:
        """Perform an operation of the SSL object with its I/O."""
        steps = self._tls.run(operation)
        try:
            step = next(steps)
            while True:
                if step is None:
                    step = steps.send(self._stream.read(READ_SIZE, timeout))
                else:
                    self._stream.write(step, timeout)
                    step = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        head, data = self._exchange.head, b""
        try:
            data = self.run(lambda: self._tls.read(max_bytes), timeout)
        finally:
            # Replace the encrypted bytes, which the underlying stream recorded, with the decrypted ones.
            self._exchange.head = head
            self._exchange.record(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self.run(lambda: self._tls.ssl_object.write(buffer), timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> TLSStream:
        return start_tls(self, ssl_context, server_hostname, timeout, self._exchange)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self._tls.ssl_object if info == "ssl_object" else self._stream.get_extra_info(info)


def start_tls(
    stream: httpcore.NetworkStream,
    context: ssl.SSLContext,
    server_hostname: str | None,
    timeout: float | None,
    exchange: Exchange,
) -> TLSStream:
    """Perform the client's TLS handshake over a stream."""
    tls = _TLS(context, server_hostname)
    secure = TLSStream(stream, tls, exchange)
    try:
        secure.run(tls.ssl_object.do_handshake, timeout)
    except (httpcore.ReadTimeout, httpcore.WriteTimeout) as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except httpcore.NetworkError as error:
        raise httpcore.ConnectError(str(error)) from error
    exchange.handshakes += 1
    return secure


class AsyncTLSStream(httpcore.AsyncNetworkStream):
    """TLS over another async stream."""

    def __init__(self, stream: httpcore.AsyncNetworkStream, tls: _TLS, exchange: Exchange) -> None:
        self._stream = stream
        self._tls = tls
        self._exchange = exchange

    async def run(self, operation: Callable[[], T], timeout: float | None) -> T:
        """Perform an operation of the SSL object with its I/O."""
        steps = self._tls.run(operation)
        try:
            step = next(steps)
            while True:
                if step is None:
                    step = steps.send(await self._stream.read(READ_SIZE, timeout))
                else:
                    await self._stream.write(step, timeout)
                    step = next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        head, data = self._exchange.head, b""
        try:
            data = await self.run(lambda: self._tls.read(max_bytes), timeout)
        finally:
            # Replace the encrypted bytes, which the underlying stream recorded, with the decrypted ones.
            self._exchange.head = head
            self._exchange.record(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            await self.run(lambda: self._tls.ssl_object.write(buffer), timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncTLSStream:
        return await start_tls_async(self, ssl_context, server_hostname, timeout, self._exchange)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self._tls.ssl_object if info == "ssl_object" else self._stream.get_extra_info(info)


async def start_tls_async(
    stream: httpcore.AsyncNetworkStream,
    context: ssl.SSLContext,
    server_hostname: str | None,
    timeout: float | None,
    exchange: Exchange,
) -> AsyncTLSStream:
    """Perform the client's TLS handshake over an async stream."""
    tls = _TLS(context, server_hostname)
    secure = AsyncTLSStream(stream, tls, exchange)
    try:
        with anyio.fail_after(timeout):
            await secure.run(tls.ssl_object.do_handshake, None)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except httpcore.NetworkError as error:
        raise httpcore.ConnectError(str(error)) from error
    exchange.handshakes += 1
    return secure
