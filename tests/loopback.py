"""The suite over httpx-aiohttp's transport: `CSTAR_TEST_TRANSPORT=aiohttp`, which `.ci/transports` sets.

A test's handler or its mocked routes decide what happens to a request. The request then goes through aiohttp to a
server on this machine. The server checks that the request has arrived as it was sent, and does what was decided: it
sends the response, or makes a fault of that kind.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import httpx

if TYPE_CHECKING:
    import pytest

IS_USED = os.environ.get("CSTAR_TEST_TRANSPORT") == "aiohttp"
# Seconds until a fault that is a timeout times out.
TIMEOUT = 0.1

if IS_USED:
    from httpx_aiohttp import AiohttpTransport
else:
    AiohttpTransport = httpx.AsyncBaseTransport

# Tests that say more than the client promises over another transport, and why.
NOT_OVER_AIOHTTP = {
    "test_no_answer_says_where_and_why": "the reason is in the words of aiohttp",
    "test_a_connection_is_let_go_when_its_answer_breaks_off": "it watches a stream of httpx",
    "test_a_permanent_failure_is_not_retried": "no server can make these errors",
    "test_a_protocol_error_of_http_2_is_retried": "aiohttp has no HTTP/2",
}

Handler = Callable[[httpx.Request], Any]

# The routes of the test that is running, if it mocks some.
routes: list[Handler] = []

# Faults by what makes them: what the server does with the request, or the port that the request is sent to.
RESET = {httpx.ReadError, httpx.WriteError, httpx.CloseError}
GARBAGE = {httpx.RemoteProtocolError, httpx.LocalProtocolError}
STALL = {httpx.ReadTimeout, httpx.WriteTimeout}
DEAF = {httpx.ConnectTimeout, httpx.PoolTimeout}
REFUSED = {httpx.ConnectError, httpx.ProxyError}


@dataclass
class Plan:
    """What happens to a request.

    Attributes:
        request: The request as it must arrive.
        data: The bytes of the response.
        closes: Whether the connection is closed after them.
        fault: The kind of the fault, if it is one.
        differences: How the request that arrived differed.
    """

    request: httpx.Request
    data: bytes = b""
    closes: bool = False
    fault: type[Exception] | None = None
    differences: list[str] = field(default_factory=list)


class Server:
    """Does what is planned for each request, which a header names."""

    def __init__(self) -> None:
        from rawserver import RawServer

        self.plans: dict[bytes, Plan] = {}
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self.port = self._stack.enter_context(RawServer(self._serve)).port
        refusing = self._stack.enter_context(socket.socket())
        refusing.bind(("127.0.0.1", 0))
        self.refusing_port: int = refusing.getsockname()[1]
        deaf = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        self.deaf_port: int = deaf.getsockname()[1]
        for _ in range(3):  # with its backlog full, Linux ignores those who would connect
            waiting = self._stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())

    def add(self, plan: Plan) -> bytes:
        name = b"%d" % next(self._numbers)
        self.plans[name] = plan
        return name

    def _serve(self, connection: socket.socket, number: int) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                if not (received := connection.recv(65536)):
                    return
                data += received
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.split(b"\r\n")
            headers = [(name.lower(), value) for name, value in (line.split(b": ", 1) for line in lines)]
            length = int(dict(headers).get(b"content-length", 0))
            while len(data) < length:
                data += connection.recv(65536)
            plan = self.plans[dict(headers)[b"x-plan"]]
            sent = plan.request
            expected = b"%s %s HTTP/1.1" % (sent.method.encode(), sent.url.raw_path)
            compare(plan, "request line", without_escapes(first), without_escapes(expected))
            own = sorted((name.lower(), value) for name, value in sent.headers.raw)
            # aiohttp adds a length to a DELETE without a body.
            added = {b"x-plan"} if sent.method != "DELETE" or sent.content else {b"x-plan", b"content-length"}
            compare(plan, "headers", sorted(each for each in headers if each[0] not in added), own)
            compare(plan, "body", data[:length], sent.content)
            data = data[length:]
            if plan.fault in STALL:
                connection.recv(1)
            if plan.fault in RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(plan.data)
            if plan.closes:
                return


def without_escapes(line: bytes) -> list[bytes]:
    """The parts of a request line. aiohttp writes some characters of a query without escapes."""
    return [unquote_to_bytes(part.replace(b"+", b" ")) for part in line.split(b"&")]


def compare(plan: Plan, what: str, arrived: object, sent: object) -> None:
    if arrived != sent:
        plan.differences.append(f"{what}: {arrived!r} arrived, and {sent!r} was sent")


@cache
def server() -> Server:
    return Server()


class LoopbackTransport(AiohttpTransport):
    """httpx-aiohttp's transport, to that server.

    Args:
        handler: Decides what happens to a request, like that of an `httpx.MockTransport`.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        plan = await self._plan(request)
        arriving = httpx.Request(
            request.method,
            request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port(plan)),
            headers=[*request.headers.raw, (b"X-Plan", server().add(plan))],
            content=request.content,
            extensions={**request.extensions, "timeout": self._timeout(plan, request)},
        )
        if plan.fault is httpx.ProxyError:
            self.proxy, arriving.url = httpx.Proxy(str(arriving.url.copy_with(raw_path=b"/"))), request.url
        try:
            return await super().handle_async_request(arriving)
        finally:
            self.proxy = None
            if plan.differences:
                raise AssertionError("\n".join(plan.differences))

    async def _plan(self, request: httpx.Request) -> Plan:
        try:
            response = self._handler(request)
            if isinstance(response, Awaitable):
                response = await response
            assert isinstance(response, httpx.Response)
        except httpx.TransportError as error:
            if type(error) not in RESET | GARBAGE | STALL | DEAF | REFUSED:
                raise
            data = b"SSH-2.0-OpenSSH_9.6\r\n\r\n" if type(error) in GARBAGE else b""
            return Plan(request, data, closes=True, fault=type(error))
        return await respond(request, response)

    def _port(self, plan: Plan) -> int:
        if plan.fault in REFUSED:
            return server().refusing_port
        return server().deaf_port if plan.fault in DEAF else server().port

    def _timeout(self, plan: Plan, request: httpx.Request) -> dict[str, float | None]:
        timeout = dict(request.extensions["timeout"])
        if plan.fault in STALL:
            timeout["read"] = TIMEOUT
        if plan.fault in DEAF:
            timeout["connect" if plan.fault is httpx.ConnectTimeout else "pool"] = TIMEOUT
        return timeout


