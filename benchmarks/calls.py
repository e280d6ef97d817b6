"""Sequential gets and creates over a null transport, sync and async."""

from __future__ import annotations

import asyncio
from contextlib import closing
from itertools import islice, repeat
from typing import TYPE_CHECKING

from benchmarks._clients import CLIENTS
from benchmarks._measure import take_turns, timed
from benchmarks._table import Benchmark, Goal, microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._clients import Client

# With 50 calls per turn, cold caches after another library's turn make cstar up to 10% slower, relative to bare httpx.
CALLS = 300
ROUNDS = 15
GOALS = {"get": Goal(0.90, 1.00), "create": Goal(0.95, 1.00)}


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure the seconds of a call."""
    with closing(asyncio.new_event_loop()) as event_loop:
        for kind, loop in (("sync", None), ("async", event_loop)):
            clients = {name: build(None, is_async=loop is not None) for name, build in CLIENTS.items()}
            for method, goal in GOALS.items():
                sides = {name: timed(_calls(client, method, loop), CALLS) for name, client in clients.items()}
                figures = take_turns(sides, 3 if quick else ROUNDS)
                yield Benchmark(f"{method}, {kind}", figures, microseconds, {"bare httpx": goal})


def _calls(client: Client, method: str, loop: asyncio.AbstractEventLoop | None) -> Callable[[], None]:
    call, ids = client.get, client.shape.ids()
    if method == "create":
        call, ids = lambda _: client.create(), repeat(client.shape.row_id(0))

    def make() -> None:
        assert sum([client.id_of(call(row_id)) == row_id for row_id in islice(ids, CALLS)]) == CALLS

    async def make_async() -> None:
        assert sum([client.id_of(await call(row_id)) == row_id for row_id in islice(ids, CALLS)]) == CALLS

    return make if loop is None else lambda: loop.run_until_complete(make_async())
