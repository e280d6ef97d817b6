"""Idle connections, and incomplete and slow requests."""

import socket
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from cstar.sandbox import Sandbox, _server

HEADERS = b"POST /api/v1/auth/whoami HTTP/1.1\r\nHost: localhost\r\n"
DEADLINE = 10


def connect(box):
    url = httpx.URL(box.url)
    connection = socket.create_connection((url.host, url.port))
    connection.settimeout(DEADLINE)
    return connection


def read_to_the_end(connection):
    """Read until the server closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


@pytest.mark.parametrize(
    "incomplete",
    [b"", HEADERS[:20], HEADERS, HEADERS + b"Content-Length: 9\r\n\r\n{"],
    ids=["nothing", "request line", "headers", "body"],
)
def test_an_incomplete_request_is_closed_after_the_timeout(monkeypatch, incomplete):
    monkeypatch.setattr(_server, "REQUEST_TIMEOUT", 0.2)
    with Sandbox() as box, connect(box) as connection:
        connection.sendall(incomplete)
        assert read_to_the_end(connection) == b""


def test_the_timeout_applies_to_the_whole_request_not_to_each_packet(monkeypatch):
    monkeypatch.setattr(_server, "REQUEST_TIMEOUT", 0.2)

    def send_slowly(connection):
        for _ in range(DEADLINE * 50):
            connection.sendall(b"X")
            time.sleep(0.02)

    with Sandbox() as box, connect(box) as connection, pytest.raises(ConnectionError):
        send_slowly(connection)


def test_the_timeout_does_not_apply_while_a_request_is_handled(monkeypatch):
    monkeypatch.setattr(_server, "REQUEST_TIMEOUT", 0.1)
    with Sandbox() as box:
        box.faults.add("latency", seconds=0.3)
        assert httpx.get(f"{box.url}/auth/whoami").status_code == 401


def test_an_idle_connection_is_closed_after_the_timeout(monkeypatch):
    monkeypatch.setattr(_server, "REQUEST_TIMEOUT", 0.2)
    with Sandbox() as box, connect(box) as connection:
        connection.sendall(b"GET /api/v1/auth/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 401")


@contextmanager
def open_file_limit(count):
    if sys.platform == "win32":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            pytest.skip(f"only {hard} files may be open")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_above_the_maximum_the_oldest_waiting_connection_is_closed(monkeypatch):
    monkeypatch.setattr(_server, "MAX_WAITING_CONNECTIONS", 2)
    with Sandbox() as box, connect(box) as first, connect(box) as second:
        first.sendall(HEADERS)
        second.sendall(HEADERS)
        with connect(box) as third:
            assert read_to_the_end(first) == b""
            for connection in (second, third):
                connection.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    connection.recv(1)


def test_a_burst_of_connections_is_served():
    with open_file_limit(5000), Sandbox() as box, ExitStack() as stack:
        connections = [stack.enter_context(connect(box)) for _ in range(_server.MAX_WAITING_CONNECTIONS)]
        for connection in connections:
            connection.sendall(HEADERS + b"Connection: close\r\n\r\n")
        statuses = {read_to_the_end(connection).partition(b"\r\n")[0] for connection in connections}
    assert statuses == {b"HTTP/1.1 401 Unauthorized"}


def test_a_drop_closes_a_connection_that_a_forked_child_inherited():
    script = """
        import os, sys, time
        import httpx
        from cstar.sandbox import Sandbox

        with Sandbox() as box, httpx.Client(timeout=5) as client:
            client.get(box.url + "/auth/whoami")
            if (child := os.fork()) == 0:
                time.sleep(60)
            box.faults.add("drop")
            try:
                client.get(box.url + "/auth/whoami")
            except httpx.RemoteProtocolError:
                print("dropped")
            os.kill(child, 9)
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "dropped\n"
