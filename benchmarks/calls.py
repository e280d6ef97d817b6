"""One call after the other: get and create, sync and async, over a null transport and over loopback."""

from __future__ import annotations

import asyncio
from contextlib import closing
from itertools import islice, repeat
from typing import TYPE_CHECKING

from benchmarks._clients import CLIENTS
from benchmarks._measure import take_turns, timed
from benchmarks._server import serve
from benchmarks._table import Benchmark, Goal, microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._clients import Client

# With fewer, what is measured is partly how cold the caches are after another library's turn: with 50, among six sides,
# cstar takes up to a tenth longer beside bare httpx.
CALLS = 300
ROUNDS = 15
GOALS = {"get": Goal(0.90, 1.00), "create": Goal(0.95, 1.00)}


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure them."""
    with serve(rows=100) as loopback, closing(asyncio.new_event_loop()) as event_loop:
        for where, url in (("null transport", None), ("loopback", loopback)):
            for kind, loop in (("sync", None), ("async", event_loop)):
                clients = {name: build(url, is_async=loop is not None) for name, build in CLIENTS.items()}
                for method, goal in GOALS.items():
                    sides = {name: timed(_calls(client, method, loop), CALLS) for name, client in clients.items()}
                    figures = take_turns(sides, 3 if quick else ROUNDS)
                    goals = {} if url else {"bare httpx": goal}
                    yield Benchmark(f"{method}, {where}, {kind}", figures, microseconds, goals)


def _calls(client: Client, method: str, loop: asyncio.AbstractEventLoop | None) -> Callable[[], None]:
    call, ids = client.get, client.shape.ids()
    if method == "create":
        call, ids = lambda _: client.create(), repeat(client.shape.row_id(0))

    def make() -> None:
        assert sum([client.id_of(call(row_id)) == row_id for row_id in islice(ids, CALLS)]) == CALLS

    async def make_async() -> None:
        assert sum([client.id_of(await call(row_id)) == row_id for row_id in islice(ids, CALLS)]) == CALLS

    return make if loop is None else lambda: loop.run_until_complete(make_async())
