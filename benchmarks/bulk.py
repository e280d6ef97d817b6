"""Bulk calls, and one call for each customer, against a sandbox in this process."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._measure import take_turns
from benchmarks._table import Benchmark, Goal
from cstar import Cstar, CustomerRecord
from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cstar.resources.customers import Customers

ROUNDS = 3
IMPORTED, DELETED = 10_000, 5_000
SINGLE_CALLS = 500  # their figures are scaled up to all customers


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure the number of requests and the duration."""
    rounds = 1 if quick else ROUNDS
    with Sandbox() as box:
        imports = {
            "cstar": partial(_measure, box, _bulk_import),
            "create, one by one": partial(_measure, box, _create, scale=IMPORTED / SINGLE_CALLS),
            "upsert, one by one": partial(_measure, box, _upsert, scale=IMPORTED / SINGLE_CALLS),
        }
        yield from _benchmarks(
            f"{IMPORTED:,} new customers", take_turns(imports, rounds, warm_up=False), IMPORTED // 500
        )
        deletions = {
            "cstar": partial(_measure, box, _bulk_delete, existing=DELETED),
            "delete, one by one": partial(_measure, box, _delete, existing=DELETED, scale=DELETED / SINGLE_CALLS),
        }
        yield from _benchmarks(
            f"{DELETED:,} customers deleted", take_turns(deletions, rounds, warm_up=False), DELETED // 100
        )


def _benchmarks(name: str, results: dict[str, list[tuple[float, float]]], goal: int) -> Iterator[Benchmark]:
    requests = {side: [each[0] for each in turns] for side, turns in results.items()}
    seconds = {side: [each[1] for each in turns] for side, turns in results.items()}
    yield Benchmark(name, requests, lambda count: f"{count:,.0f} requests", {"cstar": Goal(goal, goal)})
    yield Benchmark(f"{name}: time", seconds, lambda each: f"{each:,.2f} s")


def _measure(
    box: Sandbox, work: Callable[[Customers, str, list[str]], None], *, existing: int = 0, scale: float = 1
) -> tuple[float, float]:
    """Do some work in a sandbox with existing customers; return its requests and seconds, multiplied by `scale`."""
    box.reset()
    attempts: list[object] = []
    with Cstar(box.api_key, base_url=box.url, on_attempt=attempts.append) as client:
        client.customers.bulk_import(box.team_id, map(_record, range(existing)))
        ids = [customer.id for customer in client.customers.list(box.team_id)]
        attempts.clear()
        started = time.perf_counter()
        work(client.customers, box.team_id, ids)
        return len(attempts) * scale, (time.perf_counter() - started) * scale


def _record(number: int) -> CustomerRecord:
    return CustomerRecord(name=f"Customer {number}", email=f"{number}@example.com", tags=["imported"])


def _bulk_import(customers: Customers, team_id: str, _ids: list[str]) -> None:
    assert customers.bulk_import(team_id, map(_record, range(IMPORTED))).created == IMPORTED


def _create(customers: Customers, team_id: str, _ids: list[str]) -> None:
    for number in range(SINGLE_CALLS):
        customers.create(team_id, **_record(number))


def _upsert(customers: Customers, team_id: str, _ids: list[str]) -> None:
    for number in range(SINGLE_CALLS):
        assert customers.upsert(team_id, **_record(number)).created


def _bulk_delete(customers: Customers, team_id: str, ids: list[str]) -> None:
    assert customers.bulk_delete(team_id, ids).succeeded == DELETED


def _delete(customers: Customers, team_id: str, ids: list[str]) -> None:
    for customer_id in ids[:SINGLE_CALLS]:
        assert customers.delete(team_id, customer_id).deleted
