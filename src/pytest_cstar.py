"""Pytest fixtures for testing code that uses cStar with a sandbox. They need the extra `cstar[sandbox]`.

Pytest imports this module in every run of every project in the environment. It is therefore not part of the package
`cstar`, which it does not import until a test uses a fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cstar import AsyncCstar, Cstar
    from cstar.sandbox import Sandbox

__all__ = ["async_cstar_client", "cstar_client", "cstar_sandbox"]


@pytest.fixture(scope="session")
def _cstar_session_sandbox() -> Iterator[Sandbox]:
    from cstar.sandbox import Sandbox

    with Sandbox() as box:
        yield box


@pytest.fixture
def cstar_sandbox(_cstar_session_sandbox: Sandbox) -> Sandbox:
    """A sandbox, which is a local cStar API: empty and without faults at the start of each test.

    It is started once per session and reset for each test. `cstar_sandbox.faults` injects failures, and
    `cstar_sandbox.requests` lists the received requests.

    Returns:
        The sandbox, running.

    Example:
        ```python
        def test_an_outage_is_reported(cstar_sandbox):
            cstar_sandbox.faults.add("status", status=503, probability=1)
            assert "try again later" in my_program(cstar_sandbox.url, cstar_sandbox.api_key)
        ```
    """
    if _cstar_session_sandbox.is_running:
        _cstar_session_sandbox.reset()
    else:  # a test has stopped it
        _cstar_session_sandbox.start()
    return _cstar_session_sandbox


@pytest.fixture
def cstar_client(cstar_sandbox: Sandbox) -> Iterator[Cstar]:
    """A `Cstar` client of the sandbox, with its secret key.

    Yields:
        The client, which is closed after the test.

    Example:
        ```python
        def test_the_report_counts_angry_customers(cstar_client, cstar_sandbox):
            cstar_client.customers.create(
                cstar_sandbox.team_id, name="Jane Doe", email="jane@example.com", sentiment="angry"
            )
            assert my_report(cstar_client).angry == 1
        ```
    """
    from cstar import Cstar

    with Cstar(api_key=cstar_sandbox.api_key, base_url=cstar_sandbox.url) as client:
        yield client


@pytest.fixture
def async_cstar_client(cstar_sandbox: Sandbox) -> AsyncCstar:
    """An `AsyncCstar` client of the sandbox, with its secret key. It need not be closed.

    It works with pytest-asyncio, anyio and trio.

    Returns:
        The client.

    Example:
        ```python
        async def test_the_report_of_an_empty_team_is_zero(async_cstar_client):
            assert (await my_report(async_cstar_client)).angry == 0
        ```
    """
    from cstar import AsyncCstar

    # A fixture that is not async cannot close the client, so the client keeps no connections open.
    return AsyncCstar(
        api_key=cstar_sandbox.api_key, base_url=cstar_sandbox.url, default_headers={"Connection": "close"}
    )
