"""Runs every Python block of the README and the docs, each page in order, against a sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def sandbox_in_environment() -> Iterator[None]:
    with Sandbox(customers=250) as box, pytest.MonkeyPatch.context() as environment:
        environment.setenv("CSTAR_API_KEY", box.api_key)
        environment.setenv("CSTAR_BASE_URL", box.url)
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md"],
    fixtures=["sandbox_in_environment", "cstar_sandbox", "cstar_client"],
).pytest()
