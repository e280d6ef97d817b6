"""Calls end: within `timeout` for each attempt and within `deadline` for all of them, whatever a server does."""

from __future__ import annotations

import gc
import re
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from cstar import APIConnectionError, APITimeoutError, ConfigurationError, Cstar, InternalServerError
from cstar._network import AsyncStream
from rawserver import RawServer, read_request, response
from support import KEY, Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Seconds: long beside what a call needs on a busy machine, and short beside what the servers here take.
TIMEOUT = 0.3
PATIENCE = 20


def slowly(start: bytes, rest: bytes) -> Callable[[socket.socket, int], None]:
    """A handler that sends the start of a response at once, and the rest a byte each 10 ms, again and again."""

    def handler(connection: socket.socket, number: int) -> None:
        if read_request(connection) is not None:
            connection.sendall(start)
            for place in range(100 * PATIENCE):
                connection.sendall(rest[place % len(rest) :][:1])
                time.sleep(0.01)

    return handler


SLOW = {
    "headers": slowly(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"a"),
    "informational responses": slowly(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" "),
    "nothing": lambda connection, number: time.sleep(PATIENCE),
}


def time_out(run: Runner, **options: Any) -> APITimeoutError:
    """The error of a call that must end at its time limit, and not when the server lets it."""
    started = time.monotonic()
    with pytest.raises(APITimeoutError) as caught:
        run(lambda client: client.whoami(), **{"max_retries": 0, **options})
    assert time.monotonic() - started < PATIENCE / 2
    return caught.value


@pytest.mark.parametrize("slow", SLOW)
def test_a_timeout_bounds_an_attempt_however_slowly_bytes_arrive(run: Runner, slow: str) -> None:
    with RawServer(SLOW[slow]) as server:
        started = time.monotonic()
        error = time_out(run, base_url=server.url, timeout=TIMEOUT)
        assert time.monotonic() - started >= TIMEOUT
    assert "within the timeout of 0.3 s" in str(error)
    assert error.was_sent


def time_out_over_a_custom_client(run: Runner, slow: str) -> None:
    own = run.http_client()

    def call(client: Any) -> Any:
        if isinstance(client, Cstar):
            with own:
                return client.whoami()

        async def call_async() -> Any:
            async with own:
                return await client.whoami()

        return call_async()

    with RawServer(SLOW[slow]) as server, pytest.raises(APITimeoutError, match=r"within the timeout of 0\.3 s"):
        run(call, base_url=server.url, timeout=TIMEOUT, max_retries=0, http_client=own)


def test_a_timeout_bounds_the_body_over_a_custom_httpx_client_too(run: Runner) -> None:
    time_out_over_a_custom_client(run, "body")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_timeout_bounds_the_headers_over_a_custom_async_httpx_client_too(backend: str) -> None:
    time_out_over_a_custom_client(Runner(backend), "headers")


def test_the_parts_of_an_httpx_timeout_bound_each_wait(run: Runner) -> None:
    with RawServer(SLOW["nothing"]) as server:
        error = time_out(run, base_url=server.url, timeout=httpx.Timeout(PATIENCE, read=TIMEOUT))
    assert "in time (ReadTimeout" in str(error)


