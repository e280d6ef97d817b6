"""Demo customers, the same in every sandbox: each is generated from its number."""

from __future__ import annotations

import functools
import json
import random
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cstar.sandbox._clock import HOUR, SECOND, instant, moment
from cstar.sandbox._models import Customer, Ticket
from cstar.sandbox._store import Store

# The creation time of customer 0. Each further one is 11 minutes older, so none is in the future.
_NEWEST = instant(datetime(2025, 6, 1, tzinfo=timezone.utc))
_INTERVAL = 11 * 60 * SECOND


def seed(store: Store, customers: int) -> None:
    """Add the first `customers` demo customers with their tickets, except those added before."""
    first = store.seeded
    if first >= customers:
        return
    with store.transaction():
        for number in reversed(range(first, customers)):  # oldest first: SQLite appends in this order
            customer, tickets = _demo_customer(number)
            if store.customer_with_email(customer.email) is None:
                free = moment(store.free_instant(instant(customer.created_at)))
                customer = customer.model_copy(update={"created_at": free})
                store.put(customer)
                store.add_tickets(customer, tickets)
        store.seeded = customers


def _demo_customer(number: int) -> tuple[Customer, list[Ticket]]:
    rng, words = random.Random(f"cStar demo customer {number}"), _words()  # noqa: S311 - not for secrets
    first, last = rng.choice(words["first_names"]), rng.choice(words["last_names"])
    company, domain = rng.choice(words["companies"])
    plan = rng.choice(words["plans"])
    created = _NEWEST - number * _INTERVAL
    tickets = [
        Ticket(
            id=f"tkt_{rng.getrandbits(64):016x}",
            title=rng.choice(words["tickets"]),
            status=rng.choice(words["ticket_statuses"]),
            created_at=moment(created + rng.randrange(SECOND, 60 * 24 * HOUR)),
        )
        for _ in range(rng.choice((0, 0, 1, 2, 3, 5, 8, 14)))
    ]
    customer = Customer(
        id=f"cus_{uuid.UUID(int=rng.getrandbits(128), version=4).hex}",
        created_at=moment(created),
        updated_at=max([moment(created), *(ticket.created_at for ticket in tickets)]),
        name=f"{first} {last}",
        email=f"{_ascii(first)}.{_ascii(last)}.{number}@{domain}",
        sentiment=rng.choice(("happy", "happy", "neutral", "neutral", "neutral", "frustrated", "angry")),
        status=rng.choice(("active", "active", "active", "active", "inactive")),
        tags=rng.sample(words["tags"], rng.choice((0, 1, 1, 2, 3))),
        notes=rng.choice((None, *words["notes"])),
        custom_fields={"company": company, "plan": plan, "seats": rng.randrange(1, 200)},
        metadata={"source": "demo", "crmId": f"CRM-{number:06d}"},
    )
    return customer, tickets


@functools.cache
def _words() -> dict[str, list[Any]]:
    words: dict[str, list[Any]] = json.loads(Path(__file__).with_name("_demo.json").read_text(encoding="utf-8"))
    return words


def _ascii(name: str) -> str:
    return name.lower().translate(str.maketrans("äéíëöü", "aeieou", "'"))
