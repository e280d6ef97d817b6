"""Create, read, update, list and delete customers of a local sandbox, which needs no account.

python examples/quickstart.py
"""

from __future__ import annotations

from cstar import ConflictError, Cstar
from cstar.sandbox import Sandbox


def main() -> None:
    with Sandbox(customers=250) as box, Cstar(api_key=box.api_key, base_url=box.url) as client:
        identity = client.whoami()
        team_id = identity.team_id
        print(f"A sandbox runs at {box.url}")
        print(f"whoami   {identity.team_name}: a {identity.key_type} key of the {identity.environment} environment")

        jane = client.customers.create(
            team_id,
            name="Jane Doe",
            email="jane@example.com",
            tags=["vip"],
            custom_fields={"company": "Acme Corp"},
            metadata={"crm_id": "42"},
        )
        print(f"create   {jane.id}: {jane.name} <{jane.email}>, {jane.status}, {jane.sentiment}")

        found = client.customers.get(team_id, jane.id)
        print(f"get      {found.name}: {len(found.recent_tickets or [])} recent tickets, metadata {found.metadata}")

        changed = client.customers.update(team_id, jane.id, sentiment="happy", metadata={"crm_id": None, "erp_id": "7"})
        print(f"update   {changed.name}, {changed.sentiment}, metadata {changed.metadata}")

        try:
            client.customers.create(team_id, name="Another Jane", email="jane@example.com")
        except ConflictError as error:
            print(f"conflict {error.message} ({error.code}, param {error.param}, request {error.request_id})")

        page = client.customers.list(team_id, status="active")
        count = sum(1 for _ in page)
        print(f"list     {page.total} active customers; iterating all pages yields {count}")
        for customer in page.data[:3]:
            print(f"         {customer.name or '':24} {customer.email}")

        receipt = client.customers.delete(team_id, jane.id)
        print(f"delete   {receipt.id}: deleted={receipt.deleted}")

        if client.rate_limit:
            print(f"limit    {client.rate_limit.remaining} of {client.rate_limit.limit} requests remain in this window")


if __name__ == "__main__":
    main()
