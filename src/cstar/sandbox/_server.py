"""uvicorn in a thread of its own: up when the block is entered, gone when it is left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from starlette.types import ASGIApp

T = TypeVar("T")
Address = tuple[str, int]


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; connections queue in it until a server takes it over.

    Raises:
        OSError: The address is taken, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # asyncio switches Nagle's algorithm off only where the protocol is named, which create_server() does not do. Left
    # on, it delays every answer on a kept-alive connection by 40 ms.
    return socket.socket(listener.family, listener.type, socket.IPPROTO_TCP, listener.detach())


class Connections:
    """The open connections by the client's address, so that they can be broken, for which ASGI has no word."""

    def __init__(self) -> None:
        self._transports: dict[Address, asyncio.Transport] = {}

    def abort(self, client: Address) -> None:
        """Break a connection at once; what was sent but has not gone out yet is lost."""
        self._transports[client].abort()

    def close(self, client: Address) -> None:
        """Break a connection once everything sent has gone out."""
        self._transports[client].close()

    def protocol(self) -> type[asyncio.Protocol]:
        """The class that uvicorn is to make its connections with: its own, which here also enters them."""
        transports = self._transports

        class Protocol(H11Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                assert isinstance(transport, asyncio.Transport)
                super().connection_made(transport)
                self._address: Address = transport.get_extra_info("peername")[:2]
                transports[self._address] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                del transports[self._address]

        return Protocol


@contextlib.contextmanager
def serving(app: ASGIApp, listener: socket.socket, connections: Connections) -> Generator[Server]:
    """Serve an application on a socket while the block runs."""
    server = Server(app, connections)
    thread = threading.Thread(target=server.run_on, args=(listener,), name="cstar-sandbox", daemon=True)
    thread.start()
    try:
        server.loop.result()
        yield server
    finally:
        server.should_exit = True
        thread.join()


class Server(uvicorn.Server):
    """A server in a thread with an event loop of its own."""

    def __init__(self, app: ASGIApp, connections: Connections) -> None:
        config = uvicorn.Config(
            app,
            http=connections.protocol(),
            interface="asgi3",
            lifespan="on",
            ws="none",
            # Connections are known by their client's address, so nobody's X-Forwarded-For may put another in its place.
            proxy_headers=False,
            log_config=None,  # the logging configuration belongs to the program that embeds us
            server_header=False,
            # Longer than clients keep their idle connections (5 s in httpx, which is also uvicorn's default): when both
            # sides let go at the same moment, a request goes down the closing connection and fails.
            timeout_keep_alive=60,
            # A request still incomplete when we stop has no claim on more time.
            timeout_graceful_shutdown=0,
        )
        super().__init__(config)
        self.loop: Future[asyncio.AbstractEventLoop] = Future()

    def soon(self, function: Callable[[], None]) -> None:
        """Have a function called between two requests, without waiting for it."""
        self.loop.result().call_soon_threadsafe(function)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function between two requests, and wait for it, from any other thread than the server's."""

        async def called() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self.loop.result()).result()

    def run_on(self, listener: socket.socket) -> None:
        """Serve until `should_exit`; `loop` is set once it serves, or has the exception that prevented it."""
        try:
            with _uvicorn_silenced():
                asyncio.run(self.serve(sockets=[listener]))
        except BaseException as error:
            if self.loop.done():
                raise
            self.loop.set_exception(error)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop.set_result(asyncio.get_running_loop())


@contextlib.contextmanager
def _uvicorn_silenced() -> Generator[None]:
    """Keep uvicorn's messages about this thread's server out of the logs, and only these.

    The application logs its own requests and failures; what is left is news of starting and stopping, which a program
    that embeds us did not ask for. The program may run a uvicorn of its own, whose messages must still come through.
    """
    here = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "uvicorn.access")]
    for logger in loggers:
        logger.addFilter(from_elsewhere)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(from_elsewhere)
