"""Four ways to call the API: httpx by hand, requests by hand, a generated client, and cstar.

Each follows the documentation of its library, with a timeout, and with an idempotency key for each write. The two by
hand retry failed requests. `benchmarks.compare` runs all four and counts their lines.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from itertools import count, islice
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import httpx

from cstar import AsyncCstar, Cstar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path
    from types import ModuleType

Json: TypeAlias = Any
Record: TypeAlias = dict[str, Any]
# A customer, and the position from which `customers` can continue in another process.
Row: TypeAlias = tuple[Any, Any]


class _ByHand:
    """The common code of httpx and requests: a page loop, and an import in chunks."""

    def request(self, method: str, path: str, *, key: str | None = None, **options: Json) -> Json:
        raise NotImplementedError

    def create(self, record: Record) -> object:
        return self.request("POST", "/customers", json=record)["data"]

    def update(self, customer_id: str, **fields: object) -> None:
        self.request("PATCH", f"/customers/{customer_id}", json=fields)

    def customers(self, position: int = 1, **filters: object) -> Iterator[Row]:
        for page in count(position):
            envelope = self.request("GET", "/customers", params={"page": page, "pageSize": 100, **filters})
            for row in envelope["data"]:
                yield row, page
            if not envelope["pagination"]["hasMore"]:
                break

    def import_all(self, records: Iterable[Record], key: str) -> int:
        created, remaining = 0, iter(records)
        for number in count(1):
            chunk = list(islice(remaining, 500))
            if not chunk:
                break
            body = {"resource": "customers", "records": chunk}
            created += self.request("POST", "/import", json=body, key=f"{key}-{number}")["data"]["created"]
        return created


class HttpxByHand(_ByHand):
    """httpx with a retry loop."""

    def __init__(self, url: str, key: str, team_id: str, *, timeout: float = 30, retries: int = 3) -> None:
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout)
        self.path, self.retries = f"/teams/{team_id}", retries

    def request(self, method: str, path: str, *, key: str | None = None, **options: Json) -> Json:
        headers = {} if method == "GET" else {"Idempotency-Key": key or str(uuid4())}
        for attempt in range(self.retries + 1):
            is_last, wait = attempt == self.retries, 0.5 * 2**attempt
            try:
                response = self.http.request(method, self.path + path, headers=headers, **options)
            except httpx.TransportError:
                if is_last:
                    raise
            else:
                if is_last or (response.status_code != 429 and response.status_code < 500):
                    break
                wait = float(response.headers.get("Retry-After", wait))
            time.sleep(wait)
        return response.raise_for_status().json()


class RequestsByHand(_ByHand):
    """requests with urllib3's `Retry`."""

    def __init__(self, url: str, key: str, team_id: str, *, timeout: float = 30, retries: int = 3) -> None:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3 import Retry

        # By default, Retry does not retry a POST, and retries a status only if the response has Retry-After.
        statuses = [429, 500, 502, 503, 504]
        retry = Retry(retries, backoff_factor=0.5, status_forcelist=statuses, allowed_methods=None)
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"
        self.session.mount(url, HTTPAdapter(max_retries=retry))
        self.url, self.timeout = f"{url}/teams/{team_id}", timeout

    def request(self, method: str, path: str, *, key: str | None = None, **options: Json) -> Json:
        headers = {} if method == "GET" else {"Idempotency-Key": key or str(uuid4())}
        response = self.session.request(method, self.url + path, headers=headers, timeout=self.timeout, **options)
        response.raise_for_status()
        return response.json()


