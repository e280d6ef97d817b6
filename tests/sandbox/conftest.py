"""Sandboxes shared by many tests, which therefore use email addresses and tags of their own."""

import itertools

import httpx
import pytest

from cstar.sandbox import Sandbox


@pytest.fixture(scope="session")
def box():
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def api(box):
    """Plain HTTP with the secret key, at the team's own URL: `api.get("/customers")`."""
    with httpx.Client(
        base_url=f"{box.url}/teams/{box.team_id}", headers={"Authorization": f"Bearer {box.api_key}"}
    ) as client:
        yield client


@pytest.fixture
def fresh_api(cstar_sandbox):
    """The same, over a sandbox that is empty at the start of each test."""
    with httpx.Client(
        base_url=f"{cstar_sandbox.url}/teams/{cstar_sandbox.team_id}",
        headers={"Authorization": f"Bearer {cstar_sandbox.api_key}"},
    ) as client:
        yield client


@pytest.fixture(scope="session")
def stranger(box):
    """Plain HTTP without a key."""
    with httpx.Client(base_url=box.url) as client:
        yield client


@pytest.fixture(scope="session")
def seeded():
    """Likewise, over a sandbox of its own with 60 demo customers, which no test may change."""
    with (
        Sandbox(customers=60) as box,
        httpx.Client(
            base_url=f"{box.url}/teams/{box.team_id}", headers={"Authorization": f"Bearer {box.api_key}"}
        ) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def new_email():
    """A function giving an address that no other test uses."""
    numbers = itertools.count(1)
    return lambda: f"someone.{next(numbers)}@example.com"


@pytest.fixture(scope="session")
def create(api, new_email):
    """A function that creates a customer and returns it as the server shows it."""

    def create(**fields):
        answer = api.post("/customers", json={"name": "Jane Doe", "email": new_email(), **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]

    return create
