"""`.ci/unasync.py`, which generates the sync modules from the async ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def resources(tmp_path: Path) -> Path:
    """Copy the script and the resources, and generate the sync modules of the copy."""
    (tmp_path / ".ci").mkdir()
    for name in ("pyproject.toml", ".ci/unasync.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    copy = tmp_path / "src" / "cstar" / "resources"
    shutil.copytree(ROOT / "src" / "cstar" / "resources", copy, ignore=shutil.ignore_patterns("__pycache__"))
    unasync(copy)
    return copy


def unasync(resources: Path, *arguments: str) -> tuple[int, str]:
    """Run the script, and return its exit status and output."""
    script = resources.parents[2] / ".ci" / "unasync.py"
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


def test_sync_modules_that_are_up_to_date_pass_the_check(resources):
    assert unasync(resources, "--check") == (0, "")


@pytest.mark.parametrize("edit", [(b"\n", b"\r\n"), (b"def get", b"def got")], ids=["line ends", "a name"])
def test_a_sync_module_that_was_edited_fails_the_check_until_it_is_generated_again(resources, edit):
    module = resources / "customers.py"
    generated = module.read_bytes()
    module.write_bytes(generated.replace(*edit))
    assert unasync(resources, "--check") == (1, "customers.py is out of date: run .ci/unasync.py\n")
    assert unasync(resources) == (0, "wrote customers.py\n")
    assert module.read_bytes() == generated


@pytest.mark.parametrize("first_line", [0, 1], ids=["with its header", "without its header"])
def test_a_sync_module_without_a_source_fails_the_check(resources, first_line):
    lines = (resources / "customers.py").read_bytes().splitlines(keepends=True)
    (resources / "without_source.py").write_bytes(b"".join(lines[first_line:]))
    assert unasync(resources, "--check") == (1, "without_source.py has no source\n")
