"""A strict user's program: every line must type-check, and every type be known. Run by mypy and pyright, not pytest."""

from __future__ import annotations

from datetime import datetime

import httpx
from pydantic import BaseModel, JsonValue
from typing_extensions import assert_type

from cstar import (
    NOT_GIVEN,
    APIError,
    APIStatusError,
    AsyncCstar,
    AsyncPage,
    ConflictError,
    Cstar,
    Customer,
    CustomerDetail,
    CustomerStatus,
    DeletedCustomer,
    Identity,
    NotGiven,
    Page,
    RateLimit,
    RawResponse,
    RecentTicket,
)


class Ticket(BaseModel):
    id: str


def sync_calls(client: Cstar, team: str) -> None:
    page = client.customers.list(
        team, status="active", prefetch=4, gapless=True, extra_query={"a": ["b"], "n": [1], "x": None}
    )
    assert_type(page, Page[Customer])
    assert_type(page.data, list[Customer])
    assert_type(page.total, int)
    assert_type(page.has_more, bool)
    assert_type(page.get_next_page(), Page[Customer])
    for each_page in page.iter_pages():
        assert_type(each_page, Page[Customer])
    for customer in page:
        assert_type(customer, Customer)
        assert_type(customer.created_at, datetime)
        assert_type(customer.custom_fields, dict[str, JsonValue])
        assert_type(customer.notes, str | None)

    tags: dict[str, list[str]] = {"seats": ["a"]}
    created = client.customers.create(
        team, name="J", email="j@x.io", tags=("vip",), custom_fields=tags, metadata={"a": "b"}, idempotency_key="k"
    )
    assert_type(created, Customer)
    client.customers.create(
        team, name="J", email="j@x.io", custom_fields={"any": [1, None, {"json": True}]}, notes=None
    )
    assert_type(client.customers.update(team, "cus_1", notes=None, metadata={"a": None, "b": "c"}), Customer)
    assert_type(client.customers.delete(team, "cus_1"), DeletedCustomer)

    detail = client.customers.get(team, "cus_1", expand="customer")
    assert_type(detail, CustomerDetail)
    assert_type(detail.recent_tickets, list[RecentTicket] | None)

    raw = client.customers.with_raw_response.get(team, "cus_1")
    assert_type(raw, RawResponse[CustomerDetail])
    assert_type(raw.parse(), CustomerDetail)
    assert_type(raw.headers, httpx.Headers)
    assert_type(raw.rate_limit, RateLimit | None)
    assert_type(client.customers.with_raw_response.list(team).parse(), Page[Customer])

    assert_type(client.whoami(), Identity)
    assert_type(client.rate_limit, RateLimit | None)
    assert_type(client.with_options(timeout=httpx.Timeout(5), max_retries=0), Cstar)
    assert_type(client.request("GET", "/x", params={"a": 1}), JsonValue)
    assert_type(client.request("GET", "/x", cast_to=Ticket), Ticket)
    assert_type(client.request("GET", "/x", cast_to=list[Ticket]), list[Ticket])
    with client as same:
        assert_type(same, Cstar)


async def async_calls(client: AsyncCstar, team: str) -> None:
    page = await client.customers.list(team)
    assert_type(page, AsyncPage[Customer])
    assert_type(await page.get_next_page(), AsyncPage[Customer])
    async for customer in client.customers.list(team, tag="vip"):
        assert_type(customer, Customer)
    async for customer in page:
        assert_type(customer, Customer)
    async for each_page in client.customers.list(team).iter_pages():
        assert_type(each_page, AsyncPage[Customer])
    assert_type(await client.customers.create(team, name="J", email="j@x.io"), Customer)
    assert_type(await client.customers.get(team, "cus_1"), CustomerDetail)
    raw = await client.customers.with_raw_response.list(team)
    assert_type(raw, RawResponse[AsyncPage[Customer]])
    assert_type(await client.request("GET", "/x", cast_to=Ticket), Ticket)
    assert_type(await client.whoami(), Identity)
    async with client.with_options(max_retries=1) as same:
        assert_type(same, AsyncCstar)


def errors(client: Cstar, team: str) -> None:
    try:
        client.customers.create(team, name="J", email="j@x.io")
    except ConflictError as error:
        assert_type(error.param, str | None)
        assert_type(error.status_code, int)
    except APIStatusError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.body, JsonValue)
    except APIError as error:
        assert_type(error.idempotency_key, str | None)


def wrapper(client: Cstar, team: str, status: CustomerStatus | NotGiven = NOT_GIVEN) -> Customer:
    return client.customers.update(team, "cus_1", status=status)
