"""Count the failures of each way to call the API: `python -m benchmarks.compare`.

    pip install -e '.[sandbox]' requests openapi-python-client
    python -m benchmarks.compare

It prints the table of docs/compared.md, in three to five minutes. `benchmarks/_ways.py` has the code of the ways.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx

from benchmarks._measure import conditions
from benchmarks._shapes import CSTAR, TEAM_ID
from benchmarks._ways import ASYNC_CALLS, WAYS, generate
from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Way: TypeAlias = Any  # a class of `_ways`, or an object of one
Row: TypeAlias = Any  # a dictionary, or an object of the generated client or of cstar

REQUIRED = {"requests": "requests", "generated": "openapi_python_client"}
PACKAGES = ("cstar", "httpx", "requests", "urllib3", "openapi-python-client")
KEY = "sk_test_" + "a" * 32
MAX_SECONDS = 20  # the length of a slow response
MAX_MEBIBYTES = 256  # the size of an "endless" response
CANCELLED, CONCURRENCY = 2_000, 20
OPEN_FILES = Path("/proc/self/fd")
# Held by scenarios that use most of the memory or the processor.
one_at_a_time = threading.Lock()


def main() -> None:
    """Run every scenario in every way, and print a table."""
    ways = {name: way for name, way in WAYS.items() if name not in REQUIRED or find_spec(REQUIRED[name])}
    print(conditions(PACKAGES), end="\n\n")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as threads:
        if "generated" in ways:
            with Sandbox() as box:
                generate(httpx.get(f"{box.page_url}openapi.json").json(), Path(folder))
        print_row("", *ways)
        print_row("---", *("--:" for _ in ways))
        for name, scenario in SCENARIOS.items():
            # All ways run at the same time, because they mostly wait. Each has its own server.
            print_row(name, *threads.map(scenario, ways.values()))
    print_row("lines of code for create, update, list and import", *map(count_lines, ways.values()))


def print_row(*cells: object) -> None:
    """Print a row of the table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def count_lines(way: Way) -> int:
    """Count the lines of a way, without blank ones, comments and docstrings."""
    sources = [inspect.getsource(each) for each in way.__mro__[:-1]]
    lines = [line.strip() for source in sources for line in source.splitlines()]
    return sum(not line.startswith(("#", '"""')) for line in lines if line)


def count_errors(action: Callable[[Any], object], inputs: Iterable[Any] = (None,)) -> int:
    """Call an action with each input, and return how many calls raise."""
    errors = 0
    for each in inputs:
        try:
            action(each)
        except Exception:  # noqa: PERF203 - each library has its own
            errors += 1
    return errors


def connect(way: Way, box: Sandbox) -> Way:
    """Make a client of a sandbox."""
    return way(box.url, box.api_key, box.team_id)


def records(number: int, **fields: object) -> list[dict[str, Any]]:
    """Make records of customers."""
    return [{"name": f"Customer {each}", "email": f"{each}@example.com", **fields} for each in range(number)]


def id_of(row: Row) -> str:
    """Return the id of a row."""
    return str(row["id"] if isinstance(row, dict) else row.id)


class OtherProgram:
    """Another program that uses the same sandbox."""

    def __init__(self, box: Sandbox) -> None:
        headers = {"Authorization": f"Bearer {box.api_key}"}
        self._http = httpx.Client(base_url=f"{box.url}/teams/{box.team_id}", headers=headers)

    def create(self, customers: list[dict[str, Any]]) -> None:
        """Create up to 500 customers."""
        self._http.post("/import", json={"resource": "customers", "records": customers}).raise_for_status()

    def delete(self, ids: list[str]) -> None:
        """Delete up to 100 customers."""
        body = {"action": "delete", "resource": "customers", "ids": ids}
        self._http.post("/bulk", json=body).raise_for_status()

    def ids(self, **filters: str) -> set[str]:
        """Return the ids of all customers that match."""
        body = {"resources": [{"type": "customers", "filters": filters}]}
        data = self._http.post("/export", json=body).raise_for_status().json()["data"]
        return {row["id"] for row in data["resources"]["customers"]}


def lost_responses(way: Way) -> str:
    """Lose responses to creates that were carried out."""
    with Sandbox() as box:
        box.faults.add("drop", when="after", method="POST", probability=0.05, seed=1)
        errors = count_errors(connect(way, box).create, records(1000))
        box.faults.clear()
        return f"{errors} / {len(OtherProgram(box).ids()):,}"


