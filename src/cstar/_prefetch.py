"""Fetching pages ahead of a walk, in threads or in tasks. Imported only by walks that ask for it."""

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

from cstar._walk import HasId
from cstar.errors import CstarError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cstar._decode import PageData
    from cstar._listing import Listing
    from cstar._transport import AsyncTransport, Transport
    from cstar._walk import Ask, Walk

R = TypeVar("R")
T = TypeVar("T", bound=HasId)

# How long a walk that is left waits for its requests under way, in seconds. A thread cannot be stopped from outside:
# most are done at once, and one whose server hangs is left to itself, to end with its attempt.
PARTING = 1.0
# The most pages for which a walk stops fetching ahead, when what it had fetched was of no use.
LONGEST_PAUSE = 8


class _Depth:
    """How many pages to have on their way: fewer while what is fetched ahead turns out to be of no use.

    A loop that takes out the rows that it is given moves all that was fetched before it did.
    """

    def __init__(self, most: int) -> None:
        self.now = most
        self._most = most
        self._pause = 0
        self._pages_to_pause = 0

    @property
    def is_paused(self) -> bool:
        """Whether only what is needed next is to be asked for, when it is."""
        return self._pages_to_pause > 0

    def learn(self, *, was_useful: bool) -> None:
        if not was_useful:
            self._pause = min(LONGEST_PAUSE, self._pause * 2 or 1)
            self._pages_to_pause, self.now = self._pause, 1
        elif self._pages_to_pause:
            self._pages_to_pause -= 1
        else:
            self.now = min(self._most, self.now * 2)


class Ahead(Generic[T]):
    """What a sync walk has asked for ahead, in the order of the walk, each request in a thread of its own."""

    def __init__(self, transport: Transport, listing: Listing[T]) -> None:
        self._transport = transport
        self._listing = listing
        self._depth = _Depth(listing.prefetch)
        self._reset()

    def answer(self, walk: Walk[T]) -> tuple[Ask, PageData[T]]:
        """The answer that the walk needs next, and to what."""
        if self._process != os.getpid():
            self._reset()  # the threads have stayed in the process that this one is a fork of
        if not self._asked and walk.next is not None:
            self._transport.wait_for_budget()
            self._ask(walk.next, needed=True)
        self._fill(walk)
        ask, future = self._asked.popleft()
        try:
            return ask, future.result()
        except BaseException:
            # After an error the walk may be read on, from here.
            self._discard()
            raise

    def follow(self, walk: Walk[T], *, was_fruitful: bool) -> None:
        """Go on asking after the walk has taken an answer. Never fails: what cannot be asked for now is later."""
        self._depth.learn(was_useful=was_fruitful and not walk.was_upset)
        if walk.was_upset or walk.next is None:
            self._discard()
        if not self._depth.is_paused:
            self._fill(walk)

    def close(self) -> None:
        """Throw everything away, and see the threads off."""
        self._discard()
        deadline = time.monotonic() + PARTING
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
        self._asked: deque[tuple[Ask, Future[PageData[T]]]] = deque()
        self._left = threading.Event()
        self._leavable = self._transport.until(self._left)

    def _fill(self, walk: Walk[T]) -> None:
        with contextlib.suppress(RuntimeError):  # no further thread to be had
            while len(self._asked) < self._depth.now:
                ask = walk.after(self._asked[-1][0]) if self._asked else walk.next
                if ask is None or not self._ask(ask):
                    return

    def _ask(self, ask: Ask, *, needed: bool = False) -> bool:
        if not self._transport.budget.reserve_page(needed=needed):
            return False
        future: Future[PageData[T]] = Future()
        # The thread must not hold on to us, or a walk that is dropped would never be collected.
        transport, call = self._leavable, self._listing.page(ask)
        slots, left, threads = self._slots, self._left, self._threads
        # Once, even if a signal handler interrupts the start of a thread that has started.
        releases = deque([transport.budget.release_page])

        def release() -> None:
            with contextlib.suppress(IndexError):
                releases.pop()()

        context = contextvars.copy_context()

        def run() -> None:
            try:
                with slots:  # those that were thrown away count for as long as they are on their way
                    if left.is_set():
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
        self._asked.append((ask, future))
        return True

    def _discard(self) -> None:
        self._asked.clear()
        self._left.set()
        self._left = threading.Event()
        self._leavable = self._transport.until(self._left)


class AsyncAhead(Generic[T]):
    """What an async walk has asked for ahead, in the order of the walk, each request in a task of its own."""

    def __init__(self, transport: AsyncTransport, listing: Listing[T]) -> None:
        self._transport = transport
        self._listing = listing
        self._depth = _Depth(listing.prefetch)
        self._asked: deque[tuple[Ask, _Job[PageData[T]]]] = deque()
        self._leaving: list[_Job[PageData[T]]] = []

    async def answer(self, walk: Walk[T]) -> tuple[Ask, PageData[T]]:
        """The answer that the walk needs next, and to what."""
        while True:
            if not self._asked and walk.next is not None:
                await self._see_off()
                await self._transport.wait_for_budget()
                self._ask(walk.next, needed=True)
            self._fill(walk)
            ask, job = self._asked[0]
            try:
                await job.ended()
                if not job.was_cancelled:
                    self._asked.popleft()
                    return ask, job.result()
            except BaseException:
                # After an error the walk may be read on, from here.
                self._discard()
                raise
            self._discard()  # somebody else cancelled the task, or its event loop has gone: ask again

    def follow(self, walk: Walk[T], *, was_fruitful: bool) -> None:
        """Go on asking after the walk has taken an answer. Never fails, and waits for nothing."""
        self._depth.learn(was_useful=was_fruitful and not walk.was_upset)
        if walk.was_upset or walk.next is None:
            self._discard()
        if not self._depth.is_paused:
            self._fill(walk)

    async def close(self) -> None:
        """Throw everything away, and see the tasks off."""
        self._discard()
        await self._see_off()

    def __del__(self) -> None:
        self._discard()

    async def _see_off(self) -> None:
        for job in self._leaving:
            await job.ended()
        self._leaving.clear()

    def _fill(self, walk: Walk[T]) -> None:
        self._leaving = [job for job in self._leaving if not job.has_ended]
        while len(self._asked) + len(self._leaving) < self._depth.now:
            ask = walk.after(self._asked[-1][0]) if self._asked else walk.next
            if ask is None or not self._ask(ask):
                return

    def _ask(self, ask: Ask, *, needed: bool = False) -> bool:
        if not self._transport.budget.reserve_page(needed=needed):
            return False
        transport, call = self._transport, self._listing.page(ask)
        self._asked.append((ask, _Job(lambda: transport.fetch(call), transport.budget.release_page)))
        return True

    def _discard(self) -> None:
        for _, job in self._asked:
            job.cancel()
            self._leaving.append(job)
        self._asked.clear()


class _Job(Generic[R]):
    """Work in a task of its own, whose error waits for whoever asks for the result.

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
    """Start a task that outlives the function that asked for it, and give what cancels it."""
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
