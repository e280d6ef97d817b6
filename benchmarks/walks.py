"""Lists of many rows, each read in a new process, because the peak memory of a process never falls."""

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

SPEED_ROWS, SPEED_ROUNDS = 10_000, 8
MEMORY_ROWS, MEMORY_ROUNDS = 200_000, 3
SPEED = {
    "bare httpx": Goal(1.10, 1.30),
    "httpx + pydantic": Goal(0.80, 0.90),
    "openai": Goal(6, 5, is_speed=True),
    "stripe": Goal(11, 9, is_speed=True),
}
MEMORY = Path("/proc/self/status")  # ru_maxrss would start at the peak of the parent process


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure the speed over loopback and, on Linux, the memory."""
    seconds = _measure("seconds", SPEED_ROWS, 1 if quick else SPEED_ROUNDS)
    rates = {name: [each / SPEED_ROWS for each in turns] for name, turns in seconds.items()}
    yield Benchmark(f"list of {SPEED_ROWS:,} rows", rates, per_second("rows"), SPEED)
    if MEMORY.exists():
        added = _measure("added", MEMORY_ROWS, 1 if quick else MEMORY_ROUNDS)
        yield Benchmark(f"list of {MEMORY_ROWS:,} rows: memory added", added, megabytes, {"cstar": Goal(20, 40)})


def _measure(figure: str, rows: int, rounds: int) -> dict[str, list[float]]:
    with serve(rows=rows) as url:
        sides = {name: partial(_in_a_process, name, url, rows) for name in CLIENTS}
        results = take_turns(sides, rounds, warm_up=False)
    return {name: [each[figure] for each in turns] for name, turns in results.items()}


def _in_a_process(name: str, url: str, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.walks", name, url, str(rows)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout  # noqa: S603 - no input from outside
    result: dict[str, float] = json.loads(output)
    return result


def read(client: Client, walk: Iterable[Any], rows: int) -> None:
    """Read a list to its end, and check that no row is missing."""
    count, last = 0, None
    for row in walk:
        count += 1
        last = row
    assert (count, client.id_of(last)) == (rows, client.shape.row_id(rows - 1))


def _memory(field: str) -> float:
    """Return a field of `/proc/self/status` in MB. Return 0 on other systems than Linux."""
    lines = MEMORY.read_text().splitlines() if MEMORY.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:")), 0)


def _main(name: str, url: str, rows: int) -> None:
    client = CLIENTS[name](url, is_async=False)
    # The first page opens the connection, and imports the modules that a library imports late.
    next(iter(client.walk()))
    gc.collect()
    gc.freeze()
    before = _memory("VmRSS")
    began = time.perf_counter()
    read(client, client.walk(), rows)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "added": _memory("VmHWM") - before}))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