def test_a_timeout_bounds_a_request_that_the_server_does_not_read(run: Runner) -> None:
    body = {"text": "x" * 20_000_000}
    with RawServer(SLOW["nothing"]) as server, pytest.raises(APITimeoutError):
        run(
            lambda client: client.request("POST", "/any", json=body),
            base_url=server.url,
            timeout=TIMEOUT,
            max_retries=0,
        )


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], list[int]]], None]]:
    """Sets how the name api.cstar.test is resolved: to ports of this machine."""
    resolve = socket.getaddrinfo

    def install(ports: Callable[[], list[int]]) -> None:
        def fake(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
            if host not in {"api.cstar.test", b"api.cstar.test"} or flags & socket.AI_NUMERICHOST:
                return resolve(host, port, family, type, proto, flags)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", each)) for each in ports()]

        monkeypatch.setattr(socket, "getaddrinfo", fake)

    yield install
    for thread in threading.enumerate():
        if thread.name == "cstar-resolver":
            thread.join(5)


@pytest.fixture
def unresolved(addresses: Any) -> Iterator[None]:
    """Keeps the name api.cstar.test from being resolved until the test ends."""
    over = threading.Event()
    addresses(lambda: [9] * over.wait(PATIENCE))
    yield
    over.set()


def test_a_timeout_bounds_the_resolution_of_a_name(run: Runner, unresolved: None) -> None:
    error = time_out(run, base_url="http://api.cstar.test", timeout=TIMEOUT)
    assert not error.was_sent


@pytest.fixture
def deaf_port() -> Any:
    """A port where no connection is made: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        time.sleep(0.05)
        yield address[1]
        for filler in fillers:
            filler.close()


@pytest.mark.usefixtures("late_cancellation")
def test_a_timeout_bounds_an_attempt_to_connect(run: Runner, deaf_port: int) -> None:
    error = time_out(run, base_url=f"http://127.0.0.1:{deaf_port}", timeout=TIMEOUT)
    assert "ConnectTimeout" in str(error)
    assert not error.was_sent


def test_an_address_that_does_not_answer_leaves_time_for_the_next(run: Runner, deaf_port: int, addresses: Any) -> None:
    with RawServer() as server:
        addresses(lambda: [deaf_port, server.port])
        # The sync client gives the first address half of the time.
        timeout = httpx.Timeout(PATIENCE, connect=1)
        run(lambda client: client.whoami(), base_url="http://api.cstar.test", timeout=timeout, max_retries=0)
        assert server.connections == 1


def test_addresses_that_all_refuse_are_one_error_that_says_why(run: Runner, addresses: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen, while nobody else gets the port
        port = silent.getsockname()[1]
        addresses(lambda: [port, port])
        with pytest.raises(APIConnectionError, match="Connection refused") as caught:
            run(lambda client: client.whoami(), base_url="http://api.cstar.test", max_retries=0)
    assert not caught.value.was_sent


def test_a_name_that_is_not_known_is_an_error_that_says_so(run: Runner) -> None:
    with pytest.raises(APIConnectionError, match=r"ConnectError: \[Errno -") as caught:
        run(lambda client: client.whoami(), base_url="http://cstar.invalid", max_retries=0)
    assert not caught.value.was_sent


def test_a_host_without_an_address_is_an_error_that_says_so(run: Runner, addresses: Any) -> None:
    addresses(list)
    with pytest.raises(APIConnectionError, match="has no address"):
        run(lambda client: client.whoami(), base_url="http://api.cstar.test", max_retries=0)


def test_a_name_is_resolved_although_there_is_no_further_thread(
    addresses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def reject(thread: threading.Thread) -> None:
        if thread.name == "cstar-resolver":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", reject)
    with RawServer() as server:
        addresses(lambda: [server.port])
        with Cstar(KEY, base_url="http://api.cstar.test", max_retries=0) as client:
            client.whoami()


def test_of_two_addresses_that_answer_at_once_one_connection_is_kept(
    addresses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cstar._network.CONNECTION_ATTEMPT_DELAY", 0.01)
    connect, connected = AsyncStream.connect, []

    async def connect_together(stream: AsyncStream, address: Any) -> None:
        await connect(stream, address)
        connected.append(both)
        if len(connected) == 2:
            both.set()
        with anyio.CancelScope(shield=True):  # as if both had come in one turn of the event loop
            await both.wait()

    monkeypatch.setattr(AsyncStream, "connect", connect_together)

    async def call(client: Any) -> None:
        nonlocal both
        both = anyio.Event()
        await client.whoami()
        assert eventually(lambda: server.connections == 2 and server.open == 1)

    both: Any = None
    with RawServer() as server:
        addresses(lambda: [server.port] * 2)
        Runner("asyncio")(call, base_url="http://api.cstar.test", max_retries=0)


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("deadline", [1e-6, 0.05])
def test_a_deadline_that_is_over_is_a_timeout_with_a_custom_client_too(run: Runner, deadline: float) -> None:
    own = run.http_client(limits=httpx.Limits(max_keepalive_connections=0))
    with RawServer(SLOW["nothing"]) as server, pytest.raises(APITimeoutError, match="within the deadline of"):
        run(lambda client: client.whoami(), base_url=server.url, deadline=deadline, http_client=own)
    # In httpx on anyio 4.4, a connection whose timeout ends as it is made is left open: here, not in a later test.
    gc.collect()


def test_after_a_delay_that_took_too_long_the_last_outcome_stands(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            connection.sendall(response(b"{}", status="503 Unavailable"))

    clock, real = [0.0], time.monotonic
    monkeypatch.setattr("cstar._call_state.time.monotonic", lambda: real() + clock[0])

    def oversleep(attempt: Any) -> None:
        clock[0] += 100

    with RawServer(handler) as server, pytest.raises(InternalServerError) as caught:
        run(lambda client: client.whoami(), base_url=server.url, deadline=10, timeout=200, on_attempt=oversleep)
    assert caught.value.attempts == 1


# ── Interrupted by a signal ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("waits_to", ["connect", "send", "receive"])
@pytest.mark.parametrize("error", [TimeoutError(), TimeoutError("time is up"), ConnectionError("time is up")], ids=repr)
def test_an_error_of_a_signal_handler_is_no_error_of_the_connection(
    waits_to: str, error: Exception, deaf_port: int
) -> None:
    def handler(number: int, frame: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, handler)
    json = {"text": "x" * 20_000_000} if waits_to == "send" else {}
    try:
        with RawServer(SLOW["nothing"]) as server:
            port = deaf_port if waits_to == "connect" else server.port
            with Cstar(KEY, base_url=f"http://127.0.0.1:{port}", timeout=5) as client:
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(type(error)) as caught:
                    client.request("POST", "/any", json=json)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught.value is error


def test_an_error_of_a_signal_handler_is_none_of_the_resolution(unresolved: None) -> None:
    def handler(number: int, frame: object) -> None:
        raise TimeoutError("time is up")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeoutError, match="time is up"):
            Cstar(KEY, base_url="http://api.cstar.test").whoami()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_calls_at_once_share_the_resolution_of_a_name(addresses: Any) -> None:
    lookups: list[int] = []
    over = threading.Event()

    with RawServer() as server:

        def resolve() -> list[int]:
            lookups.append(threading.active_count())
            over.wait(PATIENCE)
            return [server.port]

        addresses(resolve)
        threading.Timer(0.1, over.set).start()

        async def calls(client: Any) -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(client.whoami)

        Runner("asyncio")(calls, base_url="http://api.cstar.test")
    assert len(lookups) == 1


def test_an_address_of_a_kind_that_the_machine_lacks_leaves_the_others(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo
    with RawServer() as server:

        def fake(host: Any, *arguments: Any, **options: Any) -> Any:
            if host != "api.cstar.test" or options.get("flags"):
                return resolve(host, *arguments, **options)
            return [
                (family, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)) for family in (9999, socket.AF_INET)
            ]

        monkeypatch.setattr(socket, "getaddrinfo", fake)
        run(lambda client: client.whoami(), base_url="http://api.cstar.test", max_retries=0)


def test_the_time_to_connect_is_for_all_addresses_together(run: Runner, deaf_port: int, addresses: Any) -> None:
    addresses(lambda: [deaf_port] * 40)
    error = time_out(run, base_url="http://api.cstar.test", timeout=httpx.Timeout(PATIENCE, connect=TIMEOUT))
    assert "ConnectTimeout" in str(error)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_timeout_error_of_a_hook_is_the_hooks(backend: str) -> None:
    run = Runner(backend)

    def hook(request: httpx.Request) -> None:
        raise TimeoutError("mine")

    own = run.http_client(event_hooks={"request": [run.hook(hook)]})
    with pytest.raises(TimeoutError, match="mine"):
        run(lambda client: client.whoami(), http_client=own)


# ── The deadline ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_deadline_cuts_an_attempt_short(run: Runner) -> None:
    with RawServer(SLOW["body"]) as server:
        error = time_out(run, base_url=server.url, timeout=30, deadline=TIMEOUT)
    assert "within the deadline of 0.3 s" in str(error)


def test_a_deadline_bounds_the_waits_of_an_httpx_timeout_together(run: Runner) -> None:
    with RawServer(SLOW["body"]) as server:
        error = time_out(run, base_url=server.url, timeout=httpx.Timeout(30), deadline=TIMEOUT)
    assert "within the deadline of 0.3 s" in str(error)


@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_a_deadline_bounds_all_attempts_together(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._retry.BACKOFF_MAXIMUM", 0.001)
    with RawServer(SLOW["nothing"]) as server:
        started = time.monotonic()
        error = time_out(Runner(kind), base_url=server.url, timeout=0.2, deadline=0.9, max_retries=50)
        assert time.monotonic() - started >= 0.9
    assert re.search(r"within the deadline of 0\.9 s after [2-9] attempts", str(error))


def test_a_wait_that_would_outlast_the_deadline_is_not_begun_and_the_outcome_stands(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            connection.sendall(response(b"{}", status="503 Unavailable", headers=b"Retry-After: 20\r\n"))

    with RawServer(handler) as server, pytest.raises(InternalServerError) as caught:
        run(lambda client: client.whoami(), base_url=server.url, deadline=10)
    assert (caught.value.status_code, caught.value.attempts) == (503, 1)
    assert run.sleeps == []


def test_a_deadline_of_a_derived_client_can_be_lifted(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        time.sleep(TIMEOUT)
        connection.sendall(response())

    with RawServer(handler) as server:
        run(lambda client: client.with_options(deadline=None).whoami(), base_url=server.url, deadline=0.01, timeout=10)


@pytest.mark.parametrize("wrong", [0, -1, True, "5", float("nan"), float("inf")])
def test_a_deadline_is_a_positive_number_of_seconds(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="deadline must be a positive number of seconds"):
        Cstar(KEY, deadline=wrong)