async def respond(request: httpx.Request, response: httpx.Response) -> Plan:
    """The plan to send this response; where its body breaks off with an error, so does the connection."""
    body, is_cut = b"", False
    try:
        async for chunk in response.stream:
            body += chunk
    except httpx.TransportError:
        is_cut = True
    headers = list(response.headers.raw)
    names = {name.lower() for name, _ in headers}
    closes = is_cut or response.headers.get("Content-Length", str(len(body))) != str(len(body))
    if response.status_code == HTTPStatus.NOT_MODIFIED:  # it has no body, whatever its headers say
        body, closes = b"", True
    if b"transfer-encoding" in names:
        body = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        body += b"" if is_cut else b"0\r\n\r\n"
    elif b"content-length" not in names and response.status_code >= 200:
        headers.append((b"Content-Length", b"%d" % (len(body) + is_cut)))
    reasons = {each.value: each.phrase for each in HTTPStatus}
    head = [f"HTTP/1.1 {response.status_code} {reasons.get(response.status_code, '')}".encode()]
    head += [name + b": " + value for name, value in headers]
    return Plan(request, b"\r\n".join([*head, b"", body]), closes=closes)


def deselect_others(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of `AsyncCstar` on asyncio, which is the only event loop of aiohttp."""

    def is_left(item: pytest.Item) -> bool:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return parameters.get("run") == "asyncio" and item.originalname not in NOT_OVER_AIOHTTP

    config.hook.pytest_deselected(items=[item for item in items if not is_left(item)])
    items[:] = [item for item in items if is_left(item)]


def transport(transport: httpx.MockTransport | None = None) -> httpx.AsyncBaseTransport:
    """A transport of httpx-aiohttp to what the test has: a mocked transport, mocked routes or a real server."""
    if transport is not None:
        return LoopbackTransport(transport.handler)
    return LoopbackTransport(routes[-1]) if routes else AiohttpTransport()