def bad_network(way: Way) -> str:
    """Lose responses, cut them off, or replace them with errors, before or after the request is carried out."""
    with Sandbox() as box:
        box.faults.add("flaky", method="POST", probability=0.05, seed=1)
        return str(count_errors(connect(way, box).create, records(1000)))


def rate_limit(way: Way) -> str:
    """Exceed the rate limit."""
    with Sandbox(rate_limit=(100, 2)) as box:
        return str(count_errors(connect(way, box).create, records(300)))


def list_that_changes(way: Way) -> str:
    """Read a list while another program deletes and creates customers."""
    with Sandbox(customers=2000) as box:
        other, chooser, seen = OtherProgram(box), random.Random(1), list[str]()  # noqa: S311 - not for secrets
        remaining = other.ids()
        for number, (row, _) in enumerate(connect(way, box).customers(), 1):
            seen.append(id_of(row))
            if number % 200 == 50:
                deleted = chooser.sample(sorted(remaining & set(seen)), 10)
                other.delete(deleted)
                remaining -= set(deleted)
            elif number % 200 == 150:
                other.create([{"name": "New", "email": f"{number}-{each}@example.com"} for each in range(5)])
        return f"{len(remaining - set(seen))} / {len(seen) - len(set(seen))}"


def loop_that_changes_its_list(way: Way) -> str:
    """Change each row of a filtered list so that it leaves the filter."""
    with Sandbox() as box:
        other, client = OtherProgram(box), connect(way, box)
        other.create(records(500, status="inactive"))
        for row, _ in client.customers(status="inactive"):
            client.update(id_of(row), status="active")
        return str(len(other.ids(status="inactive")))


def restart(way: Way) -> str:
    """Stop in the middle of a list, delete some of the rows that were read, and continue with a new client."""
    with Sandbox(customers=2000) as box:
        other = OtherProgram(box)
        before = list(islice(connect(way, box).customers(), 1050))
        seen = [id_of(row) for row, _ in before]
        other.delete(seen[:60])
        seen += [id_of(row) for row, _ in connect(way, box).customers(before[-1][1])]
        return f"{len(other.ids() - set(seen))} / {len(seen) - len(set(seen))}"


def bulk_import(way: Way) -> str:
    """Lose the first two responses to an import."""
    with Sandbox() as box:
        box.faults.add("drop", when="after", path="*/import", times=2)
        client = connect(way, box)
        count_errors(lambda _: client.import_all(records(5000), "import-1"))
        return f"{len(box.requests)} / {len(OtherProgram(box).ids()):,}"


def unforeseen_values(way: Way) -> str:
    """Read rows with values that the documentation of the API does not allow."""
    customer = json.loads(CSTAR.one(is_new=True)(b"00000000"))["data"]
    changes: list[dict[str, object]] = [
        {"sentiment": "delighted"},
        {"status": "archived"},
        {"vip": True},
        {"tags": None},
        {"metadata": None},
    ]
    rows = [{**customer, **change} for change in changes]
    rows += [{name: customer[name] for name in customer if name != missing} for missing in ("tags", "ticketCount")]

    def respond(connection: socket.socket, row: Row) -> None:
        pagination = {"total": 1, "page": 1, "pageSize": 100, "hasMore": False}
        meta = {"requestId": "req_1", "timestamp": customer["createdAt"]}
        body = json.dumps({"success": True, "data": [row], "pagination": pagination, "meta": meta}).encode()
        connection.sendall(head(f"Content-Length: {len(body)}") + body)

    def read(row: Row) -> None:
        with serve(lambda connection: respond(connection, row)) as url:
            for each, _ in way(url, KEY, TEAM_ID, retries=0).customers():
                name, tags = (each["name"], each["tags"]) if isinstance(each, dict) else (each.name, each.tags)
                ", ".join([name, *tags])

    return str(count_errors(read, rows))


def slow_response(way: Way) -> str:
    """Send one byte every 0.5 s."""

    def respond(connection: socket.socket) -> None:
        connection.sendall(head("Connection: close"))
        for _ in range(MAX_SECONDS * 2):
            connection.sendall(b" ")
            time.sleep(0.5)

    with serve(respond) as url:
        began = time.monotonic()
        count_errors(list, [way(url, KEY, TEAM_ID, timeout=2, retries=0).customers()])
        seconds = time.monotonic() - began
    return f"over {MAX_SECONDS}" if seconds >= MAX_SECONDS else f"{seconds:.1f}"


