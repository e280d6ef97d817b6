"""Demo customers: realistic, and the same in every sandbox, because each is a function of its number alone."""

# ruff: noqa: SIM905 - the names as lists would take a line for each

from __future__ import annotations

import random
import uuid
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from cstar.sandbox._clock import HOUR, SECOND, instant, moment
from cstar.sandbox._models import Customer, Ticket

if TYPE_CHECKING:
    from cstar.sandbox._store import Store

# Customer 0 was created at this time, and each further one a little earlier. So none is ever in the future.
_NEWEST = instant(datetime(2025, 6, 1, tzinfo=timezone.utc))
_APART = 11 * 60 * SECOND

_FIRST_NAMES = (
    "Ada Amara Ana Anders Astrid Aylin Beatriz Ben Björn Carmen Chloé Daniel Diego Elena Elif Emma Farid Fatima Femi "
    "Grace Hana Hannah Hugo Ines Ivan Jack Jane Javier Jonas Julia Kenji Lars Laura Leila Liam Lucía Luca Maria Mateo "
    "Mei Mia Nadia Niamh Noah Nora Olga Omar Oscar Paula Priya Rafael Ravi Rosa Sam Sara Sofia Tariq Thomas Wei Zoë"
).split()
_LAST_NAMES = (
    "Abbott Andersson Bauer Becker Brown Chen Cohen Costa Dubois Eriksson Evans Fischer Garcia Haddad Hansen Hughes "
    "Ibrahim Ivanova Jensen Johansson Kaya Khan Kim Kowalski Larsen Lopez Martin Meyer Moreau Müller Nakamura Nguyen "
    "Novak O'Brien Okafor Oliveira Patel Petrov Popescu Rossi Sato Schmidt Silva Singh Smith Suzuki Svensson Taylor "
    "Tanaka Virtanen Walker Wang Weber Williams Wilson Yilmaz Young Zhang"
).split()
_COMPANIES = (
    ("Acme Corp", "acme.example"),
    ("Blue Harbour Shipping", "blueharbour.example"),
    ("Cedar & Finch", "cedarfinch.example"),
    ("Dovetail Furniture", "dovetail.example"),
    ("Evergreen Clinics", "evergreen.example"),
    ("Fable Books", "fablebooks.example"),
    ("Granite Bank", "granitebank.example"),
    ("Hilltop Bakery", "hilltop.example"),
    ("Juniper Travel", "juniper.example"),
    ("Kestrel Energy", "kestrel.example"),
    ("Lumen Studios", "lumen.example"),
    ("Northwind Traders", "northwind.example"),
)
_PLANS = ("free", "trial", "pro", "enterprise")
_TAGS = ("vip", "beta", "newsletter", "churn-risk", "partner", "onboarding")
_NOTES = (
    "Prefers email over phone.",
    "Asked for invoices in euros.",
    "Renewal is due in spring.",
    "Evaluating a second workspace.",
    "Speaks at our user conference.",
)
_TICKETS = (
    "Cannot log in after password reset",
    "Invoice shows the wrong company name",
    "Export to CSV stops half-way",
    "How do I add a teammate?",
    "Webhook deliveries arrive late",
    "App is slow since this morning",
    "Please change our billing address",
    "Feature request: dark mode",
)
_TICKET_STATUSES = ("open", "pending", "resolved", "closed")


def seed(store: Store, customers: int) -> None:
    """Add the first `customers` demo customers with their tickets, except those added before."""
    first = store.seeded
    if first >= customers:
        return
    with store.transaction():
        for number in reversed(range(first, customers)):  # oldest first: SQLite appends in this order
            customer, tickets = _demo(number)
            if store.customer_with_email(customer.email) is None:
                store.put(customer)
                store.add_tickets(customer, tickets)
        store.seeded = customers


def _demo(number: int) -> tuple[Customer, list[Ticket]]:
    chance = random.Random(f"cStar demo customer {number}")  # noqa: S311 - not for secrets
    first, last = chance.choice(_FIRST_NAMES), chance.choice(_LAST_NAMES)
    company, domain = chance.choice(_COMPANIES)
    plan = chance.choice(_PLANS)
    created = _NEWEST - number * _APART
    tickets = [
        Ticket(
            id=f"tkt_{chance.getrandbits(64):016x}",
            title=chance.choice(_TICKETS),
            status=chance.choice(_TICKET_STATUSES),
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
        tags=chance.sample(_TAGS, chance.choice((0, 1, 1, 2, 3))),
        notes=chance.choice((None, *_NOTES)),
        custom_fields={"company": company, "plan": plan, "seats": chance.randrange(1, 200)},
        metadata={"source": "demo", "crmId": f"CRM-{number:06d}"},
    )
    return customer, tickets


def _mailbox(name: str) -> str:
    return name.lower().translate(str.maketrans("äéíëöü", "aeieou", "'"))
