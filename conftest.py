"""Run the Python blocks of the README and the docs against a sandbox, and set the number of test processes."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`, start one process more than there are cores, because many tests wait."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def documentation_sandbox() -> Iterator[Sandbox]:
    with Sandbox(customers=250) as box:
        yield box


@pytest.fixture(scope="module")
def sandbox_in_environment(documentation_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    documentation_sandbox.reset()
    with pytest.MonkeyPatch.context() as environment:
        environment.chdir(tmp_path_factory.mktemp("page"))  # examples write files to the current directory
        environment.setenv("CSTAR_API_KEY", documentation_sandbox.api_key)
        environment.setenv("CSTAR_BASE_URL", documentation_sandbox.url)
        environment.setenv("CSTAR_WEBHOOK_SECRET", documentation_sandbox.webhook_secret)
        yield


@pytest.fixture(scope="module")
def restored_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("cstar", "httpx")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    fixtures=["sandbox_in_environment", "restored_loggers", "documentation_sandbox", "cstar_sandbox", "cstar_client"],
).pytest()
