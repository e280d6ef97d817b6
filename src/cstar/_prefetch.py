"""Prefetch the pages of a walk in threads or tasks. Imported only by lists with `prefetch`."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

import anyio

from cstar._memory import T
from cstar.errors import CstarError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cstar._checkpoint import PageRequest
    from cstar._decode import PageData
    from cstar._listing import Listing
    from cstar._transport import AsyncTransport, Transport
    from cstar._walk import Walk

R = TypeVar("R")

# Seconds that closing an iterator waits for the threads of pending requests. Threads cannot be stopped: most end at
# once, and one that waits for the server ends when its attempt times out.
CLOSE_TIMEOUT = 1.0
# The most pages to fetch one by one after prefetched pages had to be discarded.
MAX_PAUSE = 8


class _Window:
    """The limit of pending requests. It is lower while prefetched pages have to be discarded.

    For example, a loop that deletes the rows that it reads changes the pages that were prefetched.

    Attributes:
        size: The most requests that may be pending.
    """

    def __init__(self, max_size: int) -> None:
        self.size = max_size
        self._max_size = max_size
        self._pause = 0  # the length of the last pause, in pages
        self._remaining_pause = 0

    @property
    def is_paused(self) -> bool:
        """Whether to request only the page that is needed next."""
        return self._remaining_pause > 0

    def update(self, *, was_useful: bool) -> None:
        """Pause after a useless page, each time longer; after the pause, double the size with each useful page."""
        if not was_useful:
            self._pause = min(MAX_PAUSE, self._pause * 2 or 1)
            self._remaining_pause, self.size = self._pause, 1
        elif self._remaining_pause:
            self._remaining_pause -= 1
        else:
            self.size = min(self._max_size, self.size * 2)


class Prefetcher(Generic[T]):
    """The prefetched pages of a sync walk, with one thread per pending request."""

    def __init__(self, transport: Transport, listing: Listing[T]) -> None:
        self._transport = transport
        self._listing = listing
        self._window = _Window(listing.prefetch)
        self._reset()

    def next_page(self, walk: Walk[T]) -> tuple[PageRequest, PageData[T]]:
        """Return the next page of the walk, and its request."""
        if self._process != os.getpid():
            self._reset()  # after a fork: the threads run in the parent process only
        if not self._pending and walk.next_request is not None:
            self._transport.wait_for_budget()
            self._request(walk.next_request, needed=True)
        self._fill(walk)
        request, future = self._pending.popleft()
        try:
            return request, future.result()
        except BaseException:
            # After an error, the iteration may be continued from this page.
            self._discard()
            raise

    def on_received(self, walk: Walk[T], *, was_useful: bool) -> None:
        """Prefetch more pages after the walk has received one. Does not raise if no thread can be started."""
        self._window.update(was_useful=was_useful and not walk.plan_changed)
        if walk.plan_changed or walk.next_request is None:
            self._discard()
        if not self._window.is_paused:
            self._fill(walk)

    def close(self) -> None:
        """Cancel the pending requests, and join their threads."""
        # Unlike `_discard`, create no objects, because the interpreter may be shutting down. Keep the pending pages,
        # because another thread may use them in `next_page`.
        self._cancelled.set()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for thread in list(self._threads):
            # The garbage collector may run `__del__` in one of them, and another thread may be starting one.
            with contextlib.suppress(RuntimeError):
                thread.join(max(0.0, deadline - time.monotonic()))

    def __del__(self) -> None:
        if self._process == os.getpid():
            self.close()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._slots = threading.Semaphore(self._listing.prefetch)
        self._threads: set[threading.Thread] = set()
        self._pending: deque[tuple[PageRequest, Future[PageData[T]]]] = deque()
        self._cancelled = threading.Event()
        self._cancellable = self._transport.until(self._cancelled)

    def _fill(self, walk: Walk[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the system cannot start another thread
            while len(self._pending) < self._window.size:
                request = walk.request_after(self._pending[-1][0]) if self._pending else walk.next_request
                if request is None or not self._request(request):
                    return

    def _request(self, request: PageRequest, *, needed: bool = False) -> bool:
        if not self._transport.budget.reserve_page(needed=needed):
            return False
        future: Future[PageData[T]] = Future()
        # The thread must not refer to `self`, or an abandoned iterator would never be garbage-collected.
        transport, call = self._cancellable, self._listing.page(request)
        slots, cancelled, threads = self._slots, self._cancelled, self._threads
        # Release the reservation only once, even if a signal handler raises in `thread.start()` after the start.
        releases = deque([transport.budget.release_page])

        def release() -> None:
            with contextlib.suppress(IndexError):
                releases.pop()()

        context = contextvars.copy_context()

        def run() -> None:
            try:
                with slots:  # a discarded request counts until it ends
                    if cancelled.is_set():
                        future.set_exception(CstarError("the iterator was closed"))
                    else:
                        future.set_result(context.run(transport.fetch, call))
            except BaseException as error:
                future.set_exception(error)
            finally:
                release()
                threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="cstar-prefetch", daemon=True)
        threads.add(thread)
        try:
            thread.start()
        except BaseException:
            if not thread.is_alive():
                threads.discard(thread)
            release()
            raise
        self._pending.append((request, future))
        return True

    def _discard(self) -> None:
        self._pending.clear()
        self._cancelled.set()
        self._cancelled = threading.Event()
        self._cancellable = self._transport.until(self._cancelled)


class AsyncPrefetcher(Generic[T]):
    """The prefetched pages of an async walk, with one task per pending request."""

    def __init__(self, transport: AsyncTransport, listing: Listing[T]) -> None:
        self._transport = transport
        self._listing = listing
        self._window = _Window(listing.prefetch)
        self._pending: deque[tuple[PageRequest, _Job[PageData[T]]]] = deque()
        self._cancelled_jobs: list[_Job[PageData[T]]] = []
        self._is_closed = False

    async def next_page(self, walk: Walk[T]) -> tuple[PageRequest, PageData[T]]:
        """Return the next page of the walk, and its request.

        Raises:
            StopAsyncIteration: Another task has closed the iterator meanwhile.
        """
        while True:
            if not self._pending and walk.next_request is not None:
                await self._join_cancelled()
                await self._transport.wait_for_budget()
                self._request(walk.next_request, needed=True)
            self._fill(walk)
            request, job = self._pending[0]
            try:
                await job.wait()
                if not job.was_cancelled:
                    if self._pending:  # empty if another task has closed the iterator meanwhile
                        self._pending.popleft()
                    return request, job.result()
            except BaseException:
                # After an error, the iteration may be continued from this page.
                self._discard()
                raise
            if self._is_closed:
                raise StopAsyncIteration
            self._discard()  # the task was cancelled from outside, or its event loop has ended: request the page again

    def on_received(self, walk: Walk[T], *, was_useful: bool) -> None:
        """Prefetch more pages after the walk has received one. Does not raise."""
        self._window.update(was_useful=was_useful and not walk.plan_changed)
        if walk.plan_changed or walk.next_request is None:
            self._discard()
        if not self._window.is_paused:
            self._fill(walk)

    async def close(self) -> None:
        """Discard the pending requests, and join their tasks."""
        self._is_closed = True
        self._discard()
        await self._join_cancelled()

    def __del__(self) -> None:
        self._discard()

    async def _join_cancelled(self) -> None:
        for job in self._cancelled_jobs:
            await job.wait()
        self._cancelled_jobs.clear()

    def _fill(self, walk: Walk[T]) -> None:
        self._cancelled_jobs = [job for job in self._cancelled_jobs if not job.has_ended]
        while len(self._pending) + len(self._cancelled_jobs) < self._window.size:
            request = walk.request_after(self._pending[-1][0]) if self._pending else walk.next_request
            if request is None or not self._request(request):
                return

    def _request(self, request: PageRequest, *, needed: bool = False) -> bool:
        if not self._transport.budget.reserve_page(needed=needed):
            return False
        transport, call = self._transport, self._listing.page(request)
        self._pending.append((request, _Job(lambda: transport.fetch(call), transport.budget.release_page)))
        return True

    def _discard(self) -> None:
        for _, job in self._pending:
            job.cancel()
            self._cancelled_jobs.append(job)
        self._pending.clear()


class _Job(Generic[R]):
    """A function that runs in a new task.

    Args:
        work: The function.
        on_end: Called when the task has ended, even if it was cancelled before it started.

    Attributes:
        cancel: Cancels the task, from any thread.
    """

    def __init__(self, work: Callable[[], Awaitable[R]], on_end: Callable[[], None]) -> None:
        self._ended = anyio.Event()
        self._results: list[R] = []
        self._error: Exception | None = None

        async def run() -> None:
            try:
                self._results.append(await work())
            except Exception as error:
                self._error = error

        def end() -> None:
            on_end()
            self._ended.set()

        self.cancel: Callable[[], object] = _spawn(run, end)

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    @property
    def was_cancelled(self) -> bool:
        return self.has_ended and self._error is None and not self._results

    def result(self) -> R:
        """Return the function's result, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._results[0]

    async def wait(self) -> None:
        await self._ended.wait()


def _spawn(work: Callable[[], Awaitable[None]], end: Callable[[], None]) -> Callable[[], object]:
    """Start a background task, and return the function that cancels it."""
    if "trio" in sys.modules:
        import trio

        with contextlib.suppress(RuntimeError):
            token = trio.lowlevel.current_trio_token()
            scope = trio.CancelScope()

            async def in_scope() -> None:
                try:
                    with scope:
                        await work()
                finally:
                    end()

            def cancel_scope() -> None:
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(scope.cancel)

            trio.lowlevel.spawn_system_task(in_scope, context=contextvars.copy_context())
            return cancel_scope
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work())
    task.add_done_callback(lambda _: end())

    def cancel_task() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and has ended its tasks
            loop.call_soon_threadsafe(task.cancel)

    return cancel_task
