"""uvicorn in a thread of its own: up when the block is entered, gone when it is left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.types import ASGIApp


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


@contextlib.contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Generator[None]:
    """Serve an application on a socket while the block runs."""
    server = _Server(app)
    thread = threading.Thread(target=server.run_on, args=(listener,), name="cstar-sandbox", daemon=True)
    thread.start()
    try:
        server.ready.result()
        yield
    finally:
        server.should_exit = True
        thread.join()


class _Server(uvicorn.Server):
    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            app,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,  # the logging configuration belongs to the program that embeds us
            server_header=False,
            # Longer than clients keep their idle connections (5 s in httpx, which is also uvicorn's default): when both
            # sides let go at the same moment, a request goes down the closing connection and fails.
            timeout_keep_alive=60,
            # A request still incomplete when we stop has no claim on more time.
            timeout_graceful_shutdown=0,
        )
        super().__init__(config)
        self.ready: Future[None] = Future()

    def run_on(self, listener: socket.socket) -> None:
        """Serve until `should_exit`; `ready` becomes true, or has the exception that prevented it."""
        try:
            with _uvicorn_silenced():
                asyncio.run(self.serve(sockets=[listener]))
        except BaseException as error:
            if self.ready.done():
                raise
            self.ready.set_exception(error)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set_result(None)


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
