"""Run uvicorn in a thread with a separate event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import threading
import weakref
from collections.abc import Generator
from concurrent.futures import Future

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from cstar.sandbox import _clock

# Seconds for a client to send its next request, to the last byte. Clients close idle connections earlier (httpx after
# 5 s). If the server closed one first, a request that was just sent would be lost.
REQUEST_TIMEOUT = 30.0
# The maximum number of connections that have not sent a complete request yet; another one closes the oldest. It is
# below the usual limit of 1,024 open files per process.
MAX_WAITING_CONNECTIONS = 700

_THREAD_NAME = "cstar-sandbox"

# The application logs its own requests and failures. Another uvicorn in the same program still logs its messages.
for _name in ("uvicorn.error", "uvicorn.access", "httpx"):
    logging.getLogger(_name).addFilter(lambda record: record.threadName != _THREAD_NAME)

_listeners = weakref.WeakSet[socket.socket]()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, which queues connections until a server accepts them.

    Raises:
        OSError: The address is in use, or not an address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    _listeners.add(listener)
    return listener


def _close_listeners() -> None:
    for listener in _listeners:
        listener.close()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no forks
    os.register_at_fork(after_in_child=_close_listeners)  # the child must not keep the ports open


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that ignores the event loop policy, and whose timers run while a test freezes the time."""

    def time(self) -> float:
        return _clock.real_time()


class _Connection(H11Protocol):
    """A connection with a timeout for each request; the application can close its transport."""

    def __init__(self, waiting: dict[_Connection, None], *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None
        app = self.app

        async def with_transport(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "transport": self.transport}, receive, send)  # not part of ASGI

        self.app = with_transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        # Nagle's algorithm would delay every response on a reused connection by 40 ms.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._waiting[self] = None
        if len(self._waiting) > MAX_WAITING_CONNECTIONS:
            oldest = next(iter(self._waiting))
            oldest._untrack()
            oldest.transport.abort()
        self._track()

    def connection_lost(self, exc: Exception | None) -> None:
        self._untrack()
        with contextlib.suppress(OSError):  # a forked child may still have the socket open
            self.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        self._track()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._track()

    def _track(self) -> None:
        """Start the timer of a request, or stop it if the request is complete."""
        if self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}:
            self._untrack()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)

    def _untrack(self) -> None:
        self._waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@contextlib.contextmanager
def serving(
    app: ASGIApp, listener: socket.socket, lifespan: contextlib.AbstractAsyncContextManager[object]
) -> Generator[Server]:
    """Serve an application on a socket while the block runs; `lifespan` is entered on the server's event loop."""
    server = Server(app, lifespan)
    thread = threading.Thread(target=server.run_on, args=(listener,), name=_THREAD_NAME, daemon=True)
    thread.start()
    try:
        server.loop.result()
        yield server
    finally:
        server.stop()
        thread.join()


class Server(uvicorn.Server):
    """A server in a thread, with a separate event loop."""

    def __init__(self, app: ASGIApp, lifespan: contextlib.AbstractAsyncContextManager[object]) -> None:
        waiting: dict[_Connection, None] = {}
        config = uvicorn.Config(
            app,
            http=functools.partial(_Connection, waiting),  # type: ignore[arg-type]  # called like a class
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,  # the logging configuration belongs to the program around the sandbox
            server_header=False,
            backlog=100,  # asyncio calls accept() up to 100 times in a row, and logs each failure
            timeout_keep_alive=2 * int(REQUEST_TIMEOUT),  # REQUEST_TIMEOUT expires first
            timeout_graceful_shutdown=0,  # incomplete requests and delayed responses do not delay the stop
        )
        super().__init__(config)
        self.loop: Future[asyncio.AbstractEventLoop] = Future()
        self._lifespan = lifespan
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Stop serving, from another thread; `run_on` returns soon after."""
        with contextlib.suppress(Exception):  # it may have failed to start
            self.loop.result().call_soon_threadsafe(self._stopping.set)

    async def main_loop(self) -> None:
        # Replaces uvicorn's, which polls an attribute ten times a second.
        stopping = asyncio.create_task(self._stopping.wait())
        while not stopping.done():
            await self.on_tick(0)  # renews the Date header
            await asyncio.wait({stopping}, timeout=1)

    def run_on(self, listener: socket.socket) -> None:
        """Serve until `stop`; set `loop` once the server is ready, or to the exception of its start."""
        loop = _Loop()
        loop.set_debug(False)  # `python -X dev` would log slow callbacks of the sandbox
        try:
            loop.run_until_complete(self._serve_and_clean_up(listener))
        except BaseException as error:
            if self.loop.done():
                raise
            self.loop.set_exception(error)
        finally:
            loop.close()

    async def _serve_and_clean_up(self, listener: socket.socket) -> None:
        async with self._lifespan:
            await self.serve(sockets=[listener])
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_asyncgens()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop.set_result(asyncio.get_running_loop())
