"""`AsyncCstar` over httpx-aiohttp's transport: how faults of aiohttp become errors of cstar."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from cstar import APIConnectionError, APITimeoutError, AsyncCstar
from rawserver import RawServer, read_request, respond_to_all
from support import KEY, TEAM

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rawserver import Handler

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def run(action: Callable[[AsyncCstar], Awaitable[Any]], base_url: str, **options: Any) -> Any:
    async def act() -> Any:
        async with httpx.AsyncClient(transport=AiohttpTransport()) as http_client:
            client = AsyncCstar(**{"api_key": KEY, "base_url": base_url, "http_client": http_client, **options})
            return await action(client)

    return asyncio.run(act())


def fail(handler: Handler, **options: Any) -> APIConnectionError:
    """Send one request to a server with this handler, and return the error."""
    with RawServer(handler) as server, pytest.raises(APIConnectionError) as raised:
        run(lambda client: client.request("POST", "/any", json={}), server.url, **{"max_retries": 0, **options})
    return raised.value


def respond_with(data: bytes, *, reset: bool = False) -> Handler:
    """Make a handler that reads a request, sends these bytes, and closes the connection."""

    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(data)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return handler


def stall(connection: socket.socket, number: int) -> None:
    read_request(connection)
    time.sleep(20)


FAULTS = {
    "closed": respond_with(b""),
    "reset": respond_with(b"", reset=True),
    "half a status line": respond_with(b"HTTP/1.1 20"),
    "half the headers": respond_with(HEAD + b"X-Half: "),
    "half the body": respond_with(HEAD + b'Content-Length: 99\r\n\r\n{"success'),
    "half a chunk": respond_with(HEAD + b'Transfer-Encoding: chunked\r\n\r\n99\r\n{"success'),
    "not HTTP": respond_with(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "a status that is not a number": respond_with(b"HTTP/1.1 abc OK\r\n\r\n"),
    "a header without a colon": respond_with(HEAD + b"no colon\r\nContent-Length: 2\r\n\r\n{}"),
    "two lengths": respond_with(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a header that is too long": respond_with(HEAD + b"X-Long: " + b"x" * 9000 + b"\r\nContent-Length: 2\r\n\r\n{}"),
    "too many headers": respond_with(HEAD + b"X-Many: x\r\n" * 9000 + b"Content-Length: 2\r\n\r\n{}"),
    "a chunk without a size": respond_with(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "a reason that is not UTF-8": respond_with(b"HTTP/1.1 200 \xff\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lost_or_malformed_response_is_a_connection_error(fault: str) -> None:
    error = fail(FAULTS[fault])
    assert not isinstance(error, APITimeoutError)
    assert error.was_sent
    assert "The request may have been carried out" in str(error)


@pytest.mark.parametrize("timeout", [0.3, httpx.Timeout(20, read=0.1)])
def test_a_server_that_sends_no_response_is_a_timeout(timeout: float | httpx.Timeout) -> None:
    error = fail(stall, timeout=timeout)
    assert isinstance(error, APITimeoutError)
    assert error.was_sent


def test_a_call_with_a_late_malformed_chunk_ends_at_the_timeout() -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        time.sleep(0.1)
        connection.sendall(b"zz\r\n")

    # aiohttp itself never stops waiting for the rest of such a body.
    assert fail(handler, timeout=0.3).was_sent


def test_was_sent_is_false_after_a_refused_connection() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(APIConnectionError) as raised:
            run(lambda client: client.whoami(), f"http://127.0.0.1:{bound.getsockname()[1]}", max_retries=0)
    assert not isinstance(raised.value, APITimeoutError)
    assert not raised.value.was_sent


def test_was_sent_is_false_after_a_failed_tls_handshake() -> None:
    with RawServer(respond_with(b"not TLS")) as server, pytest.raises(APIConnectionError) as raised:
        run(lambda client: client.whoami(), server.url.replace("http:", "https:"), max_retries=0, timeout=0.3)
    assert not raised.value.was_sent


def test_a_malformed_response_is_retried(sleeps: list[float]) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        (FAULTS["not HTTP"] if number == 1 else respond_to_all)(connection, number)

    with RawServer(handler) as server:
        assert run(lambda client: client.whoami(), server.url).team_id == TEAM
    assert len(sleeps) == 1


def test_a_malformed_response_does_not_show_the_query(sleeps: list[float], caplog: pytest.LogCaptureFixture) -> None:
    with (
        RawServer(FAULTS["not HTTP"]) as server,
        caplog.at_level(logging.DEBUG, "cstar"),
        pytest.raises(APIConnectionError) as raised,
    ):
        run(lambda client: client.customers.list(TEAM, search="jane@secret.test"), server.url)
    assert "secret.test" not in str(raised.value) + caplog.text


def test_an_exception_of_an_event_hook_propagates_unchanged() -> None:
    async def hook(request: httpx.Request) -> None:
        "é".encode("ascii")  # httpx-aiohttp raises this type for a reason that is not UTF-8

    async def act() -> None:
        async with httpx.AsyncClient(transport=AiohttpTransport(), event_hooks={"request": [hook]}) as http_client:
            await AsyncCstar(KEY, base_url="http://127.0.0.1:1", http_client=http_client).whoami()

    with pytest.raises(UnicodeEncodeError):
        asyncio.run(act())


def test_was_sent_is_false_for_a_url_that_aiohttp_rejects() -> None:
    with pytest.raises(APIConnectionError) as raised:
        run(lambda client: client.whoami(), "http://1.2.3.4.5", max_retries=0)
    assert not raised.value.was_sent


@pytest.mark.parametrize("handler", [stall, FAULTS["half the body"]], ids=["cancelled", "truncated"])
def test_cancelled_and_failed_calls_leak_no_connection(handler: Handler) -> None:
    def handle(connection: socket.socket, number: int) -> None:
        (handler if number <= 10 else respond_to_all)(connection, number)

    async def act(base_url: str) -> str:
        transport = AiohttpTransport(limits=httpx.Limits(max_connections=1))
        async with httpx.AsyncClient(transport=transport) as http_client:
            client = AsyncCstar(KEY, base_url=base_url, http_client=http_client, max_retries=0)
            for _ in range(10):
                with suppress(APIConnectionError, asyncio.TimeoutError):
                    await asyncio.wait_for(client.request("POST", "/any", json={}), 0.05)
            return (await client.whoami()).team_id

    with RawServer(handle) as server:
        assert asyncio.run(act(server.url)) == TEAM
