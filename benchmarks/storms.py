"""Cancel or interrupt many calls: `python -m benchmarks.storms`.

It counts the connections that they leave open, which must be 0, and compares the time of calls before and after.
"""

from __future__ import annotations

import argparse
import gc
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from benchmarks._clients import API_KEY
from benchmarks._server import serve
from benchmarks._shapes import CSTAR, TEAM_ID
from cstar import AsyncCstar, Cstar

if TYPE_CHECKING:
    from types import FrameType

CONCURRENCY = 50
LATER_CALLS = 200
CUSTOMER_ID = CSTAR.row_id(0)


class Interrupt(Exception):  # noqa: N818 - named like KeyboardInterrupt
    """Raised by the signal handler, like Celery's SoftTimeLimitExceeded."""


def open_files() -> int:
    """Count the open files of this process."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


async def cancel(url: str, count: int) -> bool:
    """Cancel concurrent calls at random moments."""
    moments = random.Random(1)  # noqa: S311 - not for secrets
    cancelled = 0
    async with AsyncCstar(API_KEY, base_url=f"{url}/api/v1", max_retries=0) as client:

        async def later_calls() -> float:
            started = time.perf_counter()
            for _ in range(LATER_CALLS):
                await client.customers.get(TEAM_ID, CUSTOMER_ID)
            return time.perf_counter() - started

        async def work(calls: int) -> None:
            nonlocal cancelled
            for _ in range(calls):
                with anyio.move_on_after(moments.uniform(0, 0.04)) as scope:
                    await client.customers.get(TEAM_ID, CUSTOMER_ID)
                cancelled += scope.cancelled_caught

        before, files = await later_calls(), open_files()
        async with anyio.create_task_group() as tasks:
            for _ in range(CONCURRENCY):
                tasks.start_soon(work, count // CONCURRENCY)
        ((_, _, connections),) = client._transport.clients._built.values()
        idle = len(connections._idle)
        lost = open_files() - files - (idle - 1)  # one connection was idle before
        after = await later_calls()
    return report("async calls", count, cancelled, lost, after / before)


def interrupt(url: str, count: int) -> bool:
    """Raise an exception from a signal handler at random moments, until it has interrupted `count` calls."""
    moments = random.Random(1)  # noqa: S311 - not for secrets

    def handler(_number: int, _frame: FrameType | None) -> None:
        raise Interrupt

    signal.signal(signal.SIGALRM, handler)
    calls = interrupted = 0
    with Cstar(API_KEY, base_url=f"{url}/api/v1", max_retries=0) as client:

        def later_calls() -> float:
            started = time.perf_counter()
            for _ in range(LATER_CALLS):
                client.customers.get(TEAM_ID, CUSTOMER_ID)
            return time.perf_counter() - started

        before, files = later_calls(), open_files()
        while interrupted < count:
            calls += 1
            try:
                signal.setitimer(signal.ITIMER_REAL, moments.uniform(0.00001, 0.001))
                try:
                    client.customers.get(TEAM_ID, CUSTOMER_ID)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupt:
                interrupted += 1
        assert client._transport.clients._built is not None
        idle = len(client._transport.clients._built[2]._idle)
        lost = open_files() - files - (idle - 1)  # likewise
        after = later_calls()
    return report("sync calls", calls, interrupted, lost, after / before)


def report(kind: str, calls: int, stopped: int, lost: int, ratio: float) -> bool:
    """Print the figures; return whether no connection was lost."""
    print(f"{calls:,} {kind}, {stopped:,} stopped: {lost} connections lost, later calls take {ratio:.2f}x the time")
    return lost <= 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cancelled", type=int, default=60_000)
    parser.add_argument("--interrupted", type=int, default=10_000)
    arguments = parser.parse_args()
    with serve(rows=100) as address:
        outcomes = [anyio.run(cancel, address, arguments.cancelled, backend=backend) for backend in ("asyncio", "trio")]
        outcomes.append(interrupt(address, arguments.interrupted))
    raise SystemExit(0 if all(outcomes) else 1)
