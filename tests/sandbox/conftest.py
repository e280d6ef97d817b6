"""Sandboxes shared by many tests. Each test uses its own email addresses and tags."""

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
    """An HTTP client with the secret key, at the URL of the team: `api.get("/customers")`."""
    with httpx.Client(
        base_url=f"{box.url}/teams/{box.team_id}", headers={"Authorization": f"Bearer {box.api_key}"}
    ) as client:
        yield client


@pytest.fixture
def empty_api(cstar_sandbox):
    """The same, for a sandbox that is empty at the start of each test."""
    with httpx.Client(
        base_url=f"{cstar_sandbox.url}/teams/{cstar_sandbox.team_id}",
        headers={"Authorization": f"Bearer {cstar_sandbox.api_key}"},
    ) as client:
        yield client


@pytest.fixture(scope="session")
def anonymous(box):
    """An HTTP client without an API key."""
    with httpx.Client(base_url=box.url) as client:
        yield client


@pytest.fixture(scope="session")
def demo_api():
    """The same as `api`, for a sandbox with 60 demo customers, which no test may change."""
    with (
        Sandbox(customers=60) as box,
        httpx.Client(
            base_url=f"{box.url}/teams/{box.team_id}", headers={"Authorization": f"Bearer {box.api_key}"}
        ) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def new_email():
    """A function that returns an email address that no other test uses."""
    numbers = itertools.count(1)
    return lambda: f"someone.{next(numbers)}@example.com"


@pytest.fixture(scope="session")
def create(api, new_email):
    """A function that creates a customer and returns the response's data."""

    def create(**fields):
        response = api.post("/customers", json={"name": "Jane Doe", "email": new_email(), **fields})
        assert response.status_code == 201, response.text
        return response.json()["data"]

    return create
