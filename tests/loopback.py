"""Run the suite over httpx-aiohttp's transport: `CSTAR_TEST_TRANSPORT=aiohttp`, which `.ci/transports` sets.

The handler or the mocked routes of a test choose a response or a fault for each request. The request is then sent
through aiohttp to a local server, which checks that it arrived unchanged, and sends the response or causes the fault.
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
# Seconds until a simulated timeout.
TIMEOUT = 0.1

if IS_USED:
    from httpx_aiohttp import AiohttpTransport
else:
    AiohttpTransport = httpx.AsyncBaseTransport

# The tests that do not apply to aiohttp, with the reasons.
NOT_OVER_AIOHTTP = {
    "test_a_connection_error_names_the_url_and_the_reason": "the reason is worded by aiohttp",
    "test_a_stream_that_fails_is_closed": "it uses a stream of httpx",
    "test_a_permanent_failure_is_not_retried": "no server can cause these errors",
    "test_a_protocol_error_of_http_2_is_retried": "aiohttp has no HTTP/2",
}

Handler = Callable[[httpx.Request], Any]

# The mocked routes of the running test, if there are any.
routes: list[Handler] = []

# Faults by their cause: the server's reaction to the request, or the port that it is sent to.
RESET = {httpx.ReadError, httpx.WriteError, httpx.CloseError}
GARBAGE = {httpx.RemoteProtocolError, httpx.LocalProtocolError}
READ_STALL = {httpx.ReadTimeout, httpx.WriteTimeout}
CONNECT_STALL = {httpx.ConnectTimeout, httpx.PoolTimeout}
REFUSED = {httpx.ConnectError, httpx.ProxyError}


@dataclass
class Plan:
    """The response or fault for a request.

    Attributes:
        request: The request as it was sent.
        data: The bytes of the response.
        closes: Whether to close the connection after the response.
        fault: The type of the fault, if this is not a response.
        differences: How the received request differs from the one that was sent.
    """

    request: httpx.Request
    data: bytes = b""
    closes: bool = False
    fault: type[Exception] | None = None
    differences: list[str] = field(default_factory=list)


class Server:
    """Carries out the plan for each request. A header of the request names its plan."""

    def __init__(self) -> None:
        from rawserver import RawServer

        self.plans: dict[bytes, Plan] = {}
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self.port = self._stack.enter_context(RawServer(self._serve)).port
        refusing = self._stack.enter_context(socket.socket())
        refusing.bind(("127.0.0.1", 0))
        self.refusing_port: int = refusing.getsockname()[1]
        full = self._stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        self.full_port: int = full.getsockname()[1]
        for _ in range(3):  # with a full backlog, Linux ignores further connections
            waiting = self._stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())

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
            sent_headers = sorted((name.lower(), value) for name, value in sent.headers.raw)
            # aiohttp adds a length to a DELETE without a body.
            added = {b"x-plan"} if sent.method != "DELETE" or sent.content else {b"x-plan", b"content-length"}
            compare(plan, "headers", sorted(each for each in headers if each[0] not in added), sent_headers)
            compare(plan, "body", data[:length], sent.content)
            data = data[length:]
            if plan.fault in READ_STALL:
                connection.recv(1)
            if plan.fault in RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(plan.data)
            if plan.closes:
                return


def without_escapes(line: bytes) -> list[bytes]:
    """Return the parts of a request line, unescaped: aiohttp does not escape all characters of a query."""
    return [unquote_to_bytes(part.replace(b"+", b" ")) for part in line.split(b"&")]


def compare(plan: Plan, part: str, received: object, sent: object) -> None:
    if received != sent:
        plan.differences.append(f"{part}: received {received!r}, sent {sent!r}")


@cache
def server() -> Server:
    return Server()


class LoopbackTransport(AiohttpTransport):
    """httpx-aiohttp's transport, connected to the server of this module.

    Args:
        handler: Returns a response or raises a fault, like the handler of an `httpx.MockTransport`.
    """

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        plan = await self._plan(request)
        forwarded = httpx.Request(
            request.method,
            request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port(plan)),
            headers=[*request.headers.raw, (b"X-Plan", server().add(plan))],
            content=request.content,
            extensions={**request.extensions, "timeout": self._timeout(plan, request)},
        )
        if plan.fault is httpx.ProxyError:
            self.proxy = httpx.Proxy(str(forwarded.url.copy_with(raw_path=b"/")))
            forwarded.url = request.url
        try:
            return await super().handle_async_request(forwarded)
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
            if type(error) not in RESET | GARBAGE | READ_STALL | CONNECT_STALL | REFUSED:
                raise
            data = b"SSH-2.0-OpenSSH_9.6\r\n\r\n" if type(error) in GARBAGE else b""
            return Plan(request, data, closes=True, fault=type(error))
        return await respond(request, response)

    def _port(self, plan: Plan) -> int:
        if plan.fault in REFUSED:
            return server().refusing_port
        return server().full_port if plan.fault in CONNECT_STALL else server().port

    def _timeout(self, plan: Plan, request: httpx.Request) -> dict[str, float | None]:
        timeout = dict(request.extensions["timeout"])
        if plan.fault in READ_STALL:
            timeout["read"] = TIMEOUT
        if plan.fault in CONNECT_STALL:
            timeout["connect" if plan.fault is httpx.ConnectTimeout else "pool"] = TIMEOUT
        return timeout


async def respond(request: httpx.Request, response: httpx.Response) -> Plan:
    """Plan to send this response. If its body ends with an error, so does the connection."""
    body, is_cut = b"", False
    try:
        async for chunk in response.stream:
            body += chunk
    except httpx.TransportError:
        is_cut = True
    headers = list(response.headers.raw)
    names = {name.lower() for name, _ in headers}
    closes = is_cut or response.headers.get("Content-Length", str(len(body))) != str(len(body))
    if response.status_code == HTTPStatus.NOT_MODIFIED:  # such a response has no body
        body, closes = b"", True
    if b"transfer-encoding" in names:
        body = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        body += b"" if is_cut else b"0\r\n\r\n"
    elif b"content-length" not in names and response.status_code >= 200:
        length = len(body) + 1 if is_cut else len(body)  # a cut body lacks at least one byte
        headers.append((b"Content-Length", b"%d" % length))
    reasons = {each.value: each.phrase for each in HTTPStatus}
    head = [f"HTTP/1.1 {response.status_code} {reasons.get(response.status_code, '')}".encode()]
    head += [name + b": " + value for name, value in headers]
    return Plan(request, b"\r\n".join([*head, b"", body]), closes=closes)


def deselect_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests other than those of `AsyncCstar` on asyncio, the only event loop of aiohttp."""

    def is_selected(item: pytest.Item) -> bool:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        return parameters.get("run") == "asyncio" and item.originalname not in NOT_OVER_AIOHTTP

    config.hook.pytest_deselected(items=[item for item in items if not is_selected(item)])
    items[:] = [item for item in items if is_selected(item)]


def transport(transport: httpx.MockTransport | None = None) -> httpx.AsyncBaseTransport:
    """Return a transport of httpx-aiohttp for a test with a mocked transport, mocked routes or a real server."""
    if transport is not None:
        return LoopbackTransport(transport.handler)
    return LoopbackTransport(routes[-1]) if routes else AiohttpTransport()
