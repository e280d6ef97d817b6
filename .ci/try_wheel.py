"""Test the wheel in an environment without any extras."""

from __future__ import annotations

import importlib.metadata
import importlib.resources

import httpx

import cstar
from cstar.webhooks import construct_event, sign

assert importlib.metadata.version("cstar") == cstar.__version__
assert importlib.resources.files("cstar").joinpath("py.typed").is_file()


def respond(request: httpx.Request) -> httpx.Response:
    data = {"teamId": "t", "teamName": "Acme", "teamSlug": "acme", "keyType": "secret", "environment": "test"}
    return httpx.Response(200, json={"success": True, "data": data})


with httpx.Client(transport=httpx.MockTransport(respond)) as http_client:
    assert cstar.Cstar("sk_test_wheel", http_client=http_client).whoami().team_name == "Acme"

event = b'{"id": "evt_1", "type": "ticket.created", "created_at": "2026-03-30T10:30:00Z", "team_id": "t", "data": {}}'
assert construct_event(event, sign(event, "whsec_wheel"), "whsec_wheel").type == "ticket.created"

try:
    import cstar.sandbox
except ImportError as error:
    assert "cstar[sandbox]" in str(error)
else:
    raise AssertionError("the sandbox was imported without its extra")

print(f"cstar {cstar.__version__}: the wheel works")
