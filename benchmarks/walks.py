"""A walk of all pages, in a process of its own, because a process's peak memory never falls."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._clients import CLIENTS
from benchmarks._measure import take_turns
from benchmarks._server import ROOT, serve
from benchmarks._table import Benchmark, Goal, megabytes, per_second

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from benchmarks._clients import Client

ROUNDS = {10_000: 8, 200_000: 3}
# The minimums are below what was measured: 1.1 to 1.25 beside httpx, 0.80 with pydantic, 5.8x beside openai, 10.4x
# beside stripe.
SPEED = {
    "bare httpx": Goal(1.10, 1.30),
    "httpx + pydantic": Goal(0.80, 0.90),
    "openai": Goal(6, 5, is_speed=True),
    "stripe": Goal(11, 9, is_speed=True),
}
MEMORY = Path("/proc/self/status")  # ru_maxrss begins at what the parent process has


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure walks over loopback: rows a second, and peak memory where the system is Linux."""
    for rows, rounds in ROUNDS.items():
        with serve(rows=rows) as url:
            sides = {name: partial(_in_a_process, name, url, rows) for name in CLIENTS}
            results = take_turns(sides, 1 if quick else rounds, warm_up=False)

        def figures(measured: str, results: dict[str, list[dict[str, float]]] = results) -> dict[str, list[float]]:
            return {name: [each[measured] for each in turns] for name, turns in results.items()}

        seconds = {name: [each / rows for each in turns] for name, turns in figures("seconds").items()}
        yield Benchmark(f"walk of {rows:,} rows", seconds, per_second("rows"), SPEED)
        if MEMORY.exists():
            goals = {"cstar": Goal(20, 40)} if rows == 200_000 else {}
            yield Benchmark(f"walk of {rows:,} rows: memory added", figures("added"), megabytes, goals)
            yield Benchmark(f"walk of {rows:,} rows: peak memory", figures("peak"), megabytes)


def _in_a_process(name: str, url: str, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.walks", name, url, str(rows)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout  # noqa: S603 - our own
    result: dict[str, float] = json.loads(output)
    return result


def read(client: Client, walk: Iterable[Any], rows: int) -> None:
    """Walk to the end."""
    count, last = 0, None
    for row in walk:
        count += 1
        last = row
    check(client, count, last, rows)


def check(client: Client, count: int, last: object, rows: int) -> None:
    """Make sure that a walk gave all rows."""
    assert (count, client.id_of(last)) == (rows, client.shape.row_id(rows - 1))


def _memory(field: str) -> float:
    """A field of Linux's account of this process, in MB; 0 elsewhere."""
    lines = MEMORY.read_text().splitlines() if MEMORY.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:")), 0)


def _main(name: str, url: str, rows: int) -> None:
    client = CLIENTS[name](url, is_async=False)
    # The first page opens the connection, and loads what a library loads late.
    next(iter(client.walk()))
    gc.collect()
    gc.freeze()
    before = _memory("VmRSS")
    began = time.perf_counter()
    read(client, client.walk(), rows)
    seconds = time.perf_counter() - began
    peak = _memory("VmHWM")
    print(json.dumps({"seconds": seconds, "added": peak - before, "peak": peak}))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
