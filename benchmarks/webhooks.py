"""The verification and parsing of a webhook."""

from __future__ import annotations

import hmac
import json
import time
from typing import TYPE_CHECKING, Any

from benchmarks._clients import CLIENTS
from benchmarks._measure import take_turns, timed
from benchmarks._shapes import CSTAR, STRIPE, TEAM_ID
from benchmarks._table import Benchmark, microseconds
from cstar.webhooks import construct_event, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "whsec_" + "a" * 32
EVENTS = 500
ROUNDS = 60


def run(*, quick: bool) -> Iterator[Benchmark]:
    """Measure the seconds of cstar, of stripe, and of a minimal function with the same checks."""
    customer = json.loads(CSTAR.one(is_new=True)(b"00000000"))["data"]
    payload = json.dumps(
        {
            "id": "evt_00000000",
            "type": "customer.created",
            "created_at": "2026-03-30T10:30:00.000Z",
            "team_id": TEAM_ID,
            "data": {"customer": {_snake(name): value for name, value in customer.items()}},
        }
    ).encode()
    signature = sign(payload, SECRET)
    email = customer["email"]
    sides = {
        "cstar": _events(lambda: construct_event(payload, signature, SECRET).data.customer.email, email),
        "hmac + json.loads": _events(lambda: _bare(payload, signature)["data"]["customer"]["email"], email),
    }
    if "stripe" in CLIENTS:
        sides["stripe"] = _stripe()
    yield Benchmark("webhook", take_turns(sides, 6 if quick else ROUNDS), microseconds)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _bare(payload: bytes, header: str) -> Any:  # noqa: ANN401 - JSON
    timestamp, digest = (part.partition("=")[2] for part in header.split(","))
    expected = hmac.new(SECRET.encode(), timestamp.encode() + b"." + payload, "sha256").hexdigest()
    if not hmac.compare_digest(digest, expected) or abs(time.time() - int(timestamp)) > 300:
        raise ValueError("not from cStar")
    return json.loads(payload)


def _stripe() -> Callable[[], float]:
    import stripe

    customer = json.loads(STRIPE.one(is_new=True)(b"00000000"))
    event = {
        "id": "evt_00000000",
        "object": "event",
        "type": "customer.created",
        "created": 1748773800,
        "livemode": False,
        "data": {"object": customer},
    }
    payload = json.dumps(event).encode()
    signature = sign(payload, SECRET)  # cStar uses stripe's scheme
    return _events(
        lambda: stripe.Webhook.construct_event(payload, signature, SECRET).data.object.email, customer["email"]
    )


def _events(receive: Callable[[], object], email: object) -> Callable[[], float]:
    def receive_all() -> None:
        assert sum(receive() == email for _ in range(EVENTS)) == EVENTS

    return timed(receive_all, EVENTS)
