"""How quickly a sandbox with 100,000 customers answers each kind of list, starts, and is filled.

    python benchmarks/sandbox_lists.py

prints a Markdown table of milliseconds, in about half a minute. The sandbox promises any list of 100,000 customers in
under 20 ms, so that nobody who develops against it learns to avoid a page or a filter that the real server is good at.
Run this before and after a change to what a list does. It needs the package with its extra `sandbox`, no more.

A list is timed over real HTTP, from the request to the last byte of its 100 rows, on one kept-alive connection. Server
and client share this process, as they do in a test suite. A machine busy with other things shows in the worst column.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

CUSTOMERS = 100_000
ROUNDS = 30
STARTS = 5

LISTS: dict[str, dict[str, str]] = {
    "first page": {},
    "middle page": {"page": "500"},
    "last page": {"page": "1000"},
    "page past the end": {"page": "1000000000"},
    "status, most": {"status": "active"},
    "status, few": {"status": "inactive"},
    "status, last page": {"status": "active", "page": "798"},
    "sentiment": {"sentiment": "angry"},
    "status and sentiment": {"status": "active", "sentiment": "neutral"},
    "tag": {"tag": "vip"},
    "tag that nobody has": {"tag": "nobody"},
    "tag and sentiment": {"tag": "vip", "sentiment": "happy"},
    "search, everyone": {"search": "example"},
    "search, everyone, last page": {"search": "example", "page": "1000"},
    "search, common": {"search": "ada"},
    "search, rare": {"search": "CHLOÉ O'BRIEN"},
    "search, one customer": {"search": ".77777@"},
    "search, one letter": {"search": "e"},
    "search, one rare letter": {"search": "ö"},
    "search, nothing": {"search": "zzzz"},
    "search, the empty string": {"search": ""},
    "all four, most": {"status": "active", "sentiment": "neutral", "tag": "vip", "search": "example"},
    "all four, nothing": {"status": "active", "sentiment": "neutral", "tag": "vip", "search": "zzzz"},
}


def main() -> None:
    """Measure everything and print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "cstar.db")
        empty = [time_start(Sandbox()) for _ in range(STARTS)]
        seeding = [time_start(Sandbox(database=database, customers=CUSTOMERS))]
        full = [time_start(Sandbox(database=database)) for _ in range(STARTS)]
        print(f"| {CUSTOMERS:,} customers | matches | median ms | worst ms |\n|---|--:|--:|--:|")
        with Sandbox(database=database) as box:
            measure_lists(box)
    print("\n| start of a sandbox | matches | median ms | worst ms |\n|---|--:|--:|--:|")
    print_row("empty, in memory", "", empty)
    print_row(f"on a file of {CUSTOMERS:,}", "", full)
    print_row(f"on a new file, putting in {CUSTOMERS:,}", "", seeding)


def measure_lists(box: Sandbox) -> None:
    """Time each kind of list, and then one after each of a number of writes."""
    with httpx.Client(
        base_url=f"{box.url}/teams/{box.team_id}", headers={"Authorization": f"Bearer {box.api_key}"}
    ) as client:

        def total(params: dict[str, str]) -> int:
            answer = client.get("/customers", params={"pageSize": "100", **params})
            count: int = answer.raise_for_status().json()["pagination"]["total"]
            return count

        for name, params in LISTS.items():
            request = client.build_request("GET", "/customers", params={"pageSize": "100", **params})
            times = [milliseconds(functools.partial(client.send, request)) for _ in range(ROUNDS)]
            print_row(name, f"{total(params):,}", times)

        times = []
        for number in range(ROUNDS):
            customer = {"name": "New", "email": f"new.{number}@example.com"}
            client.post("/customers", json=customer).raise_for_status()
            times.append(milliseconds(lambda: client.get("/customers", params={"pageSize": "100", "search": "new."})))
        print_row("search, after a write", f"{total({'search': 'new.'}):,}", times)


def time_start(box: Sandbox) -> float:
    """How many milliseconds a sandbox takes to start."""
    try:
        return milliseconds(box.start)
    finally:
        box.stop()


def milliseconds(action: Callable[[], object]) -> float:
    """How many milliseconds an action takes."""
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


def print_row(name: str, matches: str, times: list[float]) -> None:
    """Print one line of a table."""
    print(f"| {name} | {matches} | {statistics.median(times):.1f} | {max(times):.1f} |", flush=True)


if __name__ == "__main__":
    main()
