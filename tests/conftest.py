"""Fixtures of all tests: a client runner, a mocked API, recorded sleeps, and a clean environment."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import pytest
import respx
import tenacity
from hypothesis import settings

import loopback
from cstar.sandbox import Sandbox
from support import URL, Runner

if TYPE_CHECKING:
    from collections.abc import Iterator

# Examples have no deadline: their durations vary on a busy machine.
settings.register_profile("default", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=10_000)
settings.load_profile("default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if loopback.IS_USED:
        loopback.deselect_tests(config, items)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    network_settings = {"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    for name in [name for name in os.environ if name.startswith("CSTAR_") or name.upper() in network_settings]:
        monkeypatch.delenv(name)


@pytest.fixture
def api_mock() -> Iterator[respx.Router]:
    """A respx router in place of the API. A request without a mocked route is an error."""
    if loopback.IS_USED:
        router = respx.Router(base_url=URL, assert_all_called=False)
        loopback.routes.append(router.async_handler)
        yield router
        loopback.routes.clear()
        return
    with respx.mock(base_url=URL, assert_all_called=False) as router:
        yield router


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the sleep between attempts by a list that records its seconds."""
    slept: list[float] = []

    async def async_sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("tenacity.Retrying", functools.partial(tenacity.Retrying, sleep=slept.append))
    monkeypatch.setattr("tenacity.AsyncRetrying", functools.partial(tenacity.AsyncRetrying, sleep=async_sleep))
    return slept


@pytest.fixture
def late_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay the cancellation of an attempt, so that each wait of the async client times out first."""
    monkeypatch.setattr("cstar._transport._CANCELLATION_DELAY", 10)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def run(request: pytest.FixtureRequest, sleeps: list[float]) -> Runner:
    """Run an action with `Cstar`, with `AsyncCstar` on asyncio, and with `AsyncCstar` on trio."""
    return Runner(request.param, sleeps)


@pytest.fixture(scope="session")
def session_box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box
