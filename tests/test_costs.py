"""The costs of calls, iteration and imports, counted in function calls and modules instead of seconds."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from cstar import Cstar
from support import CUSTOMERS, DETAIL, ID, KEY, TEAM, URL, customer, ok, page_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

HEADERS = {"X-Request-Id": "req_1", "X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "9", "X-RateLimit-Reset": "1"}


def respond(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/customers") and request.method == "GET":
        rows = [customer(number) for number in range(100)]
        return httpx.Response(200, json=page_of(rows, total=100, has_more=False), headers=HEADERS)
    return httpx.Response(200, json=ok(DETAIL), headers=HEADERS)


@pytest.fixture
def client() -> Cstar:
    return Cstar(KEY, base_url=URL, http_client=httpx.Client(transport=httpx.MockTransport(respond)))


@pytest.fixture
def bare() -> httpx.Client:
    headers = {"Authorization": f"Bearer {KEY}", "CStar-Version": "2026-03-01"}
    return httpx.Client(base_url=URL, headers=headers, transport=httpx.MockTransport(respond))


def count_calls(action: Callable[[], object]) -> int:
    """Count the Python and C functions that an action calls, without those that make the response."""
    for _ in range(3):
        action()  # fills caches
    count, is_responding = 0, 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count, is_responding
        if frame.f_code is respond.__code__:
            is_responding += {"call": 1, "return": -1}.get(event, 0)
        elif event in {"call", "c_call"} and not is_responding:
            count += 1

    previous = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(previous)
    return count


def test_a_get_makes_fewer_function_calls_than_bare_httpx(client: Cstar, bare: httpx.Client) -> None:
    calls = count_calls(lambda: client.customers.get(TEAM, ID))
    httpx_calls = count_calls(lambda: bare.get(f"{CUSTOMERS}/{ID}").json())
    assert calls <= 0.8 * httpx_calls, (calls, httpx_calls)


def test_a_create_makes_fewer_function_calls_than_bare_httpx(client: Cstar, bare: httpx.Client) -> None:
    fields: dict[str, Any] = {"name": "J", "email": DETAIL["email"], "tags": ["vip"]}
    calls = count_calls(lambda: client.customers.create(TEAM, **fields))
    httpx_calls = count_calls(
        lambda: bare.post(CUSTOMERS, json=fields, headers={"Idempotency-Key": str(uuid4())}).json()
    )
    assert calls <= 0.85 * httpx_calls, (calls, httpx_calls)


def test_each_further_row_takes_at_most_two_function_calls(client: Cstar) -> None:
    def iterate(rows: int) -> int:
        iterator = iter(client.customers.list(TEAM))
        return count_calls(lambda: [next(iterator) for _ in range(rows)])

    assert iterate(20) - iterate(10) <= 10 * 2


def test_a_call_creates_no_reference_cycles(client: Cstar) -> None:
    def call() -> None:
        client.customers.get(TEAM, ID)
        client.customers.create(TEAM, name="J", email=DETAIL["email"])
        assert len(list(client.customers.list(TEAM))) == 100

    def uncollected() -> int:
        gc.collect()
        gc.disable()
        try:
            call()
            return gc.collect()
        finally:
            gc.enable()

    call()
    gc.collect()
    gc.freeze()  # keeps objects of other tests out of the collections
    try:
        # Threads of other tests may create garbage, but not in every round.
        assert min(uncollected() for _ in range(5)) == 0
    finally:
        gc.unfreeze()


def test_a_client_imports_little_beyond_its_three_libraries() -> None:
    def modules(script: str) -> set[str]:
        script += "; import sys; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    libraries = modules("import httpx, pydantic, tenacity")
    added = modules(f"from cstar import Cstar, AsyncCstar; Cstar({KEY!r}), AsyncCstar({KEY!r})") - libraries
    others = {name for name in added if name.partition(".")[0] not in {"cstar", "pydantic_core"}}
    assert others <= {"pydantic.alias_generators", "encodings.idna", "stringprep"}
    for module in ("webhooks", "sandbox", "_prefetch", "_envelopes", "models.customer"):
        assert f"cstar.{module}" not in added
