"""Shared by the tests: sample responses, and a runner of actions with both clients."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import httpx

import loopback
from cstar import AsyncCstar, Cstar

if TYPE_CHECKING:
    from cstar.sandbox import Sandbox

KEY = "sk_test_" + "k3Y_" * 8
URL = "https://api.cstar.test/api/v1"
TEAM = "3f2b8c1e-5d4a-4e6f-9a7b-1c2d3e4f5a6b"
CUSTOMERS = f"/teams/{TEAM}/customers"

# Returned by a visitor of `Runner.walk` to end the iteration.
STOP = object()

# Copied from the Customers page of the API's documentation.
LIST_SAMPLE = """{
  "success": true,
  "data": [
    {
      "id": "cus_x9Y8z7W6v5U4",
      "object": "customer",
      "name": "Jane Doe",
      "email": "jane@example.com",
      "sentiment": "happy",
      "status": "active",
      "tags": ["vip", "enterprise"],
      "notes": "Enterprise customer since 2024",
      "customFields": {
        "company": "Acme Corp",
        "plan": "enterprise"
      },
      "ticketCount": 5,
      "metadata": {},
      "createdAt": "2025-01-15T10:00:00Z",
      "updatedAt": "2026-03-30T10:30:00Z"
    }
  ],
  "pagination": {
    "total": 156,
    "page": 1,
    "pageSize": 20,
    "hasMore": true
  }
}"""
GET_SAMPLE = """{
  "success": true,
  "data": {
    "id": "cus_x9Y8z7W6v5U4",
    "object": "customer",
    "name": "Jane Doe",
    "email": "jane@example.com",
    "sentiment": "happy",
    "status": "active",
    "tags": ["vip"],
    "ticketCount": 5,
    "recentTickets": [
      {
        "id": "tkt_abc123",
        "title": "Login issue",
        "status": "resolved",
        "createdAt": "2026-03-29T14:00:00Z"
      }
    ],
    "createdAt": "2025-01-15T10:00:00Z",
    "updatedAt": "2026-03-30T10:30:00Z"
  }
}"""
DELETE_SAMPLE = """{
  "success": true,
  "data": { "deleted": true, "id": "cus_x9Y8z7W6v5U4" }
}"""
CUSTOMER: dict[str, Any] = json.loads(LIST_SAMPLE)["data"][0]
DETAIL: dict[str, Any] = json.loads(GET_SAMPLE)["data"]
ID: str = CUSTOMER["id"]


def ok(data: object, **fields: object) -> dict[str, object]:
    """Return the body of a successful response, with further top-level fields."""
    return {"success": True, "data": data, **fields}


def created(request: httpx.Request) -> httpx.Response:
    """Return the response to a create: the sample customer with the email address of the request."""
    return httpx.Response(201, json=ok({**CUSTOMER, "email": json.loads(request.content)["email"]}))


def error(code: str = "api_error", message: str = "Something failed.", **fields: object) -> dict[str, object]:
    """Return the body of an error response."""
    return {"success": False, "error": {"type": "api_error", "code": code, "message": message, **fields}}


def customer(number: int, **changes: object) -> dict[str, Any]:
    return {**CUSTOMER, "id": f"cus_{number}", "email": f"{number}@example.com", **changes}


def page_of(rows: list[dict[str, Any]], number: int = 1, *, size: int = 100, total: int | None = None, has_more: bool):
    paging = {"total": len(rows) if total is None else total, "page": number, "pageSize": size, "hasMore": has_more}
    return ok(rows, pagination=paging)


def team_client(box: Sandbox) -> httpx.Client:
    """Create an HTTP client with the secret key of a sandbox, at the URL of its team."""
    headers = {"Authorization": f"Bearer {box.api_key}"}
    return httpx.Client(base_url=f"{box.url}/teams/{box.team_id}", headers=headers, timeout=30)


def error_of(response: httpx.Response) -> tuple[int, str, str, str | None]:
    """Return the status, type, code and parameter of an error response."""
    error = response.json()["error"]
    return response.status_code, error["type"], error["code"], error["param"]


@dataclass
class Runner:
    """Runs actions with one kind of client, so that one test specifies the behaviour of all kinds.

    Attributes:
        kind: `"sync"`, or the event loop that `AsyncCstar` runs on.
        sleeps: The seconds of each sleep between attempts. No sleep is real.
    """

    kind: str
    sleeps: list[float] = field(default_factory=list)

    def __call__(self, action: Callable[[Any], Any], **options: Any) -> Any:
        """Create a client, run an action with it, close it, and return the awaited result."""
        options = {"api_key": KEY, "base_url": URL, **options}
        if self.kind == "sync":
            with Cstar(**options) as client:
                return action(client)

        async def act() -> Any:
            async with AsyncExitStack() as stack:
                if loopback.IS_USED:
                    options.setdefault("http_client", self.http_client())
                    await stack.enter_async_context(options["http_client"])
                client = await stack.enter_async_context(AsyncCstar(**options))
                result = action(client)
                return await result if isinstance(result, Awaitable) else result

        return anyio.run(act, backend=self.kind)

    def in_order(self, *actions: Callable[[Any], Any], **options: Any) -> list[Any]:
        """Run several actions with one client, one after another, and return their results."""
        if self.kind == "sync":
            return self(lambda client: [action(client) for action in actions], **options)

        async def run_all(client: AsyncCstar) -> list[Any]:
            results: list[Any] = []
            for action in actions:
                result = action(client)
                results.append(await result if isinstance(result, Awaitable) else result)
            return results

        return self(run_all, **options)

    def collect(self, action: Callable[[Any], Any], **options: Any) -> list[Any]:
        """Run an action that returns an iterable, and return its items."""
        if self.kind == "sync":
            return self(lambda client: list(action(client)), **options)

        async def gather(client: AsyncCstar) -> list[Any]:
            return [item async for item in action(client)]

        return self(gather, **options)

    def walk(self, action: Callable[[Any], Any], visit: Callable[[Any], Any], **options: Any) -> None:
        """Run an action that returns an iterable, and call `visit` with its items until that returns `STOP`."""

        def iterate(client: Cstar) -> None:
            for item in action(client):
                if visit(item) is STOP:
                    break

        async def iterate_async(client: AsyncCstar) -> None:
            async for item in action(client):
                if visit(item) is STOP:
                    break

        self(iterate if self.kind == "sync" else iterate_async, **options)

    def http_client(self, **options: Any) -> httpx.Client | httpx.AsyncClient:
        """Create an httpx client for this kind of client."""
        if loopback.IS_USED and self.kind == "asyncio":
            options["transport"] = loopback.transport(options.get("transport"))
        return httpx.Client(**options) if self.kind == "sync" else httpx.AsyncClient(**options)

    def hook(self, hook: Callable[[Any], None]) -> Callable[[Any], Any]:
        """Make an event hook for this kind of client."""
        if self.kind == "sync":
            return hook

        async def async_hook(event: Any) -> None:
            hook(event)

        return async_hook
