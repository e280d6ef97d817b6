"""Bulk calls, and one call for each customer, against a sandbox in this process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks._measure import take_turns
from benchmarks._table import Benchmark, Goal
from cstar import Cstar, CustomerRecord
from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cstar import Attempt

ROUNDS = 3
IMPORTED, DELETED = 10_000, 5_000
SINGLE_CALLS = 500  # the figures of single calls are scaled


class Job:
    """A job on the customers of a sandbox, and its number of requests.

    Attributes:
        requests: The number of requests.
    """

    def __init__(self, box: Sandbox) -> None:
        box.reset()
        self.team_id = box.team_id
        self.client = Cstar(box.api_key, base_url=box.url, on_attempt=self._count)
        self.requests = 0

    def _count(self, _attempt: Attempt) -> None:
        self.requests += 1

    def measure(self, work: Callable[[], object], scale: float = 1) -> tuple[float, float]:
        """Do the work, and return its requests and seconds, multiplied by `scale`."""
        requests, started = self.requests, time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        self.client.close()
        return (self.requests - requests) * scale, seconds * scale


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure the requests and the seconds."""
    rounds = 1 if quick else ROUNDS
    with Sandbox() as box:
        imports = {
            "cstar": lambda: _bulk_import(box),
            "create, one by one": lambda: _create(box),
            "upsert, one by one": lambda: _upsert(box),
        }
        yield from _benchmarks(f"{IMPORTED:,} new customers", take_turns(imports, rounds, warm_up=False), 20)
        deletions = {"cstar": lambda: _bulk_delete(box), "delete, one by one": lambda: _delete(box)}
        yield from _benchmarks(f"{DELETED:,} customers deleted", take_turns(deletions, rounds, warm_up=False), 50)


def _benchmarks(name: str, results: dict[str, list[tuple[float, float]]], goal: int) -> Iterator[Benchmark]:
    requests = {side: [each[0] for each in turns] for side, turns in results.items()}
    seconds = {side: [each[1] for each in turns] for side, turns in results.items()}
    yield Benchmark(name, requests, lambda count: f"{count:,.0f} requests", {"cstar": Goal(goal, goal)})
    yield Benchmark(f"{name}: time", seconds, lambda each: f"{each:,.2f} s")


def _record(number: int) -> CustomerRecord:
    return CustomerRecord(name=f"Customer {number}", email=f"{number}@example.com", tags=["imported"])


def _bulk_import(box: Sandbox) -> tuple[float, float]:
    job = Job(box)

    def work() -> None:
        result = job.client.customers.bulk_import(job.team_id, map(_record, range(IMPORTED)))
        assert result.created == IMPORTED

    return job.measure(work)


def _create(box: Sandbox) -> tuple[float, float]:
    job = Job(box)

    def work() -> None:
        for number in range(SINGLE_CALLS):
            job.client.customers.create(job.team_id, **_record(number))

    return job.measure(work, IMPORTED / SINGLE_CALLS)


def _upsert(box: Sandbox) -> tuple[float, float]:
    job = Job(box)

    def work() -> None:
        for number in range(SINGLE_CALLS):
            assert job.client.customers.upsert(job.team_id, **_record(number)).created

    return job.measure(work, IMPORTED / SINGLE_CALLS)


def _with_customers(box: Sandbox) -> tuple[Job, list[str]]:
    job = Job(box)
    job.client.customers.bulk_import(job.team_id, map(_record, range(DELETED)))
    return job, [customer.id for customer in job.client.customers.list(job.team_id)]


def _bulk_delete(box: Sandbox) -> tuple[float, float]:
    job, ids = _with_customers(box)

    def work() -> None:
        assert job.client.customers.bulk_delete(job.team_id, ids).succeeded == DELETED

    return job.measure(work)


def _delete(box: Sandbox) -> tuple[float, float]:
    job, ids = _with_customers(box)

    def work() -> None:
        for customer_id in ids[:SINGLE_CALLS]:
            assert job.client.customers.delete(job.team_id, customer_id).deleted

    return job.measure(work, DELETED / SINGLE_CALLS)
