"""Connections: which connection a call uses, and that no failed or cancelled call leaks one."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from cstar import APIConnectionError, APIResponseValidationError, APITimeoutError, AsyncCstar, Cstar, CstarError
from cstar._connections import _Lease
from cstar._http_clients import _HttpClient
from rawserver import RawServer, read_request, response
from support import KEY, TEAM, Runner, customer, ok, page_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from cstar.sandbox import Sandbox

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def eventually(condition: Any) -> bool:
    """Wait at most 30 seconds for a condition, and return whether it is true."""
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def run_in_program(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in another process, in which warnings are errors."""
    command = [sys.executable, "-W", "error", "-c", script]
    # Without coverage, whose lock an interrupt can leave locked.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


# ── Choosing a connection ────────────────────────────────────────────────────────────────────────────────────────────


def whoami(client: Any) -> Any:
    return client.whoami()


def test_consecutive_calls_share_a_connection(run: Runner, server: RawServer) -> None:
    run.in_order(whoami, whoami, base_url=server.url)
    assert server.connections == 1


def test_each_concurrent_call_has_its_own_connection() -> None:
    barrier = threading.Barrier(5, timeout=30)

    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        barrier.wait()
        connection.sendall(response())
        read_request(connection)

    with RawServer(handler) as server, Cstar(KEY, base_url=server.url) as client, ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda _: client.whoami(), range(5)))
        assert server.connections == 5


def test_the_most_recently_used_connection_is_used_next() -> None:
    used: list[int] = []
    released = {number: threading.Event() for number in (1, 2, 3)}

    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            used.append(number)
            released[number].wait(30)
            connection.sendall(response())

    with RawServer(handler) as server, Cstar(KEY, base_url=server.url) as client:
        with ThreadPoolExecutor(3) as threads:
            calls = {threads.submit(client.whoami) for _ in range(3)}
            assert eventually(lambda: len(used) == 3)
            for number in (2, 3, 1):
                released[number].set()
                _, calls = wait(calls, return_when=FIRST_COMPLETED)
        used.clear()
        for _ in range(3):
            client.whoami()
        assert used == [1, 1, 1]


def test_an_expired_connection_is_replaced(run: Runner, server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._connections.KEEPALIVE_EXPIRY", -1.0)
    run.in_order(whoami, whoami, base_url=server.url)
    assert server.connections == 2


def test_the_next_call_closes_expired_connections(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cstar(KEY, base_url=server.url) as client:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: client.whoami(), range(8)))
        monkeypatch.setattr("cstar._connections.KEEPALIVE_EXPIRY", 0.05)
        time.sleep(0.06)
        client.whoami()
        assert eventually(lambda: server.open == 1)


def test_a_connection_with_connection_close_is_not_reused(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(response(headers=b"Connection: close\r\n"))

    with RawServer(handler) as server:
        run.in_order(whoami, whoami, base_url=server.url)
        assert server.connections == 2


def test_concurrent_first_calls_create_one_connection_pool(
    session_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[object] = []

    class SlowHttpClient(_HttpClient):
        def __init__(self, **options: Any) -> None:
            time.sleep(0.05)
            super().__init__(**options)
            created.append(self)

    monkeypatch.setattr("cstar._http_clients._HttpClient", SlowHttpClient)
    with Cstar(session_box.api_key, base_url=session_box.url) as client, ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: client.whoami(), range(20)))
    assert len(created) == 1


# ── The limit ────────────────────────────────────────────────────────────────────────────────────────────────────────


def call_concurrently(client: Any, count: int) -> Any:
    """Make concurrent calls with either client, and return a list of their results and errors."""
    if isinstance(client, Cstar):

        def call(_: int) -> object:
            try:
                return client.whoami()
            except CstarError as error:
                return error

        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(call, range(count)))

    async def calls() -> list[Any]:
        results: list[Any] = []

        async def call_async() -> None:
            try:
                results.append(await client.whoami())
            except CstarError as error:
                results.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(call_async)
        return results

    return calls()


def respond_after(seconds: float) -> Any:
    """Make a handler that responds to each request after a delay."""

    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            time.sleep(seconds)
            connection.sendall(response())

    return handler


