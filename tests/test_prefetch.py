"""Pages fetched ahead of a walk: as many at once as allowed, in order, and nothing of it left behind."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing, suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio

from cstar import AsyncCstar, Cstar, InternalServerError, InvalidParameterError, RateLimitError
from support import KEY, STOP, TEAM, URL, Runner, customer, error, page_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cstar.sandbox import Sandbox

ROWS = [customer(number) for number in range(100)]
IDS = [row["id"] for row in ROWS]


class Server:
    """Serves ten pages of ten rows, and counts how many requests it has at once.

    Attributes:
        holds: Answers from page 2 on are held back until so many requests are there.
        most: The most requests that were there at once.
        asked: The page numbers, in the order in which they came.
    """

    def __init__(self, kind: str, *, holds: int = 0, answer: Callable[[int], httpx.Response] | None = None) -> None:
        self.kind = kind
        self.holds = holds
        self.most = 0
        self.asked: list[int] = []
        self._answer = answer or page
        self._lock = threading.Lock()
        self._now = 0
        self._enough = threading.Event()

    def client(self) -> httpx.Client | httpx.AsyncClient:
        serve = self._serve if self.kind == "sync" else self._serve_async
        return Runner(self.kind).http_client(transport=httpx.MockTransport(serve))

    def _enter(self, request: httpx.Request) -> int:
        number = int(request.url.params["page"])
        with self._lock:
            self.asked.append(number)
            self._now += 1
            self.most = max(self.most, self._now)
            if self._now >= self.holds:
                self._enough.set()
        return number

    def _leave(self) -> None:
        with self._lock:
            self._now -= 1

    def _serve(self, request: httpx.Request) -> httpx.Response:
        number = self._enter(request)
        try:
            if number > 1 and self.holds:
                assert self._enough.wait(30), "so many requests never came at once"
            return self._answer(number)
        finally:
            self._leave()

    async def _serve_async(self, request: httpx.Request) -> httpx.Response:
        number = self._enter(request)
        try:
            with anyio.fail_after(30):
                while number > 1 and not self._enough.is_set() and self.holds:  # noqa: ASYNC110 - shared with threads
                    await anyio.sleep(0.001)
            await anyio.lowlevel.checkpoint()
            return self._answer(number)
        finally:
            self._leave()


def page(number: int, **headers: str) -> httpx.Response:
    rows = ROWS[(number - 1) * 10 : number * 10]
    return httpx.Response(200, json=page_of(rows, number, size=10, total=100, has_more=number < 10), headers=headers)


def listed(**options: Any) -> Callable[[Any], Any]:
    return lambda client: client.customers.list(TEAM, page_size=10, **options)


def threads_left() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cstar-prefetch"]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Any:
    yield
    assert threads_left() == []


@pytest.mark.parametrize("ahead", [1, 4, 9])
def test_so_many_pages_are_on_their_way_at_once_and_never_more(run: Runner, ahead: int) -> None:
    server = Server(run.kind, holds=ahead)
    rows = run.collect(listed(prefetch=ahead), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert server.most == ahead


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_a_quiet_walk_sends_the_conventional_requests_however_many_at_once(run: Runner, ahead: int) -> None:
    server = Server(run.kind)
    rows = run.collect(listed(prefetch=ahead), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert sorted(server.asked) == list(range(1, 11))


def test_pages_come_in_order_though_their_answers_do_not(run: Runner) -> None:
    later = threading.Event()

    def answer(number: int) -> httpx.Response:
        if number == 3:
            later.set()
        elif number == 2 and run.kind == "sync":
            assert later.wait(30)
        return page(number)

    rows = run.collect(listed(prefetch=2), http_client=Server(run.kind, answer=answer).client())
    assert [row.id for row in rows] == IDS


def test_iter_pages_fetches_ahead_too(run: Runner) -> None:
    server = Server(run.kind, holds=5)
    pages = run.collect(lambda client: listed(prefetch=5)(client).iter_pages(), http_client=server.client())
    assert [row.id for each in pages for row in each.data] == IDS
    assert server.most == 5


@pytest.mark.parametrize("ahead", [0, 4])
def test_the_pages_from_a_fetched_one_on_begin_with_it_and_do_not_ask_for_it_again(run: Runner, ahead: int) -> None:
    server = Server(run.kind)

    def read(client: Any) -> list[int]:
        fetched = listed(page=7, prefetch=ahead)(client).get_next_page()
        return [each.page for each in fetched.iter_pages()]

    async def read_async(client: Any) -> list[int]:
        fetched = await (await listed(page=7, prefetch=ahead)(client)).get_next_page()
        return [each.page async for each in fetched.iter_pages()]

    assert run(read if run.kind == "sync" else read_async, http_client=server.client()) == [8, 9, 10]
    assert sorted(server.asked) == [7, 8, 9, 10]


def test_an_asyncio_program_that_has_not_loaded_trio_fetches_ahead_without_loading_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server("asyncio", holds=4)
    monkeypatch.delitem(sys.modules, "trio")
    rows = Runner("asyncio").collect(listed(prefetch=4), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert server.most == 4
    assert "trio" not in sys.modules


def test_without_a_walk_nothing_is_fetched_ahead(run: Runner) -> None:
    server = Server(run.kind)
    assert run(listed(prefetch=5), http_client=server.client()).total == 100
    assert server.asked == [1]


def test_an_error_of_a_page_fetched_ahead_is_raised_when_its_turn_comes_and_the_walk_can_be_read_on(
    run: Runner,
) -> None:
    failures = [httpx.Response(500, json=error(message="No luck."))]

    def answer(number: int) -> httpx.Response:
        return failures.pop() if number == 3 and failures else page(number)

    given: list[str] = []

    def read(client: Any) -> None:
        rows = iter(listed(prefetch=4)(client))
        given.extend(next(rows).id for _ in range(20))
        with pytest.raises(InternalServerError, match="No luck"):
            next(rows)
        given.extend(row.id for row in rows)

    async def read_async(client: Any) -> None:
        rows = aiter(listed(prefetch=4)(client))
        given.extend([(await anext(rows)).id for _ in range(20)])
        with pytest.raises(InternalServerError, match="No luck"):
            await anext(rows)
        given.extend([row.id async for row in rows])

    run(
        read if run.kind == "sync" else read_async,
        max_retries=0,
        http_client=Server(run.kind, answer=answer).client(),
    )
    assert given == IDS


def test_an_error_of_a_page_that_nobody_gets_to_is_not_raised(run: Runner) -> None:
    def answer(number: int) -> httpx.Response:
        return page(1) if number == 1 else httpx.Response(500, json=error())

    seen: list[str] = []

    def visit(row: Any) -> object:
        seen.append(row.id)
        return None if len(seen) < 10 else STOP

    run.walk(listed(prefetch=4), visit, max_retries=0, http_client=Server(run.kind, answer=answer).client())
    assert seen == IDS[:10]


# ── Leaving a walk ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_leaving_a_loop_leaves_no_thread(run: Runner) -> None:
    server = Server(run.kind)
    run.walk(listed(prefetch=4), lambda _: STOP, http_client=server.client())
    assert threads_left() == []


def test_an_exception_in_a_loop_leaves_no_thread(run: Runner) -> None:
    def fail(_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run.walk(listed(prefetch=4), fail, http_client=Server(run.kind).client())


def test_a_closed_walk_is_over_and_leaves_no_thread() -> None:
    with Cstar(KEY, base_url=URL, http_client=Server("sync").client()) as client:
        with closing(iter(listed(prefetch=4)(client))) as rows:
            next(rows)
        assert threads_left() == []
        assert list(rows) == []


def test_a_closed_walk_that_fetches_nothing_ahead_is_over_too(run: Runner) -> None:
    def read(client: Any) -> list[Any]:
        with closing(iter(listed()(client))) as rows:
            next(rows)
        return list(rows)

    async def read_async(client: Any) -> list[Any]:
        async with aclosing(aiter(listed()(client))) as rows:
            await anext(rows)
        return [row async for row in rows]

    server = Server(run.kind)
    assert run(read if run.kind == "sync" else read_async, http_client=server.client()) == []
    assert server.asked == [1]


def test_a_page_that_is_not_wanted_any_more_when_its_thread_begins_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cstar._prefetch.CLOSE_TIMEOUT", 0.01)
    run_thread, goes_on = threading.Thread.run, threading.Event()

    def late(thread: threading.Thread) -> None:
        assert thread.name != "cstar-prefetch" or goes_on.wait(30)
        run_thread(thread)

    monkeypatch.setattr(threading.Thread, "run", late)
    server = Server("sync")
    with Cstar(KEY, base_url=URL, http_client=server.client()) as client:
        with closing(iter(listed(prefetch=1)(client))) as rows:
            next(rows)
        left = threads_left()
        assert len(left) == 1
        goes_on.set()
        left[0].join()
    assert server.asked == [1]


def test_leaving_does_not_wait_for_a_server_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cstar._prefetch.CLOSE_TIMEOUT", 0.01)
    goes_on = threading.Event()

    def answer(number: int) -> httpx.Response:
        assert number == 1 or goes_on.wait(30)
        return page(number)

    with Cstar(KEY, base_url=URL, http_client=Server("sync", answer=answer).client()) as client:
        for _ in listed(prefetch=2)(client):
            break
        left = threads_left()
        assert len(left) == 2
        assert all(thread.daemon for thread in left)
        goes_on.set()
        for thread in left:
            thread.join()


def test_a_walk_that_was_left_does_not_go_on_retrying() -> None:
    server = Server("sync", answer=lambda number: page(1) if number == 1 else httpx.Response(503))
    with Cstar(KEY, base_url=URL, max_retries=50, http_client=server.client()) as client:
        started = time.monotonic()
        for _ in listed(prefetch=2)(client):
            while len(server.asked) < 3:
                assert time.monotonic() - started < 30
            break
        assert threads_left() == []
    assert len(server.asked) <= 5


@pytest.mark.parametrize("leave", ["break", "aclose", "cancel"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_leaving_an_async_loop_leaves_no_task(backend: str, leave: str) -> None:
    server = Server(backend, holds=1000)  # every page after the first hangs

    async def act() -> None:
        async with AsyncCstar(KEY, base_url=URL, http_client=server.client()) as client:
            before = tasks()
            if leave == "break":
                async for _ in listed(prefetch=4)(client):
                    await all_are_asked_for()
                    break
            elif leave == "aclose":
                async with aclosing(aiter(listed(prefetch=4)(client))) as rows:
                    await anext(rows)
                    await all_are_asked_for()
            else:
                with anyio.CancelScope() as scope:
                    async for _ in listed(prefetch=4)(client):
                        await all_are_asked_for()
                        scope.cancel()
                assert scope.cancelled_caught
            gc.collect()
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            assert tasks() == before

    async def all_are_asked_for() -> None:
        with anyio.fail_after(30):
            while len(server.asked) < 5:  # noqa: ASYNC110 - it counts for threads too
                await anyio.sleep(0.001)

    def tasks() -> int:
        return len(asyncio.all_tasks()) if backend == "asyncio" else trio.lowlevel.current_statistics().tasks_living

    anyio.run(act, backend=backend)
    assert server.asked[0] == 1
    assert sorted(server.asked[1:]) == [2, 3, 4, 5]


def test_ctrl_c_in_the_middle_of_a_walk_is_the_callers_and_leaves_no_thread() -> None:
    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Runner("sync").walk(listed(prefetch=4), interrupt, http_client=Server("sync").client())
    assert threads_left() == []


def test_rows_that_were_taken_are_given_even_if_the_walk_is_cancelled_while_it_clears_up() -> None:
    rows = list(ROWS)

    async def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page"])
        size = int(request.url.params["pageSize"])
        try:
            await anyio.sleep(0.001 * number)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.05)
            raise
        part = rows[(number - 1) * size : number * size]
        answered = httpx.Response(
            200, json=page_of(part, number, size=size, total=len(rows), has_more=number * size < len(rows))
        )
        if number == 1 and len(rows) == 100:
            rows[:0] = [customer(1000), customer(1001)]
        return answered

    given: list[str] = []

    async def read(client: Any) -> None:
        walk = aiter(listed(prefetch=4)(client))
        patience = 0.02
        while True:
            patience *= 1.05  # so that it ends on a busy machine, too
            with anyio.move_on_after(patience):
                try:
                    given.append((await anext(walk)).id)
                except StopAsyncIteration:
                    return

    for backend in ("asyncio", "trio"):
        given.clear()
        rows[:] = ROWS
        Runner(backend)(read, http_client=httpx.AsyncClient(transport=httpx.MockTransport(answer)))
        assert [each for each in given if each in IDS] == IDS


def test_where_no_thread_is_to_be_had_the_walk_fails_and_can_be_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    start, left = threading.Thread.start, [3]

    def scarce(thread: threading.Thread) -> None:
        if thread.name == "cstar-prefetch":
            if not left[0]:
                raise RuntimeError("can't start new thread")
            left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", scarce)
    given: list[str] = []
    with Cstar(KEY, base_url=URL, http_client=Server("sync").client()) as client:
        rows = iter(listed(prefetch=2)(client))
        with pytest.raises(RuntimeError, match="can't start new thread"):
            given.extend(row.id for row in rows)
        left[0] = 100
        rest = [row.id for row in rows]
    assert rest[-1] == IDS[-1]
    assert len(rest) == len(set(rest))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_page_whose_task_somebody_else_cancelled_is_asked_for_again(backend: str) -> None:
    server = Server(backend)

    async def act() -> None:
        async with AsyncCstar(KEY, base_url=URL, http_client=server.client()) as client:
            walk = aiter(listed(prefetch=4)(client))
            given = [(await anext(walk)).id]
            if backend == "asyncio":
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
            else:
                for _, job in walk._pages._source._pending:  # type: ignore[attr-defined]
                    job.cancel()
            given += [row.id async for row in walk]
            assert given == IDS

    anyio.run(act, backend=backend)


def test_a_walk_that_is_collected_in_another_thread_leaves_no_task() -> None:
    server = Server("asyncio", holds=1000)

    async def act() -> None:
        before = len(asyncio.all_tasks())
        async with AsyncCstar(KEY, base_url=URL, http_client=server.client()) as client:
            walks = [aiter(listed(prefetch=4)(client))]
            await anext(walks[0])
            while len(server.asked) < 5:  # noqa: ASYNC110 - it counts for threads too
                await asyncio.sleep(0.001)
            await asyncio.to_thread(walks.clear)
            while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - there is nothing to wait for
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(act(), 10), debug=True)


def test_a_walk_may_be_collected_in_one_of_its_own_threads() -> None:
    walks: list[Any] = []
    is_last = threading.Event()

    def answer(number: int) -> httpx.Response:
        if number == 2:
            assert is_last.wait(30)
            walks.clear()  # what it raises fails the test: nobody else could be told
        return page(number)

    server = Server("sync", answer=answer)
    with Cstar(KEY, base_url=URL, http_client=server.client()) as client:
        walks.append(iter(listed(prefetch=1)(client)))
        next(walks[0])
        [fetching] = threads_left()
        is_last.set()
        fetching.join()
    assert walks == []
    assert server.asked == [1, 2]


def test_a_walk_that_another_thread_closes_ends_with_the_page_it_is_at() -> None:
    waiting, goes_on = threading.Event(), threading.Event()

    def answer(number: int) -> httpx.Response:
        if number == 2:
            waiting.set()
            assert goes_on.wait(30)
        return page(number)

    server = Server("sync", answer=answer)
    with Cstar(KEY, base_url=URL, http_client=server.client()) as client:
        rows = iter(listed(prefetch=1)(client))
        with ThreadPoolExecutor() as threads:
            reading = threads.submit(list, rows)
            assert waiting.wait(30)
            closing_it = threads.submit(rows.close)  # type: ignore[attr-defined]
            while not rows._pages._is_closed:  # type: ignore[attr-defined]
                time.sleep(0.001)
            goes_on.set()
            closing_it.result()
            assert [row.id for row in reading.result()] == IDS[: len(reading.result())]
    assert server.asked == [1, 2]


def _read_on(rows: Any, answers: Any) -> None:
    answers.put([row.id for row in rows])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_walk_can_be_read_on_in_a_fork(cstar_sandbox: Sandbox, cstar_client: Cstar) -> None:
    team = cstar_sandbox.team_id
    for number in range(12):
        cstar_client.customers.create(team, name="Jane", email=f"jane{number}@example.com")
    rows = iter(cstar_client.customers.list(team, page_size=2, prefetch=3))
    first = next(rows).id
    fork = multiprocessing.get_context("fork")
    answers: Any = fork.Queue()
    child = fork.Process(target=_read_on, args=(rows, answers))
    child.start()
    theirs = answers.get(timeout=60)
    child.join()
    assert theirs == [row.id for row in rows]
    assert len({first, *theirs}) == 12


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_walk_that_is_dropped_in_a_fork_waits_for_nothing_that_stayed_in_the_other_process() -> None:
    fork = multiprocessing.get_context("fork")
    with Cstar(KEY, base_url=URL, http_client=Server("sync").client()) as client:
        walks: list[Any] = [iter(listed(prefetch=2)(client))]
        next(walks[0])
        child = fork.Process(target=walks.clear)
        # As if a thread of the walk were just about to look: in the fork nobody will ever release this.
        with walks[0]._pages._source._cancelled._cond:
            child.start()
        child.join(10)
        child.kill()
        assert child.exitcode == 0
        assert [row.id for row in walks[0]] == IDS[1:]


@pytest.mark.parametrize("ahead", [0, 4, 8])
def test_a_loop_that_takes_each_row_out_sees_all_however_many_pages_are_fetched_ahead(
    cstar_sandbox: Sandbox, cstar_client: Cstar, ahead: int
) -> None:
    team = cstar_sandbox.team_id
    for number in range(60):
        cstar_client.customers.create(team, name="Jane", email=f"jane{number}@example.com")
    for each in cstar_client.customers.list(team, page_size=5, prefetch=ahead):
        cstar_client.customers.delete(team, each.id)
    assert cstar_client.customers.list(team).total == 0


# ── The rate limit ───────────────────────────────────────────────────────────────────────────────────────────────────


def limited(left: Callable[[int], int], seconds: float) -> Callable[[int], httpx.Response]:
    ends = str(int((datetime.now(timezone.utc) + timedelta(seconds=seconds)).timestamp()))

    def answer(number: int) -> httpx.Response:
        headers = {
            "X-RateLimit-Limit": "1000",
            "X-RateLimit-Remaining": str(left(number)),
            "X-RateLimit-Reset": ends,
            "X-RateLimit-Window": "3600",
        }
        return page(number, **headers)

    return answer


def test_several_walks_share_the_budget_of_their_key() -> None:
    server = Server("sync", answer=limited(lambda _: 3, 3000))
    with Cstar(KEY, base_url=URL, http_client=server.client()) as client, ThreadPoolExecutor() as threads:
        lists = [listed(prefetch=8)(client) for _ in range(3)]
        server.most = 0
        for rows in threads.map(list, lists):
            assert [row.id for row in rows] == IDS
    # What each of the three needs next is sent for in any case.
    assert server.most <= 5


def test_no_more_pages_are_started_than_the_budget_has_room_for(run: Runner) -> None:
    server = Server(run.kind, answer=limited(lambda _: 2, 3000))
    rows = run.collect(listed(prefetch=8), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert server.most <= 2


@pytest.mark.parametrize("ahead", [0, 4])
def test_a_used_up_budget_is_waited_for_before_the_next_page(run: Runner, ahead: int) -> None:
    server = Server(run.kind, answer=limited(lambda number: 10 if number != 1 else 0, 50))
    rows = run.collect(listed(prefetch=ahead), http_client=server.client())
    assert [row.id for row in rows] == IDS
    assert 40 < run.sleeps[0] <= 55


@pytest.mark.parametrize("ahead", [0, 4])
def test_a_budget_that_is_used_up_for_longer_than_max_retry_wait_is_the_servers_to_refuse(
    run: Runner, ahead: int
) -> None:
    def answer(number: int) -> httpx.Response:
        if number == 1:
            return limited(lambda _: 0, 3000)(1)
        return httpx.Response(429, json=error("rate_limit_exceeded"), headers={"Retry-After": "3000"})

    server = Server(run.kind, answer=answer)
    with pytest.raises(RateLimitError) as caught:
        run.collect(listed(prefetch=ahead), http_client=server.client())
    assert caught.value.retry_after == 3000
    assert server.asked == [1, 2]
    assert run.sleeps == []


# ── Walks that cannot be proved to be gapless ────────────────────────────────────────────────────────────────────────


def test_where_a_page_is_one_row_and_pages_cannot_overlap_a_gapless_walk_says_so_and_goes_page_by_page(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params["page"])
        asked.append(number)
        assert len(asked) < 10, "this walk does not end"
        rows = ROWS[number - 1 : number]
        return httpx.Response(200, json=page_of(rows, number, size=1, total=5, has_more=number < 5))

    own = run.http_client(transport=httpx.MockTransport(answer))
    rows = run.collect(lambda client: client.customers.list(TEAM, gapless=True), http_client=own)
    assert [row.id for row in rows] == IDS[:5]
    assert asked == [1, 2, 3, 4, 5]
    assert "gaps cannot be ruled out" in caplog.text


def test_a_page_of_a_wrong_size_that_has_nothing_to_do_with_what_was_read_is_asked_for_again_the_usual_way(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    everyone = [customer(number) for number in range(300)]
    strangers = [customer(number) for number in range(1000, 1050)]
    asked: list[tuple[int, int]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        number, size = int(request.url.params["page"]), int(request.url.params["pageSize"])
        asked.append((number, size))
        if size != 100:
            return httpx.Response(200, json=page_of(strangers, number, size=50, total=300, has_more=True))
        rows = everyone[(number - 1) * 100 : number * 100]
        return httpx.Response(200, json=page_of(rows, number, total=300, has_more=number < 3))

    own = run.http_client(transport=httpx.MockTransport(answer))
    rows = run.collect(lambda client: client.customers.list(TEAM, gapless=True), http_client=own)
    assert [row.id for row in rows] == [row["id"] for row in everyone]
    assert asked == [(1, 100), (2, 99), (2, 100), (3, 100)]
    assert "gaps cannot be ruled out" in caplog.text


# ── Options ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prefetch", [-1, 101, 1.5, True, "4", None])
def test_prefetch_is_a_number_of_pages(run: Runner, prefetch: Any) -> None:
    with pytest.raises(InvalidParameterError, match="prefetch must be a whole number from 0 to 100"):
        run(lambda client: client.customers.list(TEAM, prefetch=prefetch))


@pytest.mark.parametrize("gapless", [0, 1, "yes", None])
def test_gapless_is_true_or_false(run: Runner, gapless: Any) -> None:
    with pytest.raises(InvalidParameterError, match="gapless must be True or False"):
        run(lambda client: client.customers.list(TEAM, gapless=gapless))


def test_an_interrupt_as_a_thread_starts_gives_its_reservation_back_once(
    session_box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "cstar-prefetch":
            raise KeyboardInterrupt

    with Cstar(session_box.api_key, base_url=session_box.url) as client:
        rows = iter(client.customers.list(session_box.team_id, page_size=1, prefetch=2))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", interrupted)
            with suppress(KeyboardInterrupt):
                list(rows)
        rows.close()
        assert not any(client._transport.budget._reserved.values())


def test_a_row_whose_time_makes_no_sense_does_not_end_a_walk(run: Runner) -> None:
    def answer(number: int) -> httpx.Response:
        rows = [dict(row) for row in ROWS[(number - 1) * 10 : number * 10]]
        if number == 3:
            rows[0]["createdAt"] = "unknown"
        return httpx.Response(200, json=page_of(rows, number, size=10, total=100, has_more=number < 10))

    rows = run.collect(listed(prefetch=4), http_client=Server(run.kind, answer=answer).client())
    assert [row.id for row in rows] == IDS
