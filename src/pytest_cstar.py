"""Fixtures for testing code that uses cStar, against a sandbox; pytest finds them by itself once cstar is installed.

A module of its own beside the package, because pytest imports it in every run of every project in the environment: it
imports nothing of cstar before a test asks for a fixture. They need the extra `cstar[sandbox]`.
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
    """A local cStar: a real server with state, empty and well-behaved at the start of each test.

    It is started once per session and reset for each test. `cstar_sandbox.faults` makes it misbehave,
    `cstar_sandbox.requests` tells what arrived.

    Returns:
        The sandbox, running.

    Example:
        ```python
        def test_an_outage_of_the_api_is_told(cstar_sandbox):
            cstar_sandbox.faults.add("status", status=503, probability=1)
            assert "try again later" in my_program(cstar_sandbox.url, cstar_sandbox.api_key)
        ```
    """
    if _cstar_session_sandbox.is_running:
        _cstar_session_sandbox.reset()
    else:  # a test has stopped it, to see its code without a server
        _cstar_session_sandbox.start()
    return _cstar_session_sandbox


@pytest.fixture
def cstar_client(cstar_sandbox: Sandbox) -> Iterator[Cstar]:
    """A `Cstar` client of this test's sandbox, with its secret key.

    Yields:
        The client; it is closed after the test.

    Example:
        ```python
        def test_the_report_counts_the_angry(cstar_client, cstar_sandbox):
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
    """An `AsyncCstar` client of this test's sandbox, with its secret key; it need not be closed.

    It works under pytest-asyncio, anyio and trio alike.

    Returns:
        The client.

    Example:
        ```python
        async def test_the_report_counts_nobody(async_cstar_client):
            assert (await my_report(async_cstar_client)).angry == 0
        ```
    """
    from cstar import AsyncCstar

    # A fixture that is not async itself cannot close it, so it keeps no connection that would be left behind.
    return AsyncCstar(
        api_key=cstar_sandbox.api_key, base_url=cstar_sandbox.url, default_headers={"Connection": "close"}
    )