def test_a_call_above_the_connection_limit_waits(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._connections.MAX_CONNECTIONS", 2)
    with RawServer(respond_after(0.05)) as server:
        results = run(lambda client: call_concurrently(client, 8), base_url=server.url)
        assert not [each for each in results if isinstance(each, Exception)]
        assert server.connections == 2


@pytest.mark.parametrize("timeout", [0.1, httpx.Timeout(30, pool=0.1)], ids=["timeout", "pool timeout"])
def test_the_wait_for_a_connection_is_bounded_by_the_timeout(
    run: Runner, monkeypatch: pytest.MonkeyPatch, timeout: Any
) -> None:
    monkeypatch.setattr("cstar._connections.MAX_CONNECTIONS", 1)
    received, released = threading.Event(), threading.Event()

    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        received.set()
        released.wait(30)
        connection.sendall(response())

    def calls(client: Any) -> Any:
        waiting = client.with_options(timeout=timeout, max_retries=0)
        if isinstance(client, Cstar):
            with ThreadPoolExecutor(1) as threads:
                first = threads.submit(client.whoami)
                assert received.wait(30)
                with pytest.raises(APITimeoutError) as raised:
                    waiting.whoami()
                released.set()
                return first.result(), raised.value

        async def calls_async() -> Any:
            first: list[Any] = []

            async def call() -> None:
                first.append(await client.whoami())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await anyio.to_thread.run_sync(received.wait, 30)
                with pytest.raises(APITimeoutError) as raised:
                    await waiting.whoami()
                released.set()
            return first[0], raised.value

        return calls_async()

    with RawServer(handler) as server:
        identity, error = run(calls, base_url=server.url, timeout=30)
        assert server.connections == 1
    assert identity.team_id == TEAM
    assert not error.was_sent


@BACKENDS
def test_a_cancelled_waiting_call_does_not_block_the_next(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._connections.MAX_CONNECTIONS", 1)

    async def act(url: str) -> None:
        async with AsyncCstar(KEY, base_url=url) as client:
            for moment in range(10):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.whoami)
                    await anyio.lowlevel.checkpoint()
                    with anyio.move_on_after(0.001 * moment):
                        await client.whoami()
                    tasks.start_soon(client.whoami)

    with RawServer(respond_after(0.01)) as server:
        anyio.run(act, server.url, backend=backend)


def test_lost_leases_are_released(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._connections.MAX_CONNECTIONS", 1)
    with Cstar(KEY, base_url=server.url, max_retries=0) as client:
        client.whoami()
        (_, _, connections) = client._transport.clients._built
        for _ in range(3):
            _Lease(connections)  # never ended, as after an interrupt
        client.whoami()


@BACKENDS
def test_a_waiting_call_gets_a_connection_before_later_calls(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._connections.MAX_CONNECTIONS", 1)

    async def act(url: str) -> None:
        async with AsyncCstar(KEY, base_url=url) as client, anyio.create_task_group() as tasks:
            completed: list[object] = []

            async def call_repeatedly() -> None:
                while True:
                    completed.append(await client.whoami())

            tasks.start_soon(call_repeatedly)
            await anyio.sleep(0.01)
            before = len(completed)
            await client.whoami()
            assert len(completed) <= before + 1  # the call that had the connection
            tasks.cancel_scope.cancel()

    with RawServer(respond_after(0.005)) as server:
        anyio.run(act, server.url, backend=backend)


def test_a_call_cancelled_as_it_gets_a_connection_passes_it_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._connections.MAX_CONNECTIONS", 1)
    tasks: list[asyncio.Task[Any]] = []
    all_waiting = threading.Event()

    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            all_waiting.wait(30)
            connection.sendall(response())

    async def act(url: str) -> None:
        async with AsyncCstar(KEY, base_url=url) as client:
            first = AsyncCstar(KEY, base_url=url, on_attempt=lambda attempt: tasks[1].cancel())
            first._transport.clients = client._transport.clients
            for each in (first, client, client):
                tasks.append(asyncio.ensure_future(each.whoami()))
                await asyncio.sleep(0.005)
            all_waiting.set()
            await asyncio.wait(tasks)

    with RawServer(handler) as server:
        asyncio.run(act(server.url))
    assert [task.cancelled() for task in tasks] == [False, True, False]


# ── Stale connections ────────────────────────────────────────────────────────────────────────────────────────────────


def close_after(requests: int) -> Any:
    """Make a handler that responds to this number of requests, and closes the connection upon the next one."""

    def handler(connection: socket.socket, number: int) -> None:
        for _ in range(requests):
            if read_request(connection) is None:
                return
            connection.sendall(response())
        read_request(connection)

    return handler


def test_a_request_on_a_stale_connection_is_resent_at_once(run: Runner) -> None:
    with RawServer(close_after(1)) as server:
        identities = run.in_order(whoami, whoami, base_url=server.url, max_retries=0)
        assert [each.team_id for each in identities] == [TEAM, TEAM]
        assert server.connections == 2
    assert run.sleeps == []


def test_a_request_lost_on_a_stale_connection_counts_as_an_attempt(run: Runner) -> None:
    def raw_whoami(client: Any) -> Any:
        return client.with_raw_response.whoami()

    with RawServer(close_after(1)) as server:
        responses = run.in_order(raw_whoami, raw_whoami, base_url=server.url)
    assert [each.attempts for each in responses] == [1, 2]


def test_a_retry_after_a_resent_request_sends_one_request(run: Runner) -> None:
    requests: list[int] = []

    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            requests.append(number)
            if requests == [1, 1]:
                return
            connection.sendall(response(status="503 Unavailable") if requests == [1, 1, 2] else response())

    with RawServer(handler) as server:
        run.in_order(whoami, whoami, base_url=server.url)
    assert requests == [1, 1, 2, 2]


def test_a_resent_delete_that_gets_a_404_succeeds(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        if number == 1:
            connection.sendall(response())
            read_request(connection)
        else:
            connection.sendall(response(b"{}", status="404 Not Found"))

    with RawServer(handler) as server:
        _, receipt = run.in_order(whoami, lambda client: client.customers.delete(TEAM, "cus_1"), base_url=server.url)
    assert receipt.id == "cus_1"


def test_calls_survive_a_server_that_closed_all_idle_connections(run: Runner) -> None:
    def call_six_times(client: Any) -> Any:
        return call_concurrently(client, 6)

    with RawServer(close_after(1)) as server:
        first, second = run.in_order(call_six_times, call_six_times, base_url=server.url, max_retries=0)
    assert not [each for each in first + second if isinstance(each, Exception)]


def test_a_new_connection_that_closes_without_a_response_is_an_error(run: Runner) -> None:
    with RawServer(close_after(0)) as server:
        with pytest.raises(APIConnectionError) as raised:
            run(lambda client: client.whoami(), base_url=server.url, max_retries=0)
        assert (server.connections, raised.value.attempts, raised.value.was_sent) == (1, 1, True)


def get_number(number: int) -> Any:
    """Make an action that requests the path of this number, and returns the data of the response."""

    def action(client: Any) -> Any:
        return client.request("GET", f"/{number}", cast_to=str)

    return action


@pytest.mark.parametrize("is_late", [False, True])
def test_an_unsolicited_response_is_discarded(run: Runner, is_late: bool) -> None:
    received, sent = threading.Semaphore(0), threading.Semaphore(0)

    def handler(connection: socket.socket, number: int) -> None:
        while (head := read_request(connection)) is not None:
            path_number = head.split(b" ")[1].rpartition(b"/")[2].decode()
            body = json.dumps(ok(path_number)).encode()
            if is_late:
                connection.sendall(response(body))
                received.acquire(timeout=30)
                connection.sendall(response(body))
            else:
                connection.sendall(response(body) * 2)
            sent.release()

    def wait_for_surplus(client: Any) -> None:
        received.release()
        assert sent.acquire(timeout=30)

    with RawServer(handler) as server:
        actions = [action for number in range(5) for action in (get_number(number), wait_for_surplus)]
        assert run.in_order(*actions, base_url=server.url)[::2] == list("01234")


def test_a_reset_idle_connection_is_not_reused(run: Runner) -> None:
    received, reset = threading.Event(), threading.Event()

    def handler(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(response())
        if number == 1:
            received.wait(30)
            connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # makes close() a reset
            connection.close()
            reset.set()
        else:
            read_request(connection)

    def wait_for_reset(client: Any) -> None:
        received.set()
        assert reset.wait(30)

    with RawServer(handler) as server:
        *_, raw = run.in_order(
            whoami, wait_for_reset, lambda client: client.with_raw_response.whoami(), base_url=server.url
        )
        assert raw.attempts == 1
        assert server.connections == 2


def test_a_response_that_began_before_its_request_is_discarded(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        rest = b""
        while (head := read_request(connection)) is not None:
            path_number = head.split(b" ")[1].rpartition(b"/")[2].decode()
            data = response(json.dumps(ok(path_number)).encode())
            connection.sendall(rest + data + data[:20])
            rest = data[20:]

    with RawServer(handler) as server:
        numbers = run.in_order(*map(get_number, range(5)), base_url=server.url, max_retries=0)
    assert numbers == list("01234")


def test_surplus_bytes_after_a_response_do_not_fail_the_next_call(run: Runner) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            connection.sendall(response() + b"null")

    with RawServer(handler) as server:
        run.in_order(whoami, whoami, base_url=server.url, max_retries=0)


# ── Cancelled, interrupted and abandoned calls ───────────────────────────────────────────────────────────────────────


@BACKENDS
def test_cancelled_calls_leak_no_connection(backend: str) -> None:
    moments = random.Random(12)

    async def act(url: str) -> None:
        async with AsyncCstar(KEY, base_url=url, max_retries=0) as client:
            await client.whoami()
            before = open_files()
            for _ in range(100):
                with anyio.move_on_after(moments.uniform(0, 0.006)):
                    await client.whoami()
            (_, _, connections) = next(iter(client._transport.clients._built.values()))
            assert not connections.slots
            assert eventually(lambda: open_files() <= before + 1)  # the server closes its sockets in threads
            await client.whoami()

    with RawServer(respond_after(0.003)) as server:
        anyio.run(act, server.url, backend=backend)


def test_calls_cancelled_twice_leak_no_connection() -> None:
    async def act(url: str) -> None:
        async with AsyncCstar(KEY, base_url=url, max_retries=0) as client:
            await client.whoami()
            before = open_files()
            for moment in range(100):
                task = asyncio.ensure_future(client.whoami())
                await asyncio.sleep(0.00005 * moment)
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert eventually(lambda: open_files() <= before + 1)  # the server closes its sockets in threads
            await client.whoami()

    with RawServer(respond_after(0.003)) as server:
        asyncio.run(act(server.url))


@pytest.mark.parametrize("base", ["Exception", "TimeoutError", "KeyboardInterrupt"])
def test_calls_interrupted_by_a_signal_leak_no_connection_or_lock(base: str) -> None:
    script = f"""
import gc, os, signal, threading, warnings
from cstar import Cstar
from rawserver import RawServer
class Interrupt({base}):
    pass
def interrupt(*_):
    raise Interrupt
signal.signal(signal.SIGALRM, interrupt)
warnings.simplefilter("ignore", ResourceWarning)  # of sockets interrupted while Python creates them
interrupts = 0
with RawServer() as server, Cstar({KEY!r}, base_url=server.url, max_retries=0, timeout=5) as client:
    client.whoami()
    before = len(os.listdir("/proc/self/fd"))
    for number in range(500):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.00001 + 0.000002 * number)
            try:
                client.whoami()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupt:
            interrupts += 1
    threads = [threading.Thread(target=client.whoami) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    print(interrupts > 100, len(os.listdir("/proc/self/fd")) - before, flush=True)
os._exit(0)
"""
    done = run_in_program(script)
    interrupted, leaked = done.stdout.split()
    assert interrupted == "True"
    assert int(leaked) <= 2 * 3, done.stderr  # both ends of three more connections, for the threads


@BACKENDS
def test_an_abandoned_prefetching_iteration_leaks_no_connection(backend: str) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        while (head := read_request(connection)) is not None:
            page = int(head.split(b"page=")[1].split(b"&")[0])
            rows = [customer(100 * page + row) for row in range(100)]
            time.sleep(0.005)
            connection.sendall(response(json.dumps(page_of(rows, page, total=10_000, has_more=True)).encode()))

    async def act(url: str) -> None:
        async with AsyncCstar(KEY, base_url=url) as client:
            for moment in range(10):
                rows = aiter(client.customers.list(TEAM, prefetch=4))
                await anext(rows)
                with anyio.move_on_after(0.002 * moment):
                    for _ in range(300):
                        await anext(rows)
                del rows
            gc.collect()
            (_, _, connections) = next(iter(client._transport.clients._built.values()))
            with anyio.fail_after(30):
                while connections.slots:  # noqa: ASYNC110 - no event marks the end of a lease
                    await anyio.sleep(0.01)

    with RawServer(handler) as server:
        anyio.run(act, server.url, backend=backend)


@pytest.mark.parametrize("build", ["Cstar", "AsyncCstar"])
def test_a_garbage_collected_client_closes_its_connections(build: str) -> None:
    script = f"""
import asyncio, gc, os, time
from cstar import AsyncCstar, Cstar
from rawserver import RawServer
with RawServer() as server:
    async def call():
        client = AsyncCstar({KEY!r}, base_url=server.url)
        client.itself = client  # a cycle, which only the garbage collector frees
        await client.whoami()
    for _ in range(3):
        if {build!r} == "Cstar":
            client = Cstar({KEY!r}, base_url=server.url)
            client.itself = client
            client.whoami()
            del client
        else:
            asyncio.run(call())
    gc.collect()
    end = time.monotonic() + 5
    while server.open and time.monotonic() < end:
        time.sleep(0.01)
    print(server.connections, server.open)
"""
    done = run_in_program(script)
    assert (done.stdout.strip(), done.stderr) == ("3 0", "")


def test_close_lets_running_calls_finish() -> None:
    with RawServer(respond_after(0.2)) as server:
        client = Cstar(KEY, base_url=server.url)
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(client.whoami)
            assert eventually(lambda: server.open == 1)
            client.close()
            assert call.result().team_id == TEAM
        assert eventually(lambda: server.open == 0)


# ── Event loops ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_consecutive_event_loops_leave_no_connection_open(server: RawServer) -> None:
    client = AsyncCstar(KEY, base_url=server.url)

    async def call() -> None:
        await client.whoami()

    for backend in ["asyncio", "trio"] * 15:
        anyio.run(call, backend=backend)
    gc.collect()
    assert eventually(lambda: server.open <= 2)
    asyncio.run(client.close())
    assert eventually(lambda: server.open == 0)


def test_connections_of_a_closed_event_loop_are_closed_by_the_next_call(server: RawServer) -> None:
    client = AsyncCstar(KEY, base_url=server.url)
    loops = [asyncio.new_event_loop() for _ in range(4)]
    for loop in loops:
        loop.run_until_complete(client.whoami())
        loop.close()
    assert eventually(lambda: server.open == 1)
    asyncio.run(client.close())


def test_concurrent_event_loops_have_separate_connections(server: RawServer) -> None:
    client = AsyncCstar(KEY, base_url=server.url)
    barrier = threading.Barrier(2, timeout=30)

    async def calls() -> None:
        for _ in range(30):
            barrier.wait()
            await client.whoami()

    threads = [threading.Thread(target=asyncio.run, args=(calls(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.connections == 2


def test_close_closes_the_connections_of_all_event_loops(server: RawServer) -> None:
    client = AsyncCstar(KEY, base_url=server.url)
    loops = [asyncio.new_event_loop() for _ in range(3)]
    for loop in loops:
        loop.run_until_complete(client.whoami())
    assert server.open == 3
    loops[0].run_until_complete(client.aclose())
    assert eventually(lambda: server.open == 0)
    for loop in loops:
        loop.close()


# ── A response about another customer ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_custom", [False, True])
def test_a_response_about_another_customer_closes_its_connection(run: Runner, is_custom: bool) -> None:
    def handler(connection: socket.socket, number: int) -> None:
        while read_request(connection) is not None:
            connection.sendall(response(json.dumps(ok(customer(2))).encode()))

    http_client = run.http_client()

    def get_another(client: Any) -> Any:
        if isinstance(client, Cstar):
            with pytest.raises(APIResponseValidationError):
                client.customers.get(TEAM, "cus_1")
            return None

        async def get_async() -> None:
            with pytest.raises(APIResponseValidationError):
                await client.customers.get(TEAM, "cus_1")

        return get_async()

    def close(client: Any) -> Any:
        return http_client.close() if isinstance(client, Cstar) else http_client.aclose()

    options = {"http_client": http_client} if is_custom else {}
    with RawServer(handler) as server:
        _, found, _ = run.in_order(
            get_another, lambda client: client.customers.get(TEAM, "cus_2"), close, base_url=server.url, **options
        )
        assert found.id == "cus_2"
        assert server.connections == 2
