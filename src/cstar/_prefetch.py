"""Prefetch pages for a walk, in threads or in tasks. Imported only if a list is given `prefetch`."""

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

# Seconds that closing a walk waits for its pending requests. A thread cannot be stopped from outside: most end at once,
# and one whose server hangs ends with its attempt.
CLOSE_TIMEOUT = 1.0
# The most pages for which a walk stops prefetching after what it had prefetched was of no use.
MAX_PAUSE = 8


class _Window:
    """How many requests may be pending: fewer while prefetched pages turn out to be of no use.

    A loop that removes the rows that it is given moves all rows that were fetched before it did.
    """

    def __init__(self, most: int) -> None:
        self.now = most
        self._most = most
        self._pause = 0
        self._pages_to_pause = 0

    @property
    def is_paused(self) -> bool:
        """Whether to request only the page that is needed next."""
        return self._pages_to_pause > 0

    def learn(self, *, was_useful: bool) -> None:
        if not was_useful:
            self._pause = min(MAX_PAUSE, self._pause * 2 or 1)
            self._pages_to_pause, self.now = self._pause, 1
        elif self._pages_to_pause:
            self._pages_to_pause -= 1
        else:
            self.now = min(self._most, self.now * 2)


class Prefetcher(Generic[T]):
    """The pending requests of a sync walk, in the order of the walk, each in a thread of its own."""

    def __init__(self, transport: Transport, listing: Listing[T]) -> None:
        self._transport = transport
        self._listing = listing
        self._window = _Window(listing.prefetch)
        self._reset()

    def next_page(self, walk: Walk[T]) -> tuple[PageRequest, PageData[T]]:
        """The next response, and its request."""
        if self._process != os.getpid():
            self._reset()  # the threads have stayed in the process that this one is a fork of
        if not self._pending and walk.next is not None:
            self._transport.wait_for_budget()
            self._request(walk.next, needed=True)
        self._fill(walk)
        request, future = self._pending.popleft()
        try:
            return request, future.result()
        except BaseException:
            # After an error the walk may be read on, from here.
            self._discard()
            raise

    def on_taken(self, walk: Walk[T], *, was_useful: bool) -> None:
        """The walk has taken a response. Never fails: what cannot be requested now is requested later."""
        self._window.learn(was_useful=was_useful and not walk.plan_changed)
        if walk.plan_changed or walk.next is None:
            self._discard()
        if not self._window.is_paused:
            self._fill(walk)

    def close(self) -> None:
        """Discard everything, and join the threads."""
        self._pending.clear()
        self._cancelled.set()  # and no more: the interpreter may be shutting down
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for thread in list(self._threads):
            if thread is not threading.current_thread():  # which can be one of ours when garbage is collected there
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
        with contextlib.suppress(RuntimeError):  # no further thread to be had
            while len(self._pending) < self._window.now:
                request = walk.after(self._pending[-1][0]) if self._pending else walk.next
                if request is None or not self._request(request):
                    return

    def _request(self, request: PageRequest, *, needed: bool = False) -> bool:
        if not self._transport.budget.reserve_page(needed=needed):
            return False
        future: Future[PageData[T]] = Future()
        # The thread must not hold on to us, or a walk that is dropped would never be collected.
        transport, call = self._cancellable, self._listing.page(request)
        slots, cancelled, threads = self._slots, self._cancelled, self._threads
        # Once, even if a signal handler interrupts the start of a thread that has started.
        releases = deque([transport.budget.release_page])

        def release() -> None:
            with contextlib.suppress(IndexError):
                releases.pop()()

        context = contextvars.copy_context()

        def run() -> None:
            try:
                with slots:  # discarded requests count for as long as they are pending
                    if cancelled.is_set():
                        future.set_exception(CstarError("the walk was closed"))
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
    """The pending requests of an async walk, in the order of the walk, each in a task of its own."""

    def __init__(self, transport: AsyncTransport, listing: Listing[T]) -> None:
        self._transport = transport
        self._listing = listing
        self._window = _Window(listing.prefetch)
        self._pending: deque[tuple[PageRequest, _Job[PageData[T]]]] = deque()
        self._cancelled_jobs: list[_Job[PageData[T]]] = []

    async def next_page(self, walk: Walk[T]) -> tuple[PageRequest, PageData[T]]:
        """The next response, and its request."""
        while True:
            if not self._pending and walk.next is not None:
                await self._join_cancelled()
                await self._transport.wait_for_budget()
                self._request(walk.next, needed=True)
            self._fill(walk)
            request, job = self._pending[0]
            try:
                await job.ended()
                if not job.was_cancelled:
                    self._pending.popleft()
                    return request, job.result()
            except BaseException:
                # After an error the walk may be read on, from here.
                self._discard()
                raise
            self._discard()  # somebody else cancelled the task, or its event loop has gone: request it again

    def on_taken(self, walk: Walk[T], *, was_useful: bool) -> None:
        """The walk has taken a response. Never fails, and waits for nothing."""
        self._window.learn(was_useful=was_useful and not walk.plan_changed)
        if walk.plan_changed or walk.next is None:
            self._discard()
        if not self._window.is_paused:
            self._fill(walk)

    async def close(self) -> None:
        """Discard everything, and join the tasks."""
        self._discard()
        await self._join_cancelled()

    def __del__(self) -> None:
        self._discard()

    async def _join_cancelled(self) -> None:
        for job in self._cancelled_jobs:
            await job.ended()
        self._cancelled_jobs.clear()

    def _fill(self, walk: Walk[T]) -> None:
        self._cancelled_jobs = [job for job in self._cancelled_jobs if not job.has_ended]
        while len(self._pending) + len(self._cancelled_jobs) < self._window.now:
            request = walk.after(self._pending[-1][0]) if self._pending else walk.next
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
    """Work in a task of its own. Its error is raised when its result is taken.

    Args:
        work: What it does.
        at_end: Called when it has ended, however it did, even if it was cancelled before it began.

    Attributes:
        cancel: Ends it, from whatever thread.
    """

    def __init__(self, work: Callable[[], Awaitable[R]], at_end: Callable[[], None]) -> None:
        self._ended = anyio.Event()
        self._results: list[R] = []
        self._error: Exception | None = None

        async def run() -> None:
            try:
                self._results.append(await work())
            except Exception as error:
                self._error = error

        def end() -> None:
            at_end()
            self._ended.set()

        self.cancel: Callable[[], object] = _spawn(run, end)

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    @property
    def was_cancelled(self) -> bool:
        return self.has_ended and self._error is None and not self._results

    def result(self) -> R:
        if self._error is not None:
            raise self._error
        return self._results[0]

    async def ended(self) -> None:
        await self._ended.wait()


def _spawn(work: Callable[[], Awaitable[None]], end: Callable[[], None]) -> Callable[[], object]:
    """Start a task that outlives the function that starts it, and return what cancels it."""
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
        with contextlib.suppress(RuntimeError):  # the loop is closed, and its tasks with it
            loop.call_soon_threadsafe(task.cancel)

    return cancel_task
