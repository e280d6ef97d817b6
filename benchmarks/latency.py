"""A list with a latency of 50 ms, with and without prefetching."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks._clients import CLIENTS
from benchmarks._measure import take_turns, timed
from benchmarks._server import serve
from benchmarks._table import Benchmark, milliseconds
from benchmarks.walks import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmarks._clients import Client

ROWS = 5_000
LATENCY = 0.05
PREFETCH = (0, 8)
ROUNDS = 5


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure the seconds of a list, and of a loop with bare httpx."""
    with serve(rows=ROWS, latency=LATENCY) as url:
        client, bare = (CLIENTS[name](url, is_async=False) for name in ("cstar", "bare httpx"))
        sides = {f"prefetch {pages}": _read(client, partial(client.walk, prefetch=pages)) for pages in PREFETCH}
        sides["bare httpx"] = _read(bare, bare.walk)
        figures = take_turns(sides, 1 if quick else ROUNDS, warm_up=False)
    for pages in PREFETCH:
        yield Benchmark(
            f"list of {ROWS:,} rows, {LATENCY * 1000:.0f} ms latency, prefetch {pages}",
            {"cstar": figures[f"prefetch {pages}"], "bare httpx": figures["bare httpx"]},
            milliseconds,
        )


def _read(client: Client, walk: Callable[[], Iterable[object]]) -> Callable[[], float]:
    return timed(lambda: read(client, walk(), ROWS))
