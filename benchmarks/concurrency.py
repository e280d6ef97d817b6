"""1,000 gets at concurrency 50."""

from __future__ import annotations

import asyncio
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from benchmarks._clients import CLIENTS
from benchmarks._measure import take_turns, timed
from benchmarks._server import serve
from benchmarks._table import Benchmark, Goal, per_second

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._clients import Client

GETS = 1000
CONCURRENCY = 50
ROUNDS = 10


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure them over loopback."""
    with serve(rows=100) as url, closing(asyncio.new_event_loop()) as loop:
        clients = {name: build(url, is_async=True) for name, build in CLIENTS.items()}
        sides = {name: timed(_gets(client, loop), GETS) for name, client in clients.items()}
        yield Benchmark(
            f"{GETS:,} gets at concurrency {CONCURRENCY}",
            take_turns(sides, 2 if quick else ROUNDS),
            per_second("gets"),
            {"bare httpx": Goal(1.0, 0.95, is_speed=True)},
        )


def _gets(client: Client, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    all_ids = client.shape.ids()

    async def make() -> None:
        ids = islice(all_ids, GETS)

        async def work() -> int:
            return sum([client.id_of(await client.get(row_id)) == row_id for row_id in ids])

        assert sum(await asyncio.gather(*(work() for _ in range(CONCURRENCY)))) == GETS

    return lambda: loop.run_until_complete(make())
