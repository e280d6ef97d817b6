"""Typical mistakes, for type checkers. Each marked line must be an error, since they report unused `type: ignore`."""

# The marks have no error codes, because each type checker has its own.
# ruff: noqa: B018, PGH003

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cstar.models
from cstar import APIError, AsyncCstar, Cstar, CustomerRecord
from cstar.sandbox import Sandbox
from cstar.webhooks import CustomerCreatedEvent, UnknownEvent, construct_event, sign

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def sync_mistakes(client: Cstar, team: str) -> None:
    client.customers.list(team, status="archived")  # type: ignore
    client.customers.list(team, sentiment="positive")  # type: ignore
    client.customers.list(team, staus="active")  # type: ignore
    client.customers.list(team, page="2")  # type: ignore
    client.customers.list(team, "active")  # type: ignore
    client.customers.list(team, extra_query={"a": {"b": "c"}})  # type: ignore
    client.customers.create(team, name="J")  # type: ignore
    client.customers.create(team, name="J", email=None)  # type: ignore
    client.customers.create(team, name="J", email="j@x.io", tags="vip")  # type: ignore
    client.customers.create(team, name="J", email="j@x.io", metadata={"a": 1})  # type: ignore
    client.customers.create(team, name="J", email="j@x.io", metadata={"a": None})  # type: ignore
    client.customers.create(team, name="J", email="j@x.io", custom_fields={"a": object()})  # type: ignore
    client.customers.update(team, "cus_1", status="archived")  # type: ignore
    client.customers.update(team, "cus_1", name=None)  # type: ignore
    client.customers.update(team)  # type: ignore
    client.customers.get(team, "cus_1").full_name_of_customer.upper()  # type: ignore
    client.customers.get(team, "cus_1").recent_tickets[0]  # type: ignore
    client.customers.delete(team, customer="cus_1")  # type: ignore
    len(client.customers.list(team))  # type: ignore
    client.customers.list(team).next_page()  # type: ignore
    client.customers.list(team, resume=7)  # type: ignore
    client.customers.list(team).to_list("5")  # type: ignore
    client.customers.list(team).first().name  # type: ignore
    client.customers.list(team).checkpoint()  # type: ignore
    client.paginate("/x")  # type: ignore
    client.paginate("/x", cast_to=int)  # type: ignore
    client.customers.with_raw_response.get(team)  # type: ignore
    client.customers.with_raw_response.get(team, "cus_1").name  # type: ignore
    client.customers.with_raw_response.list(team, status="archived")  # type: ignore
    client.request("GET", "/x", json={"a": object()})  # type: ignore
    client.request("GET", "/x", cast_to="Ticket")  # type: ignore
    client.customers.find(team, "j@x.io").name  # type: ignore
    client.customers.get(team, 42)  # type: ignore
    client.rate_limit.remaining  # type: ignore
    client.with_options(retries=1)  # type: ignore
    client.with_options(max_retries="1")  # type: ignore
    Cstar(timeout="30")  # type: ignore
    Cstar("sk_test_key", "http://127.0.0.1")  # type: ignore
    client.invoices  # type: ignore
    cstar.Costumer  # type: ignore
    cstar.models.Costumer  # type: ignore


async def async_mistakes(client: AsyncCstar, team: str) -> None:
    client.customers.list(team).data  # type: ignore
    len(client.customers.list(team))  # type: ignore
    client.customers.list(team)[0]  # type: ignore
    client.customers.list(team).to_list()[0]  # type: ignore
    client.customers.get(team, "cus_1").name  # type: ignore
    for _ in client.customers.list(team):  # type: ignore
        pass
    async for _ in client.customers.get(team, "cus_1"):  # type: ignore
        pass
    with client:  # type: ignore
        pass
    await client.customers.create(team, name="J", email="j@x.io", status="archived")  # type: ignore
    await client.customers.list(team).get_next_page()  # type: ignore
    client.customers.with_raw_response.get(team, "cus_1").parse()  # type: ignore
    client.request("GET", "/x", cast_to=list[int]).append(1)  # type: ignore
    Cstar(http_client=client)  # type: ignore


def bulk_mistakes(client: Cstar, team: str, some: AsyncIterator[str]) -> None:
    client.customers.bulk_delete(team, 5)  # type: ignore
    client.customers.bulk_delete(team, [5])  # type: ignore
    client.customers.bulk_delete(team, some)  # type: ignore
    client.customers.bulk_import(team, {"name": "J", "email": "e"})  # type: ignore
    record: CustomerRecord = {"name": "J"}  # type: ignore
    client.customers.bulk_import(team, ["j@example.com", record])  # type: ignore
    client.customers.bulk_update(team, ["cus_1"], status="gone")  # type: ignore
    client.customers.with_raw_response.bulk_delete(team, ["cus_1"])  # type: ignore
    client.customers.upsert(team, "j@example.com", "J")  # type: ignore


def error_mistakes(error: APIError) -> None:
    error.status_code  # type: ignore
    error.retry_after  # type: ignore


def webhook_mistakes(body: bytes, known: CustomerCreatedEvent, unknown: UnknownEvent) -> None:
    construct_event(body, "t=1,v1=0")  # type: ignore
    construct_event({"type": "customer.created"}, "t=1,v1=0", "whsec_a")  # type: ignore
    construct_event(body, "t=1,v1=0", "whsec_a", 60)  # type: ignore
    construct_event(body, [("X-Signature", "t=1,v1=0")], "whsec_a")  # type: ignore
    construct_event(io.BytesIO(body), "t=1,v1=0", "whsec_a")  # type: ignore
    construct_event(body, "t=1,v1=0", "whsec_a").data.customer  # type: ignore
    known.data.customer.email.lower()  # type: ignore
    known.data["customer"]  # type: ignore
    unknown.data.customer  # type: ignore
    sign(body, None)  # type: ignore


def sandbox_mistakes(box: Sandbox) -> None:
    Sandbox("cstar.db")  # type: ignore
    Sandbox(rate_limit=1000)  # type: ignore
    box.faults.add("reset")  # type: ignore
    box.faults.add("status", when="during")  # type: ignore
    box.requests.append("a request")  # type: ignore
