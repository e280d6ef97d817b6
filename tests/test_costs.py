"""What a call, a walk and an import cost, in what can be counted: a machine's mood is in none of these figures."""

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


def answer(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/customers") and request.method == "GET":
        rows = [customer(number) for number in range(100)]
        return httpx.Response(200, json=page_of(rows, total=100, has_more=False), headers=HEADERS)
    return httpx.Response(200, json=ok(DETAIL), headers=HEADERS)


@pytest.fixture
def client() -> Cstar:
    return Cstar(KEY, base_url=URL, http_client=httpx.Client(transport=httpx.MockTransport(answer)))


@pytest.fixture
def bare() -> httpx.Client:
    headers = {"Authorization": f"Bearer {KEY}", "CStar-Version": "2026-03-01"}
    return httpx.Client(base_url=URL, headers=headers, transport=httpx.MockTransport(answer))


def steps(action: Callable[[], object]) -> int:
    """How many functions an action calls, in Python and in C, its answer's making left out."""
    for _ in range(3):
        action()  # what is made once is made
    count, is_answering = 0, 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count, is_answering
        if frame.f_code is answer.__code__:
            is_answering += {"call": 1, "return": -1}.get(event, 0)
        elif event in {"call", "c_call"} and not is_answering:
            count += 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


def test_a_get_makes_fewer_function_calls_than_bare_httpx(client: Cstar, bare: httpx.Client) -> None:
    ours = steps(lambda: client.customers.get(TEAM, ID))
    theirs = steps(lambda: bare.get(f"{CUSTOMERS}/{ID}").json())
    assert ours <= 0.8 * theirs, (ours, theirs)


def test_a_create_makes_fewer_function_calls_than_bare_httpx(client: Cstar, bare: httpx.Client) -> None:
    fields: dict[str, Any] = {"name": "J", "email": DETAIL["email"], "tags": ["vip"]}
    ours = steps(lambda: client.customers.create(TEAM, **fields))
    theirs = steps(lambda: bare.post(CUSTOMERS, json=fields, headers={"Idempotency-Key": str(uuid4())}).json())
    assert ours <= 0.85 * theirs, (ours, theirs)


def test_each_further_row_takes_at_most_two_function_calls(client: Cstar) -> None:
    def walk(rows: int) -> int:
        iterator = iter(client.customers.list(TEAM))
        return steps(lambda: [next(iterator) for _ in range(rows)])

    assert walk(20) - walk(10) <= 10 * 2


def test_a_call_creates_no_reference_cycles(client: Cstar) -> None:
    def call() -> None:
        client.customers.get(TEAM, ID)
        client.customers.create(TEAM, name="J", email=DETAIL["email"])
        assert len(list(client.customers.list(TEAM))) == 100

    def leftovers() -> int:
        gc.collect()
        gc.disable()
        try:
            call()
            return gc.collect()
        finally:
            gc.enable()

    call()
    gc.collect()
    gc.freeze()  # so that a collection does not search all that the other tests have left
    try:
        # The threads of other tests may leave something meanwhile, but not each time.
        assert min(leftovers() for _ in range(5)) == 0
    finally:
        gc.unfreeze()


def test_a_client_imports_little_beyond_its_three_libraries() -> None:
    def modules(script: str) -> set[str]:
        script += "; import sys; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    libraries = modules("import httpx, pydantic, tenacity")
    added = modules(f"from cstar import Cstar, AsyncCstar; Cstar({KEY!r}), AsyncCstar({KEY!r})") - libraries
    of_others = {name for name in added if name.partition(".")[0] not in {"cstar", "pydantic_core"}}
    assert of_others <= {"pydantic.alias_generators", "encodings.idna", "stringprep"}
    for needless in ("webhooks", "sandbox", "_prefetch", "_envelopes", "models.customer"):
        assert f"cstar.{needless}" not in added
