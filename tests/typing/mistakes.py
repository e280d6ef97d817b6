"""Typical mistakes. Each marked line must be an error: mypy and pyright both report a mark that is not needed."""

# One mark serves both checkers, whose codes differ.
# ruff: noqa: B018, PGH003, TC001

from __future__ import annotations

from cstar import AsyncCstar, Cstar


def sync_mistakes(client: Cstar, team: str) -> None:
    client.customers.list(team, status="archived")  # type: ignore
    client.customers.list(team, sentiment="positive")  # type: ignore
    client.customers.list(team, staus="active")  # type: ignore
    client.customers.list(team, page="2")  # type: ignore
    client.customers.list(team, "active")  # type: ignore
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
    client.customers.with_raw_response.get(team)  # type: ignore
    client.customers.with_raw_response.get(team, "cus_1").name  # type: ignore
    client.request("GET", "/x", json={"a": object()})  # type: ignore
    client.with_options(retries=1)  # type: ignore


async def async_mistakes(client: AsyncCstar, team: str) -> None:
    client.customers.list(team).data  # type: ignore
    client.customers.get(team, "cus_1").name  # type: ignore
    for _ in client.customers.list(team):  # type: ignore
        pass
    async for _ in client.customers.get(team, "cus_1"):  # type: ignore
        pass
    with client:  # type: ignore
        pass
