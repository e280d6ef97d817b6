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

# The machines that run the tests are busy ones: how long an example takes says nothing.
settings.register_profile("default", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=10_000)
settings.load_profile("default")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if loopback.IS_USED:
        loopback.deselect_others(config, items)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    for name in [name for name in os.environ if name.startswith("CSTAR_") or name.upper() in others]:
        monkeypatch.delenv(name)


@pytest.fixture
def api_mock() -> Iterator[respx.Router]:
    """A respx router in place of the API. A request without a mock is an error, and nothing reaches a network."""
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
    """Replaces the sleep between attempts, and records its seconds."""
    slept: list[float] = []

    async def async_sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("tenacity.Retrying", functools.partial(tenacity.Retrying, sleep=slept.append))
    monkeypatch.setattr("tenacity.AsyncRetrying", functools.partial(tenacity.AsyncRetrying, sleep=async_sleep))
    return slept


@pytest.fixture
def late_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a wait of the async client time out before its attempt is cancelled, on a busy machine, too."""
    monkeypatch.setattr("cstar._transport._CANCELLATION_DELAY", 10)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def run(request: pytest.FixtureRequest, sleeps: list[float]) -> Runner:
    """Runs an action with `Cstar`, with `AsyncCstar` on asyncio, and with `AsyncCstar` on trio."""
    return Runner(request.param, sleeps)


@pytest.fixture(scope="session")
def session_box() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box
