"""Measure how quickly a sandbox lists customers, starts, and adds demo customers.

    python benchmarks/sandbox_lists.py [CUSTOMERS …]

It prints tables of milliseconds in Markdown, by default for 10,000 and 100,000 customers. The goals are less than 20 ms
for a page of 10,000 customers, and less than 100 ms for a page of 100,000. It needs only the extra `sandbox`.

A page is timed over HTTP, from the request to the last byte of its 100 rows, on one connection. Server and client share
this process, as in a test suite.
"""

from __future__ import annotations

import functools
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

CUSTOMERS = (10_000, 100_000)
ROUNDS = 20
STARTS = 5

LISTS: dict[str, dict[str, str]] = {
    "first page": {},
    "last page": {"page": "last"},
    "status, most": {"status": "active"},
    "status, last page": {"status": "active", "page": "last"},
    "tag that nobody has": {"tag": "nobody"},
    "search, most": {"search": "example"},
    "search, one customer": {"search": ".7777@"},
    "search, nobody": {"search": "zzzz"},
    "all four filters": {"status": "active", "sentiment": "neutral", "tag": "vip", "search": "example"},
}


def main() -> None:
    """Measure all, and print the tables."""
    for count in [int(argument) for argument in sys.argv[1:]] or CUSTOMERS:
        measure(count)


def measure(count: int) -> None:
    """Measure a sandbox with a number of customers."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "cstar.db")
        empty = [time_start(Sandbox()) for _ in range(STARTS)]
        seeding = [time_start(Sandbox(database=database, customers=count))]
        full = [time_start(Sandbox(database=database)) for _ in range(STARTS)]
        print(f"\n| list of {count:,} customers | matches | median ms | maximum ms |\n|---|--:|--:|--:|")
        with Sandbox(database=database) as box, client_of(box) as client:
            measure_lists(client)
    print("\n| start of a sandbox | median ms | maximum ms |\n|---|--:|--:|")
    print_row("empty, in memory", *summary(empty))
    print_row(f"on a file of {count:,}", *summary(full))
    print_row(f"on a new file, adding {count:,}", *summary(seeding))


def client_of(box: Sandbox) -> httpx.Client:
    """Make a client of the sandbox."""
    headers = {"Authorization": f"Bearer {box.api_key}"}
    return httpx.Client(base_url=f"{box.url}/teams/{box.team_id}", headers=headers)


def measure_lists(client: httpx.Client) -> None:
    """Measure each kind of list."""
    for name, params in LISTS.items():
        query = {"pageSize": "100", **params}
        if query.get("page") == "last":
            total = client.get("/customers", params={**query, "page": "1"}).json()["pagination"]["total"]
            query["page"] = str(math.ceil(total / 100))
        list_customers = functools.partial(client.get, "/customers", params=query)
        total = list_customers().raise_for_status().json()["pagination"]["total"]
        print_row(name, f"{total:,}", *summary([milliseconds(list_customers) for _ in range(ROUNDS)]))


def time_start(box: Sandbox) -> float:
    """Measure the milliseconds of a start."""
    try:
        return milliseconds(box.start)
    finally:
        box.stop()


def milliseconds(action: Callable[[], object]) -> float:
    """Measure the milliseconds of an action."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def summary(times: list[float]) -> tuple[str, str]:
    """Format the median and the maximum."""
    return f"{statistics.median(times):.1f}", f"{max(times):.1f}"


def print_row(*cells: str) -> None:
    """Print one line of a table."""
    print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
