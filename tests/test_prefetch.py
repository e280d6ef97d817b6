"""Tests of `prefetch`: concurrent requests, order, errors, clean-up, and the rate limit."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing, closing, suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio

from cstar import AsyncCstar, Cstar, InternalServerError, RateLimitError
from support import KEY, STOP, TEAM, URL, Runner, customer, error, page_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cstar._checkpoint import PageRequest
    from cstar.sandbox import Sandbox

ROWS = [customer(number) for number in range(100)]
IDS = [row["id"] for row in ROWS]


class Server:
    """A server of ten pages of ten rows that counts concurrent requests.

    Attributes:
        wait_for: The responses from page 2 on wait until this many requests have been pending at once.
        delay: The seconds that each response takes.
        is_held: Returns whether the response to a page, given its number, still has to wait.
        max_concurrent: The maximum number of pending requests.
        requested: The page numbers, in the order of the requests.
        responded: The page numbers, in the order of the responses.
    """

    def __init__(
        self,
        kind: str,
        *,
        wait_for: int = 0,
        delay: float = 0.0,
        respond: Callable[[int], httpx.Response] | None = None,
    ) -> None:
        self.kind = kind
        self.wait_for = wait_for
        self.delay = delay
        self.is_held: Callable[[int], bool] = lambda number: number > 1 and self.max_concurrent < self.wait_for
        self.max_concurrent = 0
        self.requested: list[int] = []
        self.responded: list[int] = []
        self._respond = respond or page
        self._lock = threading.Lock()
        self._concurrent = 0

    def client(self) -> httpx.Client | httpx.AsyncClient:
        serve = self._serve if self.kind == "sync" else self._serve_async
        return Runner(self.kind).http_client(transport=httpx.MockTransport(serve))

    def _enter(self, request: httpx.Request) -> int:
        number = int(request.url.params["page"])
        with self._lock:
            self.requested.append(number)
            self._concurrent += 1
            self.max_concurrent = max(self.max_concurrent, self._concurrent)
        return number

    def _leave(self, number: int) -> None:
        with self._lock:
            self.responded.append(number)
            self._concurrent -= 1

    def _serve(self, request: httpx.Request) -> httpx.Response:
        number = self._enter(request)
        end = time.monotonic() + 30
        try:
            while self.is_held(number):
                assert time.monotonic() < end, "too few concurrent requests"
                time.sleep(0.001)
            time.sleep(self.delay)
            return self._respond(number)
        finally:
            self._leave(number)

    async def _serve_async(self, request: httpx.Request) -> httpx.Response:
        number = self._enter(request)
        try:
            with anyio.fail_after(30):
                while self.is_held(number):  # noqa: ASYNC110 - there is no event to wait for
                    await anyio.sleep(0.001)
            await anyio.sleep(self.delay)
            return self._respond(number)
        finally:
            self._leave(number)


def page(number: int, **headers: str) -> httpx.Response:
    rows = ROWS[(number - 1) * 10 : number * 10]
    return httpx.Response(200, json=page_of(rows, number, size=10, total=100, has_more=number < 10), headers=headers)


def customers(**options: Any) -> Callable[[Any], Any]:
    return lambda client: client.customers.list(TEAM, page_size=10, **options)


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cstar-prefetch"]


@pytest.fixture(autouse=True)
def _check_that_no_thread_remains() -> Any:
    yield
    assert prefetch_threads() == []


@pytest.mark.parametrize("prefetch", [1, 9])
def test_exactly_prefetch_requests_are_pending_at_once(run: Runner, prefetch: int) -> None:
    server = Server(run.kind, wait_for=prefetch)
    rows = run.collect(customers(prefetch=prefetch), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert server.max_concurrent == prefetch


@pytest.mark.parametrize("prefetch", [3, 100])
def test_each_page_is_requested_once_if_the_list_does_not_change(run: Runner, prefetch: int) -> None:
    server = Server(run.kind)
    rows = run.collect(customers(prefetch=prefetch), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert sorted(server.requested) == list(range(1, 11))


def test_rows_are_yielded_in_order_if_responses_are_not(run: Runner) -> None:
    server = Server(run.kind)
    server.is_held = lambda number: number == 2 and 3 not in server.responded
    rows = run.collect(customers(prefetch=2), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert server.responded[:3] == [1, 3, 2]


def test_iter_pages_prefetches(run: Runner) -> None:
    server = Server(run.kind, wait_for=5)
    pages = run.collect(lambda client: customers(prefetch=5)(client).iter_pages(), http_client=server.client())
    assert [row.id for each in pages for row in each.data] == IDS
    assert server.max_concurrent == 5


def test_prefetching_on_asyncio_does_not_import_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server("asyncio", wait_for=4)
    monkeypatch.delitem(sys.modules, "trio")
    rows = Runner("asyncio").collect(customers(prefetch=4), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert server.max_concurrent == 4
    assert "trio" not in sys.modules


def test_nothing_is_prefetched_before_iterating(run: Runner) -> None:
    server = Server(run.kind)
    assert run(customers(prefetch=5), http_client=server.client()).total == 100
    assert server.requested == [1]


def test_the_error_of_a_prefetched_page_is_raised_in_order_and_can_be_retried(run: Runner) -> None:
    failures = [httpx.Response(500, json=error(message="Failed."))]

    def respond(number: int) -> httpx.Response:
        return failures.pop() if number == 3 and failures else page(number)

    ids: list[str] = []

    def read(client: Any) -> None:
        rows = iter(customers(prefetch=4)(client))
        ids.extend(next(rows).id for _ in range(20))
        with pytest.raises(InternalServerError, match="Failed"):
            next(rows)
        ids.extend(row.id for row in rows)

    async def read_async(client: Any) -> None:
        rows = aiter(customers(prefetch=4)(client))
        ids.extend([(await anext(rows)).id for _ in range(20)])
        with pytest.raises(InternalServerError, match="Failed"):
            await anext(rows)
        ids.extend([row.id async for row in rows])

    run(
        read if run.kind == "sync" else read_async,
        max_retries=0,
        http_client=Server(run.kind, respond=respond).client(),
    )
    assert ids == IDS


def test_the_error_of_a_page_that_is_not_reached_is_not_raised(run: Runner) -> None:
    def respond(number: int) -> httpx.Response:
        return page(1) if number == 1 else httpx.Response(500, json=error())

    seen: list[str] = []

    def visit(row: Any) -> object:
        seen.append(row.id)
        return None if len(seen) < 10 else STOP

    run.walk(customers(prefetch=4), visit, max_retries=0, http_client=Server(run.kind, respond=respond).client())
    assert seen == IDS[:10]


def test_a_row_with_an_invalid_creation_time_does_not_end_iteration(run: Runner) -> None:
    def respond(number: int) -> httpx.Response:
        rows = [dict(row) for row in ROWS[(number - 1) * 10 : number * 10]]
        if number == 3:
            rows[0]["createdAt"] = "unknown"
        return httpx.Response(200, json=page_of(rows, number, size=10, total=100, has_more=number < 10))

    rows = run.collect(customers(prefetch=4), http_client=Server(run.kind, respond=respond).client())
    assert [row.id for row in rows] == IDS


# ── Clean-up ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_closed_iterator_leaves_no_thread() -> None:
    with Cstar(KEY, base_url=URL, http_client=Server("sync").client()) as client:
        with closing(iter(customers(prefetch=4)(client))) as rows:
            next(rows)
        assert prefetch_threads() == []
        assert list(rows) == []


def test_a_thread_that_starts_after_close_sends_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._prefetch.CLOSE_TIMEOUT", 0.01)
    run_thread, may_continue = threading.Thread.run, threading.Event()

    def run_late(thread: threading.Thread) -> None:
        assert thread.name != "cstar-prefetch" or may_continue.wait(30)
        run_thread(thread)

    monkeypatch.setattr(threading.Thread, "run", run_late)
    server = Server("sync")
    with Cstar(KEY, base_url=URL, http_client=server.client()) as client:
        with closing(iter(customers(prefetch=1)(client))) as rows:
            next(rows)
        remaining = prefetch_threads()
        assert len(remaining) == 1
        may_continue.set()
        remaining[0].join()
    assert server.requested == [1]


def test_break_does_not_wait_for_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._prefetch.CLOSE_TIMEOUT", 0.01)
    may_continue = threading.Event()

    def respond(number: int) -> httpx.Response:
        assert number == 1 or may_continue.wait(30)
        return page(number)

    with Cstar(KEY, base_url=URL, http_client=Server("sync", respond=respond).client()) as client:
        for _ in customers(prefetch=2)(client):
            break
        remaining = prefetch_threads()
        assert len(remaining) == 2
        assert all(thread.daemon for thread in remaining)
        may_continue.set()
        for thread in remaining:
            thread.join()


@pytest.mark.parametrize("end", ["break", "exception"])
def test_break_or_an_exception_stops_the_retries_of_prefetched_pages(end: str) -> None:
    server = Server("sync", respond=lambda number: page(1) if number == 1 else httpx.Response(503))
    with Cstar(KEY, base_url=URL, max_retries=50, http_client=server.client()) as client:
        started = time.monotonic()
        with suppress(ZeroDivisionError):
            for _ in customers(prefetch=2)(client):
                while len(server.requested) < 3:
                    assert time.monotonic() - started < 30
                if end == "break":
                    break
                raise ZeroDivisionError
        assert prefetch_threads() == []
    assert len(server.requested) <= 5


@pytest.mark.parametrize("end", ["break", "aclose", "cancel"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_no_task_remains_after_break_aclose_or_cancellation(backend: str, end: str) -> None:
    server = Server(backend, wait_for=1000)  # every page after the first hangs

    async def act() -> None:
        async with AsyncCstar(KEY, base_url=URL, http_client=server.client()) as client:
            before = tasks()
            if end == "break":
                async for _ in customers(prefetch=4)(client):
                    await wait_for_requests()
                    break
            elif end == "aclose":
                async with aclosing(aiter(customers(prefetch=4)(client))) as rows:
                    await anext(rows)
                    await wait_for_requests()
            else:
                with anyio.CancelScope() as scope:
                    async for _ in customers(prefetch=4)(client):
                        await wait_for_requests()
                        scope.cancel()
                assert scope.cancelled_caught
            gc.collect()
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert tasks() == before

    async def wait_for_requests() -> None:
        with anyio.fail_after(30):
            while len(server.requested) < 5:  # noqa: ASYNC110 - the server is shared with threads
                await anyio.sleep(0.001)

    def tasks() -> int:
        return len(asyncio.all_tasks()) if backend == "asyncio" else trio.lowlevel.current_statistics().tasks_living

    anyio.run(act, backend=backend)
    assert server.requested[0] == 1
    assert sorted(server.requested[1:]) == [2, 3, 4, 5]


def test_no_row_is_lost_if_anext_is_cancelled_during_clean_up() -> None:
    rows = list(ROWS)

    async def handle(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page"])
        size = int(request.url.params["pageSize"])
        try:
            await anyio.sleep(0.001 * number)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            raise
        page_rows = rows[(number - 1) * size : number * size]
        response = httpx.Response(
            200, json=page_of(page_rows, number, size=size, total=len(rows), has_more=number * size < len(rows))
        )
        if number == 1 and len(rows) == 100:
            rows[:0] = [customer(1000), customer(1001)]
        return response

    ids: list[str] = []

    async def read(client: Any) -> None:
        iterator = aiter(customers(prefetch=4)(client))
        timeout = 0.02
        while True:
            timeout *= 1.05  # so that the test ends even on a busy machine
            with anyio.move_on_after(timeout):
                try:
                    ids.append((await anext(iterator)).id)
                except StopAsyncIteration:
                    return

    for backend in ("asyncio", "trio"):
        ids.clear()
        rows[:] = ROWS
        Runner(backend)(read, http_client=httpx.AsyncClient(transport=httpx.MockTransport(handle)))
        assert [each for each in ids if each in IDS] == IDS


def test_iterating_can_be_continued_after_a_thread_could_not_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start, available = threading.Thread.start, [3]

    def start_if_available(thread: threading.Thread) -> None:
        if thread.name == "cstar-prefetch":
            if not available[0]:
                raise RuntimeError("can't start new thread")
            available[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_available)
    ids: list[str] = []
    with Cstar(KEY, base_url=URL, http_client=Server("sync").client()) as client:
        rows = iter(customers(prefetch=2)(client))
        with pytest.raises(RuntimeError, match="can't start new thread"):
            ids.extend(row.id for row in rows)
        available[0] = 100
        ids.extend(row.id for row in rows)
    assert ids == IDS


def test_an_interrupt_during_a_thread_start_releases_the_reservation_once(monkeypatch: pytest.MonkeyPatch) -> None:
    start, may_continue = threading.Thread.start, threading.Event()

    def respond(number: int) -> httpx.Response:
        assert number == 1 or may_continue.wait(30)
        return page(number)

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "cstar-prefetch":
            raise KeyboardInterrupt

    with Cstar(KEY, base_url=URL, http_client=Server("sync", respond=respond).client()) as client:
        rows = iter(customers(prefetch=2)(client))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupted)
            with pytest.raises(KeyboardInterrupt):
                list(rows)
        may_continue.set()
        rows.close()
        assert not any(client._transport.budget._reserved.values())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_page_whose_task_was_cancelled_from_outside_is_requested_again(backend: str) -> None:
    server = Server(backend)

    async def act() -> None:
        async with AsyncCstar(KEY, base_url=URL, http_client=server.client()) as client:
            iterator = aiter(customers(prefetch=4)(client))
            ids = [(await anext(iterator)).id]
            if backend == "asyncio":
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
            else:
                for _, job in iterator._pages._source._pending:  # type: ignore[attr-defined]
                    job.cancel()
            ids += [row.id async for row in iterator]
            assert ids == IDS

    anyio.run(act, backend=backend)


def test_an_iterator_collected_in_another_thread_leaves_no_task() -> None:
    server = Server("asyncio", wait_for=1000)

    async def act() -> None:
        before = len(asyncio.all_tasks())
        async with AsyncCstar(KEY, base_url=URL, http_client=server.client()) as client:
            iterators = [aiter(customers(prefetch=4)(client))]
            await anext(iterators[0])
            while len(server.requested) < 5:  # noqa: ASYNC110 - the server is shared with threads
                await asyncio.sleep(0.001)
            await asyncio.to_thread(iterators.clear)
            while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(act(), 10), debug=True)


def test_an_iterator_may_be_collected_in_one_of_its_threads() -> None:
    iterators: list[Any] = []
    may_drop = threading.Event()

    def respond(number: int) -> httpx.Response:
        if number == 2:
            assert may_drop.wait(30)
            iterators.clear()  # an error in `__del__` fails the test
        return page(number)

    server = Server("sync", respond=respond)
    with Cstar(KEY, base_url=URL, http_client=server.client()) as client:
        iterators.append(iter(customers(prefetch=1)(client)))
        next(iterators[0])
        [fetching] = prefetch_threads()
        may_drop.set()
        fetching.join()
    assert iterators == []
    assert server.requested == [1, 2]


def test_an_iterator_closed_by_another_thread_ends_after_the_pending_page() -> None:
    may_continue = threading.Event()

    def respond(number: int) -> httpx.Response:
        assert number == 1 or may_continue.wait(30)
        return page(number)

    server = Server("sync", respond=respond)
    with Cstar(KEY, base_url=URL, http_client=server.client()) as client:
        rows: Any = iter(customers(prefetch=1)(client))
        ids = [next(rows).id for _ in range(10)]
        with ThreadPoolExecutor() as threads:
            reading = threads.submit(list, rows)
            while rows._pages._source._pending:
                time.sleep(0.001)  # until the reader waits for page 2
            close_result = threads.submit(rows.close)
            while not rows._pages._is_closed:
                time.sleep(0.001)
            may_continue.set()
            close_result.result()
            ids += [row.id for row in reading.result()]
    assert ids == IDS[:20]
    assert server.requested == [1, 2]


def test_an_iterator_closed_by_another_thread_during_prefetching_ends_after_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Cstar(KEY, base_url=URL, http_client=Server("sync").client()) as client:
        rows: Any = iter(customers(prefetch=20)(client))
        ids = [next(rows).id for _ in range(10)]
        for _, future in rows._pages._source._pending:
            future.result()
        request_after = rows._pages._walk.request_after

        def close_first(request: PageRequest) -> PageRequest | None:
            with ThreadPoolExecutor() as threads:
                threads.submit(rows.close).result()
            result: PageRequest | None = request_after(request)
            return result

        monkeypatch.setattr(rows._pages._walk, "request_after", close_first)
        ids += [row.id for row in rows]
    assert ids == IDS[:20]


def test_an_iterator_may_be_closed_while_it_starts_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    closings: list[Future[None]] = []
    start = threading.Thread.start

    def close_first(thread: threading.Thread) -> None:
        if thread.name == "cstar-prefetch":
            with ThreadPoolExecutor() as threads:
                closings.append(threads.submit(rows.close))
        start(thread)

    with Cstar(KEY, base_url=URL, http_client=Server("sync").client()) as client:
        rows: Any = iter(customers(prefetch=1)(client))
        monkeypatch.setattr(threading.Thread, "start", close_first)
        ids = [row.id for row in rows]
    assert ids == IDS[:10]
    assert [closing.exception() for closing in closings] == [None]


def test_an_iterator_closed_by_another_task_ends_after_the_pending_page() -> None:
    server = Server("asyncio")

    async def read() -> list[str]:
        async with AsyncCstar(KEY, base_url=URL, http_client=server.client()) as client:
            rows: Any = aiter(customers(prefetch=1)(client))
            ids = [(await anext(rows)).id for _ in range(10)]
            reading = asyncio.ensure_future(anext(rows))
            [(_, job)] = rows._pages._source._pending
            await job.wait()
            await rows.aclose()
            return [*ids, (await reading).id, *[row.id async for row in rows]]

    assert asyncio.run(read()) == IDS[:20]
    assert server.requested == [1, 2]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_iterator_closed_by_another_task_requests_no_page_again(backend: str) -> None:
    server = Server(backend, delay=0.05)

    async def read_rest(rows: Any, ids: list[str]) -> None:
        ids += [row.id async for row in rows]

    async def read() -> list[str]:
        async with AsyncCstar(KEY, base_url=URL, http_client=server.client()) as client:
            rows: Any = aiter(customers(prefetch=2)(client))
            ids = [(await anext(rows)).id for _ in range(10)]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read_rest, rows, ids)
                while len(server.requested) < 2:  # noqa: ASYNC110 - there is no event to wait for
                    await anyio.sleep(0.001)
                await rows.aclose()
            assert not rows._pages._source._pending
            return ids

    assert anyio.run(read, backend=backend) == IDS[:10]
    assert len(server.requested) == len(set(server.requested)) <= 3


def _read_rest(rows: Any, queue: Any) -> None:
    queue.put([row.id for row in rows])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_iterating_can_be_continued_in_a_forked_process(cstar_sandbox: Sandbox, cstar_client: Cstar) -> None:
    team = cstar_sandbox.team_id
    for number in range(12):
        cstar_client.customers.create(team, name="Jane", email=f"jane{number}@example.com")
    rows = iter(cstar_client.customers.list(team, page_size=2, prefetch=3))
    first = next(rows).id
    fork = multiprocessing.get_context("fork")
    queue: Any = fork.Queue()
    child = fork.Process(target=_read_rest, args=(rows, queue))
    child.start()
    child_ids = queue.get(timeout=60)
    child.join()
    assert child_ids == [row.id for row in rows]
    assert len({first, *child_ids}) == 12


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_an_iterator_collected_in_a_fork_does_not_wait_for_locks_of_the_parent() -> None:
    fork = multiprocessing.get_context("fork")
    with Cstar(KEY, base_url=URL, http_client=Server("sync").client()) as client:
        iterators: list[Any] = [iter(customers(prefetch=2)(client))]
        next(iterators[0])
        child = fork.Process(target=iterators.clear)
        # Fork while a lock is held, as if by another thread. In the child, it is never released.
        with iterators[0]._pages._source._cancelled._cond:
            child.start()
        child.join(10)
        child.kill()
        assert child.exitcode == 0
        assert [row.id for row in iterators[0]] == IDS[1:]


@pytest.mark.parametrize("prefetch", [0, 8])
def test_a_loop_that_deletes_each_row_reads_all_rows(
    cstar_sandbox: Sandbox, cstar_client: Cstar, prefetch: int
) -> None:
    team = cstar_sandbox.team_id
    for number in range(60):
        cstar_client.customers.create(team, name="Jane", email=f"jane{number}@example.com")
    for each in cstar_client.customers.list(team, page_size=5, prefetch=prefetch):
        cstar_client.customers.delete(team, each.id)
    assert cstar_client.customers.list(team).total == 0


# ── The rate limit ───────────────────────────────────────────────────────────────────────────────────────────────────


def limited(remaining: Callable[[int], int], seconds: float) -> Callable[[int], httpx.Response]:
    """Respond with a rate limit that resets in `seconds`. `remaining` returns the remaining requests for a page."""
    reset = str(int((datetime.now(timezone.utc) + timedelta(seconds=seconds)).timestamp()))

    def respond(number: int) -> httpx.Response:
        headers = {
            "X-RateLimit-Limit": "1000",
            "X-RateLimit-Remaining": str(remaining(number)),
            "X-RateLimit-Reset": reset,
            "X-RateLimit-Window": "3600",
        }
        return page(number, **headers)

    return respond


def test_iterators_share_the_rate_limit_of_their_key() -> None:
    server = Server("sync", delay=0.02, respond=limited(lambda _: 3, 3000))
    with Cstar(KEY, base_url=URL, http_client=server.client()) as client, ThreadPoolExecutor() as threads:
        lists = [customers(prefetch=8)(client) for _ in range(3)]
        server.max_concurrent = 0
        for rows in threads.map(list, lists):
            assert [row.id for row in rows] == IDS
    # The limit allows 3. The page that an iterator needs next is requested in any case, so the other two add one each.
    assert server.max_concurrent <= 5


def test_prefetching_sends_no_more_requests_than_the_rate_limit_allows(run: Runner) -> None:
    server = Server(run.kind, delay=0.02, respond=limited(lambda _: 2, 3000))
    rows = run.collect(customers(prefetch=8), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert server.max_concurrent <= 2


@pytest.mark.parametrize("prefetch", [0, 4])
def test_with_no_requests_remaining_the_next_page_waits_for_the_reset(run: Runner, prefetch: int) -> None:
    server = Server(run.kind, respond=limited(lambda number: 10 if number != 1 else 0, 50))
    rows = run.collect(customers(prefetch=prefetch), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert 40 < run.sleeps[0] <= 55


@pytest.mark.parametrize("prefetch", [0, 4])
def test_the_client_does_not_wait_for_a_reset_beyond_max_retry_wait(run: Runner, prefetch: int) -> None:
    def respond(number: int) -> httpx.Response:
        if number == 1:
            return limited(lambda _: 0, 3000)(1)
        return httpx.Response(429, json=error("rate_limit_exceeded"), headers={"Retry-After": "3000"})

    server = Server(run.kind, respond=respond)
    with pytest.raises(RateLimitError) as caught:
        run.collect(customers(prefetch=prefetch), http_client=server.client())
    assert caught.value.retry_after == 3000
    assert server.requested == [1, 2]
    assert run.sleeps == []
