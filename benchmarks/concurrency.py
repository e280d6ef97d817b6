"""1,000 async gets, 50 and 200 at a time, over loopback."""

from __future__ import annotations

import asyncio
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

from benchmarks._clients import CLIENTS, GETTERS, MAX_CONCURRENCY
from benchmarks._measure import take_turns, timed
from benchmarks._server import serve
from benchmarks._table import Benchmark, Goal, per_second

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._clients import Getter

GETS = 1000
CONCURRENCIES = (50, MAX_CONCURRENCY)
ROUNDS = 10
SIDES = ("cstar", "bare httpx", "openai")  # and GETTERS; the others would double the time
OVER_AIOHTTP = "cstar over httpx-aiohttp"
GOALS = {"bare httpx": Goal(2.0, 1.5, is_speed=True), "openai": Goal(2.0, 1.5, is_speed=True)}
GOALS_OVER_AIOHTTP = {"openai": Goal(2.8, 2.0, is_speed=True)}


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure the seconds of a get."""
    with serve(rows=100) as url, closing(asyncio.new_event_loop()) as loop:
        clients: dict[str, Getter] = {name: CLIENTS[name](url, is_async=True) for name in SIDES if name in CLIENTS}
        clients |= {name: build(url) for name, build in GETTERS.items()}
        for concurrency in CONCURRENCIES:
            sides = {name: timed(_gets(client, concurrency, loop), GETS) for name, client in clients.items()}
            figures = take_turns(sides, 2 if quick else ROUNDS)
            name, show = f"{GETS:,} gets at concurrency {concurrency}", per_second("gets")
            yield Benchmark(name, figures, show, GOALS)
            if {OVER_AIOHTTP, "openai"} <= set(figures):
                over_aiohttp = {"cstar": figures[OVER_AIOHTTP], "openai": figures["openai"]}
                yield Benchmark(f"{name}, over httpx-aiohttp", over_aiohttp, show, GOALS_OVER_AIOHTTP)
        for client in clients.values():
            loop.run_until_complete(client.close())


def _gets(client: Getter, concurrency: int, loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    all_ids = client.shape.ids()

    async def make() -> None:
        ids = islice(all_ids, GETS)

        async def work() -> int:
            return sum([client.id_of(await client.get(row_id)) == row_id for row_id in ids])

        assert sum(await asyncio.gather(*(work() for _ in range(concurrency)))) == GETS

    return lambda: loop.run_until_complete(make())
