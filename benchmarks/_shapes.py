"""The responses of each API: rows of about 430 bytes and 13 fields in its own shape, with the same headers.

Rows differ only in their number, which is in the id: `cus_00001299` is row 99 of page 12.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE_SIZE = 100
TEAM_ID = "3f0c6a54-9d53-4f7e-8f6b-0a4c2f1d7e90"

_PAGE = "@@@@@@"
_NUMBER = f"{_PAGE}##"
_REQUESTED_SIZE = re.compile(r"[?&](?:pageSize|limit)=100(?:&|$)")
_REQUESTED_PAGE = re.compile(r"[?&]page=(\d+)")
_REQUESTED_AFTER = re.compile(r"[?&](?:after|starting_after)=[a-z]+_(\d{6})\d\d(?:&|$)")

_request = itertools.count(1)
_reset = int(time.time()) + 3600


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Shape:
    """The shape of one API.

    Attributes:
        path: The path of the list; the path of a row begins with it.
        prefix: The prefix of ids.
        row: A row.
        surround: Makes the fields beside `data` in a list, from the number of the page, counted from 0, and the total.
        single: Makes the response to a get or a create, from the row and whether it was just created.
    """

    path: str
    prefix: str
    row: dict[str, object]
    surround: Callable[[int, int], dict[str, object]]
    single: Callable[[dict[str, object], bool], dict[str, object]] = lambda row, _: row

    def row_id(self, number: int) -> str:
        """Return the id of a row, counted from 0."""
        return f"{self.prefix}_{number:08d}"

    def ids(self) -> Iterator[str]:
        """Iterate over the ids of 10,000 rows, repeatedly: programs rarely get the same row twice in succession."""
        return itertools.cycle(self.row_id(number) for number in range(10_000))

    def one(self, *, is_new: bool) -> Callable[[bytes], bytes]:
        """Make a function that returns the response to a get or a create, for a row number of eight digits."""
        template = _json(self.single(self.row, is_new))
        return lambda number: template.replace(_NUMBER.encode(), number)

    def rows(self) -> bytes:
        """Make the rows of a page; `page` inserts its number."""
        row = _json(self.row)
        return b",".join(row.replace(b"##", b"%02d" % number) for number in range(PAGE_SIZE))

    def page(self, rows: bytes, number: int, total: int) -> bytes:
        """Make the response to a list."""
        beside = _json(self.surround(number, total))
        return b'{"data":[' + rows.replace(_PAGE.encode(), b"%06d" % number) + b"]," + beside[1:]


def requested_page(target: str) -> int:
    """Return the number of the requested page, counted from 0.

    Raises:
        ValueError: The page size is not 100.
    """
    if not _REQUESTED_SIZE.search(target):
        raise ValueError(f"the page size must be {PAGE_SIZE}: {target}")
    if match := _REQUESTED_PAGE.search(target):
        return int(match[1]) - 1
    if match := _REQUESTED_AFTER.search(target):
        return int(match[1]) + 1
    return 0


def headers() -> list[tuple[bytes, bytes]]:
    """Make the headers of a response, as a server behind a proxy sends them. Each response has a new request id."""
    number = next(_request)
    return [
        (b"Server", b"nginx"),
        (b"Date", b"Sun, 22 Nov 2026 12:00:00 GMT"),
        (b"Content-Type", b"application/json; charset=utf-8"),
        (b"Cache-Control", b"no-store"),
        (b"Strict-Transport-Security", b"max-age=63072000; includeSubDomains"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"X-Request-Id", b"req_%016x" % number),
        (b"X-RateLimit-Limit", b"100000000"),
        (b"X-RateLimit-Remaining", b"%d" % (100_000_000 - number)),
        (b"X-RateLimit-Reset", b"%d" % _reset),
        (b"X-RateLimit-Window", b"3600"),
    ]


def _has_more(number: int, total: int) -> bool:
    return (number + 1) * PAGE_SIZE < total


_CUSTOMER: dict[str, object] = {
    "id": f"cus_{_NUMBER}",
    "object": "customer",
    "name": "Grace Okafor",
    "email": f"grace.okafor.{_NUMBER}@northwind.example",
    "sentiment": "neutral",
    "status": "active",
    "tags": ["vip", "newsletter"],
    "notes": "Asked for invoices in euros.",
    "customFields": {"company": "Northwind Traders", "plan": "pro", "seats": 12},
    "ticketCount": 2,
    "metadata": {"source": "demo", "crmId": f"CRM-{_NUMBER}"},
    "createdAt": "2025-06-01T10:30:00.000Z",
    "updatedAt": "2025-07-01T08:15:30.123Z",
}
_TICKETS = [
    {"id": "tkt_51c0", "title": "Webhooks arrive late", "status": "open", "createdAt": "2025-06-30T09:00:00.000Z"},
    {"id": "tkt_51a7", "title": "Export stops half-way", "status": "closed", "createdAt": "2025-06-11T14:20:00.000Z"},
]

CSTAR = Shape(
    f"/api/v1/teams/{TEAM_ID}/customers",
    "cus",
    _CUSTOMER,
    lambda number, total: {
        "success": True,
        "pagination": {
            "total": total,
            "page": number + 1,
            "pageSize": PAGE_SIZE,
            "hasMore": _has_more(number, total),
        },
    },
    lambda row, is_new: {"success": True, "data": row if is_new else {**row, "recentTickets": _TICKETS}},
)

OPENAI = Shape(
    "/v1/fine_tuning/jobs",
    "ftjob",
    {
        "id": f"ftjob_{_NUMBER}",
        "object": "fine_tuning.job",
        "created_at": 1748773800,
        "finished_at": 1751357730,
        "model": "gpt-4o-mini-2024-07-18",
        "fine_tuned_model": f"ft:gpt-4o-mini:northwind:{_NUMBER}",
        "organization_id": "org-northwind",
        "result_files": [f"file-{_NUMBER}"],
        "status": "succeeded",
        "hyperparameters": {"n_epochs": 4, "batch_size": 1, "learning_rate_multiplier": 1.0},
        "training_file": "file-abc123",
        "validation_file": None,
        "trained_tokens": 5768,
        "seed": 12,
        "metadata": {"source": "demo", "crmId": f"CRM-{_NUMBER}"},
    },
    lambda number, total: {"object": "list", "has_more": _has_more(number, total)},
)

STRIPE = Shape(
    "/v1/customers",
    "cus",
    {
        "id": f"cus_{_NUMBER}",
        "object": "customer",
        "created": 1748773800,
        "currency": "eur",
        "delinquent": False,
        "description": "Asked for invoices in euros.",
        "email": f"grace.okafor.{_NUMBER}@northwind.example",
        "invoice_prefix": "0759376C",
        "invoice_settings": {"custom_fields": None, "default_payment_method": None, "footer": None},
        "livemode": False,
        "metadata": {"source": "demo", "crmId": f"CRM-{_NUMBER}"},
        "name": "Grace Okafor",
        "preferred_locales": ["en", "de"],
    },
    lambda number, total: {"object": "list", "url": "/v1/customers", "has_more": _has_more(number, total)},
)

SHAPES = (CSTAR, OPENAI, STRIPE)
