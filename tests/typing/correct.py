"""Correct uses of the library, for type checkers: no errors, also in strict mode, and no unknown types."""

from __future__ import annotations

import csv
from array import array
from datetime import datetime
from mmap import mmap
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import httpx
from pydantic import BaseModel, JsonValue
from typing_extensions import assert_never, assert_type

from cstar import (
    NOT_GIVEN,
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AsyncCstar,
    AsyncPage,
    AsyncPaginator,
    AsyncRowIterator,
    Attempt,
    BulkResult,
    ConflictError,
    Cstar,
    CstarError,
    Customer,
    CustomerDetail,
    CustomerExport,
    CustomerRecord,
    CustomerSentiment,
    CustomerStatus,
    DeletedCustomer,
    Identity,
    ImportResult,
    InvalidParameterError,
    Json,
    NotGiven,
    Page,
    QueryValue,
    RateLimit,
    RateLimitError,
    RawResponse,
    RecentTicket,
    RowIterator,
    Upserted,
)
from cstar.sandbox import Delivery, DeliveryAttempt, Fault, ReceivedRequest, Sandbox
from cstar.webhooks import (
    CustomerCreatedEvent,
    CustomerDeletedEvent,
    CustomerUpdatedEvent,
    UnknownEvent,
    WebhookCustomer,
    WebhookEvent,
    construct_event,
    sign,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from email.message import Message

    from django.http import HttpRequest
    from flask import Request as FlaskRequest
    from starlette.requests import Request as StarletteRequest


class Ticket(BaseModel):
    id: str


def record(attempt: Attempt) -> None:
    assert_type((attempt.status_code, attempt.retry_wait), tuple[int | None, float | None])


def clients(http_client: httpx.Client) -> None:
    with Cstar(
        "sk_test_key",
        base_url="http://127.0.0.1:4010/api/v1",
        timeout=httpx.Timeout(5, connect=1),
        deadline=60,
        max_retries=5,
        max_retry_wait=3600,
        api_version="2026-03-01",
        default_headers={"X-Job": "7"},
        on_attempt=record,
        http_client=http_client,
    ) as client:
        assert_type(client, Cstar)
    client = Cstar(timeout=5)
    assert_type(
        client.with_options(
            timeout=5, deadline=None, max_retries=0, max_retry_wait=1.5, default_headers={"X-Job": "8"}
        ),
        Cstar,
    )
    assert_type(client.whoami(), Identity)
    assert_type(client.whoami().team_id, str)
    assert_type(client.whoami().key_type, Literal["secret", "publishable"] | str)
    limit = client.rate_limit
    assert_type(limit, RateLimit | None)
    if limit:
        assert_type((limit.limit, limit.remaining, limit.reset_at), tuple[int, int, datetime])
        assert_type(limit.window, float | None)
    client.close()


async def async_clients(http_client: httpx.AsyncClient) -> None:
    async with AsyncCstar("sk_test_key", timeout=5, http_client=http_client) as client:
        assert_type(client, AsyncCstar)
    client = AsyncCstar()
    async with client.with_options(timeout=httpx.Timeout(5), deadline=None, max_retries=1) as same:
        assert_type(same, AsyncCstar)
    assert_type(await client.whoami(), Identity)
    assert_type(client.rate_limit, RateLimit | None)
    await client.close()


def paging(client: Cstar, team: str) -> None:
    page = client.customers.list(
        team, status="active", prefetch=4, gapless=True, extra_query={"a": ["b"], "n": [1], "x": None}
    )
    assert_type(page, Page[Customer])
    assert_type(page.data, list[Customer])
    assert_type((page.total, page.page, page.page_size), tuple[int, int, int])
    assert_type(page.has_more, bool)
    assert_type(page.get_next_page(), Page[Customer])
    for each_page in page.iter_pages():
        assert_type(each_page, Page[Customer])
    for customer in page:
        assert_type(customer, Customer)
    assert_type(next(iter(page)), Customer)
    assert_type(list(page), list[Customer])
    assert_type(page.to_list(), list[Customer])
    assert_type(page.to_list(limit=5), list[Customer])
    assert_type(page.first(), Customer | None)
    rows = iter(page)
    assert_type(rows, RowIterator[Customer])
    assert_type(rows.checkpoint(), str)
    rows.close()
    assert_type(client.customers.list(team, resume=rows.checkpoint()), Page[Customer])
    assert_type(client.customers.list(team, resume=None), Page[Customer])
    if page:
        tickets = client.paginate(
            "/tickets", cast_to=Ticket, params={"a": 1}, page=2, page_size=5, prefetch=2, gapless=True
        )
        assert_type(tickets, Page[Ticket])
        assert_type(next(iter(tickets)), Ticket)


async def async_paging(client: AsyncCstar, team: str) -> None:
    paginator = client.customers.list(
        team, sentiment="angry", search="j", tag="vip", page=2, page_size=50, prefetch=4, gapless=True
    )
    assert_type(paginator, AsyncPaginator[Customer])
    page = await paginator
    assert_type(page, AsyncPage[Customer])
    assert_type(page.data, list[Customer])
    assert_type((page.total, page.page, page.page_size), tuple[int, int, int])
    assert_type(page.has_more, bool)
    assert_type(await page.get_next_page(), AsyncPage[Customer])
    async for each_page in page.iter_pages():
        assert_type(each_page, AsyncPage[Customer])
    async for each_page in client.customers.list(team).iter_pages():
        assert_type(each_page, AsyncPage[Customer])
    async for customer in page:
        assert_type(customer, Customer)
    async for customer in client.customers.list(team, tag="vip"):
        assert_type(customer, Customer)
    assert_type([each async for each in paginator], list[Customer])
    assert_type(await paginator.to_list(), list[Customer])
    assert_type(await page.to_list(limit=5), list[Customer])
    assert_type(await paginator.first(), Customer | None)
    rows = aiter(paginator)
    assert_type(rows, AsyncRowIterator[Customer])
    assert_type(aiter(page), AsyncRowIterator[Customer])
    assert_type(rows.checkpoint(), str)
    await rows.aclose()
    assert_type(client.customers.list(team, resume=rows.checkpoint()), AsyncPaginator[Customer])
    tickets = client.paginate("/tickets", cast_to=Ticket)
    assert_type(tickets, AsyncPaginator[Ticket])
    assert_type(await tickets, AsyncPage[Ticket])
    assert_type([each async for each in tickets], list[Ticket])


def customers(client: Cstar, team: str) -> None:
    tags: dict[str, list[str]] = {"seats": ["a"]}
    created = client.customers.create(
        team, name="J", email="j@x.io", tags=("vip",), custom_fields=tags, metadata={"a": "b"}, idempotency_key="k"
    )
    assert_type(created, Customer)
    assert_type(created.sentiment, CustomerSentiment | str)
    assert_type(created.status, CustomerStatus | str)
    assert_type(created.tags, list[str])
    assert_type(created.notes, str | None)
    assert_type(created.custom_fields, dict[str, JsonValue])
    assert_type(created.metadata, dict[str, str])
    assert_type((created.created_at, created.updated_at), tuple[datetime, datetime])
    client.customers.create(
        team, name="J", email="j@x.io", custom_fields={"any": [1, None, {"json": True}]}, notes=None
    )
    assert_type(client.customers.update(team, "cus_1", notes=None, metadata={"a": None, "b": "c"}), Customer)
    client.customers.update(team, "cus_1", tags=[], custom_fields={}, extra_body={"vipSince": 2026})
    deleted = client.customers.delete(team, "cus_1", idempotency_key="k")
    assert_type(deleted, DeletedCustomer)
    assert_type((deleted.deleted, deleted.id), tuple[bool, str])
    detail = client.customers.get(team, "cus_1", expand="customer", extra_query={"at": 1})
    assert_type(detail, CustomerDetail)
    assert_type(detail.recent_tickets, list[RecentTicket] | None)


async def async_customers(client: AsyncCstar, team: str) -> None:
    assert_type(await client.customers.create(team, name="J", email="j@x.io", tags=["vip"]), Customer)
    assert_type(await client.customers.get(team, "cus_1"), CustomerDetail)
    assert_type(await client.customers.update(team, "cus_1", status="inactive", notes=None), Customer)
    assert_type(await client.customers.delete(team, "cus_1"), DeletedCustomer)


def raw_responses(client: Cstar, team: str) -> None:
    raw = client.customers.with_raw_response
    page = raw.list(team, status="active", page_size=10)
    assert_type(page, RawResponse[Page[Customer]])
    assert_type(page.parse(), Page[Customer])
    assert_type(page.headers, httpx.Headers)
    assert_type(page.content, bytes)
    assert_type((page.status_code, page.attempts), tuple[int, int])
    assert_type(page.request_id, str | None)
    assert_type(page.rate_limit, RateLimit | None)
    assert_type(raw.create(team, name="J", email="j@x.io"), RawResponse[Customer])
    assert_type(raw.get(team, "cus_1", expand="customer").parse(), CustomerDetail)
    assert_type(raw.update(team, "cus_1", notes=None).parse(), Customer)
    assert_type(raw.delete(team, "cus_1").parse(), DeletedCustomer)
    assert_type(client.with_raw_response.whoami(), RawResponse[Identity])
    assert_type(client.with_raw_response.request("GET", "/x", cast_to=Ticket).parse(), Ticket)


async def async_raw_responses(client: AsyncCstar, team: str) -> None:
    raw = client.customers.with_raw_response
    page = await raw.list(team)
    assert_type(page, RawResponse[AsyncPage[Customer]])
    assert_type(page.parse(), AsyncPage[Customer])
    assert_type(await raw.create(team, name="J", email="j@x.io"), RawResponse[Customer])
    assert_type((await raw.get(team, "cus_1")).parse(), CustomerDetail)
    assert_type((await raw.update(team, "cus_1", notes=None)).parse(), Customer)
    assert_type((await raw.delete(team, "cus_1")).parse(), DeletedCustomer)
    assert_type(await client.with_raw_response.whoami(), RawResponse[Identity])
    assert_type((await client.with_raw_response.request("GET", "/x", cast_to=Ticket)).parse(), Ticket)


def other_endpoints(client: Cstar, params: dict[str, QueryValue], body: Json) -> None:
    assert_type(client.request("GET", "/x", params={"a": 1}), Any)
    assert_type(client.customers.find(UUID(int=0), "j@x.io"), Customer | None)
    client.customers.get(UUID(int=0), UUID(int=1))
    assert_type(client.request("POST", "/x", params=params, json=body, idempotency_key="k"), Any)
    assert_type(client.request("GET", "/x", cast_to=Ticket), Ticket)
    assert_type(client.request("GET", "/x", cast_to=list[Ticket]), list[Ticket])
    assert_type(client.request("GET", "/x", cast_to=dict[str, int]), dict[str, int])


async def async_other_endpoints(client: AsyncCstar) -> None:
    assert_type(await client.request("GET", "/x"), Any)
    assert_type(await client.customers.find(UUID(int=0), "j@x.io"), Customer | None)
    assert_type(await client.request("GET", "/x", cast_to=Ticket), Ticket)
    assert_type(await client.request("POST", "/x", json={"a": [1]}, cast_to=list[Ticket]), list[Ticket])


def errors(client: Cstar, team: str) -> None:
    try:
        client.customers.create(team, name="J", email="j@x.io")
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except ConflictError as error:
        assert_type((error.param, error.code, error.type), tuple[str | None, str | None, str | None])
    except APIStatusError as error:
        assert_type(error.status_code, int)
        assert_type(error.message, str)
        assert_type(error.body, JsonValue)
        assert_type((error.doc_url, error.request_id), tuple[str | None, str | None])
    except APIResponseValidationError as error:
        assert_type((error.status_code, error.request_id), tuple[int, str | None])
        assert_type(error.body, JsonValue)
    except APIConnectionError as error:
        assert_type(error.attempts, int)
    except APIError as error:
        assert_type(error.idempotency_key, str | None)
    except InvalidParameterError as error:
        assert_type(error.param, str | None)
    except CstarError:
        pass


def wrapper(client: Cstar, team: str, status: CustomerStatus | NotGiven = NOT_GIVEN) -> Customer:
    return client.customers.update(team, "cus_1", status=status)


def webhooks(body: bytes, header: str | None) -> WebhookEvent:
    event = construct_event(body, header, "whsec_a", tolerance=60)
    assert_type(event, CustomerCreatedEvent | CustomerUpdatedEvent | CustomerDeletedEvent | UnknownEvent)
    assert_type((event.id, event.team_id, event.created_at), tuple[str, str | None, datetime | None])
    match event:
        case CustomerCreatedEvent():
            assert_type((event.team_id, event.created_at), tuple[str, datetime])
            assert_type(event.type, Literal["customer.created"])
            assert_type(event.data.customer, WebhookCustomer)
            assert_type(event.data.customer.email, str | None)
        case CustomerUpdatedEvent() | CustomerDeletedEvent():
            assert_type(event.data.customer.id, str)
        case UnknownEvent():
            assert_type(event.data, JsonValue)
        case _:
            assert_never(event)
    assert_type(sign(body, "whsec_a", timestamp=1.5), str)
    for payload in (bytearray(body), memoryview(body), array("B", body), mmap(-1, 1)):
        construct_event(payload, header, "whsec_a")
        sign(payload, "whsec_a")
    return construct_event("{}", b"t=1,v1=0", ["whsec_a", "whsec_b"])


def webhook_headers(
    body: bytes,
    django_request: HttpRequest,
    flask_request: FlaskRequest,
    starlette_request: StarletteRequest,
    message: Message,
    plain: dict[str, str],
    lists: Mapping[str, list[str]],
    raw: dict[bytes, bytes],
) -> None:
    construct_event(body, django_request.headers, "whsec_a")
    construct_event(body, flask_request.headers, "whsec_a")
    construct_event(body, starlette_request.headers, "whsec_a")
    construct_event(body, message, "whsec_a")
    construct_event(body, plain, "whsec_a")
    construct_event(body, lists, "whsec_a")
    construct_event(body, raw, "whsec_a")
    construct_event(body, httpx.Headers(), "whsec_a")


def bulk_calls(client: Cstar, team: str, page: Page[Customer], rows: list[CustomerRecord]) -> None:
    customers = client.customers
    assert_type(customers.bulk_delete(team, (customer.id for customer in page)), BulkResult)
    assert_type(customers.bulk_update(team, {"cus_1"}, notes=None, metadata={"a": None}), BulkResult)
    assert_type(customers.bulk_import(team, rows), ImportResult)
    assert_type(customers.bulk_import(team, [{"name": "J", "email": "j@example.com", "tags": ("a",)}]), ImportResult)
    variable = [{"name": "J", "email": "j@example.com"}]
    assert_type(customers.bulk_import(team, variable), ImportResult)
    assert_type(customers.bulk_import(team, csv.DictReader(["name,email"])), ImportResult)
    assert_type(customers.export(team, status="active").customers, list[Customer])
    assert_type(customers.with_raw_response.export(team).parse(), CustomerExport)
    customer, created = customers.upsert(team, email="j@example.com", name="J")
    assert_type((customer, created), tuple[Customer, bool])
    for error in customers.bulk_delete(team, [UUID(int=1)]).errors:
        assert_type((error.index, error.id, error.message), tuple[int | None, str | None, str | None])


async def async_bulk_calls(client: AsyncCstar, team: str, rows: AsyncIterator[CustomerRecord]) -> None:
    assert_type(await client.customers.bulk_import(team, rows), ImportResult)
    assert_type(await client.customers.bulk_delete(team, ["cus_1"]), BulkResult)
    deleted = client.customers.bulk_delete(team, (each.id async for each in client.customers.list(team)))
    assert_type(await deleted, BulkResult)
    assert_type(await client.customers.upsert(team, email="j@example.com", name="J"), Upserted)


def partial_results(error: APIError) -> None:
    assert_type(error.partial, BulkResult | ImportResult | None)


def sandbox() -> None:
    with Sandbox(
        port=4010, database="cstar.db", customers=5, rate_limit=(1000, 3600), webhook_url=["http://127.0.0.1/hooks"]
    ) as box:
        assert_type(box, Sandbox)
        assert_type((box.url, box.page_url, box.team_id), tuple[str, str, str])
        assert_type((box.api_key, box.publishable_key, box.webhook_secret), tuple[str, str, str])
        fault = box.faults.add("status", status=503, when="after", times=2)
        assert_type(fault, Fault)
        assert_type(list(box.faults), list[Fault])
        box.faults.remove(fault)
        box.faults.clear()
        for request in box.requests:
            assert_type(request, ReceivedRequest)
            assert_type((request.method, request.body, request.status), tuple[str, bytes, int | None])
        for delivery in box.wait_for_deliveries(timeout=5):
            assert_type(delivery, Delivery)
            assert_type(delivery.attempts, tuple[DeliveryAttempt, ...])
        assert_type(box.is_running, bool)
        box.reset()
