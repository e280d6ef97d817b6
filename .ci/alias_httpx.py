"""A pytest plugin that runs the tests with httpx2 in place of httpx."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    import pytest

httpx2.alias_httpx()  # before anything imports httpx

# The tests that do not apply to httpx2, with the reasons.
NOT_UNDER_HTTPX2 = {
    "test_a_redirect_to_an_invalid_url_is_a_validation_error": "httpx2 accepts such a response, so the client "
    "raises an APIStatusError",
    "test_an_http_client_of_httpx2_is_rejected": "httpx is an alias",
}


def pytest_report_header() -> str:
    return f"httpx2 {httpx2.__version__} in place of httpx"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    assert sys.modules["httpx"] is httpx2  # in each worker
    deselected = [item for item in items if getattr(item, "originalname", "") in NOT_UNDER_HTTPX2]
    config.hook.pytest_deselected(items=deselected)
    items[:] = [item for item in items if item not in deselected]
