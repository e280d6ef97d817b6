"""Time limits: `timeout` bounds each attempt and `deadline` bounds a call, however slow the server is."""

from __future__ import annotations

import gc
import itertools
import signal
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial
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

# Seconds. A call over loopback needs less than TIMEOUT, even on a busy machine. The slow servers take SERVER_DELAY.
TIMEOUT = 0.5
SERVER_DELAY = 20


def send_slowly(start: bytes, rest: bytes) -> Callable[[socket.socket, int], None]:
    """Return a handler that sends `start` at once, and then `rest` repeatedly, one byte every 10 ms."""

    def handler(connection: socket.socket, number: int) -> None:
        if read_request(connection) is not None:
            connection.sendall(start)
            for byte in itertools.islice(itertools.cycle(rest), 100 * SERVER_DELAY):
                connection.sendall(bytes([byte]))
                time.sleep(0.01)

    return handler


SLOW = {
    "headers": send_slowly(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
    "informational responses": send_slowly(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "body": send_slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b" "),
    "nothing": lambda connection, number: time.sleep(SERVER_DELAY),
}


def time_out(run: Runner, **options: Any) -> APITimeoutError:
    """Return the error of a call that must time out long before the server has responded."""
    started = time.monotonic()
    with pytest.raises(APITimeoutError) as raised:
        run(lambda client: client.whoami(), **{"max_retries": 0, **options})
    assert time.monotonic() - started < SERVER_DELAY / 2
    return raised.value


# ── The timeout of an attempt ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("slow", SLOW)
def test_a_timeout_bounds_an_attempt_however_slowly_bytes_arrive(run: Runner, slow: str) -> None:
    with RawServer(SLOW[slow]) as server:
        started = time.monotonic()
        error = time_out(run, base_url=server.url, timeout=TIMEOUT)
        assert time.monotonic() - started >= TIMEOUT
    assert f"within the timeout of {TIMEOUT} s" in str(error)
    assert error.was_sent


# ("sync", "headers") is missing: a custom sync client limits each read of the headers, but not all reads together.
@pytest.mark.parametrize(
    ("kind", "slow"),
    [("sync", "body"), ("asyncio", "body"), ("trio", "body"), ("asyncio", "headers"), ("trio", "headers")],
)
def test_a_timeout_bounds_an_attempt_over_a_custom_http_client(kind: str, slow: str) -> None:
    run = Runner(kind)
    http_client = run.http_client()

    def call(client: Any) -> Any:
        if isinstance(client, Cstar):
            with http_client:
                return client.whoami()

        async def call_async() -> Any:
            async with http_client:
                return await client.whoami()

        return call_async()

    message = f"within the timeout of {TIMEOUT} s"
    with RawServer(SLOW[slow]) as server, pytest.raises(APITimeoutError, match=message):
        run(call, base_url=server.url, timeout=TIMEOUT, max_retries=0, http_client=http_client)


def test_an_httpx_timeout_bounds_each_wait(run: Runner) -> None:
    with RawServer(SLOW["nothing"]) as server:
        error = time_out(run, base_url=server.url, timeout=httpx.Timeout(SERVER_DELAY, read=TIMEOUT))
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


def test_without_a_write_timeout_a_write_may_take_longer_than_the_connect_timeout(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        time.sleep(2 * TIMEOUT)
        read_request(connection)
        connection.sendall(response())

    with RawServer(handler) as server:
        timeout = httpx.Timeout(SERVER_DELAY, connect=TIMEOUT, write=None)
        body = {"text": "x" * 20_000_000}
        sent = run(
            lambda client: client.request("POST", "/any", json=body),
            base_url=server.url,
            timeout=timeout,
            max_retries=0,
        )
        assert sent["success"]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_timeout_error_of_an_event_hook_propagates_unchanged(backend: str) -> None:
    run = Runner(backend)

    def hook(request: httpx.Request) -> None:
        raise TimeoutError("of the hook")

    http_client = run.http_client(event_hooks={"request": [run.hook(hook)]})
    with pytest.raises(TimeoutError, match="of the hook"):
        run(lambda client: client.whoami(), http_client=http_client)


# ── Connecting ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that makes api.cstar.test resolve to ports of this machine."""
    resolve = socket.getaddrinfo

    def install(ports: Callable[[], list[int]], families: tuple[int, ...] = (socket.AF_INET,)) -> None:
        def fake(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
            if host not in {"api.cstar.test", b"api.cstar.test"} or flags & socket.AI_NUMERICHOST:
                return resolve(host, port, family, type, proto, flags)
            found = itertools.product(ports(), families)
            return [(family, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port, family in found]

        monkeypatch.setattr(socket, "getaddrinfo", fake)

    yield install
    for thread in threading.enumerate():
        if thread.name == "cstar-resolver":
            thread.join(5)


@pytest.fixture
def unresolved(addresses: Any) -> Iterator[None]:
    """Make the resolution of api.cstar.test block until the test ends."""
    test_has_ended = threading.Event()

    def resolve() -> list[int]:
        test_has_ended.wait(SERVER_DELAY)
        return []

    addresses(resolve)
    yield
    test_has_ended.set()


@pytest.fixture
def unresponsive_port() -> Iterator[int]:
    """A port that accepts no connections, because its backlog is full."""
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


def test_a_timeout_bounds_the_resolution_of_a_name(run: Runner, unresolved: None) -> None:
    error = time_out(run, base_url="http://api.cstar.test", timeout=TIMEOUT)
    assert not error.was_sent


@pytest.mark.usefixtures("late_cancellation")
def test_a_timeout_bounds_an_attempt_to_connect(run: Runner, unresponsive_port: int) -> None:
    error = time_out(run, base_url=f"http://127.0.0.1:{unresponsive_port}", timeout=TIMEOUT)
    assert "ConnectTimeout" in str(error)
    assert not error.was_sent


def test_the_connect_timeout_bounds_all_addresses_together(run: Runner, unresponsive_port: int, addresses: Any) -> None:
    addresses(lambda: [unresponsive_port] * 40)
    error = time_out(run, base_url="http://api.cstar.test", timeout=httpx.Timeout(SERVER_DELAY, connect=TIMEOUT))
    assert "ConnectTimeout" in str(error)


def test_an_unresponsive_address_leaves_time_for_the_next(run: Runner, unresponsive_port: int, addresses: Any) -> None:
    with RawServer() as server:
        addresses(lambda: [unresponsive_port, server.port])
        # The sync client spends half of the connect timeout on the first address.
        timeout = httpx.Timeout(SERVER_DELAY, connect=2)
        run(lambda client: client.whoami(), base_url="http://api.cstar.test", timeout=timeout, max_retries=0)
        assert server.connections == 1


def test_the_error_has_the_reason_if_all_addresses_refuse_connections(run: Runner, addresses: Any) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # reserves the port
        port = bound.getsockname()[1]
        addresses(lambda: [port, port])
        with pytest.raises(APIConnectionError, match="Connection refused") as raised:
            run(lambda client: client.whoami(), base_url="http://api.cstar.test", max_retries=0)
    assert not raised.value.was_sent


def test_an_unknown_host_name_is_a_connection_error(run: Runner) -> None:
    with pytest.raises(APIConnectionError, match=r"ConnectError: \[Errno -") as raised:
        run(lambda client: client.whoami(), base_url="http://cstar.invalid", max_retries=0)
    assert not raised.value.was_sent


def test_a_host_without_an_address_is_a_connection_error(run: Runner, addresses: Any) -> None:
    addresses(list)
    with pytest.raises(APIConnectionError, match="has no address"):
        run(lambda client: client.whoami(), base_url="http://api.cstar.test", max_retries=0)


def test_an_address_of_an_unsupported_family_is_skipped(run: Runner, addresses: Any) -> None:
    with RawServer() as server:
        addresses(lambda: [server.port], families=(9999, socket.AF_INET))
        run(lambda client: client.whoami(), base_url="http://api.cstar.test", max_retries=0)


def test_a_name_is_resolved_if_no_thread_can_be_started(addresses: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == "cstar-resolver":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    with RawServer() as server:
        addresses(lambda: [server.port])
        with Cstar(KEY, base_url="http://api.cstar.test", max_retries=0) as client:
            client.whoami()


def test_concurrent_calls_share_the_resolution_of_a_name(addresses: Any) -> None:
    lookups = 0
    all_calls_wait = threading.Event()

    with RawServer() as server:

        def resolve() -> list[int]:
            nonlocal lookups
            lookups += 1
            all_calls_wait.wait(SERVER_DELAY)
            return [server.port]

        addresses(resolve)

        async def calls(client: Any) -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(client.whoami)
                await anyio.wait_all_tasks_blocked()
                all_calls_wait.set()

        Runner("asyncio")(calls, base_url="http://api.cstar.test")
    assert lookups == 1


def test_an_error_of_a_custom_socket_class_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """PySocks replaces `socket.socket`, and its errors have no arguments."""

    class ProxyError(OSError):
        def __init__(self, message: str) -> None:
            self.message = message

        def __str__(self) -> str:
            return self.message

    class ProxiedSocket(socket.socket):
        def connect(self, address: Any) -> None:
            raise ProxyError("the proxy refuses connections")

    monkeypatch.setattr(socket, "socket", ProxiedSocket)
    with pytest.raises(APIConnectionError, match="the proxy refuses connections"):
        Cstar(KEY, base_url="http://127.0.0.1:1", max_retries=0).whoami()


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait up to 20 seconds for a condition, and return whether it became true."""
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_one_of_two_simultaneous_connections_is_closed(addresses: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._network.CONNECTION_ATTEMPT_DELAY", 0.01)
    connect, connections = AsyncStream.connect, 0
    both_are_open: Any = None

    async def connect_both(stream: AsyncStream, address: Any) -> None:
        nonlocal connections
        await connect(stream, address)
        connections += 1
        if connections == 2:
            both_are_open.set()
        with anyio.CancelScope(shield=True):  # as if both were opened in one iteration of the event loop
            await both_are_open.wait()

    monkeypatch.setattr(AsyncStream, "connect", connect_both)

    async def call(client: Any) -> None:
        nonlocal both_are_open
        both_are_open = anyio.Event()
        await client.whoami()
        assert eventually(lambda: server.connections == 2 and server.open == 1)

    with RawServer() as server:
        addresses(lambda: [server.port] * 2)
        Runner("asyncio")(call, base_url="http://api.cstar.test", max_retries=0)


# ── Signal handlers ──────────────────────────────────────────────────────────────────────────────────────────────────


def send_signal_soon() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.1)


@contextmanager
def error_of_signal_handler(error: Exception) -> Iterator[None]:
    """Install a signal handler that raises this error, and expect the error to be raised."""

    def handler(number: int, frame: object) -> None:
        raise error

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(type(error)) as raised:
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert raised.value is error


@pytest.mark.parametrize("error", [TimeoutError("time is up"), ConnectionError("time is up")], ids=repr)
@pytest.mark.parametrize("phase", ["connect", "send", "receive"])
def test_an_error_of_a_signal_handler_propagates_unchanged(
    phase: str, error: Exception, unresponsive_port: int
) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        if phase == "receive":
            read_request(connection)
        send_signal_soon()
        time.sleep(SERVER_DELAY)

    body = {"text": "x" * 20_000_000} if phase == "send" else {}
    with RawServer(handler) as server:
        port = unresponsive_port if phase == "connect" else server.port
        client = Cstar(KEY, base_url=f"http://127.0.0.1:{port}", timeout=10)
        with client, error_of_signal_handler(error):
            if phase == "connect":
                send_signal_soon()
            client.request("POST", "/any", json=body)


def raise_once(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise TimeoutError("timed out")


def raise_for_any(*arguments: object) -> None:
    raise TimeoutError("timed out")


class Alarm:
    """Handlers of a signal that are not functions."""

    def method(self, number: int, frame: object) -> None:
        raise TimeoutError("timed out")

    def __call__(self, number: int, frame: object) -> None:
        self.method(number, frame)


@pytest.mark.parametrize(
    "alarm",
    [Alarm(), Alarm().method, partial(Alarm.method, Alarm()), raise_once, raise_for_any],
    ids=["object", "method", "partial", "uninstalls itself", "any arguments"],
)
def test_a_signal_handler_may_be_any_callable(alarm: Any) -> None:
    with RawServer(SLOW["nothing"]) as server, Cstar(KEY, base_url=server.url, max_retries=0) as client:
        previous = signal.signal(signal.SIGALRM, alarm)
        try:
            send_signal_soon()
            with pytest.raises(TimeoutError):
                client.whoami()
        finally:
            signal.signal(signal.SIGALRM, previous)


def test_an_error_of_a_signal_handler_ends_the_resolution_of_a_name(unresolved: None) -> None:
    client = Cstar(KEY, base_url="http://api.cstar.test")
    with client, error_of_signal_handler(TimeoutError("time is up")):
        send_signal_soon()
        client.whoami()


# ── The deadline of a call ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def advance_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that advances `time.monotonic()` by some seconds."""
    clock, advanced = time.monotonic, 0.0

    def advance(seconds: float) -> None:
        nonlocal advanced
        advanced += seconds

    monkeypatch.setattr(time, "monotonic", lambda: clock() + advanced)
    return advance


@pytest.mark.parametrize("timeout", [30, httpx.Timeout(30)], ids=["number", "httpx.Timeout"])
def test_a_deadline_bounds_an_attempt(run: Runner, timeout: Any) -> None:
    with RawServer(SLOW["body"]) as server:
        error = time_out(run, base_url=server.url, timeout=timeout, deadline=TIMEOUT)
    assert f"within the deadline of {TIMEOUT} s" in str(error)


def test_a_deadline_bounds_all_attempts_together(run: Runner, advance_clock: Callable[[float], None]) -> None:
    """Two attempts take 98 of the 100 seconds by the client's clock, so the third times out within 2 seconds."""
    requests: list[int] = []

    def handler(connection: socket.socket, number: int) -> None:
        while len(requests) < 3 and read_request(connection) is not None:
            requests.append(number)
            if len(requests) < 3:
                connection.sendall(response(b"{}", status="503 Unavailable"))
        time.sleep(SERVER_DELAY)

    with RawServer(handler) as server, pytest.raises(APITimeoutError, match="deadline of 100 s after 3 attempts"):
        run(
            lambda client: client.whoami(),
            base_url=server.url,
            timeout=200,
            deadline=100,
            max_retries=2,
            on_attempt=lambda attempt: advance_clock(49),
        )
    assert len(requests) == 3


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("deadline", [1e-6, 0.05])
def test_an_expired_deadline_is_a_timeout_over_a_custom_http_client(run: Runner, deadline: float) -> None:
    http_client = run.http_client(limits=httpx.Limits(max_keepalive_connections=0))
    with RawServer(SLOW["nothing"]) as server, pytest.raises(APITimeoutError, match="within the deadline of"):
        run(lambda client: client.whoami(), base_url=server.url, deadline=deadline, http_client=http_client)
    # With anyio 4.4, httpx leaks a connection that times out while it is opened. Collect it here, not in a later test.
    gc.collect()


def respond_503(retry_after: bytes) -> Callable[[socket.socket, int], None]:
    """Return a handler that responds 503 to all requests."""

    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            headers = b"Retry-After: %s\r\n" % retry_after
            connection.sendall(response(b"{}", status="503 Unavailable", headers=headers))

    return handler


def test_a_retry_delay_beyond_the_deadline_raises_the_error_at_once(run: Runner) -> None:
    with RawServer(respond_503(b"20")) as server, pytest.raises(InternalServerError) as raised:
        run(lambda client: client.whoami(), base_url=server.url, deadline=10)
    assert (raised.value.status_code, raised.value.attempts) == (503, 1)
    assert run.sleeps == []


def test_a_retry_delay_that_outlasts_the_deadline_raises_the_last_error(
    run: Runner, advance_clock: Callable[[float], None]
) -> None:
    with RawServer(respond_503(b"0")) as server, pytest.raises(InternalServerError) as raised:
        run(
            lambda client: client.whoami(),
            base_url=server.url,
            deadline=10,
            timeout=200,
            on_attempt=lambda attempt: advance_clock(100),  # after the retry delay was chosen
        )
    assert raised.value.attempts == 1


def test_with_options_can_remove_the_deadline(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        time.sleep(TIMEOUT)
        connection.sendall(response())

    with RawServer(handler) as server:
        run(lambda client: client.with_options(deadline=None).whoami(), base_url=server.url, deadline=0.01, timeout=10)


@pytest.mark.parametrize("invalid", [0, -1, True, "5", float("nan"), float("inf")])
def test_a_deadline_must_be_a_positive_number_of_seconds(invalid: Any) -> None:
    with pytest.raises(ConfigurationError, match="deadline must be a positive number of seconds"):
        Cstar(KEY, deadline=invalid)
