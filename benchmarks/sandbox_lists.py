"""How quickly a sandbox with 100,000 customers answers each kind of list, starts, and is filled.

    python benchmarks/sandbox_lists.py

prints a Markdown table of milliseconds, in about a minute. The sandbox promises any list of 100,000 customers in
under 20 ms, so that nobody who develops against it learns to avoid a page or a filter that the real server is good at.
Run this before and after a change to what a list does. It needs the package with its extra `sandbox`, no more.

A list is timed over real HTTP, from the request to the last byte of its 100 rows, on one kept-alive connection, after
so many others that nothing is remembered of it; in the last column once more, after a write. Server and client share
this process, as they do in a test suite. A machine busy with other things shows in the worst column.
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
ROUNDS = 20
OTHERS = 10  # more lists than a sandbox remembers
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
        first_lists = []
        for _ in range(STARTS):
            with Sandbox(database=database) as box, client_of(box) as client:
                first_lists.append(milliseconds(functools.partial(client.get, "/customers")))
        print(f"| {CUSTOMERS:,} customers | matches | median ms | worst ms | again after a write, median ms |")
        print("|---|--:|--:|--:|--:|")
        with Sandbox(database=database) as box, client_of(box) as client:
            measure_lists(client)
    print("\n| start of a sandbox | median ms | worst ms |\n|---|--:|--:|")
    print_row("empty, in memory", *summary(empty))
    print_row(f"on a file of {CUSTOMERS:,}", *summary(full))
    print_row(f"the first list after it, of {CUSTOMERS:,}", *summary(first_lists))
    print_row(f"on a new file, putting in {CUSTOMERS:,}", *summary(seeding))


def client_of(box: Sandbox) -> httpx.Client:
    """A client of the sandbox's team."""
    headers = {"Authorization": f"Bearer {box.api_key}"}
    return httpx.Client(base_url=f"{box.url}/teams/{box.team_id}", headers=headers)


def measure_lists(client: httpx.Client) -> None:
    """Time each kind of list when it is asked for after others, and again after a write."""
    path = "/customers/" + client.get("/customers").raise_for_status().json()["data"][0]["id"]
    for name, params in LISTS.items():
        request = client.build_request("GET", "/customers", params={"pageSize": "100", **params})
        list_customers = functools.partial(client.send, request)
        total: int = list_customers().raise_for_status().json()["pagination"]["total"]
        times, times_again = list[float](), list[float]()
        for number in range(ROUNDS):
            for other in range(OTHERS):
                client.get("/customers", params={"tag": f"other {other}"}).raise_for_status()
            times.append(milliseconds(list_customers))
            client.patch(path, json={"notes": f"{name} {number}"}).raise_for_status()
            times_again.append(milliseconds(list_customers))
        print_row(name, f"{total:,}", *summary(times), f"{statistics.median(times_again):.1f}")


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


def summary(times: list[float]) -> tuple[str, str]:
    """The median and the worst."""
    return f"{statistics.median(times):.1f}", f"{max(times):.1f}"


def print_row(*cells: str) -> None:
    """Print one line of a table."""
    print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