def endless_response(way: Way) -> str:
    """Send a body as fast as the client reads it."""
    sent = 0

    def respond(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(head("Connection: close"))
        while sent < MAX_MEBIBYTES:
            connection.sendall(b" " * 2**20)
            sent += 1

    with one_at_a_time, serve(respond) as url:
        count_errors(list, [way(url, KEY, TEAM_ID, retries=0).customers()])
    return f"over {MAX_MEBIBYTES}" if sent == MAX_MEBIBYTES else str(sent)


def cancelled_calls(way: Way) -> str:
    """Cancel async calls, wait until idle connections have expired, and make one more call."""
    if way not in ASYNC_CALLS:
        return "not async"
    if not OPEN_FILES.exists():
        return "not on Linux"

    async def run(url: str, key: str) -> int:
        moments = random.Random(1)  # noqa: S311 - not for secrets
        async with asynccontextmanager(ASYNC_CALLS[way])(url, key) as call:

            async def work() -> None:
                for _ in range(CANCELLED // CONCURRENCY):
                    task = asyncio.ensure_future(call())
                    await asyncio.sleep(moments.uniform(0, 0.02))
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

            await call()
            before = count_open_files()
            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
            await asyncio.sleep(6)
            await call()
            return count_open_files() - before

    command = [sys.executable, "-m", "cstar.sandbox", "--port", "0", "--latency", "0.005", "--json"]
    pipe, log = subprocess.PIPE, subprocess.DEVNULL
    with one_at_a_time, subprocess.Popen(command, stdout=pipe, stderr=log) as sandbox:  # noqa: S603 - no input from outside
        assert sandbox.stdout
        facts = json.loads(sandbox.stdout.readline())
        try:
            return str(asyncio.run(run(facts["url"], facts["api_key"])))
        finally:
            sandbox.terminate()


def count_open_files() -> int:
    """Count the open files of this process, sockets included."""
    gc.collect()
    return len(list(OPEN_FILES.iterdir()))


def rejections(way: Way) -> str:
    """Make calls that the API rejects."""
    with Sandbox() as box:
        client = connect(way, box)
        other_key = way(box.url, KEY, box.team_id)
        read_only = way(box.url, box.publishable_key, box.team_id)
        [first, second] = records(2)
        client.create(first)
        calls: dict[str, Callable[[], object]] = {
            "must be an email address": lambda: client.create({"name": "Ada", "email": "no address"}),
            "API key is unknown": lambda: other_key.create(second),
            "publishable key can only read": lambda: read_only.create(second),
            "There is no customer": lambda: client.update("cus_" + "0" * 32, name="Ada"),
            "Another customer": lambda: client.create(first),
        }
        explained = 0
        for reason, call in calls.items():
            try:
                call()
            except Exception as error:  # noqa: PERF203 - each library has its own
                explained += reason in str(error)
        return str(explained)


SCENARIOS: dict[str, Callable[[Way], str]] = {
    "1,000 creates, 5% of the responses lost: calls that raise / customers that exist": lost_responses,
    "1,000 creates, 5% of the responses lost, cut off or replaced by a 5xx: calls that raise": bad_network,
    "300 creates at a limit of 100 in 2 s, 429 with `Retry-After`: calls that raise": rate_limit,
    "2,000 rows read while others delete 100 and insert 50: rows missed / read twice": list_that_changes,
    "500 inactive customers, activated by the loop that reads them: still inactive": loop_that_changes_its_list,
    "crash after 1,050 of 2,000 rows, 60 of them deleted before the restart: rows missed / read again": restart,
    "5,000 customers imported, two responses lost: requests / customers created": bulk_import,
    "seven rows with an unforeseen value: rows that cannot be read": unforeseen_values,
    "one byte every 0.5 s, `timeout=2`, no retries: seconds until the call ends": slow_response,
    "an endless body: MiB that the server could send": endless_response,
    "2,000 cancelled async calls: connections left open": cancelled_calls,
    "five rejected calls: errors whose text has the API's reason": rejections,
}


def head(header: str) -> bytes:
    """Make the head of a response with one more header."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{header}\r\n\r\n".encode()


@contextmanager
def serve(respond: Callable[[socket.socket], None]) -> Iterator[str]:
    """Run a server that calls `respond` after one request on each connection. Yield its base URL."""

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65536)
                    respond(connection)
                except OSError:
                    continue  # the client has closed the connection

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


if __name__ == "__main__":
    main()
