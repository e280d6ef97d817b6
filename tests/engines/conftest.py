"""Fixtures that run the examples for data engines against a sandbox."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cstar import Cstar
from cstar.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture
def demo() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs an example in another process."""

    def demo(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    return demo


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A function that runs the `main` of an example in this process, and returns its exit code."""

    def run(name: str, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        try:
            return importlib.import_module(name).main()
        except SystemExit as exit_:
            return exit_.code

    return run


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox with 250 customers, to which the environment points."""
    with Sandbox(customers=250) as box:
        monkeypatch.setenv("CSTAR_API_KEY", box.api_key)
        monkeypatch.setenv("CSTAR_BASE_URL", box.url)
        yield box


@pytest.fixture
def client(box: Sandbox) -> Iterator[Cstar]:
    with Cstar() as client:
        yield client