class Generated:
    """The client that openapi-python-client generates, with a page loop. It does not retry."""

    def __init__(self, url: str, key: str, team_id: str, *, timeout: float = 30, retries: int = 3) -> None:  # noqa: ARG002
        options = {"timeout": httpx.Timeout(timeout), "raise_on_unexpected_status": True}
        self.client = generated().AuthenticatedClient(base_url=url, token=key, **options)
        self.team_id = team_id

    def call(self, operation: str, *arguments: object, **options: object) -> Json:
        result = generated(f".api.default.{operation}").sync(self.team_id, *arguments, client=self.client, **options)
        if isinstance(result, generated(".models").Failure):
            raise RuntimeError(result.error.message)  # noqa: TRY004 - this is not about types
        return result

    def create(self, record: Record) -> object:
        body = generated(".models").NewCustomer.from_dict(record)
        return self.call("create_customer", body=body, idempotency_key=str(uuid4())).data

    def update(self, customer_id: str, **fields: object) -> None:
        body = generated(".models").CustomerUpdate.from_dict(fields)
        self.call("update_customer", customer_id, body=body, idempotency_key=str(uuid4()))

    def customers(self, position: int = 1, **filters: Json) -> Iterator[Row]:
        if "status" in filters:
            filters["status"] = generated(".models").ListCustomersStatus(filters["status"])
        for page in count(position):
            envelope = self.call("list_customers", page=page, page_size=100, **filters)
            for row in envelope.data:
                yield row, page
            if not envelope.pagination.has_more:
                break

    def import_all(self, records: Iterable[Record], key: str) -> int:
        models, created, remaining = generated(".models"), 0, iter(records)
        for number in count(1):
            chunk = list(islice(remaining, 500))
            if not chunk:
                break
            body = models.Import.from_dict({"resource": "customers", "records": chunk})
            created += self.call("import_", body=body, idempotency_key=f"{key}-{number}").data.created
        return created


class WithCstar:
    """This client, with the defaults."""

    def __init__(self, url: str, key: str, team_id: str, *, timeout: float = 30, retries: int = 3) -> None:
        self.client = Cstar(key, base_url=url, timeout=timeout, max_retries=retries)
        self.team_id = team_id

    def create(self, record: Record) -> object:
        return self.client.customers.create(self.team_id, **record)

    def update(self, customer_id: str, **fields: Json) -> None:
        self.client.customers.update(self.team_id, customer_id, **fields)

    def customers(self, position: str | None = None, **filters: Json) -> Iterator[Row]:
        rows = iter(self.client.customers.list(self.team_id, resume=position, **filters))
        for row in rows:
            yield row, rows.checkpoint()

    def import_all(self, records: Iterable[Json], key: str) -> int:
        return self.client.customers.bulk_import(self.team_id, records, idempotency_key=key).created


async def httpx_async(url: str, key: str) -> AsyncIterator[Callable[[], Json]]:
    """Yield an async call of httpx."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as http:
        yield lambda: http.get(f"{url}/auth/whoami")


async def generated_async(url: str, key: str) -> AsyncIterator[Callable[[], Json]]:
    """Yield an async call of the generated client."""
    async with generated().AuthenticatedClient(base_url=url, token=key) as client:
        yield lambda: generated(".api.default.whoami").asyncio(client=client)


async def cstar_async(url: str, key: str) -> AsyncIterator[Callable[[], Json]]:
    """Yield an async call of cstar."""
    async with AsyncCstar(key, base_url=url) as client:
        yield client.whoami


WAYS = {
    "httpx": HttpxByHand,
    "requests": RequestsByHand,
    "generated": Generated,
    "cstar": WithCstar,
}
ASYNC_CALLS = {HttpxByHand: httpx_async, Generated: generated_async, WithCstar: cstar_async}


def generated(module: str = "") -> ModuleType:
    """Return a module of the generated client."""
    return importlib.import_module(f"generated_client{module}")


def generate(document: Json, folder: Path) -> None:
    """Generate a client from an OpenAPI document into a folder, and make it importable."""
    for path in document["paths"].values():
        for parameter in path["parameters"]:
            parameter.get("schema", {}).pop("format", None)  # the generator drops operations with a date in a header
    source = folder / "openapi.json"
    source.write_text(json.dumps(document), encoding="utf-8")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    files = ["--path", str(source), "--output-path", str(folder / "generated_client")]
    subprocess.run([*command, *files], check=True, capture_output=True)  # noqa: S603 - no input from outside
    sys.path.insert(0, str(folder))
