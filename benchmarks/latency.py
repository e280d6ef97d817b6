"""A walk where each answer takes 50 ms, with more or fewer pages fetched ahead."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks._clients import CLIENTS
from benchmarks._measure import take_turns, timed
from benchmarks._server import serve
from benchmarks._table import Benchmark, milliseconds
from benchmarks.walks import check, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterator

    from benchmarks._clients import Client

ROWS = 5_000
LATENCY = 0.05
PREFETCH = (0, 4, 8, 16)
ROUNDS = 5


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure it, sync and async, against a loop over bare httpx, which fetches nothing ahead."""
    with serve(rows=ROWS, latency=LATENCY) as url, closing(asyncio.new_event_loop()) as event_loop:
        for kind, loop in (("sync", None), ("async", event_loop)):
            ours, bare = (CLIENTS[name](url, is_async=loop is not None) for name in ("cstar", "bare httpx"))
            sides = {f"prefetch {ahead}": _walk(ours, partial(ours.walk, prefetch=ahead), loop) for ahead in PREFETCH}
            sides["bare httpx"] = _walk(bare, bare.walk, loop)
            figures = take_turns(sides, 1 if quick else ROUNDS, warm_up=False)
            for ahead in PREFETCH:
                yield Benchmark(
                    f"walk of {ROWS:,} rows, {LATENCY * 1000:.0f} ms latency, prefetch {ahead}, {kind}",
                    {"cstar": figures[f"prefetch {ahead}"], "bare httpx": figures["bare httpx"]},
                    milliseconds,
                )


def _walk(client: Client, walk: Callable[[], Any], loop: asyncio.AbstractEventLoop | None) -> Callable[[], float]:
    if loop is None:
        return timed(lambda: read(client, walk(), ROWS))
    return timed(lambda: loop.run_until_complete(_read_async(client, walk())))


async def _read_async(client: Client, walk: AsyncIterable[Any]) -> None:
    count, last = 0, None
    async for row in walk:
        count += 1
        last = row
    check(client, count, last, ROWS)
