"""Demo customers: realistic, and the same in every sandbox, because each is a function of its number alone."""

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

# Customer 0 was created at this time, and each further one a little earlier. So none is ever in the future.
_NEWEST = instant(datetime(2025, 6, 1, tzinfo=timezone.utc))
_APART = 11 * 60 * SECOND


def seed(store: Store, customers: int) -> None:
    """Add the first `customers` demo customers with their tickets, except those added before."""
    first = store.seeded
    if first >= customers:
        return
    with store.transaction():
        for number in reversed(range(first, customers)):  # oldest first: SQLite appends in this order
            customer, tickets = _demo(number)
            if store.customer_with_email(customer.email) is None:
                free = moment(store.free_instant(instant(customer.created_at)))
                customer = customer.model_copy(update={"created_at": free})
                store.put(customer)
                store.add_tickets(customer, tickets)
        store.seeded = customers


def _demo(number: int) -> tuple[Customer, list[Ticket]]:
    chance, words = random.Random(f"cStar demo customer {number}"), _words()  # noqa: S311 - not for secrets
    first, last = chance.choice(words["first_names"]), chance.choice(words["last_names"])
    company, domain = chance.choice(words["companies"])
    plan = chance.choice(words["plans"])
    created = _NEWEST - number * _APART
    tickets = [
        Ticket(
            id=f"tkt_{chance.getrandbits(64):016x}",
            title=chance.choice(words["tickets"]),
            status=chance.choice(words["ticket_statuses"]),
            created_at=moment(created + chance.randrange(SECOND, 60 * 24 * HOUR)),
        )
        for _ in range(chance.choice((0, 0, 1, 2, 3, 5, 8, 14)))
    ]
    customer = Customer(
        id=f"cus_{uuid.UUID(int=chance.getrandbits(128), version=4).hex}",
        created_at=moment(created),
        updated_at=max([moment(created), *(ticket.created_at for ticket in tickets)]),
        name=f"{first} {last}",
        email=f"{_mailbox(first)}.{_mailbox(last)}.{number}@{domain}",
        sentiment=chance.choice(("happy", "happy", "neutral", "neutral", "neutral", "frustrated", "angry")),
        status=chance.choice(("active", "active", "active", "active", "inactive")),
        tags=chance.sample(words["tags"], chance.choice((0, 1, 1, 2, 3))),
        notes=chance.choice((None, *words["notes"])),
        custom_fields={"company": company, "plan": plan, "seats": chance.randrange(1, 200)},
        metadata={"source": "demo", "crmId": f"CRM-{number:06d}"},
    )
    return customer, tickets


@functools.cache
def _words() -> dict[str, list[Any]]:
    words: dict[str, list[Any]] = json.loads(Path(__file__).with_name("_demo.json").read_text(encoding="utf-8"))
    return words


def _mailbox(name: str) -> str:
    return name.lower().translate(str.maketrans("äéíëöü", "aeieou", "'"))
